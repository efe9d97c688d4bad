# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux kernel as a trace and `lmb-attach` take it: where it is, what its model must know, what cannot be told."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gdb_lmb.core.address import Phase, TranslatedMemory
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError, StateError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Function, LinkerSymbol, Variable
from gdb_lmb.core.memory import BoundedMemory, BytesMemory, Meter
from gdb_lmb.programs.base import model_facts, take_snapshot
from gdb_lmb.programs.linux import place, torn
from gdb_lmb.programs.linux.kernel import Kernel, find_kernel, symbols_moved_by
from gdb_lmb.programs.linux.place import boot_phase, locate
from gdb_lmb.programs.linux.program import PROGRAM
from tests.helpers.linux import (
    BASE,
    DIRECT,
    E820_AT,
    INTS,
    MEMBLOCK,
    MEMBLOCK_AT,
    MEMORY_AT,
    NOTE_AT,
    PHYSICAL_MOVE,
    RESERVED_AT,
    SIZE,
    TABLES,
    TEXT,
    TOP_AT,
    VIRTUAL_MOVE,
    WORDS,
    linux,
)
from tests.helpers.machine import NOTE, BytesMachine


@pytest.fixture(autouse=True)
def no_memory_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_LAST", {})
    monkeypatch.setattr(torn, "_FUNCTIONS", {})


def put(machine: BytesMachine, at: int, data: bytes) -> None:
    """Write bytes at an offset of the image."""
    held = machine.memory[BASE]
    machine.memory[BASE] = held[:at] + data + held[at + len(data) :]


def found(machine: BytesMachine) -> Kernel:
    kernel = find_kernel(machine)
    assert kernel is not None
    return kernel


def test_a_kernel_that_may_be_moved(tmp_path: Path) -> None:
    machine = linux(tmp_path, symbols_moved=0x20_0000)
    kernel, moved = found(machine), PROGRAM.movable(machine)
    assert (moved.image, moved.arch, moved.symbols_moved_by()) == (kernel, kernel.arch, 0x20_0000)
    with machine.physical() as memory:
        placed = moved.place(BoundedMemory(memory), kernel.arch.cpu_state(machine.register))
    assert (placed.physical, placed.virtual) == (PHYSICAL_MOVE, VIRTUAL_MOVE) and moved.locate() == placed
    assert moved.boot_phase(placed) == (Phase.COMPLETE, False)
    assert PROGRAM.init_code(machine) == range(TEXT + 0x20_9000, TEXT + 0x20_B000)


def test_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LayoutError, match=r"^gdb's symbols are not where the kernel runs: use lmb-attach first$"):
        PROGRAM.traced(linux(tmp_path))
    machine = linux(tmp_path, symbols_moved=VIRTUAL_MOVE, words={"page_offset_base": 0})
    machine.enums["slab_state", ""] = {0: "DOWN", 4: "UP"}
    traced = PROGRAM.traced(machine)
    assert traced.offset == VIRTUAL_MOVE and traced.allocator.name == "memblock"
    # Nothing is mapped yet: the placement tells where it is.
    assert [len(one) for one in (traced.read().memory, traced.begin().memory)] == [2, 2]
    model = traced.model(traced.read())
    assert list(model.snapshot().memory.ranges()) == list(traced.read().memory.ranges()) and traced.unchanged()
    # As soon as it is mapped that counts.
    other = bytearray(machine.memory[BASE])
    struct.pack_into("<Q", other, MEMBLOCK_AT + MEMBLOCK.fields["memory.cnt"].offset, 1)
    machine.memory[0x300_0000] = bytes(other)
    machine.mapped = {TEXT + VIRTUAL_MOVE: 0x300_0000}
    assert not traced.unchanged() and len(traced.read().memory) == 1
    # Where the direct map begins is settled in the middle of the boot.
    with pytest.raises(ReadError):
        traced.physical(DIRECT + 0x1234)
    put(machine, WORDS["page_offset_base"], struct.pack("<Q", DIRECT))
    assert traced.physical(DIRECT + 0x1234) == 0x1234 and traced.physical(DIRECT) == 0
    monkeypatch.setattr(machine, "functions_on_stack", lambda: [Function("memblock_add_range", "mm/memblock.c")])
    with pytest.raises(StateError, match=r"^the stop is inside memblock_add_range\(\), whose operation"):
        traced.begin()


def test_what_its_model_must_know(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    del machine.variables["slab_state"]  # whose enumeration is gone with it
    # Its list of memory begins with regions, as all did until 6.11: merging looks at all of them.
    facts = model_facts(machine)
    assert {name: facts[name] for name in ("merges_all", "cache_bytes", "keep", "nodes", "can_resize", "slab_up")} == {
        "merges_all": True, "cache_bytes": 64, "keep": True, "nodes": False, "can_resize": True, "slab_up": False
    }  # fmt: skip
    assert "unknown" not in facts and facts["discarded"] is False
    for state, names, up in (
        (3, {4: "UP"}, False),
        (4, {4: "UP"}, True),
        (5, {4: "UP"}, True),
        (5, {5: "FULL"}, False),
    ):
        machine = linux(tmp_path, words={"slab_state": state, "memblock_can_resize": 0})
        machine.enums["slab_state", ""] = names
        assert [model_facts(machine)[name] for name in ("slab_up", "can_resize")] == [up, False]
    machine = linux(tmp_path / "..")
    machine.structs["memblock", ""] = Struct(MEMBLOCK.name, MEMBLOCK.size, {**MEMBLOCK.fields, "odd": Field(1, 1)}, 8)
    machine.labels["memblock_discard"] = TEXT + 0x300
    machine.enums["slab_state", ""] = {}
    facts = model_facts(machine)
    assert facts["unknown"] == ["the member odd"] and facts["discarded"] is True and facts["keep"] is False


def test_a_program_that_is_no_kernel(tmp_path: Path) -> None:
    assert find_kernel(BytesMachine()) is None
    machine = linux(tmp_path)
    program, memblock = machine.variables["memblock"].program, machine.variables["memblock"]
    assert program is not None
    kernel = found(machine)
    machine.variables["memblock"] = Variable(memblock.address, memblock.size)
    with pytest.raises(LayoutError, match=r"^gdb does not tell which file `memblock` is from: load the kernel's with "):
        take_snapshot(machine)
    del machine.variables["memblock"]
    with pytest.raises(LayoutError, match=rf"^gdb has no symbols of {program} any more: load them with `file VMLINUX`"):
        symbols_moved_by(machine, kernel)
    # Its memblock is in no part of the file.
    machine.variables["memblock"] = Variable(TEXT + SIZE, memblock.size, program)
    program.write_bytes(program.read_bytes() + b"\0")
    with pytest.raises(LayoutError, match=rf"^{program} does not hold the data of `memblock`: load the kernel's vmlin"):
        model_facts(machine)
    program.write_bytes(program.read_bytes().replace(NOTE, bytes(len(NOTE))))
    with pytest.raises(LayoutError, match=rf"^{program} has no build id in a loaded note: it cannot be told from anot"):
        find_kernel(machine)
    program.unlink()
    with pytest.raises(LayoutError, match=rf"^cannot read {program}, which gdb has its symbols from: No such file"):
        find_kernel(machine)


def test_the_section_of_notes_tells_of_no_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = linux(tmp_path)
    machine.labels["__start_notes"] += 0x20_0000
    monkeypatch.setattr(machine, "symbol_at", lambda address: LinkerSymbol("linux_banner_note", 0, ".notes"))
    assert found(machine).image == (TEXT, TEXT + SIZE)


def test_a_kernel_without_a_pointer_to_its_list_of_memory(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    del machine.variables["memblock_memory"]
    machine.registers = {}
    assert locate(machine, found(machine))[0].virtual == VIRTUAL_MOVE


def test_one_of_two_images_was_never_relocated(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    older = bytearray(machine.memory[BASE])
    for name in ("memory.name", "memory.regions", "reserved.name", "reserved.regions"):
        struct.pack_into("<Q", older, MEMBLOCK_AT + MEMBLOCK.fields[name].offset, 0)
    machine.memory[BASE - 0x100_0000] = bytes(older)
    del machine.registers["cr0"]
    assert locate(machine, found(machine))[0].physical == PHYSICAL_MOVE


def test_where_it_was_looked_for(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    kernel = found(machine)
    machine.memory = {0: bytes(0x1000)}
    for registers, where in (
        (machine.registers, rf"is run by this CPU at {TEXT + 0x200 + VIRTUAL_MOVE:#x}: "),
        ({"pc": TEXT}, r"is in its 192 MiB of memory: "),
        ({}, r"is in its 192 MiB of memory: "),
    ):
        machine.registers, machine.ranges = registers, [(0, 0x800_0000), (0x1_0000_0000, 0x1_0400_0000)]
        with pytest.raises(NotReadyError, match=f"^no kernel of the build of vmlinux {where}"):
            locate(machine, kernel)


@pytest.mark.parametrize(
    ("state", "begin", "freed"),
    [
        (1, 0, False), (2, 0, True), (3, 0, True), (None, 0, None),
        (3, MEMBLOCK_AT, True), (3, MEMBLOCK_AT + 1, False), (None, MEMBLOCK_AT + 1, False), (3, None, None),
        (1, None, False),
    ],
)  # fmt: skip
def test_memblock_in_init_memory(tmp_path: Path, state: int | None, begin: int | None, freed: bool | None) -> None:
    words = {"_totalram_pages": 1, "vm_zone_stat": 1, "system_state": state or 0}
    machine = linux(tmp_path, words=words)
    machine.labels |= {"memblock_discard": TEXT + 0x300, "__init_begin": TEXT + (begin or 0)}
    if begin is None:
        del machine.labels["__init_begin"]
    if state is None:
        del machine.variables["system_state"]
    kernel = found(machine)
    placement, _ = locate(machine, kernel)
    with machine.physical() as physical:
        memory = TranslatedMemory(physical, placement)
        assert kernel.in_freed_memory(memory, TEXT + MEMBLOCK_AT) is freed
    # Nothing is left of it then.
    assert boot_phase(machine, kernel, placement)[0] is (None if freed is None else Phase.DISCARDED)


def test_a_word_is_as_wide_as_its_variable(tmp_path: Path) -> None:
    # "1 << 24" in a word of 4 bytes, and what lies beside it.
    machine = linux(tmp_path, words={"memblock_can_resize": 1 << 24, "_totalram_pages": 1})
    put(machine, INTS["slab_state"] + 4, b"\1")
    snapshot = take_snapshot(machine)
    assert snapshot is not None and snapshot.phase == "allocator complete"
    assert snapshot.uncompared == (
        "words that agree on the phase (_totalram_pages 0x1, vm_zone_stat 0x0, slab_state 0x0)",
    )


def test_what_is_read_at_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies together is read together: over a slow line each request takes long."""
    machine, reads = linux(tmp_path), []
    # A structure and a word at the very end of the image.
    program = machine.variables["memblock"].program
    machine.variables["crashk_res"] = Variable(TEXT + SIZE - 0x20, 16, program)
    machine.variables["slab_state"] = Variable(TEXT + SIZE - 4, 4, program)
    machine.structs["crashk_res", ""] = Struct("resource", 16, {"start": Field(0, 8), "end": Field(8, 8)}, 8)

    class Noted(BytesMemory):
        def read(self, address: int, size: int) -> bytes:
            reads.append((address - BASE, size))
            return super().read(address, size)

    monkeypatch.setattr("tests.helpers.machine.BytesMemory", Noted)
    meter = Meter()
    take_snapshot(machine, meter=meter)
    assert reads == [
        (TOP_AT, 0x1000), (TABLES + 0x1000 - BASE, 0x1000), (TABLES + 0x2000 - BASE, 0x1000),  # by these it is found
        (NOTE_AT + 16, 20),  # and by its build id
        (0x5000, 0x98 + 8),  # from `_totalram_pages` to `vm_zone_stat`
        (SIZE - 0x20, 0x20),
        (MEMBLOCK_AT, MEMBLOCK.size),
        (E820_AT, 4 + 64 * 20),
        (RESERVED_AT, 48 * 24), (MEMORY_AT, 48 * 24),
        (0xD000, 0x3000),  # the stack
    ]  # fmt: skip
    assert (meter.requests, meter.bytes_read) == (len(reads), sum(size for _, size in reads))

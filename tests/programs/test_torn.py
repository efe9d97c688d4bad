# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a stop is inside a function that changes memblock, by frames, by gdb's unwinder or by words of the stack."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.arches.x86.boot import X86Linux
from gdb_lmb.core.address import Placement, TranslatedMemory
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.machine import Function, LinkerSymbol
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.programs.base import take_snapshot
from gdb_lmb.programs.linux import torn
from gdb_lmb.programs.linux.torn import Stack
from tests.helpers.linux import BASE, MAP, SIZE, TEXT, VIRTUAL_MOVE, linux
from tests.helpers.machine import BytesMachine

STACK_AT = 0xD000
CODE = {"memblock_add_range": 0x300, "memblock_add_range.cold": 0x400, "memblock_search": 0x500, "printk": 0x600}
BY_WORDS = "memblock_add_range, going by a word on the stack (lmb-attach lets gdb tell for certain)"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BytesMachine:
    made = linux(tmp_path)
    monkeypatch.setattr(torn, "_FUNCTIONS", {})
    made.labels |= {name: TEXT + at for name, at in CODE.items()}

    def at(pc: int) -> list[Function]:
        found = made.symbol_at(pc)
        assert found is None or found.name != "printk", "this costs debug information of another file"
        return [] if found is None else [Function("helper"), Function(found.name)]

    def entry(pc: int) -> bool:
        found = made.symbol_at(pc)
        return found is not None and not found.offset

    monkeypatch.setattr(made, "functions_at", at)
    monkeypatch.setattr(made, "at_entry", entry)
    monkeypatch.setattr(made, "functions_beside", lambda name: frozenset(("memblock_search",)) if name else frozenset())
    return made


def torn_in(machine: BytesMachine) -> str | None:
    snapshot = take_snapshot(machine)
    assert snapshot is not None
    return snapshot.torn


def frames(monkeypatch: pytest.MonkeyPatch, *offsets: int, error: Exception | None = None) -> None:
    """Let the stack have these functions, and end or fail there."""

    def followed(*_: Any) -> Iterator[int]:
        yield from (TEXT + at for at in offsets)
        if error is not None:
            raise error

    monkeypatch.setattr(X86Linux, "frames", followed)


def test_by_frames(machine: BytesMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    for offsets, found in (
        ([0x600, 0x608, 0x308, 0x608], "memblock_add_range"),
        ([0x404], "memblock_add_range.cold"),
        ([0x300, 0x608], None),  # at its entry it has changed nothing
        ([0x508, 0x608], None),  # memblock's, but it changes nothing
        ([], None),
    ):
        frames(monkeypatch, *offsets)
        assert torn_in(machine) == found
    # What a function of memblock's has inlined tells too.
    frames(monkeypatch, 0x508)
    monkeypatch.setattr(machine, "functions_at", lambda pc: [Function("memblock_double_array.part.0")])
    assert torn_in(machine) == "memblock_double_array.part.0"
    # In a module, and before the jump to the kernel's own addresses, there is nothing to be followed.
    kernel = dict(machine.registers)
    for pc in (MAP + 0x4100_0000, BASE + 0x20):
        machine.registers = {**kernel, "pc": pc}
        assert torn_in(machine) is None
    for pc in (TEXT + VIRTUAL_MOVE, TEXT + VIRTUAL_MOVE + SIZE - 1):
        machine.registers = {**kernel, "pc": pc}
        assert torn_in(machine) == "memblock_double_array.part.0"


def test_what_was_followed_before_it_fails_counts(machine: BytesMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    frames(monkeypatch, 0x608, 0x308, error=LayoutError("no more"))
    assert torn_in(machine) == "memblock_add_range"


@pytest.mark.parametrize("error", [LayoutError("no more"), ReadError(0, 8)])
def test_by_the_debuggers_unwinder(machine: BytesMachine, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    asked: list[int] = []

    def on_stack(moved: int = 0, memory: object = None) -> list[Function]:
        asked.append(moved)
        return [Function("printk"), Function("memblock_set_node"), Function("memblock_add_range")]

    frames(monkeypatch, 0x608, error=error)
    monkeypatch.setattr(machine, "functions_on_stack", on_stack)
    # gdb's own needs symbols that stand where the kernel does; in a dump it is told how far they do not.
    assert torn_in(machine) is None and asked == []
    machine.can_run = False
    assert torn_in(machine) == "memblock_set_node" and asked == [-VIRTUAL_MOVE]
    machine.can_run = True
    machine.labels = {name: at + VIRTUAL_MOVE for name, at in machine.labels.items()}
    machine.variables = {
        name: type(one)(one.address + VIRTUAL_MOVE, one.size, one.program) for name, one in machine.variables.items()
    }
    assert torn_in(machine) == "memblock_set_node" and asked == [-VIRTUAL_MOVE, 0]
    frames(monkeypatch, 0x608, 0x308)
    assert torn_in(machine) == "memblock_add_range"


@pytest.mark.parametrize(
    ("offset", "found"),
    [
        (0x308, BY_WORDS), (0x302, BY_WORDS),
        (0x400, BY_WORDS),  # its call is the last instruction before it
        (0x301, None),  # its call would be at the entry
        (0x508, None),
        (-0x100, None), (0x1000, None), (0x1001, None), (0xA000 + 0x301, None),
    ],
)  # fmt: skip
def test_by_words(machine: BytesMachine, monkeypatch: pytest.MonkeyPatch, offset: int, found: str | None) -> None:
    frames(monkeypatch, error=LayoutError("no more"))
    for at in (STACK_AT, STACK_AT + 0x2FF8):  # the first and the last word of the stack
        image = bytearray(machine.memory[BASE])
        struct.pack_into("<Q", image, at, TEXT + VIRTUAL_MOVE + offset)
        whole, machine.memory[BASE] = machine.memory[BASE], bytes(image)
        assert torn_in(machine) == found
        machine.memory[BASE] = whole


def test_the_ends_of_the_code(machine: BytesMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    frames(monkeypatch, error=LayoutError("no more"))
    machine.labels["_etext"] = TEXT + 0x308
    monkeypatch.setattr(machine, "symbol_at", lambda address: LinkerSymbol("memblock_add_range", 8, ".text"))
    for offset, found in ((0x308, BY_WORDS), (0x309, None)):
        image = bytearray(machine.memory[BASE])
        struct.pack_into("<Q", image, STACK_AT, TEXT + VIRTUAL_MOVE + offset)
        machine.memory[BASE] = bytes(image)
        assert torn_in(machine) == found


# -- the stack --------------------------------------------------------------------------------------

SP, AWAY = 0xFFFF_C900_0000_3F00, 0xFFFF_FE00_0000_1000
"""A stack pointer 256 bytes below the stack's end, and the page of another stack."""


def stack_of(mapped: Mapping[int, int], memory: dict[int, bytes], *, ram: tuple[int, int], can_run: bool) -> Stack:
    image = (TEXT, TEXT + SIZE)
    placed = Placement(0, 0, image, base_va=MAP)
    translated = TranslatedMemory(BytesMemory(memory), placed)
    machine = BytesMachine(mapped=dict(mapped), memory=memory, ranges=[ram], can_run=can_run)

    class Direct:
        """Reads the same addresses virtually."""

        placement = placed
        physical = translated.physical

        def read(self, address: int, size: int) -> bytes:
            return BytesMemory({SP: memory[0x1000]}).read(address, size)

    return Stack(machine, Direct(), SP)  # type: ignore[arg-type]


def test_a_stack_is_read_to_its_end_and_others_page_by_page() -> None:
    words, pages = bytes(range(256)), bytes(0xFF8) + b"12345678" + b"abcdefgh" + bytes(0xFF8)
    memory = {0x1000: words, 0x8000: pages}
    stack = stack_of({AWAY: 0x8000}, memory, ram=(0x8000, 0xA000), can_run=True)
    assert stack.words == words and stack.read(SP, 8) == words[:8] and stack.read(SP + 248, 8) == words[248:]
    assert stack.read(AWAY + 0xFFC, 8) == b"5678abcd" and stack.read(AWAY + 0xFF8, 8) == b"12345678"
    assert stack.read(AWAY + 0x1000, 8) == b"abcdefgh"
    # Below the stack pointer, past the stack's end, where nothing is mapped, and what is no RAM.
    for address in (SP - 1, SP - 8, SP + 249, AWAY - 8, AWAY + 0x1FFC):
        with pytest.raises(ReadError, match="no RAM is mapped there"):
            stack.read(address, 8)
    for ram, good in (((0x8000, 0x9000), True), ((0x8001, 0x9000), False), ((0x7000, 0x8000), False)):
        stack = stack_of({AWAY: 0x8000}, memory, ram=ram, can_run=True)
        if good:
            assert stack.read(AWAY + 0xFF8, 8) == b"12345678"
        with pytest.raises(ReadError, match="no RAM is mapped there"):
            stack.read(AWAY + 0xFFC, 8)


def test_a_dumps_memory_is_read_as_the_kernel_has_it() -> None:
    memory = {0x1000: bytes(range(256)) * 2, 0x8000: bytes(0x1000)}
    stack = stack_of({AWAY: 0x8000}, memory, ram=(0x8000, 0x9000), can_run=False)
    assert len(stack.words) == 256 and stack.read(SP + 0x108, 8) == bytes(range(8, 16))
    assert stack.read(AWAY, 8) == bytes(8)
    with pytest.raises(ReadError, match="no RAM is mapped there"):
        stack_of({}, memory, ram=(0, 0), can_run=True).read(SP + 0x108, 8)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Core files and page tables, written by hand: what they hold is read, what they do not hold never is."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdb_lmb.arches.registry import find
from gdb_lmb.arches.x86.paging import X86PagedMemory
from gdb_lmb.core.errors import InputError, ReadError
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.formats.core_file import CoreFile, DumpMemory, read_core
from tests.helpers.core_image import Piece, core_image, note
from tests.helpers.soak import ROUNDS

KINDS = [(bits, order) for bits in (32, 64) for order in ("little", "big")]


def written(tmp_path: Path, image: bytes) -> Path:
    path = tmp_path / "core"
    path.write_bytes(image)
    return path


@pytest.mark.parametrize("many", [False, True], ids=["few", "PN_XNUM"])
@pytest.mark.parametrize(("bits", "order"), KINDS)
def test_what_is_in_the_file_is_read(tmp_path: Path, bits: int, order: str, many: bool) -> None:
    pieces = [Piece(0x3000, b"c" * 0x1000), Piece(0x1000, b"a" * 0x1000), Piece(0x2000, b"b" * 0x800, va=0xC000_0000)]
    core = read_core(written(tmp_path, core_image(pieces, bits=bits, order=order, machine=20, many=many)))
    assert (core.bits, core.byte_order, core.machine, core.has_mappings) == (bits, order, 20, True)
    memory = DumpMemory(core)
    assert memory.end == 0x4000
    # Across two headers, in the order of addresses and not of the file.
    assert memory.read(0x1FFE, 4) == b"aabb" and memory.read(0x3000, 2) == b"cc" and memory.read(0x1000, 0) == b""
    for address, size in ((0x27FF, 2), (0xFFF, 2), (0x3FFF, 2), (0x2800, 1), (1 << 63, 1)):
        with pytest.raises(ReadError, match=f"at {address:#x}: the dump does not hold it"):
            memory.read(address, size)
    assert DumpMemory(core, virtual=True).read(0xC000_0000, 3) == b"bbb"


def test_more_headers_than_e_phnum_can_count(tmp_path: Path) -> None:
    pieces = [Piece(0x2000 * n, struct.pack("<I", n)) for n in range(70_000)]
    core = read_core(written(tmp_path, core_image(pieces, many=True)))
    assert len(core.segments) == 70_000
    assert DumpMemory(core).read(0x2000 * 69_999, 4) == struct.pack("<I", 69_999)


def test_memory_behind_several_headers(tmp_path: Path) -> None:
    # As with paging: one page mapped twice, once alone and once in the middle of a larger mapping.
    pieces = [Piece(0x2000, b"x" * 16, va=0x10_0000), Piece(0x1000, b"y" * 0x3000, va=0x20_0000), Piece(0x2000, b"z")]
    memory = DumpMemory(read_core(written(tmp_path, core_image(pieces))))
    assert memory.read(0x1000, 0x3000) == b"y" * 0x3000 and memory.end == 0x4000


def test_bytes_left_out_by_a_filter_or_cut_off_are_not_made_up(tmp_path: Path) -> None:
    image = core_image([Piece(0x1000, bytes(0x1000), in_file=0), Piece(0x4000, b"d" * 0x1000, in_file=0x10)])
    memory = DumpMemory(read_core(written(tmp_path, image)))
    assert memory.ranges() == [(0x4000, 0x4010)] and memory.read(0x4000, 0x10) == b"d" * 0x10
    for address in (0x1000, 0x4010):
        with pytest.raises(ReadError, match="the dump does not hold it"):
            memory.read(address, 1)
    cut = DumpMemory(read_core(written(tmp_path, core_image([Piece(0x4000, b"d" * 0x1000)])[:-1])))
    assert cut.read(0x4000, 0xFFF) == b"d" * 0xFFF
    with pytest.raises(ReadError, match="the dump's file is cut off before it"):
        cut.read(0x4000, 0x1000)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "no ELF core file"),
        (b"KDUMP   " + bytes(500), "no ELF core file"),
        (core_image([Piece(0, b"x")])[:17], "cut off or damaged"),
        (core_image([Piece(0, b"x")])[:140], "is cut off: it has 140 bytes, and its program headers would reach to"),
        (b"\x7fELF\x03\x01" + bytes(100), "cut off or damaged"),
        (b"\x7fELF\x02\x01" + bytes(10) + b"\x02" + bytes(100), "an ELF file, but no core file"),
        (core_image([Piece(0, b"x")], many=True).replace(struct.pack("<II", 2, 0), b"\xff" * 8), "cut off or damaged"),
    ],
)
def test_what_is_no_core_is_refused_in_one_line(tmp_path: Path, image: bytes, message: str) -> None:
    path = written(tmp_path, image)
    with pytest.raises(InputError, match=message) as caught:
        read_core(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        read_core(tmp_path / "none")


@pytest.mark.random
@settings(max_examples=300 * ROUNDS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    damage=st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=9)), max_size=4),
    address=st.integers(0, (1 << 64) + 10),
    size=st.integers(0, 300),
)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, kind: tuple[int, str], damage: list[tuple[int, bytes]], address: int, size: int
) -> None:
    notes = note(b"CORE", 1, bytes(336)) + note(b"QEMU", 0, bytes(440))
    image = bytearray(core_image([Piece(0x100, b"m" * 0x100)], bits=kind[0], order=kind[1], notes=notes))
    for at, data in damage:
        image[at : at + len(data)] = data
    try:
        core = read_core(written(tmp_path, bytes(image)))
    except InputError:
        return
    noted(core)
    for memory in (DumpMemory(core), DumpMemory(core, virtual=True)):
        for where in (address, 0x100):
            with contextlib.suppress(ReadError):
                assert len(memory.read(where, size)) == size


# struct QEMUCPUState: version, size; rax rbx rcx rdx rsi rdi rsp rbp r8-r15 rip rflags; 10 segments; cr0-cr4, gs base
def qemu_state(rip: int, rsp: int, control: tuple[int, ...], cs: int = 0x10) -> bytes:
    general = [0] * 18
    general[6], general[16] = rsp, rip
    return (
        struct.pack("<II18Q", 1, 440, *general) + struct.pack("<I", cs) + bytes(236) + struct.pack("<6Q", *control, 0)
    )


def noted(core: CoreFile) -> tuple[dict[str, int], ...]:
    arch = find(e_machine=core.machine)
    return () if arch is None else arch.noted_cpus(core)


def test_cpus_of_qemus_notes(tmp_path: Path) -> None:
    notes = note(b"CORE", 1, bytes(336)) + note(b"CORE", 1, bytes(144)) + note(b"CORE", 1, bytes(336))
    notes += note(b"QEMU", 0, qemu_state(0xFFFF_FFFF_8100_0000, 0x2000, (0x8000_0001, 0, 0, 0x5000, 0x20)))
    notes += note(b"QEMU", 0, qemu_state(0xFFF0, 0x3000, (0x6000_0010, 0, 0, 0, 0)))
    notes += note(b"QEMU", 0, qemu_state(0x40_0000, 0x4000, (0x8000_0001, 0, 0, 0x6000, 0x20), cs=0x33))
    core = read_core(written(tmp_path, core_image([], notes=notes)))
    names = ("pc", "rsp", "cr0", "cr3", "cr4")
    found = noted(core)
    assert [tuple(cpu[name] for name in names) for cpu in found] == [
        (0xFFFF_FFFF_8100_0000, 0x2000, 0x8000_0001, 0x5000, 0x20),
        (0xFFF0, 0x3000, 0x6000_0010, 0, 0),
        (0x40_0000, 0x4000, 0x8000_0001, 0x6000, 0x20),
    ]
    assert [bool(cpu["efer"] & 1 << 10) for cpu in found] == [True, False, True]
    arch = find(e_machine=62)
    assert arch is not None
    states = [arch.cpu_state(cpu.get) for cpu in found]
    assert [(cpu.pc, cpu.sp, cpu.paging, cpu.user) for cpu in states] == [
        (0xFFFF_FFFF_8100_0000, 0x2000, True, False),
        (0xFFF0, 0x3000, False, False),
        (0x40_0000, 0x4000, True, True),
    ]
    assert noted(read_core(written(tmp_path, core_image([], notes=notes, machine=183)))) == ()
    assert noted(read_core(written(tmp_path, core_image([], notes=notes[:400])))) == ()


def table(entries: dict[int, int], size: int = 8) -> bytes:
    """Return one page table with `entries` by index."""
    out = bytearray(4096)
    for index, entry in entries.items():
        out[index * size : (index + 1) * size] = entry.to_bytes(size, "little")
    return bytes(out)


P, LARGE, NX = 1, 0x80, 1 << 63
CR0_PG, PSE, PAE, LA57 = 1 << 31, 1 << 4, 1 << 5, 1 << 12


def test_four_levels() -> None:
    physical = BytesMemory({
        0x1000: table({511: 0x2000 | P, 0: 0x2000 | P}),
        0x2000: table({510: 0x3000 | P, 1: 0x4000_0000 | P | LARGE | NX, 2: 0x7_0000 | P}),
        0x3000: table({8: 0x20_0000 | P | LARGE, 9: 0x4000 | P}),
        0x4000: table({3: 0x9000 | P | NX, 4: 0x6000 | P, 5: 0xA000}),
        0x6000: b"6" * 4096,
        0x9000: b"9" * 4096,
        0x20_0000: b"two" + bytes((2 << 20) - 6) + b"end",
        0x4000_0000: b"giga",
    })  # fmt: skip
    memory = X86PagedMemory(physical, cr0=CR0_PG, cr3=0x1018, cr4=PAE, long_mode=True)
    assert memory.read(0xFFFF_FFFF_8100_0000, 3) == b"two"
    assert memory.read(0x4000_0000, 4) == b"giga" and memory.to_physical(0x4012_3456) == (0x4012_3456, 0x3FED_CBAA)
    # Two pages that are apart physically and in the other order, and from one mapping into the next.
    assert memory.read(0xFFFF_FFFF_8120_3FFE, 4) == b"9966"
    for address, why in (
        (0xFFFF_FFFF_8120_5000, "not mapped"),
        (0xFFFF_FFFF_8120_4FFF, "not mapped"),
        (0xFFFF_FFFF_8000_0000, "not mapped"),
        (0x8000_0000, "its page table at 0x70000 cannot be read"),
        (0x0000_8000_0000_0000, "no address that this CPU could translate"),
        (0xFFFF_7FFF_FFFF_FFFF, "no address that this CPU could translate"),
        (1 << 64, "no address that this CPU could translate"),
    ):
        with pytest.raises(ReadError, match=why):
            memory.read(address, 2)


def test_five_levels() -> None:
    tables = {0x1000 * n: table({511 - n: 0x1000 * (n + 1) | P}) for n in (1, 2, 3, 4)}
    physical = BytesMemory({**tables, 0x5000: table({0: 0x6000 | P}), 0x6000: b"five" + bytes(4092)})
    memory = X86PagedMemory(physical, cr0=CR0_PG, cr3=0x1000, cr4=PAE | LA57, long_mode=True)
    va = (510 << 48) + (509 << 39) + (508 << 30) + (507 << 21) | 0xFE00_0000_0000_0000
    assert memory.read(va, 4) == b"five"


def test_pae() -> None:
    # The four entries of the top level lie anywhere, 32-byte aligned.
    top = bytes(0x40) + b"".join(e.to_bytes(8, "little") for e in (0, 0, 0, 0x2000 | P)) + bytes(4096 - 0x60)
    physical = BytesMemory({
        0x1000: top,
        0x2000: table({0: 0x40_0000 | P | LARGE, 1: 0x3000 | P}),
        0x3000: table({7: 0x1_0000_5000 | P | NX}),
        0x40_0000: b"large",
        0x1_0000_5000: b"above 4 GiB",
    })  # fmt: skip
    memory = X86PagedMemory(physical, cr0=CR0_PG, cr3=0x1040, cr4=PAE, long_mode=False)
    assert memory.read(0xC000_0000, 5) == b"large" and memory.read(0xC020_7000, 11) == b"above 4 GiB"
    with pytest.raises(ReadError, match="no address that this CPU could translate"):
        memory.read(1 << 32, 1)


@pytest.mark.parametrize("pse", [True, False])
def test_two_levels(pse: bool) -> None:
    physical = BytesMemory({
        # Bit 13 of a large entry is bit 32 of the address (PSE-36).
        0x1000: table({768: 0x40_0000 | P | LARGE, 769: 0x2000 | P, 770: 0x40_2000 | P | LARGE}, 4),
        0x2000: table({1: 0x3000 | P}, 4),
        0x3000: b"small",
        0x40_0000: table({0: 0x3000 | P}, 4),
        0x1_0040_0000: b"high",
    })  # fmt: skip
    memory = X86PagedMemory(physical, cr0=CR0_PG, cr3=0x1000, cr4=PSE if pse else 0, long_mode=False)
    assert memory.read(0xC040_1000, 5) == b"small"
    # Without CR4.PSE the bit means nothing and the entry leads to a table.
    assert memory.read(0xC000_0000, 4) == (table({0: 0x3000 | P}, 4)[:4] if pse else b"smal")
    if pse:
        assert memory.read(0xC080_0000, 4) == b"high"


def test_without_paging_addresses_are_physical() -> None:
    memory = X86PagedMemory(BytesMemory({0x7000: b"real"}), cr0=0x10, cr3=0, cr4=0, long_mode=False)
    assert memory.read(0x7000, 4) == b"real"


def held(path: Path, *, virtual: bool = False) -> list[tuple[int, int]]:
    return DumpMemory(read_core(path), virtual=virtual).ranges()


def test_mappings_are_virtual_addresses_of_their_own(tmp_path: Path) -> None:
    for vas, mappings in (((0, 0), False), ((0x1000, 0x2000), False), ((0, 0x3000), True)):
        pieces = [Piece(0x1000 * (at + 1), b"x", va=va) for at, va in enumerate(vas)]
        assert read_core(written(tmp_path, core_image(pieces))).has_mappings is mappings


def test_ranges_are_apart_and_in_order(tmp_path: Path) -> None:
    pieces = [
        Piece(0x2000, b"x" * 16),
        Piece(0x1000, b"y" * 0x3000),
        Piece(0, b"z" * 16),
        Piece(0x3000, b"w" * 0x1000),
    ]
    core = read_core(written(tmp_path, core_image(pieces)))
    assert DumpMemory(core).ranges() == [(0, 0x10), (0x1000, 0x4000)]
    assert DumpMemory(core).read(0, 1) == b"z" and DumpMemory(core).end == 0x4000
    assert [segment.physical for segment in core.segments] == [0x2000, 0x1000, 0, 0x3000] and core.cut is None
    nothing = DumpMemory(read_core(written(tmp_path, core_image([]))))
    assert nothing.end == 0 and nothing.ranges() == []
    with pytest.raises(ReadError, match="the dump does not hold it"):
        nothing.read(0, 1)


def offset_of_first_piece(image: bytes, offset: int) -> bytes:
    # `p_offset` of the second `Elf64_Phdr`, behind those of the header, of one section and of the notes.
    out = bytearray(image)
    struct.pack_into("<Q", out, 64 + 64 + 56 + 8, offset)
    return bytes(out)


def test_numbers_that_no_address_and_no_file_has(tmp_path: Path) -> None:
    top = [Piece(0x4000, b"x" * 0x1000, va=(1 << 64) - 0x1000)]
    assert held(written(tmp_path, core_image(top)), virtual=True) == [((1 << 64) - 0x1000, (1 << 64) - 1)]
    for offset, ranges in (((1 << 63) - 0x1001, [(0x4000, 0x5000)]), ((1 << 63) - 0x1000, [])):
        assert held(written(tmp_path, offset_of_first_piece(core_image(top), offset))) == ranges


def test_where_a_file_is_cut_off(tmp_path: Path) -> None:
    # Behind the headers of file, section and segments: 64 + 64 + 3 * 56 bytes.
    image = core_image([Piece(0x4000, b"d" * 0x1000), Piece(0x8000, b"e" * 0x800)])
    assert len(image) == 296 + 0x1800 and read_core(written(tmp_path, image)).cut is None
    where = "at byte 6,439 of 6,440: program header 2 of 3"
    assert read_core(written(tmp_path, image[:-1])).cut == (
        f"{where}, of memory at [0x8000, 0x8800), has only 2,047 of 2,048 bytes"
    )
    assert read_core(written(tmp_path, image[:-0x800])).cut == (
        "at byte 4,392 of 6,440: program header 2 of 3, of memory at [0x8000, 0x8800), has only 0 of 2,048 bytes"
    )
    assert read_core(written(tmp_path, offset_of_first_piece(image, 10_000))).cut == (
        "at byte 6,440 of 14,096: program header 1 of 3, of memory at [0x4000, 0x5000), has only 0 of 4,096 bytes"
    )
    # Of another kind than memory and notes.
    other = bytearray(image)
    struct.pack_into("<I", other, 64 + 64 + 2 * 56, 0x6474E551)
    assert read_core(written(tmp_path, bytes(other[:-1]))).cut == where


def test_a_file_that_changes_while_it_is_open(tmp_path: Path) -> None:
    path = written(tmp_path, core_image([Piece(0x4000, b"d" * 0x1000)]))
    core = read_core(path)
    memory = DumpMemory(core)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ReadError, match=r"cut off before it \(it has become shorter since it was opened\)$"):
        memory.read(0x4000, 0x1000)
    path.unlink()
    with pytest.raises(InputError, match=r"^cannot read .*core: No such file or directory$"):
        DumpMemory(core)


def test_sections_of_a_core_are_not_asked_for(tmp_path: Path) -> None:
    image = bytearray(core_image([Piece(0x4000, b"d")]))
    struct.pack_into("<Q", image, 40, 1 << 40)  # `e_shoff`
    assert DumpMemory(read_core(written(tmp_path, bytes(image)))).read(0x4000, 1) == b"d"

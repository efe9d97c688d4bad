# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of ELF files against binutils: classes, byte orders, more headers than there is room for, damage."""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdb_lmb.core.address import Identity
from gdb_lmb.core.errors import InputError
from gdb_lmb.formats import elf as elf_reader
from gdb_lmb.formats.elf import Elf, NotElfError, first_bytes, read_headers, stand_in
from gdb_lmb.formats.program_file import (
    build_identity,
    bytes_in_file,
    loaded_parts,
    similar_bytes,
    string_in_file,
    text_in_file,
)
from tests.helpers.core_image import Piece, core_image
from tests.helpers.soak import ROUNDS

KINDS = ["elf32-little", "elf32-big", "elf64-little", "elf64-big"]
BUILD_ID = "0123456789abcdef"
SOURCE = '.globl _start\n_start: nop\n.globl not_start\nnot_start: nop\n.data\nword: .asciz "some text"\n'


def readelf(path: Path, *options: str) -> str:
    return subprocess.run(["readelf", "-W", *options, path], check=True, text=True, capture_output=True).stdout


def sections_of(path: Path) -> list[tuple[str, ...]]:
    """Return name, address, offset and size of each section, as readelf shows them."""
    rows = re.findall(r"\] (\S*) +[A-Z_]+ +([0-9a-f]{8,}) ([0-9a-f]{6,}) ([0-9a-f]{6,}) ", readelf(path, "-S"))
    return [(name, *(f"{int(number, 16):x}" for number in numbers)) for name, *numbers in rows]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linked program of 32 bits with a build id."""
    folder = tmp_path_factory.mktemp("elf")
    (folder / "a.S").write_text(SOURCE)
    subprocess.run(
        ["gcc", "-m32", "-nostdlib", "-static", "-no-pie", f"-Wl,--build-id=0x{BUILD_ID}", "-o", "a.elf", "a.S"],
        cwd=folder, check=True, timeout=60,
    )  # fmt: skip
    return folder / "a.elf"


@pytest.mark.parametrize("kind", KINDS)
def test_sections_and_symbols(tmp_path: Path, kind: str) -> None:
    (tmp_path / "blob").write_bytes(b"the content")
    path = tmp_path / "out"
    subprocess.run(["objcopy", "-I", "binary", "-O", kind, "blob", "out"], cwd=tmp_path, check=True, timeout=60)
    elf = read_headers(path)
    assert (elf.bits, elf.byte_order) == (int(kind[3:5]), kind[6:])
    found = [(s.name.decode(), f"{s.va:x}", f"{s.offset:x}", f"{s.size:x}") for s in elf.sections]
    assert found == sections_of(path) and len(found) == 5
    data = elf.section(b".data")
    assert data is not None and elf.content(data) == b"the content" and elf.section(b"data") is None
    assert elf.has_symbols and elf.has_symbol(b"_binary_blob_start")
    # The end of another's name, the beginning of one, and nothing of either.
    assert not any(map(elf.has_symbol, (b"blob_start", b"_binary_blob", b"another")))


def test_segments_notes_and_bytes_of_a_program(program: Path) -> None:
    elf = read_headers(program)
    rows = re.findall(r"LOAD +(0x\w+) (0x\w+) (0x\w+) (0x\w+) (0x\w+) ", readelf(program, "-l"))
    assert [tuple(f"{number:#x}" for number in load[1:]) for load in elf.loads] == [
        tuple(f"{int(number, 16):#x}" for number in row) for row in rows
    ]
    assert elf.build_id() == bytes.fromhex(BUILD_ID) and BUILD_ID in readelf(program, "-n")
    text = re.search(r"^\s+\d+: ([0-9a-f]+) .* _start$", readelf(program, "-s"), re.MULTILINE)
    assert text is not None
    start = int(text[1], 16)
    nops = bytes_in_file(program, start, 2)
    assert nops is not None and nops.data == b"\x90\x90"
    assert text_in_file(program, b"some text\0") and not text_in_file(program, b"no text")
    identity = build_identity(program)
    assert identity is not None and identity.data.hex() == BUILD_ID
    assert program.read_bytes()[identity.file_offset :].startswith(identity.data)
    assert [part.va for part in loaded_parts(program)] == [int(row[1], 16) for row in rows]


def test_more_sections_than_e_shnum_can_count(tmp_path: Path) -> None:
    (tmp_path / "a.S").write_text("".join(f'.section .s{n},"a"\n.byte {n & 255}\n' for n in range(66_000)))
    subprocess.run(["gcc", "-c", "a.S"], cwd=tmp_path, check=True, timeout=120)
    elf = read_headers(tmp_path / "a.o")
    assert len(elf.sections) == int(re.findall(r"\((\d+)\)", readelf(tmp_path / "a.o", "-h"))[0]) > 66_000
    last = elf.section(b".s65999")
    assert last is not None and elf.content(last) == bytes([65_999 & 255])


def test_sections_without_content_symbols_or_a_build_id(program: Path, tmp_path: Path) -> None:
    other = '.section .note.a,"a",%note\n.long 4, 4, 3\n.asciz "ABC"\n.long 7\n.bss\n.skip 100\n'
    (tmp_path / "a.S").write_text(other)
    subprocess.run(["gcc", "-m32", "-c", "a.S"], cwd=tmp_path, check=True, timeout=60)
    elf = read_headers(tmp_path / "a.o")
    bss = elf.section(b".bss")
    assert bss is not None and bss.size == 100 and elf.content(bss) == b""
    # A note of the same number, but of another owner.
    assert elf.build_id() is None
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, program], check=True, timeout=60)
    elf = read_headers(stripped)
    assert not elf.has_symbols and not elf.has_symbol(b"_start") and elf.build_id() == bytes.fromhex(BUILD_ID)
    stripped.unlink()
    with pytest.raises(InputError, match=r"cannot read .*stripped: No such file"):
        elf.read(0, 4)
    with pytest.raises(InputError, match="not a regular file"):
        read_headers(tmp_path)


@pytest.mark.parametrize("at", [4, 5])
def test_a_class_or_byte_order_that_there_is_not(program: Path, tmp_path: Path, at: int) -> None:
    raw = bytearray(program.read_bytes())
    raw[at] = 3
    (tmp_path / "odd").write_bytes(raw)
    with pytest.raises(InputError, match="the ELF headers are cut off or damaged"):
        read_headers(tmp_path / "odd")


def test_a_symbol_table_whose_names_are_nowhere(program: Path, tmp_path: Path) -> None:
    elf = read_headers(program)
    number = next(at for at, section in enumerate(elf.sections) if section.name == b".symtab")
    raw = bytearray(program.read_bytes())
    # `sh_link`, the seventh member of an `Elf32_Shdr`: past the last section.
    raw[elf.header.shoff + number * elf.header.shentsize + 24] = len(elf.sections)
    (tmp_path / "odd").write_bytes(raw)
    assert read_headers(tmp_path / "odd").has_symbol(b"_start") is False


def test_what_is_no_elf_is_told_from_a_damaged_one(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    whole = program.read_bytes()
    for data, kind, message in (
        (b"", NotElfError, "not an ELF file"),
        (b"MZ" * 100, NotElfError, "not an ELF file"),
        (whole[:20], InputError, "the ELF headers are cut off or damaged"),
        (
            whole[:-1],
            InputError,
            r"is cut off: it has [\d,]+ bytes, and its section headers would reach to",
        ),
    ):
        path.write_bytes(data)
        with pytest.raises(kind, match=message) as caught:
            read_headers(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    # Its segments are all there, and say where it is loaded.
    assert loaded_parts(path) == loaded_parts(program)


def touch(elf: Elf) -> None:
    """Read all that can be read of a file; what is damaged is refused."""
    for section in elf.sections:
        with contextlib.suppress(InputError):
            assert len(elf.content(section)) in (0, section.size)
    for what in (elf.build_id, lambda: list(elf.loaded_notes()), lambda: elf.has_symbol(b"_start")):
        with contextlib.suppress(InputError):
            what()


@pytest.mark.random
@settings(max_examples=300 * ROUNDS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=9)), max_size=4), data=st.data())
def test_a_damaged_file_is_read_or_refused(
    program: Path, tmp_path: Path, damage: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    image = bytearray(program.read_bytes())
    headers_at = int.from_bytes(image[32:36], "little")
    for at, new in damage:
        # Half of them among the section headers, which come last.
        at += headers_at if data.draw(st.booleans()) else 0
        image[at : at + len(new)] = new
    path = tmp_path / "damaged"
    path.write_bytes(image)
    with contextlib.suppress(InputError):
        touch(read_headers(path))
    build_identity(path)
    assert all(part.memory_size for part in loaded_parts(path))


def written(bits: int, order: str) -> bytes:
    """Return a program of two segments, written after elf(5) by hand: each member has another value."""
    mark, wide = "<" if order == "little" else ">", bits == 64
    word, head, row = ("Q", 64, 56) if wide else ("I", 52, 32)
    note = struct.pack(f"{mark}III4s8s", 4, 8, 3, b"GNU\0", bytes.fromhex(BUILD_ID))
    data_at = head + 2 * row
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "little" else 2, 1]) + bytes(9)
    header = struct.pack(f"{mark}16sHHI{word}{word}{word}IHHHHHH",
                         ident, 2, 0x15, 1, 0x1234, head, 0, 7, head, row, 2, 0, 0, 0)  # fmt: skip
    rows = b""
    for kind, flags, at, va, physical, size, in_memory, align in (
        (1, 5, data_at, 0x401000, 0x1000, len(note), 0x2000, 0x1000),
        (4, 4, data_at, 0x402000, 0x2000, len(note), len(note), 4),
    ):
        order_of = (kind, flags, at, va, physical, size, in_memory, align) if wide else (
            kind, at, va, physical, size, in_memory, flags, align)  # fmt: skip
        rows += struct.pack(f"{mark}IIQQQQQQ" if wide else f"{mark}8I", *order_of)
    return header + rows + note


@pytest.mark.parametrize("kind", KINDS)
def test_program_headers_of_each_class_and_byte_order(tmp_path: Path, kind: str) -> None:
    bits, order = int(kind[3:5]), kind[6:]
    path = tmp_path / "a.elf"
    path.write_bytes(written(bits, order))
    at = 64 + 2 * 56 if bits == 64 else 52 + 2 * 32
    # binutils reads the same.
    assert re.search(rf"LOAD +0x0*{at:x} 0x0*401000 0x0*1000 0x0*18 0x0*2000 ", readelf(path, "-l"))
    assert BUILD_ID in readelf(path, "-n")
    elf = read_headers(path)
    assert (elf.bits, elf.byte_order, elf.machine, elf.header.entry) == (bits, order, 0x15, 0x1234)
    assert [tuple(segment) for segment in elf.segments] == [
        (1, at, 0x401000, 0x1000, 24, 0x2000), (4, at, 0x402000, 0x2000, 24, 24),
    ]  # fmt: skip
    assert elf.loads == [elf.segments[0]] and elf.build_id() == bytes.fromhex(BUILD_ID)
    found = bytes_in_file(path, 0x401010, 8)
    assert found is not None and found.data == bytes.fromhex(BUILD_ID) and not elf.sections


def with_header(path: Path, to: Path, at: int, value: bytes, *more: tuple[int, bytes]) -> Path:
    """Write a file with other bytes at some places."""
    raw = bytearray(path.read_bytes())
    for place, new in ((at, value), *more):
        raw[place : place + len(new)] = new
    to.write_bytes(raw)
    return to


def half(value: int) -> bytes:
    return value.to_bytes(2, "little")


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def test_each_number_without_room_is_in_the_first_section_header(program: Path, tmp_path: Path) -> None:
    elf, odd = read_headers(program), tmp_path / "odd"
    first, header = elf.header.shoff, elf.header
    # `e_phnum`, `e_shnum` and `e_shstrndx` of an `Elf32_Ehdr`; `sh_size`, `sh_link` and `sh_info` of an `Elf32_Shdr`.
    for place, none, behind, value in (
        (44, 0xFFFF, 28, header.phnum), (48, 0, 20, header.shnum), (50, 0xFFFF, 24, header.shstrndx),
    ):  # fmt: skip
        found = read_headers(with_header(program, odd, place, half(none), (first + behind, word(value))))
        assert found.segments == elf.segments
        assert [section.name for section in found.sections[1:]] == [section.name for section in elf.sections[1:]]


def test_as_many_headers_as_there_may_be(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = len(read_headers(program).sections)
    monkeypatch.setattr(elf_reader, "_MAX_HEADERS", sections)
    assert len(read_headers(program).sections) == sections
    monkeypatch.setattr(elf_reader, "_MAX_HEADERS", sections - 1)
    with pytest.raises(InputError, match="the ELF headers are cut off or damaged"):
        read_headers(program)


def test_where_a_file_is_cut_off(program: Path, tmp_path: Path) -> None:
    cut, size = tmp_path / "cut", program.stat().st_size
    cut.write_bytes(program.read_bytes()[:-1])
    with pytest.raises(InputError) as caught:
        read_headers(cut)
    assert str(caught.value) == (
        f"{cut} is cut off: it has {size - 1:,} bytes, and its section headers would reach to byte {size:,}"
    )
    # What is loaded is there.
    assert build_identity(cut) == build_identity(program) is not None
    assert text_in_file(cut, b"some text\0")
    (load, *_) = loaded_parts(program)
    assert bytes_in_file(cut, load.va, 4) == bytes_in_file(program, load.va, 4) is not None


def test_what_cannot_be_understood_is_loaded_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "none"
    for data in (None, b"", b"no ELF" * 100):
        if data is not None:
            path.write_bytes(data)
        assert first_bytes(path, 4) == (data or b"")[:4]
        assert loaded_parts(path) == [] and build_identity(path) is None
        assert bytes_in_file(path, 0, 1) is string_in_file(path, 0) is None
        assert text_in_file(path, b"no") is False and similar_bytes(path, b"no", (0, 100), 0, 1) == []


GNU_NOTE = struct.pack("<III4s8s", 4, 8, 3, b"GNU\0", bytes.fromhex(BUILD_ID))


@pytest.mark.parametrize(("section", "found"), [('.note.x,"a",%note', BUILD_ID), (".data", None)])
def test_a_build_id_is_in_a_section_of_notes(tmp_path: Path, section: str, found: str | None) -> None:
    source = f".section {section}\n.byte {','.join(map(str, GNU_NOTE))}\n"
    (tmp_path / "a.S").write_text(source)
    subprocess.run(["gcc", "-m32", "-c", "a.S"], cwd=tmp_path, check=True, timeout=60)
    build_id = read_headers(tmp_path / "a.o").build_id()
    assert (build_id.hex() if build_id else None) == found


def test_notes_up_to_the_first_that_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "core"

    def notes(raw: bytes) -> list[tuple[bytes, int, bytes]]:
        path.write_bytes(core_image([], notes=raw))
        return [(note.name, note.kind, note.data) for _, note in read_headers(path).loaded_notes()]

    empty = struct.pack("<III", 0, 0, 7)
    assert notes(GNU_NOTE + empty) == [(b"GNU", 3, bytes.fromhex(BUILD_ID)), (b"", 7, b"")]
    assert notes(GNU_NOTE + GNU_NOTE[:-1]) == [(b"GNU", 3, bytes.fromhex(BUILD_ID))]
    assert notes(GNU_NOTE[:-1]) == [] == notes(GNU_NOTE[:11])


def test_more_notes_than_anybody_writes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "core"
    endless = struct.pack("<III", 0, 0xFFFF_FFFF, 0)  # so that the zeroes behind it are no notes
    for size, count in ((16 << 20, 1), ((16 << 20) + 1, 0)):
        image = bytearray(core_image([], notes=GNU_NOTE + endless))
        struct.pack_into("<Q", image, 64 + 64 + 32, size)  # `p_filesz` of the first program header
        with path.open("wb") as file:
            file.write(image)
            file.truncate(64 + 64 + 56 + size)
        assert sum(note.name == b"GNU" for _, note in read_headers(path).loaded_notes()) == count


def test_a_build_id_that_no_loaded_part_holds_is_in_the_file_only(tmp_path: Path) -> None:
    path = tmp_path / "a.elf"
    image = bytearray(written(64, "little"))
    # `p_vaddr` of the second program header; the bytes of the id come 16 after it, and the first part has 24.
    for va, at in (
        (0x402000, None),
        (0x401000, 0x401010),
        (0x400FF0, 0x401000),
        (0x401007, 0x401017),
        (0x401008, None),
    ):
        struct.pack_into("<Q", image, 64 + 56 + 16, va)
        path.write_bytes(image)
        found = build_identity(path)
        assert (None if found is None else found.va) == at


def test_what_is_loaded_at_an_address(tmp_path: Path) -> None:
    path = tmp_path / "core"
    content = b"\0text\0abc"
    path.write_bytes(core_image([Piece(0, content, va=0x1000), Piece(0, b"d\0", va=0x2000), Piece(0, b"", va=0x3000)]))
    assert [part.va for part in loaded_parts(path)] == [0x1000, 0x2000]
    assert bytes_in_file(path, 0x1000, 9) == Identity(0x1000, content)
    assert bytes_in_file(path, 0x1000, 10) is bytes_in_file(path, 0x1009, 1) is bytes_in_file(path, 0xFFF, 1) is None
    assert string_in_file(path, 0x1001) == Identity(0x1001, b"text\0")
    # Empty, without an end in its part, and nowhere.
    assert string_in_file(path, 0x1000) is string_in_file(path, 0x1006) is string_in_file(path, 0x1009) is None
    assert text_in_file(path, b"abc") and not text_in_file(path, b"abcd") and not text_in_file(path, b"ELF")
    # The longest string, and one that is too long.
    path.write_bytes(core_image([Piece(0, b"x" * 4096 + b"\0", va=0x1000)]))
    assert (
        string_in_file(path, 0x1001) == Identity(0x1001, b"x" * 4095 + b"\0") and string_in_file(path, 0x1000) is None
    )


def test_text_at_the_very_beginning(program: Path) -> None:
    assert loaded_parts(program)[0].offset == 0 and text_in_file(program, b"\x7fELF")
    assert b".shstrtab" in program.read_bytes() and not text_in_file(program, b".shstrtab")


def test_bytes_of_which_a_quarter_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "core"
    content = bytes(range(64))
    path.write_bytes(core_image([Piece(0, b"#" * 64, va=0x800), Piece(0, content, va=0x1000)]))
    part = (0x1000, 0x1040)

    def places(data: bytes, within: tuple[int, int] = part, residue: int = 0, step: int = 8) -> list[int]:
        return similar_bytes(path, data, within, residue, step)

    assert places(content[8:16]) == places(content[8:16], (0x1003, 0x1010)) == [0x1008]
    assert places(content[8:16], (0x1009, 0x1040)) == places(content[8:16], (0x1000, 0x100F)) == []
    assert places(content[12:20]) == [] and places(content[12:20], residue=4) == [0x100C]
    assert places(content[12:20], (0x1006, 0x1040), residue=4) == [0x100C]
    assert places(content[56:]) == places(content[56:], (0, 1 << 32)) == [0x1038] and places(content[56:] + b"@") == []
    assert places(content[8:14] + b"##") == [0x1008] and places(content[8:13] + b"###") == []
    assert places(content[8:9]) == [0x1008] and places(b"") == []


def test_a_stand_in_has_the_loaded_sections_and_no_content(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "stand-in"
    path.write_bytes(stand_in(read_headers(program), frozenset([b".text"])))
    done = subprocess.run(["readelf", "-W", "-h", "-S", path], check=True, text=True, capture_output=True)
    assert done.stderr == ""

    def sections(text: str) -> list[list[str]]:
        # Name, type, address, offset, size, flags, link, info, alignment.
        rows = re.findall(r"\] (\S+) +(\w+) +(\w+) (\w+) (\w+) \w+ +([A-Z]*) +(\d+) +(\d+) +(\d+)$", text, re.MULTILINE)
        return [list(row) for row in rows]

    loaded = [row for row in sections(readelf(program, "-S")) if "A" in row[5] and row[0] != ".text"]
    assert len(loaded) >= 2
    *found, names = sections(done.stdout)
    assert found == [[name, "NOBITS", va, "000034", size, flags, "0", "0", align]
                     for name, _, va, _, size, flags, _, _, align in loaded]  # fmt: skip
    assert (names[0], names[1], names[3]) == (".shstrtab", "STRTAB", "000034")
    elf = read_headers(path)
    assert (elf.machine, elf.bits, elf.header.type) == (3, 32, 2) and elf.segments == ()
    assert elf.header.shoff % 8 == 0 and elf.length == elf.header.shoff + 40 * (len(loaded) + 2)
    shstrtab = elf.sections[-1]
    assert elf.content(shstrtab) == b"\0" + b"".join(f"{row[0]}\0".encode() for row in [*loaded, names])
    assert tuple(elf.sections[0]) == (b"", 0, 0, 0, 0, 0, 0, 0)
    # Whatever names come before them, the headers are aligned.
    sizes = set()
    for left_out in (b".text", b".data", b".note.gnu.build-id"):
        path.write_bytes(stand_in(read_headers(program), frozenset([left_out])))
        elf = read_headers(path)
        sizes.add(elf.sections[-1].size % 4)
        assert elf.header.shoff % 8 == 0 and elf.section(left_out) is None
    assert len(sizes) > 1

# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of ELF files against binutils: classes, byte orders, more headers than there is room for, damage."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdb_lmb.core.errors import InputError
from gdb_lmb.formats.elf import Elf, NotElfError, read_headers
from gdb_lmb.formats.program_file import build_identity, bytes_in_file, loaded_parts, same_bytes, text_in_file
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
    assert same_bytes(program, b"\x90", (start - 16, start + 16), start % 16, 16) == [start]
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
@settings(max_examples=300 * ROUNDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    same_bytes(path, b"\x90", (0, 1 << 32), 0, 1 << 16)
    assert all(part.memory_size for part in loaded_parts(path))

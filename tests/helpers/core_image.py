# SPDX-License-Identifier: GPL-2.0-or-later
"""ELF core files written by hand, as elf(5) and QEMU's arch_dump.c have them, for tests of their reader."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """Memory for one `PT_LOAD` header; `in_file` can say that less of it is in the file."""

    base: int
    data: bytes
    va: int = 0
    in_file: int | None = None


def note(name: bytes, kind: int, data: bytes, mark: str = "<") -> bytes:
    """Return one note, padded as elf(5) says."""
    name += b"\0"
    pad = [b"\0" * (-len(part) % 4) for part in (name, data)]
    return struct.pack(f"{mark}III", len(name), len(data), kind) + name + pad[0] + data + pad[1]


def core_image(
    pieces: Sequence[Piece],
    *,
    bits: int = 64,
    order: str = "little",
    machine: int = 62,
    notes: bytes = b"",
    many: bool = False,
) -> bytes:
    """Return a whole core file; `many` writes the number of headers into section 0 (`PN_XNUM`)."""
    mark, wide = "<" if order == "little" else ">", bits == 64
    sizes = (64, 56, 64) if wide else (52, 32, 40)
    count = len(pieces) + 1
    sections = sizes[0]
    headers = sections + sizes[2]
    at = headers + count * sizes[1]
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if mark == "<" else 2, 1]) + bytes(9)
    word = "Q" if wide else "I"
    out = bytearray(ident)
    out += struct.pack(
        f"{mark}HHI{word}{word}{word}IHHHHHH",
        4, machine, 1, 0, headers, sections, 0, sizes[0], sizes[1], 0xFFFF if many else count, sizes[2], 1, 0,
    )  # fmt: skip
    out += struct.pack(f"{mark}II{word}{word}{word}{word}II{word}{word}", 0, 0, 0, 0, 0, 0, 0, count, 0, 0)
    body, rows = bytearray(notes), [(4, at, 0, 0, len(notes), len(notes))]
    for piece in pieces:
        in_file = len(piece.data) if piece.in_file is None else piece.in_file
        rows.append((1, at + len(body), piece.va, piece.base, in_file, len(piece.data)))
        body += piece.data[:in_file]
    for kind, offset, va, base, size, whole in rows:
        if wide:
            out += struct.pack(f"{mark}IIQQQQQQ", kind, 0, offset, va, base, size, whole, 0)
        else:
            out += struct.pack(f"{mark}IIIIIIII", kind, offset, va, base, size, whole, 0, 0)
    assert len(out) == at
    return bytes(out + body)

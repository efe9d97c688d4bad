# SPDX-License-Identifier: GPL-2.0-or-later
"""Members of C structures out of bytes, and what is told of errors."""

from __future__ import annotations

import pytest

from gdb_lmb.core.errors import LayoutError, NotReachedError, ReadError
from gdb_lmb.core.fields import Field, Struct

# struct { u32 a; s32 b; u16 c; u8 d[3]; s8 e[3]; }, packed after c: members of three bytes are no C type.
FIELDS = {"a": Field(0, 4), "b": Field(4, 4, signed=True), "c": Field(8, 2), "d": Field(10, 3),
          "e": Field(13, 3, signed=True)}  # fmt: skip
SOUND = Struct("it", 16, FIELDS)


def raw(order: str) -> bytes:
    little = order == "little"
    rows = [(1, -2, 3, 4, -5), (0x01020304, 6, 0x0708, 0x090A0B, -0x0C0D0E)]
    out = b""
    for a, b, c, d, e in rows:
        for number, size in ((a, 4), (b, 4), (c, 2), (d, 3), (e, 3)):
            out += number.to_bytes(size, "little" if little else "big", signed=number < 0)
    return out


@pytest.mark.parametrize("order", ["little", "big"])
def test_columns(order: str) -> None:
    assert order in ("little", "big")
    data = raw(order)
    found = SOUND.columns(data + b"not whole", ("a", "b", "c", "d", "e"), order)  # type: ignore[arg-type]
    assert [list(column) for column in found] == [
        [1, 0x01020304], [-2, 6], [3, 0x0708], [4, 0x090A0B], [-5, -0x0C0D0E],
    ]  # fmt: skip
    # Members of usual sizes are of their own type, others of 64 bits.
    assert [column.itemsize for column in found] == [4, 4, 2, 8, 8]
    assert [SOUND.value(data, name, order, 16) for name in FIELDS] == [  # type: ignore[arg-type]
        0x01020304, 6, 0x0708, 0x090A0B, -0x0C0D0E
    ]  # fmt: skip
    # A structure whose size or whose member is not aligned is taken apart one by one.
    for struct, at in ((Struct("odd", 15, {"a": Field(0, 4)}), 15), (Struct("odd", 16, {"a": Field(2, 4)}), 18)):
        image = bytearray(32)
        image[at : at + 4] = (0x01020304).to_bytes(4, order)  # type: ignore[arg-type]
        (column,) = struct.columns(bytes(image[: 2 * struct.size]), ("a",), order)  # type: ignore[arg-type]
        assert list(column) == [0, 0x01020304] and column.itemsize == 4


def test_members_that_must_be_there() -> None:
    SOUND.require("a", "e")
    with pytest.raises(LayoutError) as refused:
        SOUND.require("a", "f", "g")
    assert str(refused.value) == "struct it has no member f, g: this is not the list-based LMB we know"


def test_what_errors_say() -> None:
    assert str(ReadError(0x1000, 8)) == "cannot read 8 bytes of guest memory at 0x1000"
    error = ReadError(0x1000, 8, "no such memory")
    assert str(error) == "cannot read 8 bytes of guest memory at 0x1000: no such memory"
    assert (error.address, error.why) == (0x1000, "no such memory")
    reached = NotReachedError("never", b"printed")
    assert str(reached) == "never" and reached.console == b"printed"

# SPDX-License-Identifier: GPL-2.0-or-later
"""What a bzImage says of itself, written by hand after Documentation/arch/x86/boot.rst."""

from __future__ import annotations

import struct

import pytest

from gdb_lmb.arches.base import BootImage
from gdb_lmb.arches.registry import named

X86 = named("x86-64")
VERSION = b"6.1.0-test (a@b) #1 SMP\0"
GZIP = b"\x1f\x8b\x08"


def image(
    protocol: int = 0x20F, sectors: int = 2, text_at: int = 0x300, flags: int = 1, payload: int = 0x40, at: int = 0x640
) -> bytes:
    """Return a bzImage with gzip's first bytes at `at`, which is where `sectors` and `payload` lead as they are."""
    out = bytearray(0x1000)
    out[0x1F1] = sectors
    out[0x1FE:0x200] = b"\x55\xaa"
    out[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", out, 0x206, protocol)
    struct.pack_into("<H", out, 0x20E, text_at)
    struct.pack_into("<H", out, 0x236, flags)
    struct.pack_into("<I", out, 0x248, payload)
    out[0x500 : 0x500 + len(VERSION)] = VERSION
    out[at : at + 3] = GZIP
    return bytes(out)


def told(raw: bytes) -> BootImage | None:
    return X86.boot_image(raw, raw)


def test_whole() -> None:
    version = "6.1.0-test (a@b) #1 SMP"
    assert told(image()) == BootImage("bzImage", "x86-64", version, 0x640, gzip=True)
    assert told(image(flags=0xFFFE)) == BootImage("bzImage", "i386", version, 0x640, gzip=True)


@pytest.mark.parametrize(("at", "value"), [(0x1FE, b"\x55\xab"), (0x202, b"HdrX"), (0x202, b"XdrS"), (0x1FF, b"\0")])
def test_what_is_none(at: int, value: bytes) -> None:
    raw = bytearray(image())
    raw[at : at + len(value)] = value
    assert told(bytes(raw)) is None


def test_members_of_later_protocols() -> None:
    # xloadflags since 2.12, payload_offset since 2.08.
    for protocol, name, content in ((0x20C, "x86-64", 0x640), (0x20B, None, 0x640), (0x208, None, 0x640),
                                    (0x207, None, None)):  # fmt: skip
        found = told(image(protocol))
        assert found is not None and (found.name, found.content_at, found.gzip) == (name, content, content is not None)


def test_the_place_of_the_payload() -> None:
    # No sectors mean four, and the boot sector comes before them.
    for sectors, payload, at in ((0, 0, 0xA00), (4, 0, 0xA00), (1, 0x10, 0x410)):
        found = told(image(sectors=sectors, payload=payload, at=at))
        assert found is not None and found.content_at == at
    # Compressed by something else.
    other = told(image(payload=0x41))
    assert other == BootImage("bzImage", "x86-64", "6.1.0-test (a@b) #1 SMP", None)


def test_the_version_text() -> None:
    def version(text: bytes, text_at: int = 0x300) -> str | None:
        raw = bytearray(image(text_at=text_at))
        raw[0x500 : 0x500 + len(text)] = text
        found = told(bytes(raw))
        assert found is not None
        return found.version

    assert version(VERSION, text_at=0) is None and version(b"\0") is None
    assert version(b" 6.1 \n\0") == "6.1" and version(b"\xff\0") == "\ufffd"
    # So much of one that does not end.
    assert version(b"v" * 600) == "v" * 512

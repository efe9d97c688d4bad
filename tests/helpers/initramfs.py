# SPDX-License-Identifier: GPL-2.0-or-later
"""An initial RAM disk whose /init is one instruction, a branch to itself: a guest that stays in user mode.

Written byte by byte, so that no compiler for the guest's architecture is needed. Mirrors elf(5) and the
"newc" format of Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

USER_VA = 0x400000
SPIN_VA = USER_VA + 0x78
"""Where the instruction is: behind the ELF header and one program header."""

SPIN = {
    # ELF machine number, the instruction
    "x86_64": (62, b"\xeb\xfe"),
    "aarch64": (183, struct.pack("<I", 0x14000000)),
}


def write_initrd(path: Path, arch: str) -> Path:
    """Write the RAM disk for a little-endian 64-bit architecture; return `path`."""
    machine, code = SPIN[arch]
    ident = b"\x7fELF\2\1\1" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, SPIN_VA, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = SPIN_VA - USER_VA + len(code)
    elf = header + struct.pack("<IIQQQQQQ", 1, 5, 0, USER_VA, USER_VA, size, size, 0x1000) + code
    path.write_bytes(_archive({b"init": elf}))
    return path


def write_crashing_initrd(path: Path, image: Path) -> Path:
    """Write a RAM disk for x86-64 whose /init crashes on CPU 2, and starts `image` with the other RAM disk; return it.

    That needs room by "crashkernel=".
    """
    program, source = path.with_suffix(".init"), Path(__file__).with_name("crash_init.c")
    words = ["-m64", "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-no-pie"]
    subprocess.run(["gcc", *words, "-o", program, source], check=True, timeout=60)
    second = write_initrd(path.with_suffix(".second"), "x86_64").read_bytes()
    files = {b"init": program.read_bytes(), b"kernel": image.read_bytes(), b"second": second}
    path.write_bytes(_member(b"proc", b"", 0o040755) + _archive(files))
    return path


def _archive(files: dict[bytes, bytes]) -> bytes:
    members = (_member(name, content, 0o100755) for name, content in files.items())
    return b"".join((*members, _member(b"TRAILER!!!", b"", 0)))


def _member(name: bytes, content: bytes, mode: int) -> bytes:
    """Return one file of the archive: its header in hexadecimal, its name, its content, each padded to 4."""
    fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    start = b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
    start += bytes(-len(start) % 4)
    return start + content + bytes(-len(content) % 4)

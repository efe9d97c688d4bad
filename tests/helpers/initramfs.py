# SPDX-License-Identifier: GPL-2.0-or-later
"""An initial RAM disk whose /init is one instruction, a branch to itself: a guest that stays in user mode.

Another's /init starts a second kernel.

Written byte by byte, so that no compiler for the guest's architecture is needed. Mirrors elf(5) and the
"newc" format of Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

PAGE = 0x1000
USER_VA, DATA_VA = 0x400000, 0x410000
SPIN_VA = USER_VA + 0x78
"""Where the instruction is: behind the ELF header and one program header."""

SPIN = {
    # ELF machine number, the instruction
    "x86_64": (62, b"\xeb\xfe"),
    "aarch64": (183, struct.pack("<I", 0x14000000)),
}
CALLS = {
    # Numbers of system calls, in asm/unistd.h.
    "x86_64": {"openat": 257, "mount": 165, "kexec_file_load": 320, "close_range": 436, "write": 1, "reboot": 169,
               "sched_setaffinity": 203},
    "aarch64": {"openat": 56, "mount": 40, "kexec_load": 104, "close_range": 436, "write": 64, "reboot": 142,
                "sched_setaffinity": 122},
}  # fmt: skip
_ARGUMENTS = 5
_WORD = (1 << 64) - 1
_HERE, _WRITE_ONLY = -100, 1  # `AT_FDCWD`, `O_WRONLY`
_KEXEC_ON_CRASH, _KEXEC_FILE_ON_CRASH = 1, 2
_REBOOT_KEXEC = (0xFEE1DEAD, 672274793, 0x45584543)
Call = tuple[str, tuple[int | bytes, ...]]


def write_initrd(path: Path, arch: str) -> Path:
    """Write the RAM disk for a little-endian 64-bit architecture; return `path`."""
    path.write_bytes(_archive({b"init": _program(arch, SPIN[arch][1])}))
    return path


def write_kexec_initrd(path: Path, image: Path, line: str, crash_on: int | None = None) -> Path:
    """Write a RAM disk for x86-64 whose /init starts `image` by kexec, with the other RAM disk and `line`; return it.

    `crash_on` is the CPU on which it crashes for that, which needs room by "crashkernel=".
    """
    flags = 0 if crash_on is None else _KEXEC_FILE_ON_CRASH
    calls: list[Call] = [
        ("close_range", (0, 0xFFFFFFFF, 0)),
        ("openat", (_HERE, b"/kernel", 0)),  # 0
        ("openat", (_HERE, b"/second", 0)),  # 1
        ("kexec_file_load", (0, 1, len(line) + 1, line.encode(), flags)),
        *_leave(crash_on),
    ]
    second = write_initrd(path.with_suffix(".second"), "x86_64").read_bytes()
    files = {b"init": _program("x86_64", _code("x86_64", calls)), b"kernel": image.read_bytes(), b"second": second}
    path.write_bytes(_member(b"proc", b"", 0o040755) + _archive(files))
    return path


def write_kexec_load_initrd(
    path: Path, kernel: int, tree: int, parts: dict[int, tuple[bytes, int]], crash_on: int | None = None
) -> Path:
    """Write a RAM disk for arm64 whose /init starts the Image at physical `kernel`; return `path`.

    `parts` are loaded before: data and size in memory by physical address; at the lowest is no more than a free page.
    `tree` is where the device tree is among them.
    """
    # What Documentation/arch/arm64/booting.rst wants is done at the lowest.
    code = [word for register, value in enumerate((tree, 0, 0, 0, kernel)) for word in _load(register, value)]
    entry = min(parts)
    parts = {**parts, entry: (struct.pack(f"<{len(code) + 1}I", *code, 0xD61F0080), PAGE)}  # br x4
    segments, data, at = b"", b"", DATA_VA + 32 * len(parts)
    for physical, (content, size) in parts.items():
        segments += struct.pack("<4Q", at + len(data), len(content), physical, -(-size // PAGE) * PAGE)
        data += content
    flags = 0 if crash_on is None else _KEXEC_ON_CRASH
    calls: list[Call] = [
        ("close_range", (0, 0xFFFFFFFF, 0)),
        ("openat", (_HERE, b"/proc", 0)),  # 0 and 1, as x86-64 has them
        ("openat", (_HERE, b"/proc", 0)),
        ("kexec_load", (entry, len(parts), DATA_VA, flags)),
        *_leave(crash_on),
    ]
    init = _program("aarch64", _code("aarch64", calls), segments + data)
    path.write_bytes(_member(b"proc", b"", 0o040755) + _archive({b"init": init}))
    return path


def _leave(crash_on: int | None) -> list[Call]:
    if crash_on is None:
        return [("reboot", _REBOOT_KEXEC)]
    return [
        ("mount", (b"proc", b"/proc", b"proc", 0, 0)),
        ("sched_setaffinity", (0, 1, bytes([1 << crash_on]))),
        ("openat", (_HERE, b"/proc/sysrq-trigger", _WRITE_ONLY)),  # 2
        ("write", (2, b"c", 1)),
    ]


def _program(arch: str, code: bytes, data: bytes = b"") -> bytes:
    """Return an ELF with `code` at `SPIN_VA`, and `data` at `DATA_VA`."""
    machine, _ = SPIN[arch]
    ident = b"\x7fELF\2\1\1" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, SPIN_VA, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    content = code.ljust(DATA_VA - SPIN_VA, b"\0") + data if data else code
    size = SPIN_VA - USER_VA + len(content)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, USER_VA, USER_VA, size, size, PAGE) + content


def _code(arch: str, calls: list[Call]) -> bytes:
    """Return the code of system calls one after the other, a branch to itself, and the data of their arguments."""
    size = len(calls) * len(_call(arch, 0, ())) + len(SPIN[arch][1])
    code, data = b"", b""
    for name, arguments in calls:
        words = []
        for argument in arguments:
            words.append(argument if isinstance(argument, int) else SPIN_VA + size + len(data))
            data += b"" if isinstance(argument, int) else argument + b"\0"
        code += _call(arch, CALLS[arch][name], words)
    return code + SPIN[arch][1] + data


def _call(arch: str, number: int, arguments: Sequence[int]) -> bytes:
    words = [number, *arguments, *[0] * (_ARGUMENTS - len(arguments))]
    if arch == "x86_64":
        loads = (b"\x48\xb8", b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8")  # mov REG, WORD
        packed = (load + struct.pack("<Q", word & _WORD) for load, word in zip(loads, words, strict=True))
        return b"".join(packed) + b"\x0f\x05"
    code = [word for at, value in zip((8, *range(_ARGUMENTS)), words, strict=True) for word in _load(at, value)]
    return struct.pack(f"<{len(code) + 1}I", *code, 0xD4000001)  # svc #0


def _load(register: int, value: int) -> list[int]:
    """Return arm64's instructions that put `value` into a register: movz and movk."""
    halves = (value >> 16 * part & 0xFFFF for part in range(4))
    return [
        (0xF2800000 if part else 0xD2800000) | part << 21 | half << 5 | register for part, half in enumerate(halves)
    ]


def _archive(files: dict[bytes, bytes]) -> bytes:
    members = (_member(name, content, 0o100755) for name, content in files.items())
    return b"".join((*members, _member(b"TRAILER!!!", b"", 0)))


def _member(name: bytes, content: bytes, mode: int) -> bytes:
    """Return one file of the archive: its header in hexadecimal, its name, its content, each padded to 4."""
    fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    start = b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
    start += bytes(-len(start) % 4)
    return start + content + bytes(-len(content) % 4)

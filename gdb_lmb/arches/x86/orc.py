# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-64's tables for following a stack, through exceptions and from one stack to another (CONFIG_UNWINDER_ORC).

Mirrors arch/x86/include/asm/orc_types.h, `unwind_next_frame()` of arch/x86/kernel/unwind_orc.c and `struct pt_regs` of
arch/x86/include/asm/ptrace.h. The numbers of types and of registers have changed; the commonest entry, that of a
function with nothing but its return address on the stack, tells which there are.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.core.errors import InputError, LayoutError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.formats.elf import read_headers

_ENTRY = struct.Struct("<hhH")
_MAX_FRAMES = 256
_SAMPLE = 512
# Registers by the number of ORC_REG_SP; "sp*" and "bp*" are the indirect ones.
_NAMES = {
    5: ("", "prev", "rdx", "rdi", "rbp", "rsp", "r10", "r13", "bp*", "sp*"),
    3: ("", "rax", "rdx", "rsp", "rbp", "rdi", "r10", "r13", "prev", "sp*", "bp*"),
}
PT_REGS = {"r13": 16, "rbp": 32, "r10": 56, "rax": 80, "rdx": 96, "rdi": 112, "rsp": 152}
_IP, _CS = 128, 136
_RPL = 3


class _Row(NamedTuple):
    sp_offset: int
    bp_offset: int
    sp: str
    bp: str
    kind: int  # 0: a call; 1: `struct pt_regs`; 2: its end, from `ip` on; negative: none
    ends: bool


class OrcTable(NamedTuple):
    """A kernel's tables; `va` is where that of addresses is linked, `call` the number of the type of a call."""

    va: int
    ips: bytes
    entries: bytes
    names: tuple[str, ...]
    call: int

    def row(self, ip: int) -> _Row:
        """Return what holds at a linked address. Raises: `LayoutError` for an unknown kind of entry."""
        # Each address is relative to where it is itself.
        starts = range(len(self.ips) // 4)
        at = (
            bisect_right(starts, ip, key=lambda at: self.va + 4 * at + struct.unpack_from("<i", self.ips, 4 * at)[0])
            - 1
        )
        if at < 0:
            raise LayoutError(f"the kernel's unwind tables do not tell of {ip:#x}")
        sp_offset, bp_offset, bits = _ENTRY.unpack_from(self.entries, at * _ENTRY.size)
        sp, bp, kind = bits & 15, bits >> 4 & 15, bits >> 8 & 7
        # Entries had a bit for the end before they had a type for it; what follows the type was another bit at times.
        ends = kind == 1 if self.call else not sp and bool(bits >> 10 & 3)
        if max(sp, bp) >= len(self.names):
            raise LayoutError(f"the kernel's unwind tables have an unknown register for {ip:#x}")
        kind = kind - self.call if self.call else kind & 3
        return _Row(sp_offset, bp_offset, self.names[sp], self.names[bp], kind, ends)


@lru_cache(maxsize=4)
def orc_table(path: Path) -> OrcTable | None:
    """Return the tables in a kernel's ELF, None where it has none, or none that are known."""
    with suppress(InputError):
        elf = read_headers(path)
        addresses, rows = elf.section(b".orc_unwind_ip"), elf.section(b".orc_unwind")
        if addresses is None or rows is None:
            return None
        ips, entries = elf.content(addresses), elf.content(rows)
        number = len(ips) // 4
        if number and number == len(entries) // _ENTRY.size:
            some = (_ENTRY.unpack_from(entries, at * _ENTRY.size) for at in range(0, number, number // _SAMPLE + 1))
            common = Counter(bits for sp_offset, _, bits in some if sp_offset == 8).most_common(1)
            for bits, _ in common:
                names, call = _NAMES.get(bits & 15), bits >> 8 & 7
                return OrcTable(addresses.va, ips, entries, names, call) if names and call in (0, 2) else None
    return None


def pt_regs(stack: Memory, address: int) -> tuple[int, dict[str, int]]:
    """Return where an exception came, and the registers there, from a `struct pt_regs`. Raises: `ReadError`."""
    known = {name: _word(stack, address + offset) for name, offset in PT_REGS.items()}
    return _word(stack, address + _IP), known


def frames(
    table: OrcTable, code: tuple[Range, ...], virtual: int, pc: int, known: dict[str, int], stack: Memory
) -> Iterator[int]:
    """Yield a linked address in each function on the stack, innermost first, up to where the stack begins.

    The first is `pc`, where the registers are `known`. `virtual` is what has been added to linked addresses.
    Raises: `ReadError`, `LayoutError` where the stack cannot be followed to its beginning.
    """
    at = pc - virtual
    for _ in range(_MAX_FRAMES):
        if not any(low <= at < high for low, high in code):
            raise LayoutError(f"{at + virtual:#x} on the stack is not in the kernel's code")
        yield at
        row = table.row(at)
        if row.ends:
            return
        base = known.get(f"r{row.sp[:2]}" if row.sp.endswith("*") else row.sp)
        if base is None or row.kind not in (0, 1, 2):
            raise LayoutError(f"the kernel's unwind tables do not tell what called {at:#x}")
        if row.sp == "sp*":
            base = _word(stack, base) + row.sp_offset
        else:
            base = _word(stack, base + row.sp_offset) if row.sp == "bp*" else base + row.sp_offset
        rbp = known["rbp"]
        if row.kind:
            # The end of `struct pt_regs` is what the CPU itself has pushed.
            regs = base if row.kind == 1 else base - _IP
            if _word(stack, regs + _CS) & _RPL:
                return
            if row.kind == 1:
                pc, known = pt_regs(stack, regs)
            else:
                pc, known = _word(stack, regs + _IP), {"rsp": _word(stack, regs + PT_REGS["rsp"]), "rbp": rbp}
            at = pc - virtual
        else:
            at = _word(stack, base - 8) - virtual - 1
            known = {"rsp": base, "rbp": rbp}
        if row.bp in ("prev", "rbp"):
            known["rbp"] = _word(stack, (base if row.bp == "prev" else rbp) + row.bp_offset)
    raise LayoutError(f"the stack has more than {_MAX_FRAMES} frames")


def _word(stack: Memory, address: int) -> int:
    return int.from_bytes(stack.read(address, 8), "little")

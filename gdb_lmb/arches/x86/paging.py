# SPDX-License-Identifier: GPL-2.0-or-later
"""x86's page tables: virtual addresses read through physical memory, as the CPU would translate them.

Mirrors chapter 4 of the processor's manual (volume 3): two levels of 4-byte entries, three with PAE, four
or five in long mode. The tables are the guest's, and may be damaged or missing.
"""

from __future__ import annotations

from typing import NamedTuple

from gdb_lmb.arches.base import TableForm
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import Memory

_PAGE_SIZE = 1 << 12
CR0_PG = 1 << 31
_CR4_PSE, CR4_PAE, _CR4_LA57 = 1 << 4, 1 << 5, 1 << 12
_PRESENT, _LARGE = 1 << 0, 1 << 7
_WIDE_ADDRESS = 0x000F_FFFF_FFFF_F000
_NARROW_ADDRESS = 0xFFFF_F000


class _Mode(NamedTuple):
    """One paging mode: bits of the address that each level indexes with, top level first, and an entry's bytes.

    `large` are the levels (counted from the last, 0) whose entries may map a page themselves. `address` are the bits
    of an entry that are an address, `root` those of CR3. It is in force in or outside `long_mode`, with `cr4` set.
    """

    long_mode: bool
    cr4: int
    bits: tuple[int, ...]
    entry: int
    large: tuple[int, ...]
    address: int
    root: int


# The first whose conditions hold is in force.
_MODES = (
    _Mode(True, _CR4_LA57, (9, 9, 9, 9, 9), 8, (1, 2), _WIDE_ADDRESS, _WIDE_ADDRESS),
    _Mode(True, 0, (9, 9, 9, 9), 8, (1, 2), _WIDE_ADDRESS, _WIDE_ADDRESS),
    _Mode(False, CR4_PAE, (2, 9, 9), 8, (1,), _WIDE_ADDRESS, 0xFFFF_FFE0),
    _Mode(False, _CR4_PSE, (10, 10), 4, (1,), _NARROW_ADDRESS, _NARROW_ADDRESS),
    _Mode(False, 0, (10, 10), 4, (), _NARROW_ADDRESS, _NARROW_ADDRESS),
)


def table_form(*, cr3: int, cr4: int, long_mode: bool) -> TableForm:
    """Return the page tables in force."""
    mode = _mode(cr4, long_mode)
    sizes = tuple(mode.entry << bits for bits in mode.bits)
    # Where an entry of the top levels cannot map a page itself, its bit for that must be 0.
    return TableForm(cr3 & mode.root, sizes, _PRESENT | _LARGE, _PRESENT, mode.address, mode.entry)


def _mode(cr4: int, long_mode: bool) -> _Mode:
    return next(mode for mode in _MODES if mode.long_mode == long_mode and cr4 & mode.cr4 == mode.cr4)


class X86PagedMemory:
    """Reads virtual addresses by the page tables of one CPU."""

    def __init__(self, physical: Memory, *, cr0: int, cr3: int, cr4: int, long_mode: bool) -> None:
        self._physical = physical
        self._cr3 = cr3
        self._paged = bool(cr0 & CR0_PG)
        self._mode = _mode(cr4, long_mode)
        self._tables: dict[int, bytes] = {}

    def read(self, address: int, size: int) -> bytes:
        pieces, at = [], address
        while at < address + size:
            try:
                physical, left = self.to_physical(at)
            except ReadError as error:
                raise ReadError(address, size, error.why) from None
            pieces.append(self._physical.read(physical, min(left, address + size - at)))
            at += left
        return b"".join(pieces)

    def to_physical(self, va: int) -> tuple[int, int]:
        if not self._paged:
            return va, _PAGE_SIZE - va % _PAGE_SIZE
        mode = self._mode
        width = 12 + sum(mode.bits)
        # In long mode the bits above the last that is translated are copies of it.
        unused = va >> 32 if width == 32 else va >> (width - 1)
        if unused and (width == 32 or unused != (1 << (65 - width)) - 1):
            raise ReadError(va, 1, "no address that this CPU could translate")
        table, shift = self._cr3 & mode.root, width
        for level, bits in zip(reversed(range(len(mode.bits))), mode.bits, strict=True):
            shift -= bits
            entry = self._entry(va, table, va >> shift & ((1 << bits) - 1))
            if not entry & _PRESENT:
                break
            if level == 0 or (level in mode.large and entry & _LARGE):
                page = 1 << shift
                base = entry & mode.address & ~(page - 1)
                if level and mode.entry == 4:  # PSE-36: bits 13 to 20 are bits 32 to 39 of the address
                    base = (entry & 0xFFC0_0000) | (entry >> 13 & 0xFF) << 32
                return base + va % page, page - va % page
            table = entry & mode.address
        raise ReadError(va, 1, "not mapped by the guest's page tables")

    def _entry(self, va: int, table: int, index: int) -> int:
        # Tables are kept, as the next page's entry lies beside this one's.
        page = table & ~(_PAGE_SIZE - 1)
        if page not in self._tables:
            try:
                self._tables[page] = self._physical.read(page, _PAGE_SIZE)
            except ReadError as error:
                raise ReadError(va, 1, f"its page table at {page:#x} cannot be read: {error.why}") from None
        at = table - page + index * self._mode.entry
        return int.from_bytes(self._tables[page][at : at + self._mode.entry], "little")

# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of an early allocator as a value, `Snapshot`, and what is found wrong with it, `Finding`.

Regions are kept in columns: a snapshot of 100,000 of them is a handful of arrays, and `Region` is a view made on
demand. Addresses are physical unless named `_va`; sizes are bytes; ranges are half-open.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gdb_lmb.core.address import PAST_HAND_OVER, Phase
from gdb_lmb.core.ranges import Range, subtract, union

LMB_NOMAP = 4
FLAG_NAMES = {1: "HOTPLUG", 2: "MIRROR", LMB_NOMAP: "NOMAP"}

FIRMWARE_RAM = 1
FIRMWARE_RESERVED = 2
FIRMWARE_RAM_KEPT = 128  # RAM too: `E820_TYPE_RESERVED_KERN`
FIRMWARE_TYPES = {
    FIRMWARE_RAM: "RAM", FIRMWARE_RESERVED: "reserved", 3: "ACPI tables", 4: "ACPI NVS", 5: "unusable",
    7: "persistent memory", 12: "persistent memory (PRAM)", FIRMWARE_RAM_KEPT: "RAM kept by the kernel",
    0xEFFFFFFF: "soft reserved",
}  # fmt: skip


def firmware_type(kind: int) -> str:
    """Return the name of a type of the firmware's map: "RAM", "type 6"."""
    return FIRMWARE_TYPES.get(kind, f"type {kind}")


def flag_names(flags: int, known: Mapping[int, str] = FLAG_NAMES) -> str:
    """Write a region's flags by their names in `known`: "-", "NOMAP", "HOTPLUG|0x40"."""
    names = [name for bit, name in known.items() if flags & bit]
    rest = flags & ~sum(known)
    if rest:
        names.append(f"{rest:#x}")
    return "|".join(names) or "-"


@dataclass(frozen=True)
class Region:
    """One region of a list: `phys_addr_t base, size` in bytes, `unsigned int flags`."""

    base: int
    size: int
    flags: int

    @property
    def end(self) -> int:
        return self.base + self.size


class Entry(NamedTuple):
    """Where a region is stored: the number of the block and the slot in it."""

    block: int
    slot: int

    def __str__(self) -> str:
        return f"{self.block}:{self.slot}"


@dataclass(frozen=True)
class Walk:
    """The result of following a list's links (`struct list_head`).

    `head_va` is the head's address, `head_next` and `head_prev` its links. `complete` tells that every
    member between the head's two links is known: reached from one side or the other. `mutual` tells that
    the walk went round once and every link on the way, the head's too, agreed with its neighbour's.
    """

    head_va: int
    head_next: int
    head_prev: int
    complete: bool
    mutual: bool


@dataclass(frozen=True)
class RegionList:
    """One `struct lmb_type` or `struct memblock_type` in columns, in list order.

    `entry` is where each region is stored: an entry's index, or the place in memblock's array. `walk` is
    None where no links exist (a model, an array). Of memblock only: `max`, the array's capacity (None for
    a list), and `nid`, the node of each region (empty where the kernel knows no nodes).
    """

    name: str
    cnt: int
    total_size: int
    base: Sequence[int]
    size: Sequence[int]
    flags: Sequence[int]
    entry: Sequence[int]
    walk: Walk | None = None
    max: int | None = None
    nid: Sequence[int] = ()

    @property
    def dummy(self) -> bool:
        """Tell whether this is memblock's empty list of before 6.11: one region of size 0.

        Source: `commit 721f4a6526da ("mm/memblock: remove empty dummy entry")`.
        """
        return self.max is not None and len(self) == 1 and not self.size[0]

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, position: int) -> Region:
        return Region(self.base[position], self.size[position], self.flags[position])

    def regions(self) -> Iterator[Region]:
        """Yield the regions in list order."""
        return map(Region, self.base, self.size, self.flags)

    def ranges(self, *, without_flags: int = 0) -> Iterator[Range]:
        """Yield (base, end) of the regions that have none of the flags `without_flags`."""
        rows = zip(self.base, self.size, self.flags, strict=True)
        return ((base, base + size) for base, size, flags in rows if not flags & without_flags)


@dataclass(frozen=True)
class FirmwareMap:
    """The firmware's memory map in columns: physical base, size in bytes, type as in x86's e820 table.

    Source: `enum e820_type` of arch/x86/include/asm/e820/types.h."""

    base: Sequence[int] = ()
    size: Sequence[int] = ()
    type: Sequence[int] = ()

    def ram(self, *, alone: bool = False) -> list[Range]:
        """Return the RAM as sorted, merged ranges, with `alone` without what an entry of another type covers too."""
        rows = [(base, base + size, kind) for base, size, kind in zip(self.base, self.size, self.type, strict=True)]
        ram, other = (
            union((base, end) for base, end, kind in rows if (kind in (FIRMWARE_RAM, FIRMWARE_RAM_KEPT)) == wanted)
            for wanted in (True, False)
        )
        return subtract(ram, other) if alone else ram


@dataclass(frozen=True)
class Place:
    """The physical range [base, end), and in a few words what lies there."""

    base: int
    end: int
    what: str


@dataclass(frozen=True)
class FirmwareReserved(Place):
    """A range that the firmware asks to be reserved, or not to be mapped (`nomap`), perhaps only `until_hand_over`."""

    nomap: bool = False
    until_hand_over: bool = False


@dataclass(frozen=True)
class Required(Place):
    """A place that the program must have reserved at this stop.

    Where `memory`, it must be on the memory list too; where `alone`, no other such place may share bytes with it.
    """

    memory: bool
    alone: bool


@dataclass(frozen=True)
class Defect:
    """Damage that no column can hold, as the decoder found it, or a breach of a rule, as a check found it.

    `what` is one sentence; `addresses` are virtual or physical as the sentence says; `code` is that of a finding where
    the decoder found it.
    """

    what: str
    addresses: tuple[int, ...] = ()
    code: str = "storage-corrupt"


@dataclass(frozen=True)
class Stop:
    """Where the selected CPU is stopped: the program counter and its symbol (None if unknown)."""

    pc: int
    symbol: str | None = None


@dataclass(frozen=True)
class Storage:
    """The part of a state that only one allocator has; each allocator derives its own from this.

    `closed` tells that the allocator has handed its free memory over and takes no calls any more.
    """

    closed: bool = False

    def entry(self, index: int) -> Entry | None:
        """Return where the region with this number in `RegionList.entry` is stored; None for an array."""
        return None


@dataclass(frozen=True)
class Snapshot:
    """The whole state of an early allocator at one moment, of a guest or of a model: what all of them have.

    `layout` names the allocator in the registry. `others` are lists beside the two. `bits` is the width of
    `phys_addr_t`, `page_size` is in bytes. `torn` names the allocator's function that the stop is in. `phase` is the
    boot's. `firmware` is the firmware's map, `firmware_edited` what the program made of it before it used it, where it
    keeps both, and `firmware_edits` what of that is worth a word; `firmware_reserved` are the ranges that must be
    reserved by now on the firmware's word. `handover` are the ranges given to the page allocator, as far as the
    program's table of them goes. `refused` names the lists that are left empty because they are not true any more, with
    the reason. `flag_names` are those of regions, `no_node` is the number that means no node. `uncompared` says in
    words what could not be compared, though the guest should have it at this phase, `unsettled` what it does not have
    at this phase. `required` is what the program must have reserved by now. What is not known is None.
    """

    memory: RegionList
    reserved: RegionList
    bits: int
    page_size: int
    current_limit: int
    bottom_up: bool
    layout: str = "lmb-list"
    storage: Storage = Storage()
    others: tuple[RegionList, ...] = ()
    arch: str = "model"
    byte_order: str = "little"
    phase: str | None = None
    torn: str | None = None
    stop: Stop | None = None
    firmware: FirmwareMap | None = None
    firmware_edited: FirmwareMap | None = None
    firmware_edits: tuple[Defect, ...] = ()
    firmware_reserved: tuple[FirmwareReserved, ...] = ()
    handover: tuple[Range, ...] | None = None
    defects: tuple[Defect, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    flag_names: Mapping[int, str] = field(default_factory=lambda: FLAG_NAMES)
    no_node: int | None = None
    uncompared: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    required: tuple[Required, ...] = ()

    @property
    def phys_addr_max(self) -> int:
        """Return `PHYS_ADDR_MAX`, 2^W - 1."""
        return (1 << self.bits) - 1

    @property
    def handed_over(self) -> bool:
        """Tell whether what the lists show as free is the page allocator's by now."""
        return self.storage.closed or self.phase in PAST_HAND_OVER

    @property
    def free_word(self) -> str:
        """Return what memory that is not reserved is by now: "free", or "handed over"."""
        return Phase.HANDED_OVER.value if self.handed_over else "free"

    @property
    def lists(self) -> tuple[RegionList, ...]:
        """Return every list of regions there is."""
        return (self.memory, self.reserved, *self.others)


@dataclass(frozen=True)
class Finding:
    """A fault of the guest (`finding`), or something worth knowing about it (`note`).

    `code` is stable, `message` one sentence, `addresses` what it is about.
    """

    code: str
    severity: str
    message: str
    addresses: tuple[int, ...] = ()


def column(values: Iterable[int]) -> array[int]:
    """Return `values` (each below 2^64) as one array."""
    return array("Q", values)

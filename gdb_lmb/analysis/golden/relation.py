# SPDX-License-Identifier: GPL-2.0-or-later
"""What two boots have in common, and by what their addresses and sizes may differ."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log2

from gdb_lmb.analysis.golden.items import MEMORY
from gdb_lmb.core.golden import Environment, Golden, GoldenStop, Item
from gdb_lmb.core.ranges import Range

_ALIGNED_TO = 64
"""Bytes: `SMP_CACHE_BYTES`, to which memblock aligns by default."""
_ROUNDED_PAGES = 16
"""How many pages what scales with RAM may be off: page tables do not map all of it."""


@dataclass(frozen=True)
class Relation:
    # By what addresses and sizes of two boots may differ. `images` and `rams` are those before and after, None where
    # one is not known. `resized` tells that RAM is, or may be, meant to have another size; sizes then lie between
    # `scale` times the former ones. `slack` is by how much the command lines differ. `randomized` tells that KASLR may
    # have moved the kernel, physically or virtually.
    images: tuple[Range, Range] | None
    rams: tuple[int, int] | None
    resized: bool
    scale: tuple[float, float]
    slack: int
    page_size: int
    top_down: bool
    randomized: bool

    def edges(self, at: int) -> dict[int, str]:
        """Return where an address before may be now, and stand still, and for each place what it counts from."""
        found = {}
        if self.resized and self.rams is not None:
            found[at + self.rams[1] - self.rams[0]] = "the end of RAM"
        if self.images is not None:
            (base, end), (now, past) = self.images
            if base <= at <= end:
                found |= dict.fromkeys((now + at - base, past - (end - at)), "the image")
        return found | {at: "address 0"}

    @property
    def loose(self) -> bool:
        """Tell whether RAM, the number of CPUs or the command line are not the same."""
        return self.resized or bool(self.slack) or self.scale != (1.0, 1.0)

    @property
    def image_moved(self) -> bool:
        return self.images is not None and self.images[0][0] != self.images[1][0]

    def around_image(self, before: Item, after: Item) -> bool:
        """Tell whether the image, which has moved, was or is on the allocator's way to either place."""
        if self.images is None or not self.image_moved:
            return False
        (base, end), (now, past) = self.images
        if self.top_down:
            return max(end, past) > min(before.base, after.base)
        return min(base, now) < max(before.end, after.end)

    def size_fits(self, before: int, after: int, copies: int = 1) -> bool:
        """Tell whether a size is the same, or what another size of RAM or of the command line makes of it."""
        low, high = self.scale
        rounded = _ROUNDED_PAGES * self.page_size if low != high else 0
        slack = self.slack * copies
        return before * low - rounded - slack <= after <= before * high + rounded + slack

    def tables_fit(self, before: int, after: int) -> bool:
        """Tell whether so many bytes of page tables may map the same RAM, with the kernel at another address.

        Source: `kernel_randomize_memory()` of arch/x86/mm/kaslr.c, which moves the direct map over table boundaries.
        """
        return self.randomized and min(before, after) > 0 and abs(before - after) <= _ROUNDED_PAGES * self.page_size


def relation_of(before: Golden, after: Golden, was: GoldenStop, is_: GoldenStop) -> Relation:
    old, new = before.environment, after.environment
    rams = _ram(was), _ram(is_)
    images = old.image, new.image
    resized = _resized(old, new)
    ratio = 1.0
    if resized and rams[0][1] and rams[1][1]:
        ratio = rams[1][1] / rams[0][1]
    # What scales may be rounded to a power of two, as hash tables are. Source: `alloc_large_system_hash()`.
    low, high = min(1.0, 2.0 ** floor(log2(ratio))), max(1.0, 2.0 ** ceil(log2(ratio)))
    if old.smp and new.smp:
        low, high = low * min(1.0, new.smp / old.smp), high * max(1.0, new.smp / old.smp)
    slack = 0
    if old.append is not None and new.append is not None and len(old.append) != len(new.append):
        slack = abs(len(old.append) - len(new.append))
        slack += _ALIGNED_TO  # what is allocated below starts at a multiple of it; a device tree has a property more
    return Relation(
        None if images[0] is None or images[1] is None else (images[0], images[1]),
        None if rams[0][0] is None or rams[1][0] is None else (rams[0][0], rams[1][0]),
        resized,
        (low, high),
        slack,
        old.page_size,
        not is_.bottom_up,
        any(_randomizes(one) for one in (old, new)),
    )


def _resized(old: Environment, new: Environment) -> bool:
    # Whether another size of RAM was asked for. Where that is not known, as of a trace, another end may be meant so; it
    # is told as a difference of the environments.
    if old.memory and new.memory:
        return old.memory != new.memory
    return None not in (old.ram_end, new.ram_end) and old.ram_end != new.ram_end


def _randomizes(boot: Environment) -> bool:
    return boot.relocatable is not False and (boot.append is None or "nokaslr" not in boot.append.split())


def _ram(stop: GoldenStop) -> tuple[int | None, int]:
    # The end of memory, and its size.
    rows = [item for item in stop.items if item.list == MEMORY]
    return max((item.end for item in rows), default=None), sum(item.size for item in rows)


def differences_of_environment(before: Environment, after: Environment) -> list[str]:
    """Return in words what is not the same about two boots, and what that means for their comparison."""
    notes = []
    for name, what in (("kernel", "the kernel"), ("arch", "the architecture"), ("layout", "the allocator")):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            notes.append(f"{what} is {new}, and was {old}")
    if before.build_id != after.build_id and before.kernel == after.kernel and before.build_id and after.build_id:
        notes.append("it is another build of the kernel")
    if _resized(before, after):
        said = f"is {after.memory}, and was {before.memory}"
        if not (before.memory and after.memory):
            said = f"ends at {after.ram_end:#x}, and ended at {before.ram_end:#x}"
        notes.append(f"RAM {said}: sizes may grow with it, and addresses count from its end")
    if before.smp != after.smp and before.smp and after.smp:
        notes.append(f"there are {after.smp} CPUs, and were {before.smp}: sizes may grow with them")
    if before.append != after.append and None not in (before.append, after.append):
        notes.append("the command line is another one: what holds it may have another size")
    if before.machine != after.machine:
        notes.append(f"QEMU's machine is {after.machine or 'the default one'}, and was {before.machine or 'that'}")
    if before.image and after.image and before.image[0] != after.image[0]:
        notes.append(f"the image lies at {after.image[0]:#x}, and lay at {before.image[0]:#x}")
    return notes

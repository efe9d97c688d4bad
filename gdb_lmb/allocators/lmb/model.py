# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference model of the list-based LMB: same results, same entries in the same places.

Written from the design's ten rules alone (the numbers below are theirs). The state is a sorted table
for each list, with the index of the entry that stores each region, and the freelist as a deque; so a
linked list's order, an entry's place and the freelist's order can all be compared with a guest's.

Results follow the C interface: 0 or a negative errno; `alloc` returns the base, `free_all` the pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator

from gdb_lmb.allocators.lmb.resume import config_of, created_config, require_sound, table_of
from gdb_lmb.allocators.lmb.state import EBUSY, EINVAL, ENOMEM, LmbConfig, Plan, Table, plan_add, plan_remove
from gdb_lmb.allocators.lmb.storage import Block, LmbStorage, storage_of
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.ranges import Range, subtract, union, whole_pages
from gdb_lmb.core.snapshot import LMB_NOMAP, RegionList, Snapshot, column

__all__ = ["EBUSY", "EINVAL", "ENOMEM", "LmbConfig", "LmbModel"]

_PlanMaker = Callable[[], Plan]

MAX_FIRST_ENTRIES = 1 << 24
MAX_BLOCK_ENTRIES = 1 << 16
"""More entries than any kernel's initial storage or grown block has: a damaged file must not fill our memory."""


class LmbModel:
    """A list-based LMB after a successful `lmb_init()`.

    Raises: `ValueError` where `lmb_init()` would refuse `config`.
    """

    layout = "lmb-list"

    def __init__(self, config: LmbConfig) -> None:
        """Do `lmb_init()`: queue block 0's entries, reserve a klimit page (rule 1)."""
        why = config.refusal()
        if why:
            raise ValueError(why)
        self.config = config
        self.memory = Table([], [], [], [])
        self.reserved = Table([], [], [], [])
        self.phys_addr_max = (1 << config.bits) - 1
        self.current_limit = self.phys_addr_max
        self.bottom_up = False
        self.may_grow = False
        self.handover: tuple[Range, ...] | None = None
        # (base, size in bytes, number of entries); base 0 and size 0: static.
        self.blocks: list[tuple[int, int, int]] = []
        self.free_entries: deque[int] = deque()
        self._nr_entries = 0
        if config.klimit is None:
            self._queue_block(0, 0, config.static)
        else:
            self._queue_block(config.klimit, config.page_size, config.first_entries)
            self._commit(plan_add(self.reserved, config.klimit, config.klimit + config.page_size, 0))

    @classmethod
    def created(cls, init: Operation, page_size: int) -> LmbModel:
        """Return the model as `lmb_init()` leaves it; `page_size` is in bytes.

        Raises: `InputError` where that call would have failed.
        """
        config = created_config(init, page_size)
        why = "an entry has no size" if not config.entry_size else config.refusal()
        if why is None and (config.first_entries > MAX_FIRST_ENTRIES or config.block_entries > MAX_BLOCK_ENTRIES):
            why = f"{max(config.first_entries, config.block_entries)} entries at once are more than can be believed"
        if why is None and config.klimit is not None and config.klimit + page_size >= 1 << config.bits:
            why = f"there is no page at {config.klimit:#x}"
        if why is not None:
            raise InputError(f"{init} is no call that succeeds: {why}")
        return cls(config)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> LmbModel:
        """Return a model that goes on from a walked or modelled state; nothing is shared with it.

        Raises: `StateError` where the model cannot stand on it: torn, damaged, of another layout.
        """
        config = config_of(snapshot)
        require_sound(snapshot, config)
        model = cls(config)
        model.memory, model.reserved = table_of(snapshot.memory), table_of(snapshot.reserved)
        storage = storage_of(snapshot)
        model.free_entries = deque(storage.free)
        model.blocks = [(block.base or 0, block.size, block.nr) for block in storage.blocks]
        model._nr_entries = storage.nr_entries
        model.current_limit = snapshot.current_limit
        model.bottom_up, model.may_grow = snapshot.bottom_up, storage.may_grow
        # A program without a table of what was handed over is closed all the same.
        model.handover = snapshot.handover or () if storage.closed else None
        return model

    # -- operations (rule 3) --------------------------------------------------------------------------

    def add(self, base: int, size: int, flags: int = 0) -> int:
        """Do `lmb_add()`: put the uncovered pieces of [base, base + size) on the memory list."""
        return self._refuse(base, size) or self._change(lambda: plan_add(self.memory, base, base + size, flags))

    def reserve(self, base: int, size: int, flags: int = 0) -> int:
        """Do `lmb_reserve()`: put the uncovered pieces of [base, base + size) on the reserved list."""
        return self._refuse(base, size) or self._change(
            lambda: plan_add(self.reserved, base, base + size, flags), avoid=(base, base + size)
        )

    def remove(self, base: int, size: int) -> int:
        """Do `lmb_remove()`: take [base, base + size) out of the memory list."""
        return (
            self._refuse(base, size)
            or self._refuse_blocks(base, base + size)
            or self._change(lambda: plan_remove(self.memory, base, base + size), avoid=(base, base + size))
        )

    def free(self, base: int, size: int) -> int:
        """Do `lmb_free()`: take [base, base + size) out of the reserved list."""
        return (
            self._refuse(base, size)
            or self._refuse_blocks(base, base + size)
            or self._change(lambda: plan_remove(self.reserved, base, base + size))
        )

    def alloc(self, size: int, align: int = 0, min: int = 0, max: int = 0, flags: int = 0) -> int:
        """Do `lmb_alloc()`: find a range, reserve it with `flags`, return its base (rules 3, 4, 6)."""
        align = align or 1
        refusal = self._refuse(0, size) or (EINVAL if align & (align - 1) else 0)
        if refusal:
            return refusal
        while True:
            base = self._find(size, align, min, max)
            if base is None:
                return ENOMEM
            plan = plan_add(self.reserved, base, base + size, flags)
            if self._enough(plan):
                self._commit(plan)
                return base
            if not self._grow(None):
                return ENOMEM

    def allow_growth(self) -> int:
        """Do `lmb_allow_growth()` (rule 6)."""
        if self.closed:
            return EBUSY
        self.may_grow = True
        return 0

    def set_current_limit(self, limit: int) -> int:
        """Do `lmb_set_current_limit()`: no search goes past `limit`, a physical address."""
        if self.closed:
            return EBUSY
        self.current_limit = limit
        return 0

    def set_bottom_up(self, enable: bool) -> int:
        """Do `lmb_set_bottom_up()`: search upwards from now on, or downwards again."""
        if self.closed:
            return EBUSY
        self.bottom_up = enable
        return 0

    def free_all(self) -> int:
        """Do `lmb_free_all()`: give every free whole page away, close, return their number (rule 9)."""
        if self.closed:
            return EBUSY
        memory = union(
            (base, end)
            for base, end, flags in zip(self.memory.base, self.memory.end, self.memory.flags, strict=True)
            if not flags & LMB_NOMAP
        )
        # A page counts only if all of it lies in memory and none of it is reserved; pages are cut from
        # the free bytes, so a page that a reservation touches anywhere falls away.
        reserved = list(zip(self.reserved.base, self.reserved.end, strict=True))
        page = self.config.page_size
        self.handover = tuple(whole_pages(subtract(memory, union(reserved)), page))
        return sum(end - base for base, end in self.handover) // page

    @property
    def closed(self) -> bool:
        """Tell whether `lmb_free_all()` has run."""
        return self.handover is not None

    # -- refusals -------------------------------------------------------------------------------------

    def _refuse(self, base: int, size: int) -> int:
        if self.closed:
            return EBUSY
        return EINVAL if size == 0 or base + size > self.phys_addr_max else 0

    def _refuse_blocks(self, base: int, end: int) -> int:
        """Refuse to take away the memory of any block but a static block 0 (rule 8)."""
        taken = any(b < end and base < b + size for b, size, _ in self.blocks if size)
        return EBUSY if taken else 0

    # -- search (rule 4) ------------------------------------------------------------------------------

    def _find(self, size: int, align: int, min: int, max: int, avoid: Range | None = None) -> int | None:
        low = min if min > self.config.page_size else self.config.page_size
        high = self.current_limit
        if max and max < high:
            high = max
        holes = self._holes_up(low, high) if self.bottom_up else self._holes_down(low, high)
        for hole in holes:
            for base, end in self._around(hole, avoid):
                if self.bottom_up:
                    at = (base + align - 1) & -align
                    if at + size <= end:
                        return at
                elif end - base >= size:
                    at = (end - size) & -align
                    if at >= base:
                        return at
        return None

    def _around(self, hole: Range, avoid: Range | None) -> list[Range]:
        """Return the parts of `hole` outside `avoid`, in the order of the search."""
        base, end = hole
        if avoid is None or avoid[1] <= base or end <= avoid[0]:
            return [hole]
        parts = [part for part in ((base, avoid[0]), (avoid[1], end)) if part[0] < part[1]]
        return parts if self.bottom_up else parts[::-1]

    def _holes_down(self, low: int, high: int) -> Iterator[Range]:
        """Yield what is free in [low, high) of each memory region without NOMAP, highest first."""
        memory, reserved = self.memory, self.reserved
        for m in range(bisect_left(memory.base, high) - 1, -1, -1):
            if memory.end[m] <= low:
                return
            if memory.flags[m] & LMB_NOMAP:
                continue
            base = memory.base[m] if memory.base[m] > low else low
            end = memory.end[m] if memory.end[m] < high else high
            r = bisect_left(reserved.base, end) - 1
            while base < end:
                if r < 0 or reserved.end[r] <= base:
                    yield base, end
                    break
                if reserved.end[r] < end:
                    yield reserved.end[r], end
                end = reserved.base[r]
                r -= 1

    def _holes_up(self, low: int, high: int) -> Iterator[Range]:
        """Yield the same, lowest first."""
        memory, reserved = self.memory, self.reserved
        for m in range(bisect_right(memory.end, low), len(memory.base)):
            if memory.base[m] >= high:
                return
            if memory.flags[m] & LMB_NOMAP:
                continue
            base = memory.base[m] if memory.base[m] > low else low
            end = memory.end[m] if memory.end[m] < high else high
            r = bisect_right(reserved.end, base)
            while base < end:
                if r == len(reserved.base) or reserved.base[r] >= end:
                    yield base, end
                    break
                if base < reserved.base[r]:
                    yield base, reserved.base[r]
                base = reserved.end[r]
                r += 1

    # -- carrying out (rule 5) ------------------------------------------------------------------------

    def _commit(self, plan: Plan) -> None:
        """Carry a plan out: hand entries on as rule 5 says."""
        table, i, j = plan.table, plan.i, plan.j
        kept = {keeper for _, _, _, keeper in plan.pieces if keeper is not None}
        dropped = deque(table.entry[k] for k in range(i, j) if k not in kept)
        entries = []
        for _, _, _, keeper in plan.pieces:
            if keeper is not None:
                entries.append(table.entry[keeper])
            else:
                entries.append(dropped.popleft() if dropped else self.free_entries.popleft())
        self.free_entries.extendleft(dropped)
        table.base[i:j] = [piece[0] for piece in plan.pieces]
        table.end[i:j] = [piece[1] for piece in plan.pieces]
        table.flags[i:j] = [piece[2] for piece in plan.pieces]
        table.entry[i:j] = entries

    # -- growth (rules 6, 7) --------------------------------------------------------------------------

    def _enough(self, plan: Plan) -> bool:
        """Tell whether the plan leaves the last free entry alone."""
        return len(self.free_entries) - plan.need >= 1

    def _change(self, make_plan: _PlanMaker, avoid: Range | None = None) -> int:
        """Plan, grow as often as needed, plan again each time, and carry out."""
        plan = make_plan()
        while not self._enough(plan):
            if not self._grow(avoid):
                return ENOMEM
            plan = make_plan()
        self._commit(plan)
        return 0

    def _grow(self, avoid: Range | None) -> bool:
        """Gain one block outside `avoid`; tell whether there was memory for it."""
        size = self.config.block_size
        base = self._find(size, size, 0, 0, avoid) if self.may_grow else None
        if base is None:
            return False
        self._commit(plan_add(self.reserved, base, base + size, 0))
        self._queue_block(base, size, self.config.block_entries)
        return True

    def _queue_block(self, base: int, size: int, nr: int) -> None:
        self.blocks.append((base, size, nr))
        self.free_entries.extend(range(self._nr_entries, self._nr_entries + nr))
        self._nr_entries += nr

    # -- view -----------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the whole state as a `Snapshot` (no links, no firmware map, no log)."""
        return Snapshot(
            memory=_view("memory", self.memory),
            reserved=_view("reserved", self.reserved),
            storage=LmbStorage(
                closed=self.closed,
                blocks=tuple(Block(base or None, nr, static=size == 0, size=size) for base, size, nr in self.blocks),
                nr_blocks=len(self.blocks),
                block_size=self.config.block_size,
                entry_size=self.config.entry_size,
                header_size=self.config.header_size,
                free=column(self.free_entries),
                nr_free=len(self.free_entries),
                may_grow=self.may_grow,
                handover_nr=len(self.handover or ()),
            ),
            bits=self.config.bits,
            page_size=self.config.page_size,
            current_limit=self.current_limit,
            bottom_up=self.bottom_up,
            handover=self.handover,
        )


def _view(name: str, table: Table) -> RegionList:
    sizes = [end - base for base, end in zip(table.base, table.end, strict=True)]
    return RegionList(
        name=name,
        cnt=len(sizes),
        total_size=sum(sizes),
        base=column(table.base),
        size=column(sizes),
        flags=column(table.flags),
        entry=column(table.entry),
    )

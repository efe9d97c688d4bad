# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference model of the list-based LMB: same results, same entries in the same places.

Written from the design's rules alone (the numbers below are theirs), each revision's. The state is a sorted table
for each list, with the index of the entry that stores each region, and the freelist as a deque; so a
linked list's order, an entry's place and the freelist's order can all be compared with a guest's.

Results follow the C interface: 0 or a negative errno; `alloc` returns the base, `free_all` the pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from gdb_lmb.allocators.lmb.rules import LMB_MIRROR, NAMED_FLAGS, Search
from gdb_lmb.allocators.lmb.state import (
    EBUSY,
    EINVAL,
    ENOMEM,
    LmbConfig,
    Plan,
    Table,
    config_of,
    created_config,
    plan_add,
    plan_flags,
    plan_remove,
)  # fmt: skip
from gdb_lmb.allocators.lmb.storage import Block, LmbStorage, flag_names, storage_of, unknown_revision
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.ranges import Range, subtract, union, whole_pages
from gdb_lmb.core.snapshot import LMB_NOMAP, RegionList, Snapshot, column

# More entries than any kernel's initial storage or grown block has: a damaged file must not fill our memory.
MAX_FIRST_ENTRIES = 1 << 24
MAX_BLOCK_ENTRIES = 1 << 16


class LmbModel:
    """A list-based LMB after `lmb_init()`, which does not refuse `config`."""

    layout = "lmb-list"

    # Rule 1: queue block 0's entries, reserve a klimit page.
    def __init__(self, config: LmbConfig) -> None:
        self.config, self.rules = config, config.rules
        self.memory = Table([], [], [], [])
        self.reserved = Table([], [], [], [])
        self.phys_addr_max = (1 << config.bits) - 1
        self.current_limit = self.phys_addr_max
        self.bottom_up = False
        self.may_grow = False
        self.handover: tuple[Range, ...] | None = None
        # (base, size in bytes, number of entries); base 0 and size 0: static.
        self.blocks: list[tuple[int | None, int | None, int]] = []
        self.free_entries: deque[int] = deque()
        self._nr_entries = 0
        if config.klimit is None:
            self._queue_block(None, None, config.static)
        else:
            self._queue_block(config.klimit, config.page_size, config.first_entries)
            self._commit(
                plan_add(self.reserved, config.klimit, config.klimit + config.page_size, self.rules.block_flags)
            )

    @classmethod
    def created(cls, init: Operation, page_size: int, revision: int) -> LmbModel:
        """Return the model as `lmb_init()` leaves it; `page_size` is in bytes, `revision` the design's.

        Raises: `InputError` where that call would have failed, or the revision is not known.
        """
        if why := unknown_revision(revision):
            raise InputError(why)
        config = created_config(init, page_size, revision)
        why = "an entry has no size" if not config.entry_size else config.refusal()
        if why is None and (config.first_entries > MAX_FIRST_ENTRIES or config.block_entries > MAX_BLOCK_ENTRIES):
            why = f"{max(config.first_entries, config.block_entries)} entries at once are more than can be believed"
        if why is not None:
            raise InputError(f"{init} is no call that succeeds: {why}")
        return cls(config)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> LmbModel:
        """Return a model that goes on from a walked or modelled state; nothing is shared with it.

        Raises: `StateError` where the model cannot stand on it: torn, damaged, of another layout.
        """
        model, storage = cls(config_of(snapshot)), storage_of(snapshot)
        model.memory, model.reserved = Table.of(snapshot.memory), Table.of(snapshot.reserved)
        model.free_entries = deque(storage.free)
        model.blocks = [(block.base, block.size, block.nr) for block in storage.blocks]
        model._nr_entries = storage.nr_entries
        model.current_limit = snapshot.current_limit
        model.bottom_up, model.may_grow = snapshot.bottom_up, storage.may_grow
        # A program without a table of what was handed over is closed all the same.
        model.handover = snapshot.handover or () if storage.closed else None
        return model

    # -- operations (rule 3) --------------------------------------------------------------------------

    def init_again(self) -> int:
        """Do a second `lmb_init()`, which is refused (rule 1)."""
        return EBUSY

    def add(self, base: int, size: int, flags: int = 0) -> int:
        """Do `lmb_add()`: put the uncovered pieces of [base, base + size) on the memory list."""
        end = self._end(base, size)
        return self._refuse(base, size, flags) or self._change(
            lambda: plan_add(self.memory, base, end, flags), self._apart(base, end)
        )

    def reserve(self, base: int, size: int, flags: int = 0) -> int:
        """Do `lmb_reserve()`: put the uncovered pieces of [base, base + size) on the reserved list."""
        end = self._end(base, size)
        return (
            self._refuse(base, size, flags)
            or (self._refuse_blocks(base, end) if self.rules.keeps_blocks else 0)
            or self._change(lambda: plan_add(self.reserved, base, end, flags), (base, end))
        )

    def remove(self, base: int, size: int) -> int:
        """Do `lmb_remove()`: take [base, base + size) out of the memory list."""
        end = self._end(base, size)
        return (
            self._refuse(base, size)
            or self._refuse_blocks(base, end)
            or self._change(lambda: plan_remove(self.memory, base, end), (base, end))
        )

    def free(self, base: int, size: int) -> int:
        """Do `lmb_free()`: take [base, base + size) out of the reserved list."""
        end = self._end(base, size)
        return (
            self._refuse(base, size)
            or self._refuse_blocks(base, end)
            or self._change(lambda: plan_remove(self.reserved, base, end), self._apart(base, end))
        )

    def mark(self, base: int, size: int, flags: int) -> int:
        """Do `lmb_mark()`: set one flag on what the memory list has in [base, base + size)."""
        end = self._end(base, size)
        return (
            self._refuse_flag(base, size, flags)
            or (self._refuse_blocks(base, end) if flags != LMB_MIRROR else 0)
            or self._change(lambda: plan_flags(self.memory, base, end, lambda own: own | flags), self._apart(base, end))
        )

    def clear(self, base: int, size: int, flags: int) -> int:
        """Do `lmb_clear()`: clear one flag on what the memory list has in [base, base + size)."""
        end = self._end(base, size)
        return self._refuse_flag(base, size, flags) or self._change(
            lambda: plan_flags(self.memory, base, end, lambda own: own & ~flags), self._apart(base, end)
        )

    def enforce_memory_limit(self, size: int) -> int:
        """Do `lmb_enforce_memory_limit()`: cut both lists after the first `size` bytes without NOMAP (rule 3)."""
        self._require_second()
        if refusal := self._refuse(0, size) or (EBUSY if self.may_grow else 0):
            return refusal
        left, cut = size, 0
        for base, end, flags in zip(self.memory.base, self.memory.end, self.memory.flags, strict=True):
            if flags & LMB_NOMAP:
                continue
            if left < end - base:  # there is more: the cut is where the last byte of the limit ends
                return self._cut(cut if left == 0 else base + left)
            left -= end - base
            cut = end
        return 0

    # Neither list goes past `cut` any more; this needs no entry.
    def _cut(self, cut: int) -> int:
        if refusal := self._refuse_blocks(cut, self.phys_addr_max):
            return refusal
        for table in (self.memory, self.reserved):
            self._commit(plan_remove(table, cut, self.phys_addr_max))
        return 0

    def alloc(self, size: int, align: int = 0, min: int = 0, max: int = 0, flags: int = 0) -> int:
        """Do `lmb_alloc()`: find a range, reserve it with `flags`, return its base (rules 3, 4, 6)."""
        align = align or 1
        if refusal := self._refuse(0, size, flags) or (EINVAL if align & (align - 1) else 0):
            return refusal
        base = self._find(size, align, min, max)
        while base is not None:
            plan = plan_add(self.reserved, base, base + size, flags)
            if self._enough(plan):
                self._commit(plan)
                return base
            if not self._grow(self._apart(base, base + size)):
                break
            if not self.rules.grows_apart:
                base = self._find(size, align, min, max)
        return ENOMEM

    def allow_growth(self) -> int:
        """Do `lmb_allow_growth()` (rule 6)."""
        return self._set("may_grow", True)

    def set_current_limit(self, limit: int) -> int:
        """Do `lmb_set_current_limit()`: no search goes past `limit`, a physical address."""
        return self._set("current_limit", limit)

    def set_bottom_up(self, enable: bool) -> int:
        """Do `lmb_set_bottom_up()`: search upwards from now on, or downwards again."""
        return self._set("bottom_up", enable)

    def _set(self, name: str, value: int) -> int:
        if self.closed:
            return EBUSY
        setattr(self, name, value)
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
        reserved = union(zip(self.reserved.base, self.reserved.end, strict=True))
        self.handover = tuple(whole_pages(subtract(memory, reserved), self.config.page_size))
        return sum(end - base for base, end in self.handover) // self.config.page_size

    @property
    def closed(self) -> bool:
        """Tell whether `lmb_free_all()` has run."""
        return self.handover is not None

    # -- refusals -------------------------------------------------------------------------------------

    def _refuse(self, base: int, size: int, flags: int = 0) -> int:
        if self.closed:
            return EBUSY
        return EINVAL if self.rules.invalid(base, size, flags, self.phys_addr_max) else 0

    def _refuse_flag(self, base: int, size: int, flag: int) -> int:
        self._require_second()
        return self._refuse(base, size) or (EINVAL if flag not in NAMED_FLAGS else 0)

    # Where a range ends that is not refused.
    def _end(self, base: int, size: int) -> int:
        return min(base + size, self.phys_addr_max)

    def _require_second(self) -> None:
        if not self.rules.changes_flags:
            what = "mark, clear or enforce_limit"
            raise InputError(f"revision {self.rules.revision} of the list-based LMB has no {what}")

    # Rule 8: the memory of any block but a static block 0 is not taken away.
    def _refuse_blocks(self, base: int, end: int) -> int:
        if self.rules.block_flags:  # the reserved list alone tells
            i, j = self.reserved.overlapping(base, end)
            return EBUSY if any(flags & self.rules.block_flags for flags in self.reserved.flags[i:j]) else 0
        own = ((b, b + size) for b, size, _ in self.blocks if b is not None and size is not None)
        return EBUSY if any(low < end and base < high for low, high in own) else 0

    # -- search (rule 4) ------------------------------------------------------------------------------

    def _find(self, size: int, align: int, min: int, max: int) -> int | None:
        found = (self._search(one, size, align, min, max) for one in self.rules.searches)
        return next((base for base in found if base is not None), None)

    def _search(
        self, search: Search, size: int, align: int, min: int, max: int, avoid: Range | None = None
    ) -> int | None:
        low = min if min > self.config.page_size else self.config.page_size
        high = max if max and max < self.current_limit else self.current_limit
        holes: Iterable[Range] = self._holes(search, low, high)
        if avoid is not None:
            holes = (part for hole in holes for part in subtract([hole], [avoid])[:: 1 if self.bottom_up else -1])
        for base, end in holes:
            at = (base + align - 1 if self.bottom_up else end - size) & -align
            if base <= at and at + size <= end:
                return at
        return None

    # What is free in [low, high) of each memory region that a search looks at, in the order of the search.
    def _holes(self, search: Search, low: int, high: int) -> Iterator[Range]:
        memory, reserved = self.memory, self.reserved
        looked_at, wanted = search
        regions = range(bisect_right(memory.end, low), bisect_left(memory.base, high))
        for m in regions if self.bottom_up else reversed(regions):
            if memory.flags[m] & looked_at != wanted:
                continue
            base = memory.base[m] if memory.base[m] > low else low
            end = memory.end[m] if memory.end[m] < high else high
            # Hole r lies between reserved regions r - 1 and r; the first and the last one end with the memory region.
            first, last = bisect_right(reserved.end, base), bisect_left(reserved.base, end)
            holes = range(first, last + 1)
            for r in holes if self.bottom_up else reversed(holes):
                start = reserved.end[r - 1] if r > first else base
                stop = reserved.base[r] if r < last else end
                if start < stop:
                    yield start, stop

    # -- carrying out (rule 5) ------------------------------------------------------------------------

    def _commit(self, plan: Plan) -> None:
        table, i, j = plan.table, plan.i, plan.j
        kept = {keeper for *_, keeper in plan.pieces}
        dropped = deque(table.entry[k] for k in range(i, j) if k not in kept)
        table.entry[i:j] = [
            table.entry[keeper] if keeper is not None else (dropped or self.free_entries).popleft()
            for *_, keeper in plan.pieces
        ]
        self.free_entries.extendleft(dropped)
        table.base[i:j] = [piece[0] for piece in plan.pieces]
        table.end[i:j] = [piece[1] for piece in plan.pieces]
        table.flags[i:j] = [piece[2] for piece in plan.pieces]

    # -- growth (rules 6, 7) --------------------------------------------------------------------------

    # The last free entry is left alone; what a plan needs is the net growth (rule 5).
    def _enough(self, plan: Plan) -> bool:
        return len(self.free_entries) - max(0, len(plan.pieces) - (plan.j - plan.i)) >= 1

    # Plan, grow as often as needed, plan again each time, and carry out.
    def _change(self, make_plan: Callable[[], Plan], avoid: Range | None = None) -> int:
        while not self._enough(plan := make_plan()):
            if not self._grow(avoid):
                return ENOMEM
        self._commit(plan)
        return 0

    # Where an operation's blocks may not lie, unless this revision minds a reservation's and a removal's only.
    def _apart(self, base: int, end: int) -> Range | None:
        return (base, end) if self.rules.grows_apart else None

    # Gain one block outside `avoid`; tell whether there was memory for it.
    def _grow(self, avoid: Range | None) -> bool:
        size = self.config.block_size
        base = self._search(self.rules.searches[0], size, size, 0, 0, avoid) if self.may_grow else None
        if base is None:
            return False
        self._commit(plan_add(self.reserved, base, base + size, self.rules.block_flags))
        self._queue_block(base, size, self.config.block_entries)
        return True

    def _queue_block(self, base: int | None, size: int | None, nr: int) -> None:
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
                blocks=tuple(Block(base, nr, static=size is None, size=size) for base, size, nr in self.blocks),
                nr_blocks=len(self.blocks),
                block_size=self.config.block_size,
                entry_size=self.config.entry_size,
                header_size=self.config.header_size,
                free=column(self.free_entries),
                nr_free=len(self.free_entries),
                may_grow=self.may_grow,
                handover_nr=None if self.handover is None else len(self.handover),
                revision=self.rules.revision,
            ),
            bits=self.config.bits,
            page_size=self.config.page_size,
            current_limit=self.current_limit,
            bottom_up=self.bottom_up,
            handover=self.handover,
            flag_names=flag_names(self.rules.revision),
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

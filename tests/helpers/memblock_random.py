# SPDX-License-Identifier: GPL-2.0-or-later
"""Random operations on memblock, the model's answer to them, and what kinds of event they caused."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.core.errors import GuestPanicError
from tests.helpers.memblock_oracle import CACHE_BYTES, MAX_LOW_PFN, MAX_NUMNODES, RAM_BASE, RAM_END, Variant, answer

NODES = 4
LISTS = {"m": "memory", "r": "reserved"}


@dataclass(frozen=True)
class Call:
    """One operation, as the driver's line and as a call of the model."""

    line: str
    run: Callable[[MemblockModel], int | None]


def add(list: str, base: int, size: int, nid: int, flags: int) -> Call:
    line = f"add {list} {base:x} {size:x} {nid} {flags:x}"
    return Call(line, lambda m: m.add_range(LISTS[list], base, size, nid, flags))


def remove(list: str, base: int, size: int) -> Call:
    return Call(f"remove {list} {base:x} {size:x}", lambda m: m.remove_range(LISTS[list], base, size))


def setclr(list: str, base: int, size: int, set: bool, flag: int) -> Call:
    line = f"setclr {list} {base:x} {size:x} {set:d} {flag:x}"
    return Call(line, lambda m: m.setclr_flag(LISTS[list], base, size, set, flag))


def node(list: str, base: int, size: int, nid: int) -> Call:
    return Call(f"node {list} {base:x} {size:x} {nid}", lambda m: m.set_node(LISTS[list], base, size, nid))


def alloc(size: int, align: int, low: int, high: int, nid: int, exact: bool) -> Call:
    line = f"alloc {size:x} {align:x} {low:x} {high:x} {nid} {exact:d}"
    return Call(line, lambda m: m.alloc_range_nid(size, align, low, high, nid, exact))


def trim(align: int) -> Call:
    return Call(f"trim {align:x}", lambda m: m.trim_memory(align))


def cap(base: int, size: int) -> Call:
    return Call(f"cap {base:x} {size:x}", lambda m: m.cap_memory_range(base, size))


def limit(value: int) -> Call:
    return Call(f"limit {value:x}", lambda m: m.set_current_limit(value))


def bottom_up(value: bool) -> Call:
    return Call(f"up {value:d}", lambda m: m.set_bottom_up(value))


def switch(line: str, name: str) -> Call:
    def run(model: MemblockModel) -> int:
        setattr(model, name, True)
        return 0

    return Call(line, run)


RESIZE = Call("resize", lambda m: m.allow_resize())
FREE_ALL = Call("free_all", lambda m: m.free_all())
DISCARD = Call("discard", lambda m: m.discard())
MOVABLE = switch("movable 1", "movable_node")
SLAB = switch("slab", "slab_up")
SCRATCH = switch("scratch", "kho_scratch_only")


def config_of(behavior: MemblockBehavior, variant: Variant) -> MemblockConfig:
    return MemblockConfig(
        behavior=behavior,
        bits=variant.bits,
        cache_bytes=CACHE_BYTES,
        no_node=MAX_NUMNODES if variant.numa else None,
        region_size=variant.region_size,
        memory_max=variant.memory_max,
        reserved_max=variant.reserved_max,
        max_low_pfn=MAX_LOW_PFN,
    )


class Story:
    """The operations of one run: what kind of machine it is, then what happens on it.

    Doubled arrays are really written to, so the memory that they can come from is the mapped one: elsewhere
    there is memory only where nothing may be doubled (`wild`), or above a limit that is never raised
    (`high`).
    """

    def __init__(self, rng: random.Random, behavior: MemblockBehavior, variant: Variant, operations: int) -> None:
        self.rng, self.behavior, self.variant = rng, behavior, variant
        self.max = (1 << variant.bits) - 1
        self.kind = rng.choices(("usual", "high", "wild"), (8, 2, 1))[0]
        self.crowd = rng.choice((200, 2000, 16000))
        self.calls: list[Call] = []
        self._begin()
        while len(self.calls) < operations - 8:
            self.calls.append(self._any())
        self._end()

    def _begin(self) -> None:
        rng = self.rng
        if self.kind == "high":
            self.calls.append(limit(RAM_END))
        for base, size, nid in self._banks():
            self.calls.append(add("m", base, size, nid, rng.choice((0, 0, 0, 1, 2, 8))))
        if self.kind != "wild":
            self.calls.insert(rng.choice((0, 1, 4, 40)) if rng.random() < 0.5 else 1, RESIZE)
        if rng.random() < 0.5:
            self.calls.append(bottom_up(True))
        if rng.random() < 0.4:
            self.calls.append(MOVABLE)
        if self.behavior.kho_scratch and rng.random() < 0.2:
            self.calls += [setclr("m", RAM_BASE + (8 << 20), 4 << 20, True, 0x40), SCRATCH]
        if rng.random() < 0.4:
            base, size = self._range()
            self.calls.append(setclr("m", base, 40 * size, True, 2))

    def _banks(self) -> list[tuple[int, int, int]]:
        whole = RAM_END - RAM_BASE
        nodes = self.rng.randint(1, NODES)
        return [(RAM_BASE + n * (whole // nodes), whole // nodes, n) for n in range(nodes)]

    def _end(self) -> None:
        self.calls += [FREE_ALL, self._any(), FREE_ALL]
        # The simulator has no buddy allocator for those that would turn to it. Discarding frees what came
        # from the slab, which then cannot be shown any more.
        if not self.behavior.late_free_to_buddy and self.rng.random() < 0.5:
            self.calls += [SLAB, *(self._any() for _ in range(3)), FREE_ALL]
        else:
            self.calls.append(DISCARD)

    def _range(self) -> tuple[int, int]:
        """Return a range that often touches, overlaps or hits the edges of others."""
        rng = self.rng
        grain = rng.choice((1, 16, 256, 4096, 4096, 4096, 4096))
        base = RAM_BASE + rng.randrange(self.crowd) * grain
        return base, rng.choice((1, 1, 1, 1, 2, 3, 7, 40)) * grain

    def _reserved(self) -> tuple[int, int]:
        rng, (base, size) = self.rng, self._range()
        style = rng.random()
        if style < 0.01:
            return self.max - rng.randrange(3 * size), size
        if style < 0.02:
            return base, rng.choice((0, self.max))
        if style < 0.025:
            return 0, rng.choice((size, RAM_BASE, base))
        return base, size

    def _memory(self) -> tuple[int, int]:
        rng, (base, size) = self.rng, self._range()
        if self.kind == "high" and rng.random() < 0.2:
            return RAM_END + rng.randrange(64) * size, size * rng.choice((1, 64))
        if self.kind == "wild" and rng.random() < 0.3:
            return rng.choice(((0, size), (base % 0x3000, size), (self.max - size, 2 * size), (base, self.max)))
        return base, size

    def _nid(self) -> int:
        return self.rng.choice((0, 1, 2, 3, MAX_NUMNODES))

    def _any(self) -> Call:
        rng = self.rng
        kinds = {
            self._add_reserved: 14, self._add_memory: 6, self._remove: 9, self._mark: 6, self._node: 3,
            self._alloc: 14, self._rare: 1.5,
        }  # fmt: skip
        return rng.choices([*kinds], [*kinds.values()])[0]()

    def _add_reserved(self) -> Call:
        base, size = self._reserved()
        if not self.behavior.marks_kernel:
            return add("r", base, size, MAX_NUMNODES, 0)
        nid, flags = self.rng.choice(((-1, 0), (-1, 0), (-1, 0x20), (self._nid(), 0x20), (-1, 0xA0)))
        return add("r", base, size, nid, flags)

    def _add_memory(self) -> Call:
        return add("m", *self._memory(), self._nid(), self.rng.choice((0, 0, 0, 0, 1, 2, 4, 8)))

    def _remove(self) -> Call:
        if self.rng.random() < 0.75:
            return remove("r", *self._reserved())
        return remove("m", *self._memory())

    def _mark(self) -> Call:
        changes = [("m", True, 1), ("m", False, 1), ("m", True, 4), ("m", False, 4)]
        if self.rng.random() < 0.1:
            changes.append(("m", True, 2))
        if not self.behavior.merges_all:
            changes.append(("r", True, 0x10))
        if self.behavior.marks_kernel:
            changes += [("r", True, 0x20), ("m", True, 0x40), ("m", False, 0x40)]
        list, set, flag = self.rng.choice(changes)
        return setclr(list, *(self._memory() if list == "m" else self._reserved()), set, flag)

    def _node(self) -> Call:
        list = self.rng.choice("mmr")
        return node(list, *(self._memory() if list == "m" else self._reserved()), self._nid())

    def _alloc(self) -> Call:
        rng, (base, size) = self.rng, self._range()
        if rng.random() < 0.2:
            size = rng.choice((0, 1 << 20, 9 << 20, 1 << 30))
        align = rng.choice((0, 0, 1, 32, 4096, 4096, 65536, 1 << 20, 3))
        low = rng.choice((0, 0, 0, base))
        high = rng.choice((0, 0, 0, 1, min(base + 64 * size, self.max), self.max))
        nid = rng.choice((-1, -1, 0, 1, 2, 3, 9, MAX_NUMNODES, MAX_NUMNODES + 1, -2))
        return alloc(size, align, low, high, nid, rng.random() < 0.3)

    def _rare(self) -> Call:
        rng, (base, size) = self.rng, self._range()
        kind = rng.randrange(10)
        if kind < 3:
            return bottom_up(rng.random() < 0.5)
        if kind < 6:
            if self.kind == "high":
                return limit(rng.choice((RAM_END, RAM_END, base, 0)))
            return limit(rng.choice((self.max, self.max, RAM_END, base, 0, 1)))
        if kind < 8:
            return trim(rng.choice((4096, 4096, 16, 65536)))
        return cap(base, size * rng.choice((16, 4000, 16000))) if kind < 9 else FREE_ALL


class Lockstep:
    """The model run over a story, compared with the driver's answers; `events` counts what happened."""

    def __init__(self, behavior: MemblockBehavior, variant: Variant) -> None:
        self.model = MemblockModel(config_of(behavior, variant))
        self.events: Counter[str] = Counter()

    def follow(self, calls: list[Call], answers: list[str]) -> int:
        """Compare operation by operation; return how many there were until the end, or a panic."""
        for number, call in enumerate(calls):
            before = copy.deepcopy(self.model)
            try:
                result = call.run(self.model)
            except GuestPanicError as end:
                if end.overwrites:
                    # What C then shows is what its arrays have done to each other.
                    self.events["arrays overwritten"] += 1
                else:
                    assert len(answers) == number, f"operation {number}, {call.line}: the model says {end}, C goes on"
                    self.events["panic"] += 1
                return number
            assert number < len(answers), f"operation {number}, {call.line}: C died, the model goes on"
            # The simulator's slab gives nothing for GFP_NOWAIT.
            expected = answer(self.model, result or 0)
            if answers[number] != expected:
                raise AssertionError(
                    f"operation {number}, {call.line}:\nbefore {answer(before, 0)}\n"
                    f"C      {answers[number]}\nmodel  {expected}"
                )
            self._count(call.line.split(), before, result)
        assert len(answers) == len(calls)
        return len(calls)

    def _count(self, words: list[str], before: MemblockModel, result: int | None) -> None:
        events, model = self.events, self.model
        for name in ("memory", "reserved"):
            old, new = getattr(before, name), getattr(model, name)
            if new.max > old.max:
                events[f"{name} doubled"] += 1
                if not old.static:
                    events[f"{name}'s old array freed"] += 1
                if words[0] == "add" and name == "reserved" and words[1] == "r" and new.array_base:
                    base, end = int(words[2], 16), int(words[2], 16) + int(words[3], 16)
                    events["array below the new area"] += new.array_base < base
                    events["array inside the new area"] += base <= new.array_base < end
            grew = len(new.base) - len(old.base)
            events["split"] += grew > 0 and words[0] in ("remove", "setclr", "node", "cap")
            events["merge"] += grew < 0 and words[0] in ("add", "setclr", "node")
        events["both doubled at once"] += (
            model.memory.max > before.memory.max and model.doublings > before.doublings + 1
        )
        events["-ENOMEM"] += result == -12
        if words[0] == "alloc":
            self._count_alloc(words, before, result)

    def _count_alloc(self, words: list[str], before: MemblockModel, result: int | None) -> None:
        events, memory = self.events, before.memory
        events["allocation failed" if not result else "allocation"] += 1
        size, nid = int(words[1], 16), int(words[5])
        if not result or not size:
            return
        home = next(i for i, end in enumerate(memory.end) if end > result)
        if before.config.no_node is not None and 0 <= nid < MAX_NUMNODES:
            events["node" if memory.nid[home] == nid else "node fallback"] += 1
        if before.has_mirror and not before.kho_scratch_only:
            events["mirror" if memory.flags[home] & 2 else "mirror fallback"] += 1
        events["scratch"] += before.kho_scratch_only
        events["bottom-up" if before.bottom_up else "top-down"] += 1

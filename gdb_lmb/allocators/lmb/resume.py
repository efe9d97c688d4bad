# SPDX-License-Identifier: GPL-2.0-or-later
"""Going on from a walked state: what a snapshot must hold for the model to stand on it.

Only what the ten rules build upon is asked for, by means of this module's own: the checks look for more,
and share nothing with the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from gdb_lmb.allocators.lmb.state import LmbConfig, Table
from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.allocators.resume import require_whole, unfit
from gdb_lmb.core.errors import StateError
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.ranges import covers, union
from gdb_lmb.core.snapshot import RegionList, Snapshot


def config_of(snapshot: Snapshot) -> LmbConfig:
    """Return what was fixed when `lmb_init()` ran. Raises: `StateError`."""
    require_whole(snapshot, "lmb-list", "a list-based LMB's")
    storage = storage_of(snapshot)
    if not storage.blocks:
        raise StateError("this state has no block of entries")
    first = storage.blocks[0]
    if storage.entry_size is None or storage.header_size is None:
        raise StateError("this state does not tell the size of an entry and of a block's header")
    config = LmbConfig(
        static=first.nr,
        klimit=None if first.static else first.base,
        block_size=storage.block_size,
        entry_size=storage.entry_size,
        header_size=storage.header_size,
        bits=snapshot.bits,
        page_size=snapshot.page_size,
    )
    why = config.refusal()
    if why:
        raise StateError(f"no model goes on from here: {why}")
    return config


def created_config(init: Operation, page_size: int) -> LmbConfig:
    """Return what `lmb_init()` was called with, as the first record of a log tells. Nothing is checked."""
    return LmbConfig(
        static=init.max,
        klimit=init.base or None,
        block_size=init.size,
        header_size=init.align,
        entry_size=init.min,
        bits=init.flags,
        page_size=page_size,
    )


def table_of(regions: RegionList) -> Table:
    """Return one list as the model keeps it."""
    end = [base + size for base, size in zip(regions.base, regions.size, strict=True)]
    return Table(list(regions.base), end, list(regions.flags), list(regions.entry))


def require_sound(snapshot: Snapshot, config: LmbConfig) -> None:
    """Check that the rules hold that the model builds upon. Raises: `StateError` naming the first that does not."""
    for why in _unsound(snapshot, config):
        raise unfit(why)


def _unsound(snapshot: Snapshot, config: LmbConfig) -> Iterator[str]:
    for name, walk in (("memory", snapshot.memory.walk), ("reserved", snapshot.reserved.walk),
                       ("free", storage_of(snapshot).free_walk)):  # fmt: skip
        if walk is not None and not (walk.complete and walk.mutual):
            yield f"the {name} list's links are damaged"
    yield from _unsound_list(snapshot.memory, (1 << config.bits) - 1)
    yield from _unsound_list(snapshot.reserved, (1 << config.bits) - 1)
    yield from _unsound_storage(snapshot, config)


def _unsound_list(regions: RegionList, limit: int) -> Iterator[str]:
    """Yield how a list breaks rule 2: sorted, disjoint, merged, nothing empty or past the end."""
    end, flags = -1, -1
    for base, size, own in zip(regions.base, regions.size, regions.flags, strict=True):
        if not size or base + size > limit:
            yield f"{regions.name} region [{base:#x}, {base + size:#x}) is empty or wraps"
        if base < end or (base == end and own == flags):
            yield f"{regions.name} region [{base:#x}, {base + size:#x}) is out of order, overlaps or is not merged"
        end, flags = base + size, own


def _unsound_storage(snapshot: Snapshot, config: LmbConfig) -> Iterator[str]:
    """Yield how entries and blocks break rules 1, 6 and 8."""
    storage = storage_of(snapshot)
    members = [*snapshot.memory.entry, *snapshot.reserved.entry, *storage.free]
    if len(members) != storage.nr_entries or len(set(members)) != len(members):
        yield "an entry is on no list, or on two"
    if storage.nr_free != len(storage.free) or not storage.nr_free:
        yield f"nr_free is {storage.nr_free}, but {len(storage.free)} entries are on the freelist"
    if storage.nr_blocks != len(storage.blocks):
        yield f"nr_blocks is {storage.nr_blocks}, but the chain has {len(storage.blocks)} blocks"
    for number, block in enumerate(storage.blocks):
        if block.nr != (config.block_entries if number else config.first_entries) or (number and block.static):
            yield f"block {number} has {block.nr} entries"
    reserved = union(snapshot.reserved.ranges())
    bases, ends = [base for base, _ in reserved], [end for _, end in reserved]
    held = filter(None, (block.own_range for block in storage.blocks))
    if not covers(bases, ends, held):
        yield "a block of entries is not reserved"

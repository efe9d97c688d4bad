# SPDX-License-Identifier: GPL-2.0-or-later
"""From a walked state, and the facts that no list shows, to the model; and the facts of a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.operations import LISTS
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.allocators.resume import require_whole, unfit
from gdb_lmb.core.errors import InputError, StateError
from gdb_lmb.core.operation import checked, short
from gdb_lmb.core.snapshot import Snapshot

MAX_REGIONS = 1 << 20
"""More regions than any kernel's array has: a damaged file must not fill our memory."""

_BEHAVIOR = tuple(field.name for field in fields(MemblockBehavior))
_SWITCHES = ("can_resize", "slab_up", "has_mirror", "movable_node", "kho_scratch_only", "discarded")


def facts_of(model: MemblockModel) -> dict[str, Any]:
    """Return what a saved trace must say of a memblock beside its state, as plain values.

    These are the kernel's behavior, what is fixed in its build, and the switches that no list shows.
    """
    return {
        **asdict(model.behavior),
        "cache_bytes": model.config.cache_bytes,
        "keep": model.config.keep,
        "max_low_pfn": model.config.max_low_pfn,
        **{name: getattr(model, name) for name in _SWITCHES if name != "discarded"},
        "in_slab": [table.name for table in (model.memory, model.reserved) if table.in_slab],
    }


def from_snapshot(snapshot: Snapshot, config: MemblockConfig, *, in_slab: Collection[str] = ()) -> MemblockModel:
    """Return a model that goes on from a walked state; `in_slab` names the lists whose arrays came from the slab.

    Raises: `StateError` where the stop is inside of memblock, and for lists that no memblock has: unsorted,
    overlapping, longer than their array.
    """
    require_whole(snapshot, "memblock", "a memblock's")
    model = MemblockModel(config)
    for regions in snapshot.lists:
        model.tables[regions.name].load(regions)
    for stored in storage_of(snapshot).arrays:
        table = model.tables[stored.name]
        table.array_base, table.array_va, table.static = stored.base, stored.va, stored.static
        table.in_slab = stored.name in in_slab
    model.current_limit, model.bottom_up = snapshot.current_limit, snapshot.bottom_up
    model.arch, model.byte_order = snapshot.arch, snapshot.byte_order
    return model


def _is_line(value: Any) -> bool:
    return isinstance(value, int) and 0 < value <= 1 << 20 and not value & (value - 1)


def _is_pfn(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value >= 0)


def _are_lists(value: Any) -> bool:
    return isinstance(value, list) and all(name in LISTS for name in value)


def resume(initial: Snapshot, values: Mapping[str, Any]) -> MemblockModel:
    """Return a model that goes on from `initial`; `values` are those of `facts_of()`.

    What is not there has the value of a kernel that has just started, but the behavior must be told in full.
    Raises: `StateError` for a state that no model goes on from, `InputError` for facts that are none.
    """
    known = {*_BEHAVIOR, *_SWITCHES, "cache_bytes", "keep", "max_low_pfn", "in_slab", "nodes"}
    for name in values:
        if name not in known:
            raise InputError(f'"generation" holds {short(name)}, which is not known')
    for name in (*_BEHAVIOR, *_SWITCHES, "keep", "nodes"):
        if not isinstance(values.get(name, False), bool):
            raise InputError(f'"generation" says that {name} is {short(values[name])}; expected true or false')
    missing = [name for name in _BEHAVIOR if name not in values]
    if missing:
        raise InputError(f'"generation" does not say {missing[0]}')
    cache_bytes = checked("cache_bytes", values.get("cache_bytes", 64), _is_line, "a power of two")
    max_low_pfn = checked("max_low_pfn", values.get("max_low_pfn"), _is_pfn, "a number of pages or null")
    in_slab = checked("in_slab", values.get("in_slab") or [], _are_lists, "names of lists")
    for name in initial.refused:
        raise StateError(f"{name} was not true any more")
    for regions in initial.lists:
        if not 0 < (regions.max or 0) <= MAX_REGIONS:
            raise unfit(f"no memblock has an array of {regions.max} regions ({regions.name})")
    if not values.get("nodes", True):  # a kernel without them may still tell a MAX_NUMNODES
        initial = replace(initial, no_node=None)
    config = MemblockConfig.of(
        initial,
        MemblockBehavior(**{name: values[name] for name in _BEHAVIOR}),
        cache_bytes=cache_bytes,
        keep=values.get("keep", False),
        max_low_pfn=max_low_pfn,
    )
    model = from_snapshot(initial, config, in_slab=in_slab)
    for name in _SWITCHES:
        setattr(model, name, values.get(name, False))
    return model

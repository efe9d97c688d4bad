# SPDX-License-Identifier: GPL-2.0-or-later
"""From a walked state, and the facts that no list shows, to the model and back; what one operation would do there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from gdb_lmb.allocators.memblock.behavior import NUMA_NO_NODE, MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.operations import LISTS
from gdb_lmb.allocators.memblock.storage import MAX_REGIONS, storage_of
from gdb_lmb.allocators.predict import Argument, Prediction, no_room, predict, require_whole, unfit
from gdb_lmb.core.errors import InputError, StateError, UsageError
from gdb_lmb.core.json_values import checked, short
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import human_size

_BEHAVIOR = tuple(field.name for field in fields(MemblockBehavior))
_SWITCHES = ("can_resize", "slab_up", "has_mirror", "movable_node", "kho_scratch_only", "discarded")

# The other facts, each with the value of a kernel that has just started, what it may be, and that in words.
_FACTS = {
    "cache_bytes": (
        64, lambda value: isinstance(value, int) and 0 < value <= 1 << 20 and not value & (value - 1), "a power of two"
    ),
    "max_low_pfn": (
        None, lambda value: value is None or (isinstance(value, int) and value >= 0), "a number of pages or null"
    ),
    "in_slab": (
        (), lambda value: not value or (isinstance(value, list) and all(name in LISTS for name in value)),
        "names of lists",
    ),
    "unknown": (
        (), lambda value: not value or (isinstance(value, list) and all(isinstance(one, str) for one in value)),
        "what is not known, in words",
    ),
}  # fmt: skip


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
        **({"unknown": list(model.unknown)} if model.unknown else {}),
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


def resume(initial: Snapshot, values: Mapping[str, Any]) -> MemblockModel:
    """Return a model that goes on from `initial`; `values` are those of `facts_of()`.

    What is not there has the value of a kernel that has just started, but the behavior must be told in full.
    Raises: `StateError` for a state that no model goes on from, `InputError` for facts that are none.
    """
    known = {*_BEHAVIOR, *_SWITCHES, *_FACTS, "keep", "nodes"}
    for name, value in values.items():
        if name not in known:
            raise InputError(f'"generation" holds {short(name)}, which is not known')
        if name not in _FACTS and not isinstance(value, bool):
            raise InputError(f'"generation" says that {name} is {short(value)}; expected true or false')
    for name in _BEHAVIOR:
        if name not in values:
            raise InputError(f'"generation" does not say {name}')
    facts = {
        name: checked(name, values.get(name, default), fits, expected)
        for name, (default, fits, expected) in _FACTS.items()
    }
    for name in initial.refused:
        raise StateError(f"{name} was not true any more")
    for regions in initial.lists:
        if regions.max is None or not 0 < regions.max <= MAX_REGIONS:
            raise unfit(f"no memblock has an array of {regions.max} regions ({regions.name})")
    if not values.get("nodes", True):  # a kernel without them may still tell a MAX_NUMNODES
        initial = replace(initial, no_node=None)
    in_slab, unknown = facts.pop("in_slab") or (), facts.pop("unknown") or ()
    behavior = MemblockBehavior(**{name: values[name] for name in _BEHAVIOR})
    config = MemblockConfig.of(initial, behavior, keep=values.get("keep", False), **facts)
    model = from_snapshot(initial, config, in_slab=in_slab)
    model.unknown = tuple(unknown)
    for name in _SWITCHES:
        setattr(model, name, values.get(name, False))
    return model


# -- predictions ------------------------------------------------------------------------------------

# The static functions that `memblock_reserve()`, `memblock_phys_free()`, `memblock_add()` and `memblock_remove()`
# call, and for which list.
_CALLS = {
    "reserve": ("add_range", "reserved"),
    "free": ("remove_range", "reserved"),
    "add": ("add_range", "memory"),
    "remove": ("remove_range", "memory"),
}


def predict_memblock(model: MemblockModel, op: str, **arguments: int) -> Prediction:
    """Return what alloc, reserve, free, add or remove would do; the model is used up.

    `alloc` is `memblock_phys_alloc_range()`, or `memblock_phys_alloc_try_nid()` where a `nid` is given.
    Raises: `UsageError` for numbers that no caller can mean.
    """
    align, nid, nodes = arguments.get("align"), arguments.get("nid"), model.config.no_node
    if align is not None and align & (align - 1):
        raise UsageError(f"--align {align:#x} is no power of two, which memblock expects without looking")
    if nodes is not None and nid is not None and nid > nodes > 0:
        raise UsageError(f"--nid {nid}: this kernel numbers its nodes from 0 to {nodes - 1}")
    call, given = _call(model, op, arguments)
    prediction = predict(model, call, **given)
    before, after = prediction.before, prediction.after
    arrays = zip(storage_of(before).arrays, storage_of(after).arrays, strict=True)
    doubled = [(old.max, new, None if new.base is None else hex(new.base)) for old, new in arrays if old.max != new.max]
    room = (f"{old.name} {old.cnt:,} -> {new.cnt:,} of {new.max:,}"
            for old, new in zip(before.lists, after.lists, strict=True))  # fmt: skip
    return replace(
        prediction,
        reason=prediction.reason or _reason(prediction, model),
        growth=(
            *(f"growth: the array of {array.name} doubles from {old:,} to {array.max:,} regions, "
              f"{human_size(array.size)} {f'at {base}' if base else 'from the page allocator'}"
              for old, array, base in doubled),
            f"regions: {', '.join(room)}" + ("" if doubled else "; no array doubles"),
        ),
        storage={
            "arrays": [
                {"list": array.name, "max": [old, array.max], "base": base, "size": hex(array.size)}
                for old, array, base in doubled
            ]
        },
    )  # fmt: skip


def _call(model: MemblockModel, op: str, arguments: dict[str, int]) -> tuple[str, dict[str, Argument]]:
    if op == "alloc":
        if arguments.pop("flags", None):
            raise InputError("allocations of memblock take no flags")
        return "alloc_range_nid", {
            "size": 0, "align": 0, "min": 0, "max": 0, "nid": NUMA_NO_NODE, "exact": False, **arguments
        }  # fmt: skip
    if op not in _CALLS:
        raise UsageError(f"{op} is an operation of the list-based LMB: memblock's flags are not asked about")
    call, name = _CALLS[op]
    given: dict[str, Argument] = {"list": name, "base": arguments["base"], "size": arguments["size"]}
    if call == "add_range":
        # __memblock_reserve() came with RSRV_KERN and passes no node where all others pass MAX_NUMNODES.
        unset = NUMA_NO_NODE if op == "reserve" and model.behavior.marks_kernel else model.config.max_numnodes
        given |= {"nid": unset, "flags": 0, **arguments}
    return call, given


# Why it fails, None where it does not.
def _reason(prediction: Prediction, model: MemblockModel) -> str | None:
    given, state, allocates = prediction.arguments, prediction.after, prediction.op == "alloc_range_nid"
    if prediction.result is None:
        return "the slab allocator is up and would give the memory, at an address that no list tells"
    if (prediction.result != 0) == allocates:
        return None
    if allocates:
        # 0 and 1 (MEMBLOCK_ALLOC_NOLEAKTRACE) are no bounds.
        size, align, low, high = (int(given[name]) for name in ("size", "align", "min", "max"))
        why, fits = no_room(state, size, align, low, high if high > 1 else 0)
        return f"{why} that this allocation may have (node, mirror, hotplug)" if fits else why
    regions = next(regions for regions in state.lists if regions.name == given["list"])
    full = f"the array of {regions.name} is full ({regions.cnt:,} of {regions.max:,} regions)"
    if not model.can_resize:
        return f"{full} and may not be doubled before memblock_allow_resize()"
    return f"{full}, and there is no memory to double it below the limit {state.current_limit:#x}"

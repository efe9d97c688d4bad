# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation of Linux's memblock would do in a walked state, and why it would fail."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.allocators.memblock.behavior import NUMA_NO_NODE
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.allocators.predict import Argument, Prediction, no_room, predict
from gdb_lmb.core.errors import GuestPanicError, InputError, UsageError
from gdb_lmb.core.words import human_size

_CALLS = {
    "reserve": ("add_range", "reserved"),
    "free": ("remove_range", "reserved"),
    "add": ("add_range", "memory"),
    "remove": ("remove_range", "memory"),
}
"""The static functions that `memblock_reserve()`, `memblock_phys_free()`, `memblock_add()` and `memblock_remove()`
call, and for which list."""


def predict_memblock(model: MemblockModel, op: str, **arguments: int) -> Prediction:
    """Return what alloc, reserve, free, add or remove would do; the model is used up.

    `alloc` is `memblock_phys_alloc_range()`, or `memblock_phys_alloc_try_nid()` where a `nid` is given.
    Raises: `UsageError` for numbers that no caller can mean.
    """
    align, nid, nodes = arguments.get("align", 0), arguments.get("nid", 0), model.config.no_node
    if align & (align - 1):
        raise UsageError(f"--align {align:#x} is no power of two, which memblock expects without looking")
    if nodes is not None and nid > nodes > 0:
        raise UsageError(f"--nid {nid}: this kernel numbers its nodes from 0 to {nodes - 1}")
    call, given = _call(model, op, arguments)
    before = model.snapshot()
    try:
        prediction = predict(model, call, **given)
    except GuestPanicError as end:
        what = "overwrites its own lists" if end.overwrites else "stops with"
        prediction = Prediction(call, given, None, before, before, (), reason=f"the kernel {what}: {end}")
        return _with_growth(prediction)
    return _with_growth(replace(prediction, reason=_reason(prediction, model)))


def _with_growth(prediction: Prediction) -> Prediction:
    """Add which arrays are doubled, and how full the lists are."""
    before, after = prediction.before, prediction.after
    arrays = zip(storage_of(before).arrays, storage_of(after).arrays, strict=True)
    doubled = [(old.max, new) for old, new in arrays if old.max != new.max]
    room = (f"{old.name} {old.cnt:,} -> {new.cnt:,} of {new.max:,}"
            for old, new in zip(before.lists, after.lists, strict=True))  # fmt: skip
    return replace(
        prediction,
        growth=(
            *(f"growth: the array of {array.name} doubles from {old:,} to {array.max:,} regions, "
              f"{human_size(array.size)} "
              + ("from the page allocator" if array.base is None else f"at {array.base:#x}") for old, array in doubled),
            f"regions: {', '.join(room)}" + ("" if doubled else "; no array doubles"),
        ),
        storage={
            "arrays": [
                {"list": array.name, "max": [old, array.max], "base": None if array.base is None else hex(array.base),
                 "size": hex(array.size)}
                for old, array in doubled
            ]
        },
    )  # fmt: skip


def _call(model: MemblockModel, op: str, arguments: dict[str, int]) -> tuple[str, dict[str, Argument]]:
    if op == "alloc":
        given: dict[str, Argument] = {"size": 0, "align": 0, "min": 0, "max": 0, "nid": NUMA_NO_NODE, "exact": False}
        if arguments.get("flags"):
            raise InputError("allocations of memblock take no flags")
        return "alloc_range_nid", given | {k: v for k, v in arguments.items() if k != "flags"}
    call, name = _CALLS[op]
    given = {"list": name, "base": arguments["base"], "size": arguments["size"]}
    if call == "add_range":
        # __memblock_reserve() came with RSRV_KERN and passes no node where all others pass MAX_NUMNODES.
        unset = NUMA_NO_NODE if op == "reserve" and model.behavior.marks_kernel else model.config.max_numnodes
        given |= {"nid": arguments.get("nid", unset), "flags": arguments.get("flags", 0)}
    return call, given


def _reason(prediction: Prediction, model: MemblockModel) -> str:
    """Return why it fails, empty where it does not."""
    given, state = prediction.arguments, prediction.after
    if prediction.result is None:
        return "the slab allocator is up and would give the memory, at an address that no list tells"
    if prediction.op == "alloc_range_nid":
        if prediction.result:
            return ""
        # 0 and 1 (MEMBLOCK_ALLOC_NOLEAKTRACE) are no bounds.
        size, align, low, high = (int(given[name]) for name in ("size", "align", "min", "max"))
        why, fits = no_room(state, size, align, low, high if high > 1 else 0)
        return f"{why} that this allocation may have (node, mirror, hotplug)" if fits else why
    if prediction.result == 0:
        return ""
    regions = next(regions for regions in state.lists if regions.name == given["list"])
    full = f"the array of {regions.name} is full ({regions.cnt:,} of {regions.max:,} regions)"
    if not model.can_resize:
        return f"{full} and may not be doubled before memblock_allow_resize()"
    return f"{full}, and there is no memory to double it below the limit {state.current_limit:#x}"

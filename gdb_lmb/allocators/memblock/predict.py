# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation of Linux's memblock would do in a walked state, and why it would fail."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.allocators.memblock.behavior import NUMA_NO_NODE
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.predict import Argument, Prediction, predict
from gdb_lmb.core.errors import GuestPanicError, InputError
from gdb_lmb.core.holes import bounds, holes, largest
from gdb_lmb.core.snapshot import Snapshot

_CALLS = {
    "reserve": ("add_range", "reserved"),
    "free": ("remove_range", "reserved"),
    "add": ("add_range", "memory"),
    "remove": ("remove_range", "memory"),
}
"""What `memblock_reserve()`, `memblock_phys_free()`, `memblock_add()` and `memblock_remove()` come down to."""


def predict_memblock(model: MemblockModel, op: str, **arguments: int) -> Prediction:
    """Return what alloc, reserve, free, add or remove would do; the model is used up.

    `alloc` is `memblock_phys_alloc_range()`, or `memblock_phys_alloc_try_nid()` where a `nid` is given.
    """
    call, given = _call(model, op, arguments)
    before = model.snapshot()
    try:
        prediction = predict(model, call, **given)
    except GuestPanicError as end:
        what = "overwrites its own lists" if end.overwrites else "stops with"
        reason = f"the kernel {what}: {end}"
        return Prediction(call, given, None, before, before, (), reason=reason)
    return replace(prediction, reason=_reason(prediction, model))


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
        return "" if prediction.result else _no_memory(state, given)
    if prediction.result == 0:
        return ""
    regions = next(regions for regions in state.lists if regions.name == given["list"])
    full = f"the array of {regions.name} is full ({regions.cnt:,} of {regions.max:,} regions)"
    if not model.can_resize:
        return f"{full} and may not be doubled before memblock_allow_resize()"
    return f"{full}, and there is no memory to double it below the limit {state.current_limit:#x}"


def _no_memory(state: Snapshot, given: object) -> str:
    assert isinstance(given, dict)
    # 0 and 1 (MEMBLOCK_ALLOC_NOLEAKTRACE) are no bounds.
    low, high = bounds(state, given["min"], given["max"] if given["max"] > 1 else 0)
    base, end = largest(holes(state, low, high) if high > low else (), given["align"] or 1)
    if end - base >= given["size"]:
        return f"no memory in [{low:#x}, {high:#x}) that this allocation may have (node, mirror, hotplug)"
    most = f"the largest allocation possible there is {end - base:#x} bytes" if end else "nothing is free there"
    return f"no memory in [{low:#x}, {high:#x}): {most}"

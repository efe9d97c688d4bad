# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation of the list-based LMB would do in a walked state, and why it would be refused or fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.allocators.lmb.rules import RULES
from gdb_lmb.allocators.lmb.state import EBUSY, EINVAL, ENOMEM
from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.allocators.predict import Prediction, no_room, predict
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import plural


def predict_lmb(snapshot: Snapshot, op: str, **arguments: int) -> Prediction:
    """Return what `lmb_<op>()` would do in the state of `snapshot`, which stays as it is.

    `arguments` are those of the model's method `op`: add, remove, reserve, free, alloc, mark or clear.
    Raises: `StateError` where the model cannot go on from the state, `UsageError` for a node.
    """
    if "nid" in arguments:
        raise UsageError("the list-based LMB knows no nodes: leave --nid out")
    prediction = predict(LmbModel.from_snapshot(snapshot), op, **arguments)
    # What was not given is 0 to the C.
    given = dict.fromkeys(("base", "size", "align", "min", "max", "flags"), 0) | arguments
    old, new = storage_of(prediction.before), storage_of(prediction.after)
    left, taken = ({*state.memory.entry, *state.reserved.entry} for state in (prediction.before, prediction.after))
    popped, pushed = len(taken - left), len(left - taken)
    gained = [
        (number, block.nr, *block.own_range)
        for number, block in enumerate(new.blocks)
        if number >= len(old.blocks) and block.own_range is not None
    ]
    why = None if prediction.result is None else _REASONS.get(prediction.result)
    return replace(
        prediction,
        reason=None if why is None else why(prediction, given),
        growth=(
            *(f"growth: block {number} at [{base:#x}, {end:#x}), {plural(nr, 'entry')}"
              for number, nr, base, end in gained),
            f"entries: {popped} popped, {pushed} pushed, free {len(old.free):,} -> {len(new.free):,}"
            + ("" if gained else ", no growth"),
        ),
        storage={
            "entries": {"popped": popped, "pushed": pushed, "free": [len(old.free), len(new.free)]},
            "blocks": [
                {"number": number, "base": hex(base), "size": hex(end - base), "entries": nr}
                for number, nr, base, end in gained
            ],
        },
    )  # fmt: skip


# Which argument rule 3 refuses.
def _invalid(prediction: Prediction, given: Mapping[str, int]) -> str:
    if not given["size"]:
        return "size is 0"
    limit, end = prediction.before.phys_addr_max, given["base"] + given["size"]
    rules = RULES[storage_of(prediction.before).revision]
    if given["base"] == limit and rules.cuts_ranges:
        return f"no byte lies at PHYS_ADDR_MAX {limit:#x}"
    if end > limit and not rules.cuts_ranges:
        return f"the range ends at {end:#x}, past PHYS_ADDR_MAX {limit:#x}"
    if given["align"] & (given["align"] - 1):
        return f"align {given['align']:#x} is no power of two"
    if prediction.op in ("mark", "clear"):
        return f"flags {given['flags']:#x} is not one of HOTPLUG, MIRROR and NOMAP"
    return "BLOCK is the flag of the allocator's own blocks of entries"


# What rule 8 or 9 keeps.
def _busy(prediction: Prediction, given: Mapping[str, int]) -> str | None:
    storage = storage_of(prediction.before)
    if storage.closed:
        return "the allocator is closed: lmb_free_all() has handed memory over"
    for number, block in enumerate(storage.blocks):
        own = block.own_range
        if own is not None and own[0] < given["base"] + given["size"] and given["base"] < own[1]:
            kept = "never freed" if prediction.op in ("free", "remove") else "it stays as it is"
            return f"block {number} of entries lies at [{own[0]:#x}, {own[1]:#x}): {kept}"
    return None


# What is missing: memory, or an entry. Blocks that were gained before the failure are gained (rule 7).
def _no_memory(prediction: Prediction, given: Mapping[str, int]) -> str:
    state, storage = prediction.after, storage_of(prediction.after)
    if prediction.op == "alloc":
        why, fits = no_room(state, *(given[name] for name in ("size", "align", "min", "max")))
        if not fits:
            return why
    if not storage.may_grow:
        return "it needs an entry, the last free one is kept, and growth is not allowed before lmb_allow_growth()"
    place = " outside the place it has found" if RULES[storage.revision].grows_apart else ""
    outside = place if prediction.op == "alloc" else " outside the range"
    return (
        f"it needs a block of entries, and there is no memory for {storage.block_size:#x} bytes aligned to that"
        f"{outside} below the limit {state.current_limit:#x}"
    )


_REASONS = {EINVAL: _invalid, EBUSY: _busy, ENOMEM: _no_memory}

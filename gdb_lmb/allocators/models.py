# SPDX-License-Identifier: GPL-2.0-or-later
"""From the header of a trace to the model that it is replayed on, and from a model to that header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.core.errors import InputError, StateError
from gdb_lmb.core.operation import Operation, short
from gdb_lmb.core.record import TraceHeader
from gdb_lmb.core.snapshot import Snapshot

MAX_FIRST_ENTRIES = 1 << 24
MAX_BLOCK_ENTRIES = 1 << 16
MAX_REGIONS = 1 << 20
"""More entries than any kernel's initial storage, grown block or array has: a damaged file must not fill our memory."""

_BEHAVIOUR = tuple(field.name for field in fields(MemblockBehavior))
_SWITCHES = ("can_resize", "slab_up", "has_mirror", "movable_node", "kho_scratch_only")
_LISTS = ("memory", "reserved", "physmem")


def memblock_values(model: MemblockModel) -> dict[str, Any]:
    """Return what a saved trace must say of a memblock beside its state, as plain values.

    These are the kernel's behavior, what is fixed in its build, and the switches that no list shows.
    """
    return {
        **asdict(model.behavior),
        "cache_bytes": model.config.cache_bytes,
        "keep": model.config.keep,
        "max_low_pfn": model.config.max_low_pfn,
        **{name: getattr(model, name) for name in _SWITCHES},
        "in_slab": [table.name for table in (model.memory, model.reserved) if table.in_slab],
    }


def memblock_model(initial: Snapshot, values: Mapping[str, Any]) -> MemblockModel:
    """Return a model that goes on from `initial`; `values` are those of `memblock_values`.

    What is not there has the value of a kernel that has just started, but the behavior must be told in full.
    Raises: `InputError`.
    """
    known = {*_BEHAVIOUR, *_SWITCHES, "cache_bytes", "keep", "max_low_pfn", "in_slab"}
    for name in values:
        if name not in known:
            raise InputError(f'"generation" holds {short(name)}, which is not known')
    for name in (*_BEHAVIOUR, *_SWITCHES, "keep"):
        if not isinstance(values.get(name, False), bool):
            raise InputError(f'"generation" says that {name} is {short(values[name])}; expected true or false')
    missing = [name for name in _BEHAVIOUR if name not in values]
    if missing:
        raise InputError(f'"generation" does not say {missing[0]}')
    cache_bytes, max_low_pfn, in_slab = values.get("cache_bytes", 64), values.get("max_low_pfn"), values.get("in_slab")
    if not isinstance(cache_bytes, int) or not 0 < cache_bytes <= 1 << 20 or cache_bytes & (cache_bytes - 1):
        raise InputError(f'"cache_bytes" is {short(cache_bytes)}; expected a power of two')
    if max_low_pfn is not None and (not isinstance(max_low_pfn, int) or max_low_pfn < 0):
        raise InputError(f'"max_low_pfn" is {short(max_low_pfn)}; expected a number of pages or null')
    if not isinstance(in_slab or [], list) or any(name not in _LISTS for name in in_slab or []):
        raise InputError(f'"in_slab" is {short(in_slab)}; expected names of lists')
    for name in initial.refused:
        raise InputError(f"the initial state: {name} was not true any more")
    for regions in initial.lists:
        if not 0 < (regions.max or 0) <= MAX_REGIONS:
            raise InputError(f"the initial state: no memblock has an array of {regions.max} regions ({regions.name})")
    config = MemblockConfig.of(
        initial,
        MemblockBehavior(**{name: values[name] for name in _BEHAVIOUR}),
        cache_bytes=cache_bytes,
        keep=values.get("keep", False),
        max_low_pfn=max_low_pfn,
    )
    model = MemblockModel.from_snapshot(initial, config, in_slab=in_slab or [])
    for name in _SWITCHES:
        setattr(model, name, values.get(name, False))
    return model


def lmb_config(init: Operation, page_size: int) -> LmbConfig:
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


def lmb_model(init: Operation, page_size: int) -> LmbModel:
    """Return the model as `lmb_init()` leaves it. Raises: `InputError` where it would have refused."""
    config = lmb_config(init, page_size)
    why = "an entry has no size" if not config.entry_size else config.refusal()
    if why is None and (config.first_entries > MAX_FIRST_ENTRIES or config.block_entries > MAX_BLOCK_ENTRIES):
        why = f"{max(config.first_entries, config.block_entries)} entries at once are more than can be believed"
    if why is None and config.klimit is not None and config.klimit + page_size >= 1 << config.bits:
        why = f"there is no page at {config.klimit:#x}"
    if why is not None:
        raise InputError(f"{init} is no call that succeeds: {why}")
    return LmbModel(config)


def initial_model(header: TraceHeader) -> LmbModel | MemblockModel | None:
    """Return the model in the state in which a trace begins; None where its first operation is `init`.

    Raises: `InputError` where no model stands on that state.
    """
    if header.initial is None:
        return None
    try:
        if header.layout == "memblock":
            return memblock_model(header.initial, header.behavior)
        return LmbModel.from_snapshot(header.initial)
    except StateError as error:
        raise InputError(f"the initial state: {error}") from None

# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference model that goes on from the guest's memblock: what is probed and read, put together."""

from __future__ import annotations

from dataclasses import asdict, replace

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig, behavior_of
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.predict import require_sound
from gdb_lmb.core.errors import InputError, StateError
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.behavior import MemblockSwitches, cache_bytes, memblock_facts, memblock_switches
from gdb_lmb.programs.linux import Kernel


def behavior(kernel: Kernel) -> MemblockBehavior:
    """Return how the memblock of the kernel in gdb behaves."""
    return behavior_of(**asdict(memblock_facts(kernel)))


def memblock_model(kernel: Kernel, snapshot: Snapshot, switches: MemblockSwitches | None = None) -> MemblockModel:
    """Return a model that goes on from `snapshot`, taken of this kernel at this stop.

    Raises: `StateError` where the model cannot stand on it: torn, damaged, or not all there any more.
    """
    require_sound(snapshot)
    now = memblock_switches(kernel) if switches is None else switches
    config = MemblockConfig.of(snapshot, behavior(kernel), cache_bytes=cache_bytes(kernel), keep=kernel.keeps)
    if "nid" not in kernel.program.region.fields:
        config = replace(config, no_node=None)
    try:
        model = MemblockModel.from_snapshot(snapshot, config, in_slab=now.in_slab)
    except InputError as error:
        raise StateError(f"no model goes on from here: {error} (lmb-check lists all)") from None
    model.can_resize, model.slab_up = now.can_resize, now.slab_up
    model.has_mirror, model.movable_node = now.has_mirror, now.movable_node
    model.kho_scratch_only, model.discarded = now.kho_scratch_only, now.discarded
    return model

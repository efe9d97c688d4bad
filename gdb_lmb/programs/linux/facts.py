# SPDX-License-Identifier: GPL-2.0-or-later
"""What tells one kernel's memblock from another's, and the switches that no list shows.

Everything is probed in debug information, in the program's own data and in its texts, never in a version.
The model says what each fact means (`behavior_of()`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, behavior_of
from gdb_lmb.core.machine import Machine
from gdb_lmb.formats.program_file import bytes_in_file, text_in_file
from gdb_lmb.programs.base import guest_variables
from gdb_lmb.programs.linux.kernel import Kernel

_BEHAVIORS: dict[tuple[str, int], MemblockBehavior] = {}
"""What was worked out for a program, by its file and its build."""


def memblock_facts(machine: Machine, kernel: Kernel) -> dict[str, Any]:
    """Return what decides beside the lists at this stop, as the model's `resume()` takes it. Raises: `LmbError`."""
    key = (str(kernel.own_file), hash(kernel.identity.data))
    if key not in _BEHAVIORS:
        _BEHAVIORS[key] = _behavior(machine, kernel)
    return {
        **asdict(_BEHAVIORS[key]),
        "cache_bytes": kernel.arch.cache_bytes,
        "keep": kernel.keeps,
        "nodes": "nid" in kernel.program.region.fields,
        **_switches(machine, kernel),
    }


def _behavior(machine: Machine, kernel: Kernel) -> MemblockBehavior:
    program = kernel.program
    cnt = program.memblock.fields["memory.cnt"]
    data = bytes_in_file(kernel.own_file, program.memblock_va + cnt.offset, cnt.size)
    initial = 0 if data is None else int.from_bytes(data.data, program.byte_order)
    # Where the compiler has left no function to look at, the dummy of the years before tells.
    merge = machine.parameters("memblock_merge_regions")
    return behavior_of(
        flag_names=tuple(program.flag_names.values()),
        initial_cnt=initial,
        merge_parameters=(1 if initial else 3) if merge is None else merge,
        has_free_late=machine.label("memblock_free_late") is not None,
        bootmem_parameters=machine.parameters("reserve_bootmem_region"),
        panic_text=text_in_file(kernel.own_file, b"memblock: cannot resize %s array"),
        max_numnodes_text=text_in_file(kernel.own_file, b"Usage of MAX_NUMNODES is deprecated"),
    )


def _switches(machine: Machine, kernel: Kernel) -> dict[str, Any]:
    """Read the switches of the stopped kernel; one that it does not have is off. Raises: `LmbError`."""
    names = machine.enum("slab_state") if machine.variable("slab_state") is not None else {}
    # slab_is_available() is true from UP on.
    up = next((value for value, name in names.items() if name == "UP"), 1 << 31)
    with guest_variables(machine) as guest:

        def on(name: str) -> bool:
            return bool(guest.word(name))

        return {
            "can_resize": on("memblock_can_resize"),
            "slab_up": (guest.word("slab_state") or 0) >= up,
            "has_mirror": on("system_has_some_mirror"),
            "movable_node": on("movable_node_enabled"),
            "kho_scratch_only": on("kho_scratch_only"),
            "discarded": not kernel.keeps and guest.word("memblock_memory") == 0,
            "in_slab": [name for name in ("memory", "reserved") if on(f"memblock_{name}_in_slab")],
        }

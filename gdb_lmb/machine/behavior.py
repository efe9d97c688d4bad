# SPDX-License-Identifier: GPL-2.0-or-later
"""What tells one kernel's memblock from another's, and the switches that no list shows.

Everything is probed in debug information, in the program's own data and in its texts, never in a version.
The reference model says what each fact means (`behavior_of()`).
"""

from __future__ import annotations

from dataclasses import dataclass

import gdb

from gdb_lmb.formats.program_file import bytes_in_file, text_in_file
from gdb_lmb.machine.program import lookup
from gdb_lmb.machine.types import enum_names
from gdb_lmb.machine.variables import label, variables
from gdb_lmb.programs.linux import Kernel


@dataclass(frozen=True)
class MemblockFacts:
    """What the program shows of how its memblock behaves: the arguments of the model's `behavior_of()`."""

    flag_names: tuple[str, ...]
    initial_cnt: int
    merge_parameters: int
    has_free_late: bool
    bootmem_parameters: int | None
    panic_text: bool
    max_numnodes_text: bool


@dataclass(frozen=True)
class MemblockSwitches:
    """What decides beside the lists at one stop; `in_slab` names the lists whose arrays came from the slab."""

    can_resize: bool
    slab_up: bool
    has_mirror: bool
    movable_node: bool
    kho_scratch_only: bool
    discarded: bool
    in_slab: tuple[str, ...]


_FACTS: dict[tuple[str, int], MemblockFacts] = {}
"""What was worked out for a program, by its file and its build."""


def memblock_facts(kernel: Kernel) -> MemblockFacts:
    """Return what the program in gdb shows of how its memblock behaves."""
    key = (str(kernel.own_file), hash(kernel.identity.data))
    if key not in _FACTS:
        _FACTS[key] = _read_facts(kernel)
    return _FACTS[key]


def _read_facts(kernel: Kernel) -> MemblockFacts:
    program = kernel.program
    cnt = program.memblock.fields["memory.cnt"]
    data = bytes_in_file(kernel.own_file, program.memblock_va + cnt.offset, cnt.size)
    initial = 0 if data is None else int.from_bytes(data.data, program.byte_order)
    # Where the compiler has left no function to look at, the dummy of the years before tells.
    merge = _parameters("memblock_merge_regions")
    return MemblockFacts(
        flag_names=tuple(program.flag_names.values()),
        initial_cnt=initial,
        merge_parameters=(1 if initial else 3) if merge is None else merge,
        has_free_late=label("memblock_free_late") is not None,
        bootmem_parameters=_parameters("reserve_bootmem_region"),
        panic_text=text_in_file(kernel.own_file, b"memblock: cannot resize %s array"),
        max_numnodes_text=text_in_file(kernel.own_file, b"Usage of MAX_NUMNODES is deprecated"),
    )


def _parameters(name: str) -> int | None:
    """Return how many parameters a function takes, None where the program has none of that name."""
    symbol = lookup(name)
    if symbol is None or symbol.type.code != gdb.TYPE_CODE_FUNC:
        return None
    return len(symbol.type.fields())


def memblock_switches(kernel: Kernel) -> MemblockSwitches:
    """Read the switches of the stopped kernel; one that it does not have is off. Raises: `LmbError`."""
    with variables() as guest:

        def on(name: str) -> bool:
            return bool(guest.word(name))

        return MemblockSwitches(
            can_resize=on("memblock_can_resize"),
            slab_up=(guest.word("slab_state") or 0) >= _slab_up(),
            has_mirror=on("system_has_some_mirror"),
            movable_node=on("movable_node_enabled"),
            kho_scratch_only=on("kho_scratch_only"),
            discarded=not kernel.keeps and guest.word("memblock_memory") == 0,
            in_slab=tuple(name for name in ("memory", "reserved") if on(f"memblock_{name}_in_slab")),
        )


def _slab_up() -> int:
    """Return the value from which on `slab_is_available()`: that of UP in `enum slab_state`."""
    symbol = lookup("slab_state")
    names = {} if symbol is None else enum_names(symbol.type, "")
    return next((value for value, name in names.items() if name == "up"), 1 << 31)


def cache_bytes(kernel: Kernel) -> int:
    """Return `SMP_CACHE_BYTES`, the alignment of what is allocated without one, in bytes."""
    return kernel.arch.cache_bytes

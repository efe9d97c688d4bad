# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux as a `Program`: recognised by its memblock, read physically, wherever the kernel is.

What tells one kernel's memblock from another's is probed in debug information, in the program's own data and in its
texts, never in a version; the model says what each fact means (`behavior_of()`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, behavior_of, unknown_parts
from gdb_lmb.allocators.memblock.decode import decode
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.arches.base import Cpu
from gdb_lmb.arches.linux import LinuxArchitecture
from gdb_lmb.core.address import PAST_HAND_OVER, Linear, Phase, Placement, TranslatedMemory
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Meter
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Required, Snapshot, Stop
from gdb_lmb.formats.program_file import bytes_in_file, text_in_file
from gdb_lmb.programs.base import AddressMap, Guest, Movable, Program, RoleRange, guest_variables, live_tables
from gdb_lmb.programs.base import must_be_reserved as required_of
from gdb_lmb.programs.linux.kernel import Kernel, find_kernel, init_memory, symbols_moved_by
from gdb_lmb.programs.linux.place import (
    boot_phase,
    crash_memory,
    handed_over,
    is_stopped,
    locate,
    phase_of,
    place,
    require_it_runs,
)
from gdb_lmb.programs.linux.ranges import (
    Firmware,
    KernelGuest,
    linux_image,
    linux_ranges,
    must_be_reserved,
    read_firmware,
    trimmed_bytes,
)
from gdb_lmb.programs.linux.torn import Stack, torn_memblock
from gdb_lmb.programs.traced import Traced, require_whole

# How each program's memblock behaves, by its file and its build.
_BEHAVIORS: dict[tuple[str, int], MemblockBehavior] = {}
_UNKNOWN: dict[tuple[str, int], tuple[str, ...]] = {}


class _Moved(Movable):
    def __init__(self, machine: Machine, kernel: Kernel) -> None:
        self._machine, self.image, self.arch = machine, kernel, kernel.arch
        self._kernel = kernel

    def place(self, memory: BoundedMemory, cpu: Cpu) -> Placement:
        return place(self._machine, self._kernel, memory, cpu)

    def locate(self) -> Placement:
        return locate(self._machine, self._kernel)[0]

    def symbols_moved_by(self) -> int:
        return symbols_moved_by(self._machine, self._kernel)

    def boot_phase(self, placement: Placement) -> tuple[Phase | None, bool]:
        return boot_phase(self._machine, self._kernel, placement)


class Linux(Program):
    """A Linux kernel with memblock."""

    name = "linux"

    def recognises(self, machine: Machine) -> bool:
        return machine.variable("memblock") is not None

    def take(self, machine: Machine, *, with_log: bool, meter: Meter | None) -> Snapshot:
        return take_memblock(machine, require_kernel(machine), meter)

    def facts(self, machine: Machine) -> Mapping[str, Any]:
        return memblock_facts(machine, require_kernel(machine))

    def movable(self, machine: Machine) -> Movable:
        return _Moved(machine, require_kernel(machine))

    def traced(self, machine: Machine) -> Traced:
        return TracedKernel(machine, require_kernel(machine))

    def init_code(self, machine: Machine) -> range:
        found = init_memory(machine, require_kernel(machine))
        return range(0) if found is None else range(*found)

    def where(self, machine: Machine) -> AddressMap:
        """Return where the image and the linear maps are; nothing where the kernel is not there yet."""
        kernel = require_kernel(machine)
        try:
            placement, moved = locate(machine, kernel)
        except NotReadyError:
            return AddressMap(machine)
        low, high = kernel.image
        part = Linear(low + moved, high - low, placement.to_physical(low + placement.virtual))
        return AddressMap(machine, (part,), placement)

    def image(self, guest: Guest) -> Iterator[RoleRange]:
        return chain(super().image(guest), linux_image(guest, require_kernel(guest.machine)))

    def ranges(self, guest: Guest) -> Iterator[RoleRange]:
        return linux_ranges(guest, require_kernel(guest.machine))


PROGRAM = Linux()


def require_kernel(machine: Machine) -> Kernel:
    """Return the kernel that the debugger's symbols are of. Raises: `LayoutError`."""
    kernel = find_kernel(machine)
    if kernel is None:
        raise LayoutError("gdb does not tell which file `memblock` is from: load the kernel's with `file VMLINUX`")
    return kernel


# -- its memblock -----------------------------------------------------------------------------------


def take_memblock(machine: Machine, kernel: Kernel, meter: Meter | None = None) -> Snapshot:
    """Read the stopped kernel's whole memblock, wherever the kernel is. Raises: `LmbError`."""
    cpu, form = kernel.arch.cpu_state(machine.register), kernel.arch.table_form(machine.register)
    # gdb reads the stack again to make a frame, once memory has been read physically.
    known = {name: value for name in kernel.arch.unwound_by if (value := machine.register(name)) is not None}
    moved = symbols_moved_by(machine, kernel)
    meter = meter or Meter()
    with machine.physical(meter) as physical:
        bounded = BoundedMemory(physical, meter)
        placement = place(machine, kernel, bounded, cpu)
        memory = TranslatedMemory(bounded, placement)
        reserved, stopped = crash_memory(machine, kernel, memory, cpu), is_stopped(kernel, memory, cpu)
        phase, refused = phase_of(kernel, memory, cpu)
        doubt = None if phase in (Phase.UNMAPPED, Phase.IDENTITY) else handed_over(kernel, memory)[1]
        late = phase is Phase.COMPLETE or phase.value in PAST_HAND_OVER
        firmware = read_firmware(machine, kernel, memory, linked=phase.value not in PAST_HAND_OVER, complete=late)
        low, high = kernel.image
        image = Linear(low + moved, high - low, placement.to_physical(low + placement.virtual))
        where = AddressMap(machine, (image,), placement)
        guest = KernelGuest(machine, where, bounded, cpu.tables, kernel=kernel, moved=moved)
        snapshot = decode(
            kernel.program,
            memory,
            offset=placement.virtual,
            phase=phase.value,
            firmware=firmware.map,
            refused=refused,
            physical=guest.physical,
        )
        tables, unread = live_tables(machine, bounded, form) if phase is Phase.COMPLETE else ([], ())
        required = _required(guest, kernel, snapshot, phase, cpu, tables)
        facts = replace(
            storage_of(snapshot),
            trimmed=trimmed_bytes(firmware, kernel.program.page_size) if kernel.arch.trims else 0,
            nodes=_nodes(kernel, memory),
            limits=kernel.arch.limits(partial(kernel.word, memory), kernel.program.page_size, kernel.program.bits),
        )
        stack = None if cpu.pc is None or cpu.sp is None else Stack(machine, memory, cpu.sp)
    require_it_runs(machine, kernel, placement, reserved, stopped)
    # The symbols may stand elsewhere than the kernel does: look the address up where they stand.
    stop = None if cpu.pc is None else Stop(cpu.pc, machine.name_at(cpu.pc + moved - placement.virtual))
    torn = None if stack is None else torn_memblock(machine, kernel, cpu, known, stack, moved)
    snapshot = replace(snapshot, torn=torn, stop=stop, storage=facts, required=required)
    snapshot = _with_firmware(snapshot, kernel.arch, firmware, phase, doubt)
    snapshot = replace(snapshot, uncompared=(*snapshot.uncompared, *unread))
    if stack is None and snapshot.phase not in PAST_HAND_OVER:
        unknown = "registers that tell whether a function of memblock was interrupted"
        snapshot = replace(snapshot, uncompared=(*snapshot.uncompared, unknown))
    if kernel.arch.tells_place(cpu) or placement.runs(cpu.pc):
        return snapshot
    return replace(snapshot, unsettled=(*snapshot.unsettled, "registers that tell which kernel runs: RAM was searched"))


def _with_firmware(
    snapshot: Snapshot, arch: LinuxArchitecture, firmware: Firmware, phase: Phase, doubt: str | None
) -> Snapshot:
    # Memory is added from the firmware's map, and what it wants reserved is before memory is complete.
    late = phase in (Phase.COMPLETE, Phase.HANDED_OVER, Phase.DISCARDED)
    due = firmware.readable and (late or any(snapshot.memory.size))
    lacking = (firmware.lacking,) if firmware.lacking else ()
    places = [f"{name}, whose place the kernel has chosen" for name in firmware.placed if late]
    asked = [one for one in firmware.reserved if late and not (one.until_hand_over and phase is not Phase.COMPLETE)]
    return replace(
        snapshot,
        firmware_edited=firmware.edited,
        firmware_edits=firmware.edits(arch.firmware_edits),
        firmware_reserved=tuple(asked),
        uncompared=(*(lacking if due else ()), *([f"words that agree on the phase ({doubt})"] if doubt else ())),
        unsettled=(*(() if due else lacking), *places),
    )


def _required(
    guest: Guest, kernel: Kernel, snapshot: Snapshot, phase: Phase, cpu: Cpu, tables: list[Range]
) -> tuple[Required, ...]:
    # What the kernel must have reserved by now. Nothing has been before its very first reservation.
    begun = any(len(regions) and not regions.dummy for regions in (snapshot.memory, snapshot.reserved))
    if phase is not Phase.COMPLETE and not (begun and phase is Phase.MAPPED):
        return ()
    return required_of(must_be_reserved(guest, kernel, cpu.sp, tables, snapshot.memory), phase)


def _nodes(kernel: Kernel, memory: TranslatedMemory) -> frozenset[int] | None:
    # `node_states[N_POSSIBLE]`, the first of them: a bit for each node in words of `unsigned long`.
    at, most, size = kernel.symbols.get("node_states"), kernel.program.no_node, kernel.arch.word_bytes
    if at is None or not most:
        return None
    raw = memory.read(at + memory.placement.virtual, -(-most // (8 * size)) * size)
    words = [int.from_bytes(raw[at : at + size], kernel.arch.byte_order) for at in range(0, len(raw), size)]
    return frozenset(node for node in range(most) if words[node // (8 * size)] >> node % (8 * size) & 1)


# -- what its model must know -----------------------------------------------------------------------


def memblock_facts(machine: Machine, kernel: Kernel) -> dict[str, Any]:
    """Return what decides beside the lists at this stop, as the model's `resume()` takes it. Raises: `LmbError`."""
    key = (str(kernel.own_file), hash(kernel.identity.data))
    if key not in _BEHAVIORS:
        _BEHAVIORS[key] = _behavior(machine, kernel)
        _UNKNOWN[key] = _unknown(machine, kernel)
    return {
        **asdict(_BEHAVIORS[key]),
        "cache_bytes": kernel.arch.cache_bytes,
        "keep": kernel.keeps,
        "nodes": "nid" in kernel.program.region.fields,
        **_switches(machine, kernel),
        # Left out where all is known: releases before this one refuse what they do not know.
        **({"unknown": list(unknown)} if (unknown := _UNKNOWN[key]) else {}),
    }


def _unknown(machine: Machine, kernel: Kernel) -> tuple[str, ...]:
    program = kernel.program
    members = (*program.memblock.fields, *program.region.fields)
    return unknown_parts(program.flag_names, members, machine.functions_beside("memblock"))


def _behavior(machine: Machine, kernel: Kernel) -> MemblockBehavior:
    program = kernel.program
    cnt = program.memblock.fields["memory.cnt"]
    data = bytes_in_file(kernel.own_file, program.memblock_va + cnt.offset, cnt.size)
    if data is None:
        raise LayoutError(f"{kernel.own_file} does not hold the data of `memblock`: load the kernel's vmlinux")
    initial = int.from_bytes(data.data, program.byte_order)
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
    # Read the switches of the stopped kernel; one that it does not have is off. Raises: `LmbError`.
    names = machine.enum("slab_state") if machine.variable("slab_state") is not None else {}
    # slab_is_available() is true from UP on.
    up = next((value for value, name in names.items() if name == "UP"), 1 << 31)
    with guest_variables(machine) as guest:

        def word(name: str) -> int | None:
            value = guest.word(name)
            if value is None and machine.variable(name) is not None:
                raise LayoutError(f"{name} cannot be read, which decides what memblock does next")
            return value

        slab = word("slab_state")
        return {
            "can_resize": bool(word("memblock_can_resize")),
            "slab_up": slab is not None and slab >= up,
            "has_mirror": bool(word("system_has_some_mirror")),
            "movable_node": bool(word("movable_node_enabled")),
            "kho_scratch_only": bool(word("kho_scratch_only")),
            "discarded": not kernel.keeps and word("memblock_memory") == 0,
            "in_slab": [name for name in ("memory", "reserved") if word(f"memblock_{name}_in_slab")],
        }


# -- traced -----------------------------------------------------------------------------------------


@dataclass
class _EarlyMemory:
    """A kernel's virtual addresses as the CPU sees them, or by the placement where nothing is mapped yet."""

    machine: Machine
    placement: Placement

    def read(self, address: int, size: int) -> bytes:
        try:
            return self.machine.virtual().read(address, size)
        except ReadError:
            with self.machine.physical() as physical:
                return TranslatedMemory(physical, self.placement).read(address, size)


class TracedKernel(Traced):
    """The memblock of a kernel that is in memory."""

    def __init__(self, machine: Machine, kernel: Kernel) -> None:
        placement, self.offset = locate(machine, kernel)
        if self.offset != placement.virtual:
            raise LayoutError("gdb's symbols are not where the kernel runs: use lmb-attach first")
        self._kernel = kernel
        self._early = _EarlyMemory(machine, placement)
        facts = partial(memblock_facts, machine, kernel)
        super().__init__(machine, allocator("memblock"), kernel.program, self._early, facts)

    def physical(self, va: int) -> int:
        try:
            return self._early.placement.to_physical(va)
        except ReadError:
            # Where the direct map begins is settled in the middle of the boot.
            self._early.placement, _ = locate(self.machine, self._kernel)
            return self._early.placement.to_physical(va)

    def begin(self) -> Snapshot:
        state = take_memblock(self.machine, self._kernel)
        require_whole(state.torn)
        return state

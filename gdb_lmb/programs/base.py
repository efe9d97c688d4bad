# SPDX-License-Identifier: GPL-2.0-or-later
"""What every program that a guest runs can tell: where it lies, its allocator, and ranges of memory by role.

A program is one package with a `Program` in it, which the registry finds by the symbols that the debugger has.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain
from typing import Any

from gdb_lmb.arches.base import MAX_TABLES, Cpu, PagedMemory, TableForm
from gdb_lmb.arches.linux import LinuxArchitecture
from gdb_lmb.arches.registry import find
from gdb_lmb.core.address import KernelImage, Linear, Phase, Placement
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, ReadError
from gdb_lmb.core.fields import Struct
from gdb_lmb.core.machine import Machine, Variable
from gdb_lmb.core.memory import BoundedMemory, BytesMemory, Memory, Meter
from gdb_lmb.core.ranges import Range, union
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import FIRMWARE_RAM, FirmwareMap, Place, Required, Snapshot, firmware_type
from gdb_lmb.programs.traced import Traced

_MAX_VARIABLE_BYTES = 1 << 20  # no variable that is read whole is larger
_MAX_RANGE_BYTES = 1 << 34  # no initrd is larger: beyond it what is read is no size


@dataclass(frozen=True)
class RoleRange:
    """The physical range [base, end) and its role.

    `source` names the variable, structure member, ELF or register that tells of it. It holds from phase `since` on
    (None: as long as the program is in memory) and at least to the end of phase `until` (None: for good). `detail`
    says more.

    From phase `reserved` on it must be reserved until the hand-over (None: nothing asks for it), on the memory list
    too where `memory`, and apart from all others of its kind where `alone`.
    """

    role: Role
    base: int
    end: int
    source: str
    since: Phase | None = None
    until: Phase | None = None
    detail: str | None = None
    reserved: Phase | None = None
    memory: bool = True
    alone: bool = False


@dataclass(frozen=True)
class AddressMap:
    """Where a program's image lies, and how else its addresses are translated, at this stop.

    `va` of each of its `parts` is where the debugger has the part's symbols. `placement` is that of a kernel that was
    found by its build id.
    """

    machine: Machine
    parts: Sequence[Linear] = ()
    placement: Placement | None = None

    def of_symbol(self, va: int) -> int:
        """Return the physical address of what the debugger has at `va`. Raises: `ReadError` where it is not known."""
        found = self._in_image(va)
        return self.of_virtual(va) if found is None else found

    def of_virtual(self, va: int) -> int:
        """Return the physical address of what the program has at `va` now. Raises: `ReadError`."""
        if self.placement is not None:
            return self.placement.to_physical(va)
        for found in (self.machine.translate(va), self._in_image(va)):
            if found is not None:
                return found
        raise ReadError(va, 1, "this virtual address is not mapped at this stop")

    def symbol(self, physical: int) -> str | None:
        """Return "name+16" of the image's symbol at a physical address, None where there is none."""
        vas = (p.va + physical - p.physical for p in self.parts if p.physical <= physical < p.physical + p.size)
        found = next(map(self.machine.symbol_at, vas), None)
        return None if found is None else f"{found.name}+{found.offset}" if found.offset else found.name

    def _in_image(self, va: int) -> int | None:
        return next((at for part in self.parts if (at := part.to_physical(va)) is not None), None)


@dataclass
class Guest:
    """A program's variables at this stop, read at their physical addresses; what cannot be read is None.

    `map` translates, `memory` reads physical addresses. `tables` are where the CPU's page tables lie, `paged` walks
    them; None where they cannot be walked here.
    """

    machine: Machine
    map: AddressMap
    memory: Memory = field(default_factory=lambda: BytesMemory({}))
    tables: tuple[int, ...] = ()
    paged: PagedMemory | None = None

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at physical `address`. Raises: `ReadError`."""
        return self.memory.read(address, size)

    def variable(self, name: str) -> Variable | None:
        """Return a variable where the debugger has it."""
        return self.machine.variable(name)

    def label(self, name: str) -> int | None:
        """Return the address of a label where the debugger has it."""
        return self.machine.label(name)

    def raw(self, name: str) -> bytes | None:
        """Return a variable's bytes."""
        found = self.variable(name)
        if found is not None and 0 < found.size <= _MAX_VARIABLE_BYTES:
            with contextlib.suppress(ReadError):
                return self.read(self.map.of_symbol(found.address), found.size)
        return None

    def word(self, name: str) -> int | None:
        """Return a variable of an integer, enumeration or pointer type, unsigned."""
        raw = self.raw(name)
        return None if raw is None else int.from_bytes(raw, self.machine.byte_order)

    def struct(self, name: str) -> tuple[Struct, bytes] | None:
        """Return the field table and the bytes of a variable of a structure type. Raises: `LayoutError`."""
        raw = self.raw(name)
        return None if raw is None else (self.machine.struct(name), raw)

    def physical(self, va: int | None) -> int | None:
        """Return the physical address of run-time address `va`; None for none, or where it is not mapped linearly."""
        try:
            return self.map.of_virtual(va) if va else None
        except ReadError:
            return None

    def labelled(
        self, role: Role, first: str, pasts: tuple[str, ...], until: Phase | None = None
    ) -> Iterator[RoleRange]:
        """Yield the part of the image between label `first` and the first of `pasts` that the program has."""
        start = self.label(first)
        past = next((at for at in map(self.label, pasts) if at is not None), None)
        if start is not None and past is not None:
            yield from self.inside(role, start, past - start, first, until=until)

    def inside(
        self,
        role: Role,
        va: int,
        size: int,
        source: str,
        since: Phase | None = None,
        until: Phase | None = None,
        **reserved: Any,
    ) -> Iterator[RoleRange]:
        """Yield what lies at `va` where the debugger has it, if all of it is in one part of the image."""
        for part in self.map.parts:
            base = part.to_physical(va)
            if base is not None and 0 < size <= part.va + part.size - va:
                yield RoleRange(role, base, base + size, source, since, until, **reserved)


class Movable(ABC):
    """A kernel that its boot may move, on its `arch`; `image` is as linked."""

    image: KernelImage
    arch: LinuxArchitecture

    @abstractmethod
    def place(self, memory: BoundedMemory, cpu: Cpu) -> Placement:
        """Return where it lies; `memory` reads physical addresses. Raises: `NotReadyError` where it does not run."""

    @abstractmethod
    def locate(self) -> Placement:
        """Return where it lies, by the CPU that boots it. Raises: `LmbError`."""

    @abstractmethod
    def symbols_moved_by(self) -> int:
        """Return by how much the debugger's symbols are away from where they were linked. Raises: `LayoutError`."""

    @abstractmethod
    def boot_phase(self, placement: Placement) -> tuple[Phase | None, bool]:
        """Return the boot's phase, None before it runs, and whether the CPU is at its first instruction."""


class Program(ABC):
    """A kind of program; an instance holds no state. `name` is that of its package.

    `panics` are its functions after which the guest is lost, `frees_init` those that free its init code, `begins` those
    that a boot passes once, before its allocator is used. `parts` are those of its image that go by labels, as
    `Guest.labelled()` takes them: the same in Linux and in programs like it.
    """

    name: str
    panics: tuple[str, ...] = ("panic", "panic_halt")
    frees_init: tuple[str, ...] = ("free_initmem", "free_init_memory")
    begins: tuple[str, ...] = ("start_kernel",)
    parts: tuple[tuple[Role, str, tuple[str, ...], Phase | None], ...] = (
        (Role.TEXT, "_text", ("_etext",), None),
        (Role.INIT_TEXT, "_sinittext", ("_einittext",), Phase.HANDED_OVER),
        (Role.RODATA, "__start_rodata", ("__end_rodata",), None),
        (Role.DATA, "_sdata", ("_edata",), None),
        (Role.BSS, "__bss_start", ("__bss_stop", "__bss_end"), None),
    )

    @abstractmethod
    def recognises(self, machine: Machine) -> bool:
        """Tell whether the symbols are those of such a program; the guest is not asked."""

    @abstractmethod
    def take(self, machine: Machine, *, with_log: bool, meter: Meter | None) -> Snapshot:
        """Read and decode the whole state of its allocator. Raises: `LmbError`."""

    def facts(self, machine: Machine) -> Mapping[str, Any]:
        """Return what a model of its allocator must know beside the state. Raises: `LmbError`."""
        return {}

    @abstractmethod
    def where(self, machine: Machine) -> AddressMap:
        """Return how addresses are translated at this stop; what is not known yet is left out."""

    @abstractmethod
    def ranges(self, guest: Guest) -> Iterator[RoleRange]:
        """Yield what it knows of ranges beside its image; a range may be told of twice."""

    def image(self, guest: Guest) -> Iterator[RoleRange]:
        """Yield the image and its parts."""
        for part in guest.map.parts:
            yield RoleRange(Role.IMAGE, part.physical, part.physical + part.size, "ELF")
        for row in self.parts:
            yield from guest.labelled(*row)

    def movable(self, machine: Machine) -> Movable | None:
        """Return its image if that may be moved, None where it lies where its ELF says. Raises: `LayoutError`."""
        return None

    def traced(self, machine: Machine) -> Traced:
        """Return its allocator as a trace reads it, with the symbols where the program runs. Raises: `LmbError`."""
        raise LayoutError(f"the program ({self.name}) cannot be traced")

    def init_code(self, machine: Machine) -> range:
        """Return the half-open virtual range of the code that is freed after boot, empty where there is none."""
        low, high = map(machine.label, ("__init_begin", "__init_end"))
        return range(0) if low is None or high is None else range(low, high)


# Each with a variable without which it is not even imported (None: it is asked whatever there is). The more particular
# first: a kernel may hold more than one allocator.
PROGRAMS: list[tuple[str | None, Callable[[], Program]]] = [
    ("memblock", lambda: import_module("gdb_lmb.programs.linux.program").PROGRAM),
    (None, lambda: import_module("gdb_lmb.programs.bare.program").PROGRAM),
]


def find_programs(machine: Machine) -> list[Program]:
    """Return the programs that the debugger's symbols are of."""
    programs = (make() for name, make in PROGRAMS if name is None or machine.variable(name) is not None)
    return [program for program in programs if program.recognises(machine)]


def take_snapshot(machine: Machine, *, with_log: bool = False, meter: Meter | None = None) -> Snapshot | None:
    """Read the whole allocator of the stopped guest, None where the debugger's symbols show none.

    A program may hold a list-based LMB and a memblock; then memblock is shown while LMB is not initialised or cannot be
    read yet. What reading costs is added to `meter`. Raises: `LmbError`.
    """
    found = find_programs(machine)
    with machine.booting_cpu():
        for program in reversed(found[1:]):
            with contextlib.suppress(NotReadyError, ReadError):
                return program.take(machine, with_log=with_log, meter=meter)
        return found[0].take(machine, with_log=with_log, meter=meter) if found else None


def model_facts(machine: Machine) -> dict[str, Any]:
    """Return what the models of the allocators in the guest must know beside a state. Raises: `LmbError`."""
    return {name: value for program in find_programs(machine) for name, value in program.facts(machine).items()}


def selected_cpu(machine: Machine) -> Cpu | None:
    """Return the selected CPU's registers by role, None on an architecture that is not known."""
    arch = find(uname=machine.arch)
    return None if arch is None else arch.cpu_state(machine.register)


def address_map(machine: Machine) -> AddressMap:
    """Return how addresses are translated at this stop. Raises: `LmbError`."""
    found = find_programs(machine)
    return found[0].where(machine) if found else AddressMap(machine)


@contextlib.contextmanager
def guest_variables(machine: Machine, where: AddressMap | None = None) -> Iterator[Guest]:
    """Open the guest's variables at this stop. Raises: `LmbError` where physical memory cannot be read."""
    guest = Guest(machine, where or address_map(machine))
    arch = find(uname=machine.arch)
    # All registers are read before memory is.
    with machine.booting_cpu():
        if arch is not None:
            cpu = arch.cpu_state(machine.register)
            guest.tables = cpu.tables
            guest.paged = arch.paged_memory(guest, machine.register) if cpu.paging else None
    with machine.physical() as physical:
        guest.memory = BoundedMemory(physical)
        yield guest


def role_ranges(machine: Machine, firmware: FirmwareMap | None = None) -> list[RoleRange]:
    """Return the table of ranges by role at this stop, the image first.

    What the program has not, has not filled in yet or has freed is left out; so is all but the image where guest
    memory cannot be read physically. `firmware` is the map that a snapshot of the same stop has.
    """
    found: Iterable[RoleRange] = ()
    with contextlib.suppress(LmbError):
        where = address_map(machine)
        try:
            with guest_variables(machine, where) as guest:
                found = _table(guest)
        except LmbError:
            found = _table(Guest(machine, where))
    return [*found, *_firmware(firmware)]


def _table(guest: Guest) -> Iterable[RoleRange]:
    programs = find_programs(guest.machine)
    found: dict[tuple[Role | None, int, int], RoleRange] = {}
    for one in chain.from_iterable(program.image(guest) for program in programs):
        found.setdefault((one.role, one.base, one.end), one)
    for one in chain.from_iterable(program.ranges(guest) for program in programs):
        # Several variables tell of the same thing.
        if 0 < one.end - one.base <= _MAX_RANGE_BYTES:
            found.setdefault((None, one.base, one.end), one)
    return found.values()


# The page tables that were last walked: the machine, its stop and registers, and where they lie.
_WALKED: list[tuple[Any, ...]] = []


def live_tables(machine: Machine, memory: Memory, form: TableForm | None) -> tuple[list[Range], tuple[str, ...]]:
    """Return where the page tables of `form` lie, touching ones as one; and in words which ones are not known.

    `memory` reads physical addresses. They are read once at each stop.
    """
    if form is None:
        return [], ()
    key = (machine, machine.stop_number(), form)
    if _WALKED[:1] != [key]:
        found, whole = form.tables(memory, machine.byte_order)
        _WALKED[:] = [key, tuple(union(found)), () if whole else (f"page tables after the first {MAX_TABLES:,}",)]
    return list(_WALKED[1]), _WALKED[2]


def must_be_reserved(rows: Iterable[RoleRange], phase: Phase) -> tuple[Required, ...]:
    """Return what of the table must be reserved in `phase`, which is before the hand-over."""
    order = list(Phase)
    now = order.index(phase)
    found = (
        Required(one.base, one.end, one.role.value, one.memory and phase is Phase.COMPLETE, one.alone)
        for one in rows
        if one.reserved is not None and order.index(one.reserved) <= now and 0 < one.end - one.base <= _MAX_RANGE_BYTES
    )
    return tuple(dict.fromkeys(found))


def _firmware(firmware: FirmwareMap | None) -> Iterator[RoleRange]:
    rows = () if firmware is None else zip(firmware.base, firmware.size, firmware.type, strict=True)
    for base, size, kind in rows:
        if kind != FIRMWARE_RAM and size:
            detail = firmware_type(kind)
            yield RoleRange(Role.FIRMWARE, base, base + size, "firmware map", detail=detail)


def places(table: Sequence[RoleRange]) -> list[Place]:
    """Return the table as places for people; the firmware's ranges are shown with its map."""
    return [Place(one.base, one.end, one.role.value) for one in table if one.role is not Role.FIRMWARE]


def image_ranges(machine: Machine) -> list[Range]:
    """Return the physical ranges that the program's image lies in; empty where they are not known at this stop."""
    try:
        return [(part.physical, part.physical + part.size) for part in address_map(machine).parts]
    except LmbError:
        return []

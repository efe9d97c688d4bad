# SPDX-License-Identifier: GPL-2.0-or-later
"""A program without Linux in it, as a `Program`: it lies where its ELF says, and is read at its virtual addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from gdb_lmb.allocators.base import Allocator, likely
from gdb_lmb.arches.registry import find
from gdb_lmb.core.address import Identity, Linear, Phase, holds
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine, Variable
from gdb_lmb.core.memory import BoundedMemory, Memory, Meter
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Required, Snapshot
from gdb_lmb.formats.program_file import build_identity, loaded_parts, string_in_file
from gdb_lmb.programs.base import AddressMap, Guest, Program, RoleRange, live_tables, must_be_reserved, selected_cpu
from gdb_lmb.programs.traced import Traced

# Variables with the text that tells builds apart where there is no build id.
_BANNERS = ("linux_banner", "lmb_banner")
_CONTINUE = "continue to a place in the kernel"
_LOAD = "load the vmlinux of the kernel that runs"
# What is reserved of the image for good, and its first page tables.
_RESERVED = (
    (Role.IMAGE, "_image_start", ("__init_begin",)),
    (Role.IMAGE, "__init_end", ("_image_end",)),
    (Role.EARLY_PAGE_TABLES, "__early_page_tables_start", ("__early_page_tables_end",)),
)
# Members of `struct boot_info` that are ranges of `base` and `size`.
_BOOT_INFO = {"initrd": Role.INITRD, "fdt": Role.DEVICE_TREE}


class Bare(Program):
    """A program with an allocator that finds itself in its symbols."""

    name = "bare"
    parts = (
        *Program.parts,
        (Role.INIT, "__init_begin", ("__init_end",), Phase.HANDED_OVER),
        (Role.EARLY_PAGE_TABLES, "__early_page_tables_start", ("__early_page_tables_end",), None),
        (Role.STACK, "boot_stack", ("boot_stack_end",), None),
    )

    def recognises(self, machine: Machine) -> bool:
        return _find(machine) is not None

    def take(self, machine: Machine, *, with_log: bool, meter: Meter | None) -> Snapshot:
        one, program = _probe(machine)
        path = _file(machine)
        memory = LinkedMemory(machine, path)
        identity = memory.identity
        if memory.mapped:
            require_same_build(BoundedMemory(memory, meter), path, identity)
        try:
            memory.require_loaded()
            snapshot = one.take(memory.seen_by(machine), program, with_log=with_log, meter=meter)
            if path is None or not one.settled(snapshot):
                return snapshot
            required, unread = _required(machine, path, memory, meter)
            return replace(snapshot, required=required, uncompared=(*snapshot.uncompared, *unread))
        except ReadError as error:
            if path is None or all(part.to_physical(error.address) is None for part in memory.parts):
                raise
            raise explain_unreadable(machine, path, identity, error) from None
        except NotReadyError as error:
            if memory.mapped or path is None or identity is None:
                raise
            missing = ReadError(identity.va, len(identity.data), str(error))
            raise explain_unreadable(machine, path, identity, missing) from None

    def traced(self, machine: Machine) -> Traced:
        return Traced(machine, *_probe(machine), LinkedMemory(machine, _file(machine)))

    def where(self, machine: Machine) -> AddressMap:
        path = _file(machine)
        return AddressMap(machine, () if path is None else _image(path))

    def image(self, guest: Guest) -> Iterator[RoleRange]:
        yield from super().image(guest)
        found = guest.machine.variable("boot_command_line")
        if found is not None:
            yield from guest.inside(Role.COMMAND_LINE, found.address, found.size, "boot_command_line")

    def ranges(self, guest: Guest) -> Iterator[RoleRange]:
        """Yield what a `struct boot_info` with ranges (base, size) tells, as the fixture kernel's does."""
        info = guest.struct("boot_info")
        if info is None:
            return
        (struct, raw), order = info, guest.machine.byte_order
        for name, role in _BOOT_INFO.items():
            if {f"{name}.base", f"{name}.size"} <= struct.fields.keys():
                base, size = (struct.value(raw, f"{name}.{part}", order) for part in ("base", "size"))
                yield RoleRange(role, base, base + size, f"boot_info.{name}", reserved=Phase.COMPLETE, alone=True)
        if {"boot_data", "nr_boot_data"} <= struct.fields.keys():
            row, field = guest.machine.struct("boot_info", "boot_data"), struct.fields["boot_data"]
            for at in range(min(struct.value(raw, "nr_boot_data", order), field.size // row.size)):
                base, size = (row.value(raw, name, order, field.offset + at * row.size) for name in ("base", "size"))
                source = f"boot_info.boot_data[{at}]"
                yield RoleRange(Role.BOOT_DATA, base, base + size, source, reserved=Phase.COMPLETE, memory=False)


PROGRAM = Bare()


class LinkedMemory:
    """Reads a program where it is linked: virtually once it has mapped itself there, else where its ELF is loaded.

    Beyond its image it is taken to have all memory mapped as its image is.
    """

    def __init__(self, machine: Machine, path: Path | None) -> None:
        self.parts = () if path is None else tuple(_image(path))
        self.identity = None if path is None else _identity(machine, path)
        self._machine = machine
        self._stop: tuple[int | None, int] | None = None
        self._mapped: Memory | None = None

    @property
    def mapped(self) -> bool:
        """Tell whether the CPU translates the program's addresses by the program's own mappings."""
        if self._stop != self._machine.stop_number():
            self._stop, self._mapped = self._machine.stop_number(), self._by_cpu()
        return self._mapped is not None

    def read(self, address: int, size: int) -> bytes:
        if self.mapped and self._mapped is not None:
            return self._mapped.read(address, size)
        at = self.loaded_at(address)
        try:
            with self._machine.physical() as physical:
                return physical.read(at, size)
        except ReadError as error:
            raise ReadError(address, size, error.why) from None

    def require_loaded(self) -> None:
        """Check that a program that is not mapped is in memory. Raises: `ReadError`."""
        one = self.identity
        if not self.mapped and one is not None and self.read(one.va, len(one.data)) != one.data:
            raise ReadError(one.va, len(one.data), "another program, or none, is there")

    def seen_by(self, machine: Machine) -> Machine:
        """Return `machine` with this as its virtual memory."""
        return machine if self.mapped else cast(Machine, _Unmapped(machine, self))

    def _by_cpu(self) -> Memory | None:
        # Of a processor whose MMU is never off, what it begins with may map these addresses to anything.
        try:
            memory = self._machine.virtual()
        except LayoutError:
            return None
        cpu, one = selected_cpu(self._machine), self.identity
        if one is None or self._inside(self._machine.pc()):
            return memory if cpu is None or cpu.paging is not False else None
        if cpu is not None and cpu.paging is False:
            return None
        at = self._machine.translate(one.va)
        in_ram = at is not None and any(low <= at < high for low, high in self._machine.ram())
        return memory if in_ram and holds(memory, one.va, one.data) else None

    def _inside(self, va: int) -> bool:
        return any(part.to_physical(va) is not None for part in self.parts)

    def loaded_at(self, va: int) -> int:
        found = next((at for part in self.parts if (at := part.to_physical(va)) is not None), None)
        if found is None and self.parts:
            found = va - self.parts[0].va + self.parts[0].physical
        if found is not None and found >= 0:
            return found
        arch = find(uname=self._machine.arch)
        if arch is not None and not arch.is_kernel_address(va):
            raise ReadError(va, 1, "this is no address of a kernel's")
        raise NotReadyError(f"where {va:#x} will be mapped to is not known at this stop: {_CONTINUE}")


class _Unmapped:
    # A machine whose program is read before it has mapped itself.
    def __init__(self, machine: Machine, memory: LinkedMemory) -> None:
        self._machine = machine
        self._memory = memory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def virtual(self) -> Memory:
        return self._memory

    def translate(self, address: int) -> int | None:
        with contextlib.suppress(LmbError):
            return self._memory.loaded_at(address)
        return None


@dataclass
class _ImageMemory:
    # Reads the physical addresses of a program's image where it is mapped.
    memory: Memory
    parts: Sequence[Linear]

    def read(self, address: int, size: int) -> bytes:
        for part in self.parts:
            if part.physical <= address < part.physical + part.size:
                return self.memory.read(part.va + address - part.physical, size)
        raise ReadError(address, size, "not in the program's image")


def _required(
    machine: Machine, path: Path, memory: LinkedMemory, meter: Meter | None
) -> tuple[tuple[Required, ...], tuple[str, ...]]:
    # What a settled program must have reserved: all of its image but what is freed in the end, what the boot loader
    # left, the page tables that the CPU has; and what of these is not known.
    arch, parts = find(uname=machine.arch), _image(path)
    form = None if arch is None else arch.table_form(machine.register)
    guest = Guest(machine, AddressMap(machine, parts), _ImageMemory(BoundedMemory(memory, meter), parts))
    tables: list[Range] = []
    unread: tuple[str, ...] = ()
    with contextlib.suppress(LmbError), machine.physical(meter) as physical:
        tables, unread = live_tables(machine, BoundedMemory(physical, meter), form)
    rows = [replace(one, reserved=Phase.COMPLETE, alone=True) for row in _RESERVED for one in guest.labelled(*row)]
    rows += PROGRAM.ranges(guest)
    rows += (RoleRange(Role.PAGE_TABLES, *one, "page table base register", reserved=Phase.COMPLETE) for one in tables)
    return must_be_reserved(rows, Phase.COMPLETE), unread


def _find(machine: Machine) -> tuple[Allocator, Variable] | None:
    # Return the first allocator whose variable is in the program's symbols, and that variable.
    known = ((one, machine.variable(one.variable)) for one in likely(machine) if one.variable)
    return next(((one, variable) for one, variable in known if variable is not None), None)


def _probe(machine: Machine) -> tuple[Allocator, Any]:
    """Return the allocator, and its own description of the program. Raises: `LayoutError`."""
    found = _find(machine)
    program = None if found is None else found[0].probe(machine)
    if found is None or program is None:
        raise LayoutError("the program has no allocator that is known")
    return found[0], program


def _file(machine: Machine) -> Path | None:
    found = _find(machine)
    return None if found is None else found[1].program


def _image(path: Path) -> list[Linear]:
    return [Linear(part.va, part.memory_size, part.physical) for part in loaded_parts(path)]


def _identity(machine: Machine, path: Path) -> Identity | None:
    # Return what the build of the program in the file at `path` can be told by, None where there is nothing.
    # Not by the variable's size: of a header's declaration, which gdb may have read, it has none.
    banners = (string_in_file(path, found.address) for found in map(machine.variable, _BANNERS) if found is not None)
    return build_identity(path) or next(banners, None)


def require_same_build(memory: Memory, path: Path | None, identity: Identity | None) -> None:
    """Check that the guest runs the program in the file at `path`, by its identity at its virtual address.

    Passes where the place cannot be read: the next read fails.
    Raises: `LayoutError` for another build, `NotReadyError` where no kernel is in memory yet.
    """
    if identity is None:
        return
    with contextlib.suppress(ReadError):
        found = memory.read(identity.va, len(identity.data))
        if not any(found):
            raise NotReadyError("the kernel is not in memory yet at this stop: continue to a place in it")
        if found != identity.data:
            raise LayoutError(
                f"the guest runs another build than {path} ({found[:20].hex()} in the guest, "
                f"{identity.data[:20].hex()} in the file): {_LOAD}"
            )


def explain_unreadable(machine: Machine, path: Path, identity: Identity | None, error: ReadError) -> LmbError:
    """Return what is to be said where the program in `path` cannot be read at its own addresses.

    Where the ELF says that it is loaded, physical memory tells, whatever the CPU's paging says. Of a dump that lacks
    the memory that is `error` itself.
    """
    cpu = selected_cpu(machine)
    paging = None if cpu is None else cpu.paging
    found, at = None, 0
    if identity is not None:
        with contextlib.suppress(LmbError), machine.physical() as physical:
            at = AddressMap(machine, _image(path)).of_symbol(identity.va)
            found = BoundedMemory(physical).read(at, len(identity.data))
    if machine.lacking and (found is None or paging is not False):
        return error  # its file may lack it for reasons of its own
    state = f"nothing is mapped at {error.address:#x}" if cpu is None or paging is not False else cpu.not_paging
    if identity is None or found is None:
        return NotReadyError(f"the kernel is not there yet ({state}), or it is another one: continue, or {_LOAD}")
    if found == identity.data:
        return NotReadyError(
            f"the kernel is not there yet: {path.name} is in memory at {at:#x}, but {state} while the CPU is at "
            f"{machine.pc():#x}: {_CONTINUE}"
        )
    if paging is not False and machine.variable("memblock") is None:
        there = f"has {found[:20].hex()} there" if any(found) else "has nothing there"
        return LayoutError(
            f"the guest runs another kernel than {path}, whose build {identity.data[:20].hex()} would be at "
            f"{at:#x} physically: it {there}, and {state}: {_LOAD}"
        )
    what = "another one or none is" if any(found) else "nothing has been loaded"
    return NotReadyError(
        f"the kernel is not there yet ({state}), or it is another one: {what} where {path.name} is loaded "
        f"({at:#x} physically): {_CONTINUE}, or {_LOAD}"
    )

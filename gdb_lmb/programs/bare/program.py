# SPDX-License-Identifier: GPL-2.0-or-later
"""A program without Linux in it, as a `Program`: it lies where its ELF says, and is read at its virtual addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gdb_lmb.allocators.base import Allocator, likely
from gdb_lmb.core.address import Identity, Phase
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Memory, Meter
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.formats.program_file import build_identity, loaded_parts, string_in_file
from gdb_lmb.programs.base import AddressMap, Guest, ImagePart, Program, Role, RoleRange, selected_cpu
from gdb_lmb.programs.traced import Traced

BANNERS = ("linux_banner", "lmb_banner")
"""Variables with the text that tells builds apart where there is no build id."""

_CONTINUE = "continue to a place in the kernel"
_LOAD = "load the vmlinux of the kernel that runs"
_BOOT_INFO = {"initrd": Role.INITRD, "fdt": Role.DEVICE_TREE}
"""Members of `struct boot_info` that are ranges of `base` and `size`."""

_IDENTITIES: dict[tuple[str, int, int], Identity | None] = {}
"""By what each program is told from other builds, by its file."""


class Bare(Program):
    """A program with an allocator that finds itself in its symbols."""

    name = "bare"

    def recognises(self, machine: Machine) -> bool:
        """Tell whether there is such an allocator."""
        return _allocator(machine) is not None

    def take(self, machine: Machine, *, with_log: bool = False, meter: Meter | None = None) -> Snapshot:
        """Read the allocator's whole state. Raises: `LmbError`."""
        (one, program), path = _probe(machine), _file(machine)
        identity = None if path is None else _identity(machine, path)
        require_same_build(BoundedMemory(machine.virtual(), meter), path, identity)
        try:
            return one.take(machine, program, with_log=with_log, meter=meter)
        except ReadError as error:
            if path is None or not any(
                part.va <= error.address < part.va + part.memory_size for part in loaded_parts(path)
            ):
                raise
            raise explain_unreadable(machine, path, identity, error) from None

    def traced(self, machine: Machine) -> Traced:
        """Return the allocator, read at its virtual addresses."""
        return Traced(machine, *_probe(machine))

    def where(self, machine: Machine) -> AddressMap:
        """Return where the ELF says that the image is."""
        path = _file(machine)
        parts = [] if path is None else loaded_parts(path)
        return AddressMap(machine, [ImagePart(part.physical, part.memory_size, part.va) for part in parts])

    def image(self, guest: Guest) -> Iterator[RoleRange]:
        """Yield the image and its parts, page tables and stack too."""
        yield from super().image(guest)
        yield from guest.labelled(Role.INIT, "__init_begin", "__init_end", Phase.HANDED_OVER)
        yield from guest.labelled(Role.EARLY_PAGE_TABLES, "__early_page_tables_start", "__early_page_tables_end")
        yield from guest.labelled(Role.STACK, "boot_stack", "boot_stack_end")
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
            if f"{name}.base" in struct.fields and f"{name}.size" in struct.fields:
                base, size = (struct.value(raw, f"{name}.{part}", order) for part in ("base", "size"))
                yield RoleRange(role, base, base + size, f"boot_info.{name}")
        if "boot_data" not in struct.fields or "nr_boot_data" not in struct.fields:
            return
        row, field = guest.machine.struct("boot_info", "boot_data"), struct.fields["boot_data"]
        for at in range(min(struct.value(raw, "nr_boot_data", order), field.size // row.size)):
            base, size = (row.value(raw, name, order, field.offset + at * row.size) for name in ("base", "size"))
            yield RoleRange(Role.BOOT_DATA, base, base + size, f"boot_info.boot_data[{at}]")


PROGRAM = Bare()


def _allocator(machine: Machine) -> Allocator | None:
    """Return the first allocator whose variable is in the program's symbols."""
    return next((one for one in likely(machine) if one.variable and machine.variable(one.variable)), None)


def _probe(machine: Machine) -> tuple[Allocator, Any]:
    """Return the allocator, and its own description of the program. Raises: `LayoutError`."""
    one = _allocator(machine)
    program = None if one is None else one.probe(machine)
    if one is None or program is None:
        raise LayoutError("the program has no allocator that is known")
    return one, program


def _file(machine: Machine) -> Path | None:
    """Return the program's file, by the variable that its allocator is in."""
    one = _allocator(machine)
    variable = None if one is None else machine.variable(one.variable)
    return None if variable is None else variable.program


def _identity(machine: Machine, path: Path) -> Identity | None:
    """Return what the build of the program in the file at `path` can be told by, None where there is nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    key = (str(path), status.st_mtime_ns, status.st_size)
    if key not in _IDENTITIES:
        _IDENTITIES[key] = build_identity(path) or _banner(machine, path)
    return _IDENTITIES[key]


def _banner(machine: Machine, path: Path) -> Identity | None:
    for found in map(machine.variable, BANNERS):
        if found is not None:
            # Not by the variable's size: of a header's declaration, which gdb may have read, it has none.
            return string_in_file(path, found.address)
    return None


def require_same_build(memory: Memory, path: Path | None, identity: Identity | None) -> None:
    """Check that the guest runs the program in the file at `path`, by its identity at its virtual address.

    Passes where the place cannot be read (paging is not on yet): the next read fails.
    Raises: `LayoutError` for another build, `NotReadyError` where no kernel is in memory yet.
    """
    if identity is None:
        return
    try:
        found = memory.read(identity.va, len(identity.data))
    except ReadError:
        return
    if found == identity.data:
        return
    if not any(found):
        raise NotReadyError("the kernel is not in memory yet at this stop: continue to a place in it")
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
    found, physical = _in_memory(machine, path, identity)
    if machine.lacking and (found is None or paging is not False):
        return error  # its file may lack it for reasons of its own
    state = "paging is off" if paging is False else f"nothing is mapped at {error.address:#x}"
    if identity is None or found is None:
        return NotReadyError(f"the kernel is not there yet ({state}), or it is another one: continue, or {_LOAD}")
    if found == identity.data:
        return NotReadyError(
            f"the kernel is not there yet: {path.name} is in memory at {physical:#x}, but {state} while the CPU is at "
            f"{machine.pc():#x}: {_CONTINUE}"
        )
    if paging is not False and machine.variable("memblock") is None:
        there = f"has {found[:20].hex()} there" if any(found) else "has nothing there"
        return LayoutError(
            f"the guest runs another kernel than {path}, whose build {identity.data[:20].hex()} would be at "
            f"{physical:#x} physically: it {there}, and {state}: {_LOAD}"
        )
    what = "another one or none is" if any(found) else "nothing has been loaded"
    return NotReadyError(
        f"the kernel is not there yet ({state}), or it is another one: {what} where {path.name} is loaded "
        f"({physical:#x} physically): {_CONTINUE}, or {_LOAD}"
    )


def _in_memory(machine: Machine, path: Path, identity: Identity | None) -> tuple[bytes | None, int]:
    """Return what physical memory holds where the loaded program has its identity, and that address."""
    for part in loaded_parts(path) if identity is not None else ():
        if identity is not None and part.va <= identity.va < part.va + part.memory_size:
            at = identity.va - part.va + part.physical
            try:
                with machine.physical() as physical:
                    return BoundedMemory(physical).read(at, len(identity.data)), at
            except LmbError:
                return None, at
    return None, 0

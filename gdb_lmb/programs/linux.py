# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux kernel's symbols and types, as linked: what the decoder of memblock and the phases need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gdb

from gdb_lmb.allocators.memblock.decode import MemblockProgram
from gdb_lmb.arches.linux import LinuxArchitecture
from gdb_lmb.arches.registry import linux_architecture
from gdb_lmb.core.address import TranslatedMemory
from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.image import Identity, KernelImage
from gdb_lmb.formats.program_file import build_identity
from gdb_lmb.machine.program import arch, lookup
from gdb_lmb.machine.program_files import program_file
from gdb_lmb.machine.symbols import linker_symbol
from gdb_lmb.machine.types import byte_order, enum_names, member_type, struct_of

FREEING_INITMEM = 2
"""`SYSTEM_FREEING_INITMEM` of `enum system_states`."""

_VARIABLES = ("_totalram_pages", "system_state", "memblock_memory", "memblock_can_resize")
_FIRMWARE = ("e820_table", "initial_boot_params_pa", "__fdt_pointer")
"""x86's firmware map; the physical address of the flattened device tree, which all others use."""


@dataclass(frozen=True)
class Kernel(KernelImage):
    """A Linux kernel's image and what its memblock and its boot are decoded by; `init` is its init memory as linked.

    `keeps` tells that memblock stays after boot (CONFIG_ARCH_KEEP_MEMBLOCK).
    """

    arch: LinuxArchitecture
    program: MemblockProgram
    init: tuple[int, int]
    keeps: bool

    def word(self, memory: TranslatedMemory, name: str, size: int = 8) -> int:
        """Return the value of variable `name` of `size` bytes, 0 where the kernel has none."""
        va = self.symbols[name]
        return int.from_bytes(memory.read(va + memory.placement.virtual, size), self.program.byte_order) if va else 0

    def in_freed_memory(self, memory: TranslatedMemory, va: int) -> bool:
        """Tell whether a linked address lies in init memory, and that has been freed."""
        return self.init[0] <= va < self.init[1] and self.word(memory, "system_state", 4) >= FREEING_INITMEM


_KERNELS: dict[tuple[str, int, int], Kernel] = {}
"""What was worked out for a program, by its file: as linked, and so wherever its symbols stand."""


def find_kernel() -> Kernel | None:
    """Return the kernel whose symbols gdb has, None where they have no memblock. Raises: `LayoutError`."""
    symbol = lookup("memblock")
    path = None if symbol is None else program_file(symbol)
    if symbol is None or path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        raise LayoutError(f"cannot read {path}, which gdb has its symbols from: {error.strerror}") from None
    key = (str(path), status.st_mtime_ns, status.st_size)
    if key not in _KERNELS:
        _KERNELS[key] = _read_kernel(symbol, path)
    return _KERNELS[key]


def symbols_moved_by(kernel: Kernel) -> int:
    """Return by how much gdb has the kernel's symbols away from where they were linked (`symbol-file -o`)."""
    symbol = lookup("memblock")
    return 0 if symbol is None else int(symbol.value().address) - kernel.program.memblock_va


def _read_kernel(symbol: gdb.Symbol, path: Path) -> Kernel:
    machine = linux_architecture(arch())
    identity = build_identity(path)
    if identity is None:
        raise LayoutError(f"{path} has no build id in a loaded note: it cannot be told from another build")
    moved = _moved_by(identity)

    def linked(symbol: gdb.Symbol | None) -> int:
        return 0 if symbol is None else int(symbol.value().address) - moved

    def minimal(name: str, find: Callable[[str], int] = _minimal) -> int:
        at = find(name)
        return at - moved if at else 0

    kind = symbol.type.strip_typedefs()
    type_kind = member_type(kind, "memory")
    region_kind = member_type(type_kind, "regions").target()
    arrays = {name: linked(lookup(f"memblock_{name}_init_regions")) for name in ("memory", "reserved")}
    image = (minimal("_text"), minimal("_end"))
    program = MemblockProgram(
        arch=arch(),
        byte_order=byte_order(),
        memblock_va=linked(symbol),
        memblock=struct_of(kind, "memblock"),
        type=struct_of(type_kind, "memblock_type"),
        region=struct_of(region_kind, "memblock_region"),
        page_size=machine.page_size(path, image),
        flag_names={k: v.upper() for k, v in enum_names(member_type(region_kind, "flags"), "MEMBLOCK_").items() if k},
        init_arrays=arrays,
        physmem_va=linked(lookup("physmem")) or None,
        physmem_array_va=linked(lookup("memblock_physmem_init_regions")) or None,
        no_node=_max_nodes(),
    )
    firmware = _FIRMWARE[:1] if lookup(_FIRMWARE[0]) is not None else _FIRMWARE[1:]
    places = {name: linked(lookup(name)) for name in (*_VARIABLES, *firmware, *machine.variables)}
    places |= {name: minimal(name) for name in machine.labels}
    places |= {name: minimal(name, _code) for name in machine.code_labels}
    return Kernel(
        arch=machine,
        program=program,
        own_file=path,
        byte_order=program.byte_order,
        identity=identity,
        image=image,
        init=(minimal("__init_begin"), minimal("__init_end")),
        code=((minimal("_text"), minimal("_etext")), (minimal("_sinittext"), minimal("_einittext"))),
        entry=minimal(machine.entry, _code),
        constant_pointer=program.memblock_va + program.memblock.fields["memory.name"].offset,
        early_pointer=(
            program.memblock_va + program.memblock.fields["memory.regions"].offset,
            program.init_arrays["memory"],
        ),
        symbols=places,
        keeps=not _code("memblock_discard"),
    )


def _max_nodes() -> int | None:
    """Return `MAX_NUMNODES`, None where the debug information does not tell.

    `node_data[]` would tell too, but gdb may find a declaration of it that has no size.
    Source: `MAX_ZONES_PER_ZONELIST` of include/linux/mmzone.h.
    """
    try:
        zones = enum_names(gdb.lookup_type("enum zone_type"), "")
        references = member_type(gdb.lookup_type("struct zonelist"), "_zonerefs").range()[1]
    except (gdb.error, LayoutError):
        return None
    most = next((value for value, name in zones.items() if name == "__max_nr_zones"), 0)
    return references // most if most else None


def _moved_by(identity: Identity) -> int:
    """Return the same of a kernel that nothing is known of yet but where its notes were linked."""
    if not identity.notes_va:
        return 0
    # By its name gdb would look for it in all debug information, a tenth of a second for nothing.
    # Several symbols may have this address, but all that are in this section are at its ends.
    found = linker_symbol(identity.notes_va)
    if found is not None and found.section == ".notes" and not found.offset:
        return 0
    at = _minimal("__start_notes")
    return at - identity.notes_va if at else 0


def _code(name: str) -> int:
    """Return the address of a function or of a label in assembly, 0 where there is none.

    An expression would give the same, but takes gdb up to a tenth of a second where only the linker knows the name.
    """
    try:
        places = gdb.decode_line(name)[1]
    except gdb.error:
        return 0
    return int(places[0].pc) if places else 0


def _minimal(name: str) -> int:
    """Return the address of a symbol of the linker or assembler, 0 where there is none."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&{name}"))
    except gdb.error:
        return 0

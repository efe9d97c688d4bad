# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux kernel's symbols and types, as linked: what the decoder of memblock and the phases need."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from gdb_lmb.allocators.memblock.decode import MemblockProgram
from gdb_lmb.arches.linux import LinuxArchitecture, linux_architecture
from gdb_lmb.core.address import Identity, KernelImage, TranslatedMemory
from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import Struct
from gdb_lmb.core.machine import Machine, Variable
from gdb_lmb.core.ranges import Range
from gdb_lmb.formats.program_file import build_identity, bytes_in_file, loaded_parts

FREEING_INITMEM = 2  # `SYSTEM_FREEING_INITMEM` of `enum system_states`
_LISTS = ("memory", "reserved")
_VARIABLES = (
    "node_states",
    "_totalram_pages",
    "vm_zone_stat",
    "slab_state",
    "pcpu_base_addr",
    "system_state",
    "memblock_memory",
    "memblock_can_resize",
    "crashk_res",
)
# What tells of ranges that must be reserved.
_RANGES = (
    "_brk_start", "_brk_end", "initrd_start", "initrd_end", "phys_initrd_start", "phys_initrd_size",
    "pcpu_base_addr", "pcpu_nr_units", "pcpu_unit_offsets", "pcpu_first_chunk", "node_data",
)  # fmt: skip
# x86's firmware map, as the kernel edits it and as it came; the physical address of the device tree, which others use.
E820_TABLES = ("e820_table", "e820_table_firmware")
_TREES = ("initial_boot_params_pa", "__fdt_pointer", "initial_boot_params")


@dataclass(frozen=True)
class Kernel(KernelImage):
    """A Linux kernel's image and what its memblock and its boot are decoded by.

    `init` is its init memory as linked, None where it has no labels for it. `keeps` tells that memblock stays after
    boot (CONFIG_ARCH_KEEP_MEMBLOCK). `tables` are what x86's pointers to its firmware maps are linked to. `types`,
    `variables` and `labels` keep what the debugger told, as linked: when it moves the symbols it forgets what it read.
    """

    arch: LinuxArchitecture
    program: MemblockProgram
    init: Range | None
    keeps: bool
    tables: Mapping[str, int]
    types: dict[tuple[str, str], Struct] = field(default_factory=dict, compare=False, hash=False)
    variables: dict[str, Variable | None] = field(default_factory=dict, compare=False, hash=False)
    labels: dict[str, int | None] = field(default_factory=dict, compare=False, hash=False)

    def struct(self, machine: Machine, of: str, member: str = "") -> Struct:
        """Return what `Machine.struct()` does, looked up once. Raises: `LayoutError`."""
        if (of, member) not in self.types:
            self.types[of, member] = machine.struct(of, member)
        return self.types[of, member]

    def variable(self, machine: Machine, name: str, moved: int) -> Variable | None:
        """Return what `Machine.variable()` does, looked up once; `moved` is by how much the symbols are."""
        if name not in self.variables:
            self.variables[name] = _moved(machine.variable(name), -moved)
        return _moved(self.variables[name], moved)

    def label(self, machine: Machine, name: str, moved: int) -> int | None:
        """Return what `Machine.label()` does, looked up once; `moved` is by how much the symbols are."""
        if name not in self.labels:
            at = machine.label(name)
            self.labels[name] = None if at is None else at - moved
        linked = self.labels[name]
        return None if linked is None else linked + moved

    def word(self, memory: TranslatedMemory, name: str, size: int | None = None) -> int | None:
        """Return variable `name` of `size` bytes (None: an `unsigned long`), None where the kernel has none."""
        if name not in self.symbols:
            return None
        raw = memory.read(self.symbols[name] + memory.placement.virtual, size or self.arch.word_bytes)
        return int.from_bytes(raw, self.arch.byte_order)

    def in_freed_memory(self, memory: TranslatedMemory, va: int) -> bool | None:
        """Tell whether a linked address lies in init memory, and that has been freed; None where nothing tells."""
        if self.init is not None and not self.init[0] <= va < self.init[1]:
            return False
        state = self.word(memory, "system_state", 4)
        if state is not None and state < FREEING_INITMEM:
            return False
        return None if state is None or self.init is None else True


@lru_cache
def _moved(found: Variable | None, by: int) -> Variable | None:
    return None if found is None else replace(found, address=found.address + by)


# What was worked out for a program, by its file: as linked, and so wherever its symbols stand.
_KERNELS: dict[tuple[str, int, int], Kernel] = {}


def find_kernel(machine: Machine) -> Kernel | None:
    """Return the kernel whose symbols the debugger has, None where they have no memblock. Raises: `LayoutError`."""
    memblock = machine.variable("memblock")
    path = None if memblock is None else memblock.program
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        raise LayoutError(f"cannot read {path}, which gdb has its symbols from: {error.strerror}") from None
    key = (str(path), status.st_mtime_ns, status.st_size)
    if key not in _KERNELS:
        _KERNELS[key] = _read_kernel(machine, path)
    return _KERNELS[key]


def symbols_moved_by(machine: Machine, kernel: Kernel) -> int:
    """Return by how much the kernel's symbols are away from where they were linked (`symbol-file -o`).

    Raises: `LayoutError` where the debugger has none of them.
    """
    memblock = machine.variable("memblock")
    if memblock is None:
        raise LayoutError(f"gdb has no symbols of {kernel.own_file} any more: load them with `file VMLINUX`")
    return memblock.address - kernel.program.memblock_va


def init_memory(machine: Machine, kernel: Kernel) -> Range | None:
    """Return the virtual range of init memory where the debugger has the kernel's symbols, None where it has none.

    On x86-64 up to Linux 6.14 the label `__init_begin` is in a section that is linked at 0, and does not move along.
    """
    moved = symbols_moved_by(machine, kernel)
    return None if kernel.init is None else (kernel.init[0] + moved, kernel.init[1] + moved)


def _read_kernel(machine: Machine, path: Path) -> Kernel:
    arch = linux_architecture(machine.arch)
    identity = build_identity(path)
    if identity is None:
        raise LayoutError(f"{path} has no build id in a loaded note: it cannot be told from another build")
    moved = _moved_by(machine, path, identity)

    variables: dict[str, Variable | None] = {}

    def linked(name: str) -> int | None:
        found = variables.setdefault(name, _moved(machine.variable(name), -moved))
        return None if found is None else found.address

    def label(name: str, *, code: bool = False) -> int | None:
        at = machine.label(name, code=code)
        return None if at is None else at - moved

    def required(name: str, at: int | None) -> int:
        if at is None:
            raise LayoutError(f"{path} has no symbol {name}, which every Linux kernel has: load the kernel's vmlinux")
        return at

    def between(first: str, past: str) -> Range | None:
        low, high = label(first), label(past)
        return None if low is None or high is None else (low, high)

    image = (required("_text", label("_text")), required("_end", label("_end")))
    flags = machine.enum("memblock", "memory.regions.flags")
    region = machine.struct("memblock", "memory.regions")
    arrays = {name: machine.variable(f"memblock_{name}_init_regions") for name in (*_LISTS, "physmem")}
    memblock, layout = required("memblock", linked("memblock")), machine.struct("memblock")
    statics = {name: linked(f"memblock_{name}_init_regions") for name in _LISTS}
    names = ((name, memblock + layout.fields[f"{name}.name"].offset) for name in _LISTS)
    words = {name: bytes_in_file(path, at, arch.word_bytes) for name, at in names}
    program = MemblockProgram(
        arch=machine.arch,
        byte_order=machine.byte_order,
        memblock_va=memblock,
        memblock=layout,
        type=machine.struct("memblock", "memory"),
        region=region,
        page_size=arch.page_size(path, image),
        flag_names={bit: name.removeprefix("MEMBLOCK_").upper() for bit, name in flags.items() if bit},
        init_arrays={name: at for name, at in statics.items() if at is not None},
        physmem_va=linked("physmem"),
        physmem_array_va=linked("memblock_physmem_init_regions"),
        no_node=_max_nodes(machine),
        rooms={name: found.size // region.size for name, found in arrays.items() if found is not None},
        # Where relocations keep the pointers, the file has 0 in their place.
        names={
            name: int.from_bytes(word.data, machine.byte_order) if word is not None and any(word.data) else None
            for name, word in words.items()
        },
        image=image,
    )
    firmware = _TREES if machine.variable(E820_TABLES[0]) is None else E820_TABLES
    fields, types = program.memblock.fields, {}
    symbols = {
        **{name: linked(name) for name in (*_VARIABLES, *_RANGES, *firmware, *arch.variables)},
        **{name: label(name) for name in arch.labels},
        **{name: label(name, code=True) for name in arch.code_labels},
    }
    tables = {name: bytes_in_file(path, at, arch.word_bytes) for name in E820_TABLES if (at := symbols.get(name))}
    # The debugger has just read what describes these, for the variables beside them.
    for of in (("pcpu_first_chunk", ""), (E820_TABLES[0], ""), (E820_TABLES[0], "entries")):
        with contextlib.suppress(LayoutError):
            types[of] = machine.struct(*of)
    return Kernel(
        arch=arch,
        program=program,
        own_file=path,
        identity=identity,
        image=image,
        init=between("__init_begin", "__init_end"),
        code=tuple(filter(None, (between("_text", "_etext"), between("_sinittext", "_einittext")))),
        entry=required(arch.entry, label(arch.entry, code=True)),
        relocated=(
            *(program.memblock_va + fields[f"{of}.{what}"].offset for what in ("name", "regions") for of in _LISTS),
            *(at for at in (linked("memblock_memory"),) if at is not None),
        ),
        early_pointer=(program.memblock_va + fields["memory.regions"].offset, statics["memory"]),
        symbols={name: at for name, at in symbols.items() if at is not None},
        keeps=machine.label("memblock_discard", code=True) is None,
        tables={name: int.from_bytes(word.data, machine.byte_order) for name, word in tables.items() if word},
        types=types,
        variables=variables,
        labels=dict(zip(("_text", "_end"), image, strict=True)),
    )


def _max_nodes(machine: Machine) -> int | None:
    # `MAX_NUMNODES`. `node_data[]` would tell too, but gdb may find a declaration of it that has no size.
    # Source: `MAX_ZONES_PER_ZONELIST` of include/linux/mmzone.h.
    try:
        zones = machine.enum("enum zone_type")
        array = machine.struct("struct zonelist").fields["_zonerefs"].size
        references = array // machine.struct("struct zonelist", "_zonerefs").size - 1
    except (LayoutError, KeyError):
        return None
    most = next((value for value, name in zones.items() if name == "__MAX_NR_ZONES"), None)
    return references // most if most else None


def _moved_by(machine: Machine, path: Path, identity: Identity) -> int:
    # The same of a kernel that nothing is known of yet but where its notes were linked.
    if identity.notes_va is None:
        return 0
    # By its name gdb would look for it in all debug information, a tenth of a second for nothing.
    # Several symbols may have this address, but all that are in this section are at its ends.
    found = machine.symbol_at(identity.notes_va)
    if found is not None and found.section == ".notes" and not found.offset:
        return 0
    at = machine.label("__start_notes")
    if at is not None:
        return at - identity.notes_va
    # A program of another linker script: its symbols must be where it was linked.
    memblock = machine.variable("memblock")
    inside = (part.va <= memblock.address < part.va + part.memory_size for part in loaded_parts(path) if memblock)
    if not any(inside):
        raise LayoutError(f"{path} has no symbol __start_notes: how far gdb has moved its symbols cannot be told")
    return 0

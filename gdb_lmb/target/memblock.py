# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a Linux kernel keeps its memblock, where the kernel itself is, and how far the boot has come.

Everything is read physically and translated here, so that it works before paging, in user mode with the
kernel's pages unmapped, and with KASLR while gdb's symbols still stand at their linked addresses. The
phases and the test of what is still true after boot are those of mm/memblock.c and mm/mm_init.c.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import gdb

from gdb_lmb.address import X86_KERNEL_MAP_VA, Phase, Placement, TranslatedMemory, find_physically
from gdb_lmb.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.layout.memblock import MemblockProgram, decode
from gdb_lmb.layout.program_file import Identity, build_identity, bytes_in_file
from gdb_lmb.memory import BoundedMemory, Meter
from gdb_lmb.region import FirmwareMap, Snapshot, Stop
from gdb_lmb.target.physical import PhysicalMemory
from gdb_lmb.target.program import DEFAULT_PAGE_SIZE, arch, lookup
from gdb_lmb.target.stop import MAX_FRAMES, symbol_at
from gdb_lmb.target.types import byte_order, enum_names, member_type, struct_of

USUAL_RANGES = 128
"""`E820_MAX_ENTRIES_ZEROPAGE`."""

MAX_PHYSICAL_BYTES = 64 << 30
"""How far the search for a moved kernel goes up."""

_CHANGING = (
    "memblock_add_range", "memblock_insert_region", "memblock_remove_region", "memblock_merge_regions",
    "memblock_isolate_range", "memblock_double_array", "memblock_remove_range", "memblock_setclr_flag",
    "memblock_set_node", "memblock_trim_memory", "memblock_cap_memory_range", "memblock_enforce_memory_limit",
)  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """A Linux kernel's symbols, as linked: what the decoder and the phases need; 0 where it has none.

    `own_file` is the ELF; `identity` its build id and where that is linked.
    """

    program: MemblockProgram
    own_file: Path
    identity: Identity
    image: tuple[int, int]
    init: tuple[int, int]
    code: tuple[tuple[int, int], ...]
    entry: int
    name_pointer_va: int
    symbols: dict[str, int]
    keeps: bool


class _Cache:
    """What was worked out for a program, by its file, and where the kernel was last found."""

    def __init__(self) -> None:
        self.kernels: dict[tuple[str, int], Kernel] = {}
        self.placement: dict[Path, Placement] = {}


_CACHE = _Cache()
_SYMBOLS = ("phys_base", "page_offset_base", "_totalram_pages", "system_state", "memblock_memory",
            "memblock_can_resize", "e820_table")  # fmt: skip


def find_kernel() -> Kernel | None:
    """Return the kernel whose symbols gdb has, None where they have no memblock. Raises: `LayoutError`."""
    symbol = lookup("memblock")
    if symbol is None or symbol.symtab is None:
        return None
    filename = symbol.symtab.objfile.filename
    key = (filename, id(symbol.symtab.objfile))
    if key not in _CACHE.kernels:
        _CACHE.kernels[key] = _read_kernel(symbol, Path(filename))
    return _CACHE.kernels[key]


def symbols_moved_by(identity: Identity) -> int:
    """Return by how much gdb has its symbols away from where they were linked (`symbol-file -o`)."""
    at = _minimal("__start_notes")
    return at - identity.notes_va if at and identity.notes_va else 0


def _read_kernel(symbol: gdb.Symbol, path: Path) -> Kernel:
    if arch() != "x86_64":
        raise LayoutError(f"stock Linux is understood on x86_64 only so far, not on {arch()}")
    identity = build_identity(path)
    if identity is None:
        raise LayoutError(f"{path} has no build id in a loaded note: it cannot be told from another build")
    moved = symbols_moved_by(identity)

    def linked(symbol: gdb.Symbol | None) -> int:
        return 0 if symbol is None else int(symbol.value().address) - moved

    def minimal(name: str) -> int:
        at = _minimal(name)
        return at - moved if at else 0

    kind = symbol.type.strip_typedefs()
    type_kind = member_type(kind, "memory")
    region_kind = member_type(type_kind, "regions").target()
    arrays = {name: linked(lookup(f"memblock_{name}_init_regions")) for name in ("memory", "reserved")}
    nodes = lookup("node_data")
    program = MemblockProgram(
        arch=arch(),
        byte_order=byte_order(),
        memblock_va=linked(symbol),
        memblock=struct_of(kind, "memblock"),
        type=struct_of(type_kind, "memblock_type"),
        region=struct_of(region_kind, "memblock_region"),
        page_size=DEFAULT_PAGE_SIZE,
        flag_names={k: v.upper() for k, v in enum_names(member_type(region_kind, "flags"), "MEMBLOCK_").items() if k},
        init_arrays=arrays,
        physmem_va=linked(lookup("physmem")) or None,
        no_node=nodes.type.sizeof // nodes.type.target().sizeof if nodes is not None else None,
    )
    places = {name: linked(lookup(name)) for name in _SYMBOLS}
    return Kernel(
        program=program,
        own_file=path,
        identity=identity,
        image=(minimal("_text"), minimal("_end")),
        init=(minimal("__init_begin"), minimal("__init_end")),
        code=((minimal("_text"), minimal("_etext")), (minimal("_sinittext"), minimal("_einittext"))),
        entry=minimal("startup_64"),
        name_pointer_va=program.memblock_va + program.memblock.fields["memory.name"].offset,
        symbols=places,
        keeps=not _minimal("memblock_discard"),
    )


def _minimal(name: str) -> int:
    """Return the address of a symbol of the linker or assembler, 0 where there is none."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&{name}"))
    except gdb.error:
        return 0


def physical_limit() -> int:
    """Return where the machine's RAM ends at the latest, a physical address."""
    try:
        text = gdb.execute("monitor info memory_size_summary", to_string=True) or ""
    except gdb.error:
        return MAX_PHYSICAL_BYTES
    sizes = [int(word) for word in text.replace(":", " ").split() if word.isdigit()]
    # The hole below 4 GiB moves what does not fit below it up: by 1.25 GiB at most.
    return min(MAX_PHYSICAL_BYTES, sum(sizes) + (5 << 28)) if sizes else MAX_PHYSICAL_BYTES


@dataclass(frozen=True)
class Cpu:
    """The selected CPU's program counter and CR0 (None where gdb has none).

    Taken before reads become physical: gdb looks at code and stack to make a frame, and keeps what it saw.
    """

    pc: int
    cr0: int | None


def selected_cpu() -> Cpu:
    """Return the selected CPU's registers."""
    frame = gdb.newest_frame()
    try:
        cr0: int | None = int(frame.read_register("cr0")) & ((1 << 64) - 1)
    except (ValueError, gdb.error):
        cr0 = None
    return Cpu(frame.pc(), cr0)


def place(kernel: Kernel, physical: BoundedMemory, cpu: Cpu | None = None) -> Placement:
    """Find where the kernel lies, physically and virtually, and prove it by its build id.

    With `cpu`, a kernel that is in memory, but that this CPU has not got to, counts as not there.
    Raises: `NotReadyError` where no kernel of this build is in memory.
    """
    linked = kernel.identity.va - X86_KERNEL_MAP_VA
    known = _CACHE.placement.get(kernel.own_file)
    delta = None
    if known is not None:
        try:
            if physical.read(linked + known.physical, len(kernel.identity.data)) == kernel.identity.data:
                delta = known.physical
        except ReadError:
            pass
    if delta is None:
        delta = find_physically(physical, linked, kernel.identity.data, physical_limit())
    if delta is None:
        raise NotReadyError(
            f"no kernel of the build of {kernel.own_file.name} is in memory: it is still compressed at this stop, "
            "or the guest runs another build"
        )
    image = Placement(delta, 0, kernel.image)
    # The pointer to the list's name is relocated with the image and never changed: it tells by how much.
    want = bytes_in_file(kernel.own_file, kernel.name_pointer_va, 8)
    if want is None:
        raise LayoutError(f"{kernel.own_file} does not hold the data of `memblock`")
    order = kernel.program.byte_order
    # The same bytes are wanted again by whoever decodes: one request for both.
    physical.preload(image.to_physical(kernel.program.memblock_va), kernel.program.memblock.size)
    got = physical.read(image.to_physical(kernel.name_pointer_va), 8)
    virtual = int.from_bytes(got, order) - int.from_bytes(want.data, order)
    if virtual % (2 << 20) or not 0 <= virtual < 1 << 30:
        raise NotReadyError("the kernel is in memory, but not relocated yet: continue a little")
    direct = 0
    if kernel.symbols["page_offset_base"]:
        direct = int.from_bytes(physical.read(image.to_physical(kernel.symbols["page_offset_base"]), 8), order)
    placement = Placement(delta, virtual, kernel.image, direct)
    if cpu is not None:
        require_running(kernel, placement, cpu)
    _CACHE.placement[kernel.own_file] = placement
    return placement


def require_running(kernel: Kernel, placement: Placement, cpu: Cpu) -> None:
    """Check that the CPU is not in the decompressor any more. Raises: `NotReadyError`.

    The decompressor has the image in its buffer before it is in its place, and leaves its own build id.
    """
    linked = cpu.pc + X86_KERNEL_MAP_VA - placement.physical
    if cpu.pc < 1 << 47 and not any(low <= linked < high for low, high in kernel.code):
        raise NotReadyError("the kernel is still compressed at this stop: continue, or use lmb-attach --wait")


def phase_of(kernel: Kernel, memory: TranslatedMemory, cpu: Cpu) -> tuple[Phase, dict[str, str]]:
    """Return the boot's phase, and the lists that must not be shown any more with the reason for each."""
    virtual = memory.placement.virtual

    def word(name: str, size: int = 8) -> int:
        address = kernel.symbols[name]
        return int.from_bytes(memory.read(address + virtual, size), kernel.program.byte_order) if address else 0

    if not word("_totalram_pages"):
        # PG is bit 31 of CR0; before it is set addresses are physical, before the jump they are low.
        if cpu.cr0 is not None and not cpu.cr0 & 1 << 31:
            return Phase.UNMAPPED, {}
        if cpu.pc < 1 << 47:
            require_running(kernel, memory.placement, cpu)
            return Phase.IDENTITY, {}
        return (Phase.COMPLETE if word("memblock_can_resize", 4) else Phase.MAPPED), {}
    refused: dict[str, str] = {}
    if kernel.keeps or word("memblock_memory"):
        return Phase.HANDED_OVER, refused
    low, high = kernel.init
    if low <= kernel.program.memblock_va < high and word("system_state", 4) >= 2:
        raise NotReadyError("memblock was in init memory, which this kernel has freed: nothing of it is left to show")
    raw = memory.read(kernel.program.memblock_va + virtual, kernel.program.memblock.size)
    for name, static in kernel.program.init_arrays.items():
        regions = kernel.program.memblock.value(raw, f"{name}.regions", kernel.program.byte_order)
        if regions != static + virtual:
            refused[name] = f"the array of {name} was freed by memblock_discard(): its contents are not shown"
    return Phase.DISCARDED, refused


def read_e820(kernel: Kernel, memory: TranslatedMemory) -> FirmwareMap | None:
    """Return the kernel's own copy of the firmware map, `e820_table`; None where it is not there yet."""
    pointer = lookup("e820_table")
    if pointer is None or not kernel.symbols["e820_table"]:
        return None
    order = kernel.program.byte_order
    kind = pointer.type.strip_typedefs().target().strip_typedefs()
    table = struct_of(kind, "e820_table")
    entry_kind = member_type(kind, "entries").target().strip_typedefs()
    entry = struct_of(entry_kind, "e820_entry")
    try:
        raw = memory.read(kernel.symbols["e820_table"] + memory.placement.virtual, 8)
        at = int.from_bytes(raw, order)
        most = table.fields["entries"].size // entry.size
        start = table.fields["entries"].offset
        # Counter and entries in one request: the zero page has room for 128, and few machines need more.
        head = memory.read(at, start + min(most, USUAL_RANGES) * entry.size)
        nr = min(table.value(head, "nr_entries", order), most)
        if not nr:
            return None
        rows = head[start:] if nr <= USUAL_RANGES else memory.read(at + start, nr * entry.size)
        rows = rows[: nr * entry.size]
    except ReadError:
        return None
    return FirmwareMap(*entry.columns(rows, ("addr", "size", "type"), order))


def _functions_on_stack() -> list[str]:
    """Return the functions of the stack, innermost first, as far as gdb can unwind it.

    Where KASLR has moved the kernel and the symbols were left, there are none to be had.
    """
    names: list[str] = []
    try:
        frame = gdb.newest_frame()
        while frame is not None and len(names) < MAX_FRAMES:
            names.append(frame.name() or "")
            frame = frame.older()
    except gdb.error:
        pass
    return names


def _function(pc: int) -> str | None:
    block = gdb.block_for_pc(pc)
    while block is not None and block.function is None:
        block = block.superblock
    return None if block is None else str(block.function.name)


def take_memblock(kernel: Kernel, meter: Meter | None = None) -> Snapshot:
    """Read the stopped kernel's whole memblock, wherever the kernel is. Raises: `LmbError`."""
    cpu = selected_cpu()
    frames = _functions_on_stack()
    meter = meter or Meter()
    with PhysicalMemory(meter) as physical:
        bounded = BoundedMemory(physical, meter)
        placement = place(kernel, bounded)
        memory = TranslatedMemory(bounded, placement)
        phase, refused = phase_of(kernel, memory, cpu)
        snapshot = decode(
            kernel.program,
            memory,
            offset=placement.virtual,
            phase=phase.value,
            firmware=read_e820(kernel, memory),
            refused=refused,
        )
    # The symbols may stand elsewhere than the kernel does: look the address up where they stand.
    here = cpu.pc - placement.virtual + symbols_moved_by(kernel.identity)
    torn = next((name for name in [_function(here), *frames] if name and name.split(".")[0] in _CHANGING), None)
    snapshot = replace(snapshot, torn=torn, stop=Stop(cpu.pc, symbol_at(here)))
    arrays = []
    for array in snapshot.arrays:
        try:
            arrays.append(replace(array, base=placement.to_physical(array.va)))
        except ReadError:
            arrays.append(array)
    return replace(snapshot, arrays=tuple(arrays))


def locate(kernel: Kernel) -> tuple[Placement, int]:
    """Return where the running kernel lies, and by how much gdb's symbols are moved now."""
    with PhysicalMemory() as physical:
        return place(kernel, BoundedMemory(physical)), symbols_moved_by(kernel.identity)


def move_symbols(kernel: Kernel, placement: Placement) -> None:
    """Load the kernel's symbols again where it runs; breakpoints are set anew by gdb."""
    quoted = str(kernel.own_file).replace("\\", "\\\\").replace('"', '\\"')
    try:
        gdb.execute(f'symbol-file -o {placement.virtual:#x} "{quoted}"', to_string=True)
    except gdb.error as error:
        raise LayoutError(f"gdb cannot move the symbols of {kernel.own_file}: {error}") from None

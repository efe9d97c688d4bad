# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of Linux's `memblock`, LMB's array-backed heir: `struct memblock` in, a `Snapshot` out.

Mirrors `include/linux/memblock.h` and `mm/memblock.c`. Each list is one array, read in one request. Its
members are probed: `nid` is there with CONFIG_NUMA only, `physmem` on s390 only, and an empty list has a
dummy region of size 0 until June 2024 (6.11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gdb_lmb.allocators.memblock.storage import MAX_REGIONS, MemblockStorage, RegionArray
from gdb_lmb.core.address import PAST_HAND_OVER
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.fields import ByteOrder, Struct
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Defect, FirmwareMap, RegionList, Snapshot, Stop, column

_TYPE_FIELDS = ("cnt", "max", "total_size", "regions", "name")


@dataclass(frozen=True)
class MemblockProgram:
    """Where a kernel keeps its memblock and what its structures look like; addresses as linked.

    `memblock` is `struct memblock` flattened; `type` is `struct memblock_type`; `region` is
    `struct memblock_region`. `init_arrays` maps a list's name to the address of its static array, `rooms` to how many
    regions that has, `names` to the address of the string with its name; what is not known is None or left out.
    `physmem_va` is s390's third list, None elsewhere, `physmem_array_va` its static array. `flag_names` comes
    from `enum memblock_flags`; `no_node` is `MAX_NUMNODES`, None without nodes. `image` is the kernel's.
    """

    arch: str
    byte_order: ByteOrder
    memblock_va: int
    memblock: Struct
    type: Struct
    region: Struct
    page_size: int
    flag_names: Mapping[int, str]
    init_arrays: Mapping[str, int]
    physmem_va: int | None = None
    physmem_array_va: int | None = None
    no_node: int | None = None
    rooms: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, int | None] = field(default_factory=dict)
    image: Range = (0, 0)

    def __post_init__(self) -> None:
        """Check that every member that the decoder uses exists. Raises: `LayoutError`."""
        members = (f"{name}.{field}" for name in ("memory", "reserved") for field in _TYPE_FIELDS)
        self.memblock.require(*members, "bottom_up", "current_limit")
        self.region.require("base", "size", "flags")

    @property
    def bits(self) -> int:
        """Return the width of `phys_addr_t`."""
        return 8 * self.region.fields["base"].size


def decode(
    program: MemblockProgram,
    memory: Memory,
    *,
    offset: int = 0,
    phase: str | None = None,
    torn: str | None = None,
    stop: Stop | None = None,
    firmware: FirmwareMap | None = None,
    refused: Mapping[str, str] | None = None,
) -> Snapshot:
    """Read both lists, and `physmem` where there is one.

    `memory` reads the kernel's virtual addresses as they are at run time; `offset` is what to add to a
    linked address. Lists named in `refused` are left empty.
    Raises: `ReadError` where `struct memblock` itself is unreadable.
    """
    order = program.byte_order
    raw = memory.read(program.memblock_va + offset, program.memblock.size)
    sources = [("memory", program.memblock, "memory.", raw), ("reserved", program.memblock, "reserved.", raw)]
    if program.physmem_va is not None:
        physmem = memory.read(program.physmem_va + offset, program.type.size)
        sources.append(("physmem", program.type, "", physmem))
    defects: list[Defect] = []
    lists, arrays = [], []
    for name, struct, prefix, own in sources:
        values = {field: struct.value(own, prefix + field, order) for field in _TYPE_FIELDS}
        if name in program.names and not _names(program, memory, name, values["name"], offset):
            what = f"{name}.name is {values['name']:#x}, which is not where the kernel has this name"
            defects.append(Defect(what, (values["name"],), "bad-name"))
        regions, array = _list(program, memory, name, values, defects, offset, name in (refused or {}), phase)
        lists.append(regions)
        arrays.append(array)
    bottom_up = program.memblock.value(raw, "bottom_up", order)
    if bottom_up > 1:
        defects.append(Defect(f"bottom_up is {bottom_up:#x}, which is no truth value", code="bad-bottom-up"))
    return Snapshot(
        memory=lists[0],
        reserved=lists[1],
        others=tuple(lists[2:]),
        storage=MemblockStorage(arrays=tuple(arrays)),
        layout="memblock",
        bits=program.bits,
        page_size=program.page_size,
        current_limit=program.memblock.value(raw, "current_limit", order),
        bottom_up=bool(bottom_up),
        arch=program.arch,
        byte_order=order,
        phase=phase,
        torn=torn,
        stop=stop,
        firmware=firmware,
        defects=tuple(defects),
        refused=refused or {},
        flag_names=program.flag_names,
        no_node=program.no_node,
    )


# One list and the array it lies in; damage becomes a defect and an empty list.
def _list(
    program: MemblockProgram,
    memory: Memory,
    name: str,
    values: Mapping[str, int],
    defects: list[Defect],
    offset: int,
    refused: bool,
    phase: str | None,
) -> tuple[RegionList, RegionArray]:
    cnt, most, va = values["cnt"], values["max"], values["regions"]
    names = ("base", "size", "flags", "nid") if "nid" in program.region.fields else ("base", "size", "flags")
    first = program.physmem_array_va if name == "physmem" else program.init_arrays.get(name)
    room = program.rooms.get(name)
    static = first is not None and va == first + offset
    array = RegionArray(name, va, most, static, most * program.region.size, room=room)
    raw = b""
    wrong = None if static or refused or first is None else _wrong_pointer(program, array, va - offset, phase)
    if wrong is not None:
        defects.append(Defect(f"the array of {name} is at {va:#x}, which {wrong}", (va,), "array-pointer"))
    elif min(cnt, array.capacity) > MAX_REGIONS and not refused:
        defects.append(Defect(f"{name}.cnt is {cnt} and {name}.max is {most}: more than can be believed", (va,)))
    elif not refused:
        try:
            # The array ends after max regions, even if cnt is larger.
            raw = memory.read(va, min(cnt, array.capacity) * program.region.size)
        except ReadError as error:
            defects.append(Defect(f"the array of {name} at {va:#x} cannot be read: {error.why}", (error.address,)))
    columns = program.region.columns(raw, names, program.byte_order)
    while cnt > array.capacity and columns[1] and not columns[1][-1]:
        # cnt is damaged: the unused end of the array is zero, and need not be reported region by region.
        for values_of in columns:
            values_of.pop()
    regions = RegionList(
        name=name,
        cnt=cnt,
        total_size=values["total_size"],
        base=columns[0],
        size=columns[1],
        flags=columns[2],
        entry=column(range(len(columns[0]))),
        max=most,
        nid=columns[3] if len(columns) > 3 else (),
    )
    return regions, array


# Whether the pointer to a list's name is what relocation makes of it, which nothing else changes.
def _names(program: MemblockProgram, memory: Memory, name: str, va: int, offset: int) -> bool:
    linked = program.names[name]
    if linked is not None:
        return va == linked + offset
    text = name.encode() + b"\0"
    try:
        return program.image[0] <= va - offset < program.image[1] and memory.read(va, len(text)) == text
    except ReadError:
        return False


# Why no array of a list can be at `linked` but its first one, None where a doubled one can be: in words. What is read
# there would be somebody else's. Source: `memblock_double_array()`, whose arrays lie in whole pages of memory.
def _wrong_pointer(program: MemblockProgram, array: RegionArray, linked: int, phase: str | None) -> str | None:
    if program.image[0] <= linked < program.image[1]:
        return "is in the kernel, but is not its first array"
    if not array.va:
        return "is nowhere"
    if array.max == array.room:
        return f"is not its first array, though it has room for {array.max} regions as that has"
    if linked % program.page_size and phase not in PAST_HAND_OVER:
        return "is not the beginning of a page, as that of a doubled array is"
    return None

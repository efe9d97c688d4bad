# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of Linux's `memblock`, LMB's array-backed heir: `struct memblock` in, a `Snapshot` out.

Mirrors `include/linux/memblock.h` and `mm/memblock.c`. Each list is one array, read in one request. Its
members are probed: `nid` is there with CONFIG_NUMA only, `physmem` on s390 only, and an empty list has a
dummy region of size 0 until June 2024 (6.11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import add

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
    physical: Callable[[int], int | None] = lambda va: None,
) -> Snapshot:
    """Read both lists, and `physmem` where there is one.

    `memory` reads the kernel's virtual addresses as they are at run time; `offset` is what to add to a
    linked address. Lists named in `refused` are left empty. `physical` returns where a virtual address lies, None where
    that is not known.
    Raises: `ReadError` where `struct memblock` itself is unreadable.
    """
    order = program.byte_order
    raw = memory.read(program.memblock_va + offset, program.memblock.size)
    # reserved first: it tells how long a doubled array is.
    sources = [("reserved", program.memblock, "reserved.", raw), ("memory", program.memblock, "memory.", raw)]
    if program.physmem_va is not None:
        physmem = memory.read(program.physmem_va + offset, program.type.size)
        sources.append(("physmem", program.type, "", physmem))
    damage: dict[str, list[Defect]] = {"memory": []}
    lists: dict[str, RegionList] = {}
    arrays: dict[str, RegionArray] = {}
    for name, struct, prefix, own in sources:
        defects = damage.setdefault(name, [])
        values = {field: struct.value(own, prefix + field, order) for field in _TYPE_FIELDS}
        if name in program.names and not _names(program, memory, name, values["name"], offset):
            what = f"{name}.name is {values['name']:#x}, which is not where the kernel has this name"
            defects.append(Defect(what, (values["name"],), "bad-name"))
        array = RegionArray(
            name, values["regions"], values["max"], False, values["max"] * program.region.size,
            physical(values["regions"]), program.rooms.get(name),
        )  # fmt: skip
        array = _sized(program, memory, array, values["cnt"], lists.get("reserved"), offset, phase)
        lists[name] = _list(program, memory, array, values, defects, offset, name in (refused or {}), phase)
        arrays[name] = array
    names = list(damage)
    defects = [defect for name in names for defect in damage[name]]
    bottom_up = program.memblock.value(raw, "bottom_up", order)
    if bottom_up > 1:
        defects.append(Defect(f"bottom_up is {bottom_up:#x}, which is no truth value", code="bad-bottom-up"))
    return Snapshot(
        memory=lists["memory"],
        reserved=lists["reserved"],
        others=tuple(lists[name] for name in names[2:]),
        storage=MemblockStorage(arrays=tuple(arrays[name] for name in names)),
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


# An array with what is known of it besides its list's members: whether it is the static one, and how many regions its
# reservation holds until the hand-over. `reserved` is None where this is the array of that list itself.
def _sized(
    program: MemblockProgram,
    memory: Memory,
    array: RegionArray,
    cnt: int,
    reserved: RegionList | None,
    offset: int,
    phase: str | None,
) -> RegionArray:
    assert array.va is not None
    first = program.physmem_array_va if array.name == "physmem" else program.init_arrays.get(array.name)
    if first is not None and array.va == first + offset:
        return replace(array, static=True)
    if array.base is None or phase in PAST_HAND_OVER:
        return array
    if reserved is not None:
        return replace(array, held=_held(program, array, reserved.base, reserved.size))
    # The list's own reservation is one of its regions: as many are read as that takes.
    with suppress(ReadError):
        for raw in _beginnings(program, memory, array, min(cnt, array.max)):
            base, sizes = program.region.columns(raw, ("base", "size"), program.byte_order)
            held = _held(program, array, base, sizes)
            if held is not None:
                return replace(array, held=held)
    return array


# The first bytes of an array, and then twice as many while they can be read, up to those of `count` regions.
def _beginnings(program: MemblockProgram, memory: Memory, array: RegionArray, count: int) -> Iterator[bytes]:
    assert array.va is not None
    size, most = 2 * (array.room or 1), min(count, MAX_REGIONS)
    yield memory.read(array.va, min(size, most) * program.region.size)
    with suppress(ReadError):
        while size < most:
            size *= 2
            yield memory.read(array.va, min(size, most) * program.region.size)


# The regions of an array whose list has a damaged cnt: as long as each is above the one before.
def _believable(program: MemblockProgram, memory: Memory, array: RegionArray, count: int) -> bytes:
    raw = b""
    for raw in _beginnings(program, memory, array, count):
        base, size = program.region.columns(raw, ("base", "size"), program.byte_order)
        reach = [0, *map(add, base, size)]
        past = next((at for at, low in enumerate(base) if low < reach[at] or not size[at]), None)
        if past is not None:
            return raw[: past * program.region.size]
    return raw


# How many regions fit between an array's base and the end of the range that holds it; None where no range does, or one
# that is too small for any doubled array, and so damaged itself.
def _held(program: MemblockProgram, array: RegionArray, bases: Sequence[int], sizes: Sequence[int]) -> int | None:
    at = array.base
    ends = (base + size for base, size in zip(bases, sizes, strict=True) if at is not None and base <= at < base + size)
    end = next(ends, None)
    held = None if at is None or end is None else (end - at) // program.region.size
    return None if held is None or held < 2 * (array.room or 1) else held


# One list in its array; damage becomes a defect and an empty list.
def _list(
    program: MemblockProgram,
    memory: Memory,
    array: RegionArray,
    values: Mapping[str, int],
    defects: list[Defect],
    offset: int,
    refused: bool,
    phase: str | None,
) -> RegionList:
    name, cnt, most, va = array.name, values["cnt"], values["max"], values["regions"]
    names = ("base", "size", "flags", "nid") if "nid" in program.region.fields else ("base", "size", "flags")
    first = program.physmem_array_va if name == "physmem" else program.init_arrays.get(name)
    raw = b""
    wrong = None if array.static or refused or first is None else _wrong_pointer(program, array, va - offset, phase)
    # The array ends after max regions, even if cnt is larger.
    count = min(cnt, array.capacity)
    if wrong is not None:
        defects.append(Defect(f"the array of {name} is at {va:#x}, which {wrong}", (va,), "array-pointer"))
    elif not refused:
        damaged = cnt > min(array.capacity, MAX_REGIONS)
        if count > MAX_REGIONS:
            defects.append(Defect(f"{name}.cnt is {cnt} and {name}.max is {most}: more than can be believed", (va,)))
        try:
            if not damaged:
                raw = memory.read(va, count * program.region.size)
            elif count <= MAX_REGIONS or array.held is not None:
                raw = _believable(program, memory, array, count)
        except ReadError as error:
            defects.append(Defect(f"the array of {name} at {va:#x} cannot be read: {error.why}", (error.address,)))
    columns = program.region.columns(raw, names, program.byte_order)
    return RegionList(
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

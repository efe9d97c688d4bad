# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flattened device tree says about memory: RAM, and what is reserved of it.

Mirrors the Devicetree Specification's chapter 5 for the format, and `early_init_dt_scan_memory()`,
`early_init_fdt_scan_reserved_mem()` of drivers/of for what counts. The blob lies in guest memory and may be
damaged: every offset is checked, every walk is bounded by its size. Its words are always big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.snapshot import FIRMWARE_RAM, FIRMWARE_RESERVED, FirmwareMap, FirmwareReserved, column

MAX_BYTES = 2 << 20  # `MAX_FDT_SIZE`

# Read at once: few trees need more, whatever their padding makes of `totalsize`.
USUAL_BYTES = 16 << 10

MAX_RESERVATIONS = 1 << 12

_HEADER = struct.Struct(">6I8x2I")  # `struct fdt_header`, without `last_comp_version` and `boot_cpuid_phys`
_MAGIC = 0xD00DFEED
_SIZES_SINCE = 17  # the version since which the header tells the size of the structure block
_MAX_NAME_BYTES = 64
_MAX_CELLS = 4
# `OF_ROOT_NODE_ADDR_CELLS_DEFAULT` and `OF_ROOT_NODE_SIZE_CELLS_DEFAULT`; the specification has 2 and 1.
_DEFAULT_CELLS = 1
_WORD = (1 << 64) - 1
_UEFI = (b"start", b"size", b"desc-size")  # of "linux,uefi-mmap-*" in /chosen


# A node: its names from the root's child down, and its properties.
_Node = tuple[tuple[bytes, ...], dict[bytes, bytes]]


@dataclass(frozen=True)
class DeviceTree:
    """What a tree says about memory: its `map`, None where it leaves memory to UEFI's, which is then in `uefi`.

    `reserved` are the ranges that nodes of /reserved-memory and the memory reservations ask for; `placed` names the
    nodes whose place the kernel chooses.
    """

    map: FirmwareMap | None
    reserved: tuple[FirmwareReserved, ...] = ()
    placed: tuple[str, ...] = ()
    uefi: UefiMap | None = None


@dataclass(frozen=True)
class UefiMap:
    """Where UEFI's map is: `size` bytes at physical `base`, each descriptor `step` bytes after the one before."""

    base: int
    size: int
    step: int


def read_tree(memory: Memory, at: int) -> DeviceTree | None:
    """Return what the device tree at physical address `at` says; None where none can be read to its end."""
    try:
        structure, strings, reserved = _read(memory, at)
        nodes = list(_nodes(structure, strings))
        rows = [(base, size, FIRMWARE_RESERVED) for base, size in _reservations(reserved)]
        cells = [_cells(root, name) for _, root in nodes[:1] for name in (b"#address-cells", b"#size-cells")]
    except (ReadError, struct.error):
        return None
    if not cells:
        return None
    chosen: dict[bytes, bytes] = next((values for path, values in nodes if path == (b"chosen",)), {})
    place = [int.from_bytes(chosen.get(b"linux,uefi-mmap-" + name, b""), "big") for name in _UEFI]
    uefi = UefiMap(*place) if b"linux,uefi-mmap-start" in chosen else None
    asked = [
        FirmwareReserved(base, base + size, "a memory reservation", until_hand_over=True) for base, size, _ in rows
    ]
    placed = []
    for path, values in nodes:
        if values.get(b"status", b"okay\0") not in (b"okay\0", b"ok\0"):
            continue
        if len(path) == 1 and values.get(b"device_type") == b"memory\0":
            usable = values.get(b"linux,usable-memory", values.get(b"reg", b""))
            rows += [(base, size, FIRMWARE_RAM) for base, size in _ranges(usable, *cells)]
        elif len(path) == 2 and path[0] == b"reserved-memory":
            ranges = [*_ranges(values.get(b"reg", b""), *cells)]
            rows += [(base, size, FIRMWARE_RESERVED) for base, size in ranges]
            name = f"/reserved-memory/{path[1].decode(errors='replace')}"
            # The kernel gives it back where the command line says how large the area is (`rmem_cma_setup()`).
            if b"linux,cma-default" not in values:
                asked += [FirmwareReserved(base, base + size, name, b"no-map" in values) for base, size in ranges]
            if b"reg" not in values:
                placed.append(name)
    rows = sorted(row for row in rows if row[1])
    told = FirmwareMap(*(column(row[place] for row in rows) for place in range(3)))
    asked = [one for one in asked if one.base < one.end]
    return DeviceTree(None if uefi else told, tuple(asked), tuple(placed), uefi)


# The structure block, the strings, and what begins with the memory reservations; `struct.error` for a damaged blob.
def _read(memory: Memory, at: int) -> tuple[bytes, bytes, bytes]:
    try:
        blob = memory.read(at, USUAL_BYTES)
    except ReadError:
        # It may lie at the very end of RAM.
        blob = memory.read(at, _HEADER.size)
    magic, total, struct_at, strings_at, reserved_at, version, strings_size, struct_size = _HEADER.unpack_from(blob)
    if magic != _MAGIC or not _HEADER.size <= total <= MAX_BYTES:
        raise struct.error("no device tree")
    struct_end = struct_at + struct_size if version >= _SIZES_SINCE else max(struct_at, total)
    end = max(struct_end, strings_at + strings_size)
    if max(end, reserved_at) > total:
        raise struct.error("a block lies past the end")
    # The reservations, which come first as a rule, do not tell their size.
    used = end if reserved_at < end else min(reserved_at + 16 * MAX_RESERVATIONS, total)
    if used > len(blob):
        blob += memory.read(at + len(blob), used - len(blob))
    return blob[struct_at:struct_end], blob[strings_at : strings_at + strings_size], blob[reserved_at:used]


# Every node of the structure block `blob`, the root first, each when it ends or its first child begins.
def _nodes(blob: bytes, strings: bytes) -> Iterator[_Node]:
    at = 0
    path: list[bytes] = []
    node: _Node | None = None
    while at < len(blob):
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        match token:
            case 1:  # FDT_BEGIN_NODE
                stop = blob.find(b"\0", at, at + _MAX_NAME_BYTES)
                if stop < 0:
                    raise struct.error("a node's name does not end")
                if node is not None:
                    yield node
                path.append(blob[at:stop])
                node = (tuple(path[1:]), {})
                at += (stop - at + 4) & ~3
            case 2 if path:  # FDT_END_NODE
                if node is not None:
                    yield node
                node = None
                path.pop()
            case 3:  # FDT_PROP
                size, name_at = struct.unpack_from(">II", blob, at)
                at += 8
                if node is None or at + size > len(blob) or name_at >= len(strings):
                    raise struct.error("a property lies past the end or outside a node")
                name = strings[name_at : name_at + _MAX_NAME_BYTES].partition(b"\0")[0]
                node[1][name] = blob[at : at + size]
                at += (size + 3) & ~3
            case 4:  # FDT_NOP
                pass
            case 9:  # FDT_END
                break
            case _:
                raise struct.error("no such token, or more nodes end than begin")
    if path:
        raise struct.error("a node does not end")


# (base, size) of the memory reservation block, which a row of zeroes ends.
def _reservations(blob: bytes) -> Iterator[tuple[int, int]]:
    for number in range(MAX_RESERVATIONS):
        base, size = struct.unpack_from(">QQ", blob, 16 * number)
        if not base and not size:
            return
        yield base, size


# How many 32-bit cells an address or a size takes; `struct.error` for too many.
def _cells(properties: dict[bytes, bytes], name: bytes) -> int:
    raw = properties.get(name, b"")
    count = int.from_bytes(raw, "big") if len(raw) == 4 else _DEFAULT_CELLS
    if count > _MAX_CELLS:
        raise struct.error("no number is so wide")
    return count


# (base, size) of each whole pair in a `reg` property; wider numbers lose their upper part.
def _ranges(raw: bytes, address_cells: int, size_cells: int) -> Iterator[tuple[int, int]]:
    first, both = 4 * address_cells, 4 * (address_cells + size_cells)
    for at in range(0, len(raw) - both + 1, both or 1):
        base = int.from_bytes(raw[at : at + first], "big") & _WORD
        yield base, int.from_bytes(raw[at + first : at + both], "big") & _WORD

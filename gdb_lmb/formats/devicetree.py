# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flattened device tree says about memory: RAM, and what is reserved of it.

Mirrors the Devicetree Specification's chapter 5 for the format, and `early_init_dt_scan_memory()`,
`early_init_fdt_scan_reserved_mem()` of drivers/of for what counts. The blob lies in guest memory and may be
damaged: every offset is checked, every walk is bounded by its size. Its words are always big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.snapshot import FIRMWARE_RAM, FIRMWARE_RESERVED, FirmwareMap, column

MAX_BYTES = 2 << 20
"""`MAX_FDT_SIZE`."""

USUAL_BYTES = 16 << 10
"""Read at once: few trees need more, whatever their padding makes of `totalsize`."""

MAX_RESERVATIONS = 1 << 12

_MAGIC = 0xD00DFEED
_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9
_SIZES_SINCE = 17
"""The version since which the header tells the size of the structure block."""
_MAX_NAME_BYTES = 64
_MAX_CELLS = 4
_DEFAULT_CELLS = 1
"""`OF_ROOT_NODE_ADDR_CELLS_DEFAULT` and `OF_ROOT_NODE_SIZE_CELLS_DEFAULT`; the specification has 2 and 1."""
_WORD = (1 << 64) - 1


@dataclass(frozen=True)
class _Header:
    """`struct fdt_header`, as far as it is used; offsets are from the blob's start."""

    totalsize: int
    struct_at: int
    strings_at: int
    reservations_at: int
    strings_size: int
    struct_size: int

    @property
    def used(self) -> int:
        """Return the bytes up to the end of the last block of known size."""
        ends = (self.struct_at + self.struct_size, self.strings_at + self.strings_size, self.reservations_at + 16)
        return min(max(ends), self.totalsize)


@dataclass
class _Node:
    """A node: its names from the root's child down, and its properties."""

    path: tuple[bytes, ...]
    properties: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def available(self) -> bool:
        """Tell whether the node counts: it is enabled unless it says otherwise."""
        return self.properties.get(b"status", b"okay\0") in (b"okay\0", b"ok\0")


def memory_map(memory: Memory, at: int) -> FirmwareMap | None:
    """Return the memory map of the device tree at physical address `at`.

    None where there is none that can be read to its end, or where it leaves memory to UEFI's map.
    """
    try:
        blob, header = _read(memory, at)
        nodes = list(_nodes(blob, header))
        reservations = list(_reservations(blob, header))
        cells = [_cells(node, name) for node in nodes[:1] for name in (b"#address-cells", b"#size-cells")]
    except (ReadError, struct.error):
        return None
    if not cells or any(b"linux,uefi-mmap-start" in node.properties for node in nodes if node.path == (b"chosen",)):
        return None
    rows = [(base, size, FIRMWARE_RESERVED) for base, size in reservations]
    for node in nodes:
        values = node.properties
        if not node.available:
            continue
        if len(node.path) == 1 and values.get(b"device_type") == b"memory\0":
            usable = values.get(b"linux,usable-memory", values.get(b"reg", b""))
            rows += [(base, size, FIRMWARE_RAM) for base, size in _ranges(usable, *cells)]
        elif len(node.path) == 2 and node.path[0] == b"reserved-memory":
            rows += [(base, size, FIRMWARE_RESERVED) for base, size in _ranges(values.get(b"reg", b""), *cells)]
    rows = sorted(row for row in rows if row[1])
    return FirmwareMap(*(column(row[place] for row in rows) for place in range(3)))


def _read(memory: Memory, at: int) -> tuple[bytes, _Header]:
    """Return the blob as far as it is used. Raises: `ReadError`, `struct.error` where it is damaged."""
    form = struct.Struct(">10I")
    try:
        blob = memory.read(at, USUAL_BYTES)
    except ReadError:
        # It may lie at the very end of RAM.
        blob = memory.read(at, form.size)
    magic, total, struct_at, strings_at, reserved_at, version, _, _, strings_size, struct_size = form.unpack_from(blob)
    if magic != _MAGIC or not form.size <= total <= MAX_BYTES:
        raise struct.error("no device tree")
    if version < _SIZES_SINCE:
        struct_size = max(0, total - struct_at)
    header = _Header(total, struct_at, strings_at, reserved_at, strings_size, struct_size)
    if max(struct_at + struct_size, strings_at + strings_size, reserved_at) > total:
        raise struct.error("a block lies past the end")
    if header.used > len(blob):
        blob += memory.read(at + len(blob), header.used - len(blob))
    return blob[: header.used], header


def _nodes(blob: bytes, header: _Header) -> Iterator[_Node]:
    """Yield every node, the root first, each when it ends or its first child begins."""
    words = struct.Struct(">I")
    at, end = header.struct_at, header.struct_at + header.struct_size
    strings = blob[header.strings_at : header.strings_at + header.strings_size]
    path: list[bytes] = []
    node: _Node | None = None
    while at < end:
        (token,) = words.unpack_from(blob, at)
        at += words.size
        if token == _BEGIN_NODE:
            stop = blob.find(b"\0", at, min(end, at + _MAX_NAME_BYTES))
            if stop < 0:
                raise struct.error("a node's name does not end")
            name = blob[at:stop]
            at += (len(name) + 4) & ~3
            if node is not None:
                yield node
            path.append(name)
            node = _Node(tuple(path[1:]))
        elif token == _PROP:
            size, name_at = struct.unpack_from(">II", blob, at)
            at += 8
            if node is None or at + size > end or name_at >= len(strings):
                raise struct.error("a property lies past the end or outside a node")
            name = strings[name_at : name_at + _MAX_NAME_BYTES].partition(b"\0")[0]
            node.properties[name] = blob[at : at + size]
            at += (size + 3) & ~3
        elif token == _END_NODE:
            if not path:
                raise struct.error("more nodes end than begin")
            if node is not None:
                yield node
            node = None
            path.pop()
        elif token == _END:
            break
        elif token != _NOP:
            raise struct.error("no such token")
    if path:
        raise struct.error("a node does not end")


def _reservations(blob: bytes, header: _Header) -> Iterator[tuple[int, int]]:
    """Yield (base, size) of the memory reservation block, which a row of zeroes ends."""
    form = struct.Struct(">QQ")
    for number in range(MAX_RESERVATIONS):
        base, size = form.unpack_from(blob, header.reservations_at + number * form.size)
        if not base and not size:
            return
        yield base, size


def _cells(node: _Node, name: bytes) -> int:
    """Return how many 32-bit cells an address or a size takes. Raises: `struct.error` for too many."""
    raw = node.properties.get(name, b"")
    count = int.from_bytes(raw, "big") if len(raw) == 4 else _DEFAULT_CELLS
    if count > _MAX_CELLS:
        raise struct.error("no number is so wide")
    return count


def _ranges(raw: bytes, address_cells: int, size_cells: int) -> Iterator[tuple[int, int]]:
    """Yield (base, size) of each whole pair in a `reg` property; wider numbers lose their upper part."""
    first, both = 4 * address_cells, 4 * (address_cells + size_cells)
    for at in range(0, len(raw) - both + 1, both or 1):
        base = int.from_bytes(raw[at : at + first], "big") & _WORD
        yield base, int.from_bytes(raw[at + first : at + both], "big") & _WORD

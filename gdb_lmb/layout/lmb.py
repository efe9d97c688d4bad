# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of the list-based LMB: `struct lmb` and its blocks in, a `Snapshot` out.

Mirrors `lmb.h`. Blocks are read whole, one request each, and decoded at once into columns; lists are
then followed inside those columns, so no entry costs a request. Whatever is odd about the storage
itself becomes a `Defect`, and the decoder goes on with the most believable value.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from gdb_lmb.errors import NotReadyError, ReadError
from gdb_lmb.layout.fields import ByteOrder, Struct
from gdb_lmb.layout.lists import Head, NodeTable, WalkedList, walk_lists
from gdb_lmb.memory import Memory
from gdb_lmb.region import (
    Block,
    Defect,
    FirmwareMap,
    Links,
    OperationLog,
    Range,
    RegionList,
    Snapshot,
    Stop,
    column,
)

MAX_BLOCKS = 1 << 17
"""More blocks than any machine needs (13 million regions in 4 KiB blocks): the block chain's bound."""

CHUNK_BYTES = 64 << 10
"""Entries are turned into columns in pieces of about this size: their bytes need not all be held at once."""

MAX_BLOCK_BYTES = 64 << 20
MAX_STATIC_ENTRIES = 1 << 16
MAX_TABLE_RECORDS = 1 << 22

_LMB_FIELDS = (
    "memory.regions.next", "memory.regions.prev", "memory.cnt", "memory.total_size",
    "reserved.regions.next", "reserved.regions.prev", "reserved.cnt", "reserved.total_size",
    "freelist.next", "freelist.prev", "nr_free", "blocks.next", "blocks.prev", "nr_blocks",
    "block_size", "current_limit", "bottom_up", "may_grow", "closed",
)  # fmt: skip
_BLOCK_FIELDS = ("link.next", "link.prev", "base", "nr", "entries")
_REGION_FIELDS = ("link.next", "link.prev", "base", "size", "flags")
_RECORD_FIELDS = ("op", "flags", "error", "base", "size", "align", "min", "max", "result", "caller")


@dataclass(frozen=True)
class Table:
    """A counted array in the guest: a structure with a counter and an array of records.

    `va` is the structure's virtual address, `count` and `items` name its members.
    """

    va: int
    struct: Struct
    record: Struct
    count: str
    items: str

    @property
    def capacity(self) -> int:
        """Return how many records the array holds."""
        return self.struct.fields[self.items].size // self.record.size


@dataclass(frozen=True)
class LmbProgram:
    """Where a program keeps its LMB and what its structures look like; addresses are virtual.

    `static_entries` is (address, number) of the static array where the program has one; `ops` maps
    `enum lmb_op` to operation names. Tables that the program lacks are None. `page_size` is in bytes.
    """

    arch: str
    byte_order: ByteOrder
    lmb_va: int
    lmb: Struct
    region: Struct
    block: Struct
    page_size: int
    static_entries: tuple[int, int] | None = None
    log: Table | None = None
    ops: Mapping[int, str] | None = None
    handover: Table | None = None
    firmware: Table | None = None

    def __post_init__(self) -> None:
        """Check that every member that the decoder uses exists. Raises: `LayoutError`."""
        self.lmb.require(*_LMB_FIELDS)
        self.region.require(*_REGION_FIELDS)
        self.block.require(*_BLOCK_FIELDS)

    @property
    def bits(self) -> int:
        """Return the width of `phys_addr_t`."""
        return 8 * self.region.fields["base"].size

    @property
    def header_size(self) -> int:
        """Return the bytes before the first entry of a grown block."""
        align = self.region.align
        return -(-self.block.size // align) * align


def decode(
    program: LmbProgram,
    memory: Memory,
    *,
    with_log: bool = False,
    torn: str | None = None,
    stop: Stop | None = None,
) -> Snapshot:
    """Read and decode the whole allocator; `with_log` its operation log too.

    Raises: `NotReadyError` before `lmb_init()`, `ReadError` where `struct lmb` itself is unreadable.
    """
    raw = memory.read(program.lmb_va, program.lmb.size)
    lmb = {name: program.lmb.value(raw, name, program.byte_order) for name in _LMB_FIELDS}
    blocks_head = program.lmb_va + program.lmb.fields["blocks.next"].offset
    untouched = lmb["nr_blocks"] == 0 and lmb["nr_free"] == 0 and not lmb["closed"]
    if untouched and lmb["blocks.next"] in (0, blocks_head):
        raise NotReadyError("LMB is not initialised at this stop: continue to a place after lmb_init()")

    storage = _Storage(program, memory, lmb["block_size"])
    log = _read_log(program, memory, storage.defects, everything=with_log)
    storage.walk_chain(Head(blocks_head, lmb["blocks.next"], lmb["blocks.prev"]), _first_entries(log))
    storage.check_count(lmb["nr_blocks"])

    region, link = program.region, program.region.fields["link.next"].offset
    next_va, prev_va, base, size, flags = storage.columns()
    blocks = tuple(storage.blocks)
    node_va = column(())
    for block in blocks:
        start = block.entries_va + link
        node_va.extend(range(start, start + block.nr * region.size, region.size))
    links = Links(node_va, next_va, prev_va)
    nodes = NodeTable([b.entries_va for b in blocks], [b.nr for b in blocks], region.size, link)

    def head(name: str) -> Head:
        head_va = program.lmb_va + program.lmb.fields[f"{name}.next"].offset
        return Head(head_va, lmb[f"{name}.next"], lmb[f"{name}.prev"])

    heads = [head(name) for name in ("memory.regions", "reserved.regions", "freelist")]
    on_memory, on_reserved, on_free = walk_lists(heads, nodes, links)

    def region_list(name: str, walked: WalkedList) -> RegionList:
        return RegionList(
            name=name,
            cnt=lmb[f"{name}.cnt"],
            total_size=lmb[f"{name}.total_size"],
            base=column(map(base.__getitem__, walked.order)),
            size=column(map(size.__getitem__, walked.order)),
            flags=column(map(flags.__getitem__, walked.order)),
            entry=walked.order,
            walk=walked.walk,
        )

    handover, handover_nr = _read_handover(program, memory, storage.defects) if lmb["closed"] else (None, 0)
    return Snapshot(
        memory=region_list("memory", on_memory),
        reserved=region_list("reserved", on_reserved),
        free=on_free.order,
        nr_free=lmb["nr_free"],
        blocks=blocks,
        nr_blocks=lmb["nr_blocks"],
        block_size=lmb["block_size"],
        bits=program.bits,
        page_size=program.page_size,
        current_limit=lmb["current_limit"],
        bottom_up=bool(lmb["bottom_up"]),
        may_grow=bool(lmb["may_grow"]),
        closed=bool(lmb["closed"]),
        arch=program.arch,
        byte_order=program.byte_order,
        torn=torn,
        stop=stop,
        firmware=_read_firmware(program, memory, storage.defects),
        handover=handover,
        handover_nr=handover_nr,
        log=log if with_log else None,
        links=links,
        free_walk=on_free.walk,
        defects=tuple(storage.defects),
    )


class _Storage:
    """Walks the chain of blocks and reads each one whole."""

    def __init__(self, program: LmbProgram, memory: Memory, block_size: int) -> None:
        self.program = program
        self.memory = memory
        self.blocks: list[Block] = []
        self._raw = bytearray()
        self._columns = [program.region.empty_column(name) for name in _REGION_FIELDS]
        self.defects: list[Defect] = []
        smallest = program.header_size + 2 * program.region.size
        self.sane = smallest <= block_size <= MAX_BLOCK_BYTES and not block_size & (block_size - 1)
        self.block_size = block_size
        if not self.sane:
            self.defect(f"block_size is {block_size:#x}, which is no power of two that holds two entries")

    def defect(self, what: str, *addresses: int) -> None:
        """Note something wrong with the storage."""
        self.defects.append(Defect(what, addresses))

    def walk_chain(self, head: Head, first_entries: int | None) -> None:
        """Read every block of the chain, from the far end too where a link is bad."""
        seen: set[int] = set()
        found, returned = self._follow(head.va, head.next_va, "link.next", seen, first=True)
        if not returned:
            rest, _ = self._follow(head.va, head.prev_va, "link.prev", seen, first=False)
            found += reversed(rest)
        before = head.va
        for number, (node_va, raw) in enumerate(found):
            if self._header(raw, "link.prev") != before and returned:
                self.defect(f"block {number}'s prev link does not lead to its predecessor", node_va)
            before = node_va
            self._take(number, node_va, raw, first_entries)
        if returned and head.prev_va != before:
            self.defect("the block list's head does not lead back to the last block", head.va)

    def columns(self) -> list[array[int]]:
        """Return the columns of `_REGION_FIELDS` over the entries of all blocks taken so far."""
        self.program.region.extend_columns(self._columns, self._raw, _REGION_FIELDS, self.program.byte_order)
        self._raw.clear()
        return self._columns

    def check_count(self, nr_blocks: int) -> None:
        """Compare `nr_blocks` with the blocks found."""
        if nr_blocks != len(self.blocks):
            self.defect(f"nr_blocks is {nr_blocks}, but the chain has {len(self.blocks)} blocks")

    def _header(self, raw: bytes, name: str) -> int:
        return self.program.block.value(raw, name, self.program.byte_order)

    def _follow(
        self, head_va: int, start_va: int, link: str, seen: set[int], *, first: bool
    ) -> tuple[list[tuple[int, bytes]], bool]:
        """Follow one link of the headers; return (node address, bytes) of each and whether it came home."""
        found: list[tuple[int, bytes]] = []
        offset = self.program.block.fields["link.next"].offset
        node_va = start_va
        while node_va != head_va:
            if node_va in seen:
                self.defect(f"the block list's {link[5:]} links run in a circle", node_va)
                return found, False
            if len(seen) >= MAX_BLOCKS:
                self.defect(f"the block list is longer than {MAX_BLOCKS} blocks", node_va)
                return found, False
            raw = self._read_block(node_va - offset, whole=not (first and not found))
            if raw is None:
                self.defect(f"the block list's {link[5:]} link leads to no block header", node_va)
                return found, False
            seen.add(node_va)
            found.append((node_va, raw))
            node_va = self._header(raw, link)
        return found, True

    def _read_block(self, header_va: int, *, whole: bool) -> bytes | None:
        """Read a block from its header on, or None where that is none.

        A grown block is read whole in this one request; of block 0 only the header is known to lie here.
        """
        program = self.program
        if header_va < 0 or header_va % program.block.align:
            return None
        try:
            if whole and self.sane:
                raw = self.memory.read(header_va, self.block_size)
            else:
                raw = self.memory.read(header_va, program.block.size)
        except ReadError:
            return None
        believable = self._header(raw, "entries") == header_va + program.header_size
        if whole and self.sane and not believable:
            believable = self._header(raw, "nr") == self._grown_entries() or self._is_static(raw)
        return raw if believable or not (whole and self.sane) else None

    def _is_static(self, raw: bytes) -> bool:
        """Tell whether a header met from the far end of the chain is that of the static array."""
        known = self.program.static_entries
        return known is not None and not self._header(raw, "base") and self._header(raw, "entries") == known[0]

    def _grown_entries(self) -> int:
        return (self.block_size - self.program.header_size) // self.program.region.size

    def _take(self, number: int, node_va: int, raw: bytes, first_entries: int | None) -> None:
        """Turn a header into a `Block` and lay its entries behind the others."""
        program = self.program
        header_va = node_va - program.block.fields["link.next"].offset
        base, nr, entries_va = (self._header(raw, name) for name in ("base", "nr", "entries"))
        static = number == 0 and base == 0
        should_nr, should_va, size = nr, entries_va, 0
        if static:
            if program.static_entries:
                should_va, most = program.static_entries
            else:
                most = MAX_STATIC_ENTRIES
            if first_entries is not None and 2 <= first_entries <= most:
                should_nr = first_entries
            elif not 2 <= nr <= most:
                should_nr = most if program.static_entries else 0
        else:
            size = program.page_size if number == 0 else self.block_size
            should_va = header_va + program.header_size
            if number == 0 or self.sane:
                should_nr = (size - program.header_size) // program.region.size
            else:
                should_nr = min(nr, MAX_BLOCK_BYTES // program.region.size)
        if nr != should_nr:
            self.defect(f"block {number} says it has {nr} entries, but it has {should_nr}", header_va)
        if entries_va != should_va:
            says = f"block {number} says its entries are at {entries_va:#x}"
            self.defect(f"{says}, but they are at {should_va:#x}", header_va)
        if number and not base:
            self.defect(f"block {number} has no physical address", header_va)
        readable = True
        need = should_nr * program.region.size
        start = should_va - header_va
        if start > 0 and start + need <= len(raw):
            data = raw[start : start + need]
        else:
            try:
                data = self.memory.read(should_va, need)
            except ReadError as error:
                self.defect(f"the entries of block {number} cannot be read", error.address)
                should_nr, data, readable = 0, b"", False
        self._raw += data
        if len(self._raw) > CHUNK_BYTES:
            self.columns()
        self.blocks.append(Block(base, should_nr, static, size, header_va, should_va, nr, readable))


def _first_entries(log: OperationLog | None) -> int | None:
    """Return how many entries `lmb_init()` says block 0 has, where the log still tells."""
    if log and not log.wrapped and log.op and log.op[0] == "init":
        return log.max[0]
    return None


def _read_table(table: Table, memory: Memory, order: ByteOrder, most: int | None = None) -> tuple[int, int, bytes]:
    """Return the counter, the capacity and the first records' bytes (at most `most` records)."""
    count = table.struct.fields[table.count]
    nr = int.from_bytes(memory.read(table.va + count.offset, count.size), order)
    capacity = min(table.capacity, MAX_TABLE_RECORDS)
    held = min(nr, capacity, capacity if most is None else most)
    if not held:
        return nr, capacity, b""
    start = table.va + table.struct.fields[table.items].offset
    return nr, capacity, memory.read(start, held * table.record.size)


def _read_log(program: LmbProgram, memory: Memory, defects: list[Defect], *, everything: bool) -> OperationLog | None:
    """Decode the log, oldest record first; only its first record unless `everything`."""
    table = program.log
    if table is None:
        return None
    try:
        nr, capacity, raw = _read_table(table, memory, program.byte_order, None if everything else 1)
    except ReadError as error:
        defects.append(Defect("the operation log cannot be read", (error.address,)))
        return None
    if nr > capacity and everything:
        turn = nr % capacity * table.record.size
        raw = raw[turn:] + raw[:turn]
    cols = dict(zip(_RECORD_FIELDS, table.record.columns(raw, _RECORD_FIELDS, program.byte_order), strict=True))
    names = program.ops or {}
    return OperationLog(
        nr=nr,
        capacity=capacity,
        op=[names.get(value, f"?{value}") for value in cols.pop("op")],
        **cols,
    )


def _read_handover(program: LmbProgram, memory: Memory, defects: list[Defect]) -> tuple[tuple[Range, ...] | None, int]:
    if program.handover is None:
        return None, 0
    try:
        nr, _, raw = _read_table(program.handover, memory, program.byte_order)
    except ReadError as error:
        defects.append(Defect("the table of ranges handed over cannot be read", (error.address,)))
        return None, 0
    base, size = program.handover.record.columns(raw, ("base", "size"), program.byte_order)
    return tuple((b, b + s) for b, s in zip(base, size, strict=True)), nr


def _read_firmware(program: LmbProgram, memory: Memory, defects: list[Defect]) -> FirmwareMap | None:
    if program.firmware is None:
        return None
    try:
        nr, capacity, raw = _read_table(program.firmware, memory, program.byte_order)
    except ReadError as error:
        defects.append(Defect("the firmware map cannot be read", (error.address,)))
        return None
    if nr > capacity:
        defects.append(Defect(f"the firmware map says it has {nr} ranges, but holds at most {capacity}"))
    return FirmwareMap(*program.firmware.record.columns(raw, ("base", "size", "type"), program.byte_order))

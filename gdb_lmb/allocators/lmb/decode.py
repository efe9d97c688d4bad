# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of the list-based LMB: `struct lmb` and its blocks in, a `Snapshot` out.

Mirrors `lmb.h`. Blocks are read whole, one request each, and decoded at once into columns; lists are
then followed inside those columns, so no entry costs a request. Damage of the storage
becomes a `Defect`, and the decoder goes on with the most believable value.
"""

from __future__ import annotations

from gdb_lmb.allocators.lmb.blocks import Storage
from gdb_lmb.allocators.lmb.lists import Head, NodeTable, WalkedList, walk_lists
from gdb_lmb.allocators.lmb.program import LMB_FIELDS, LmbProgram, Table
from gdb_lmb.allocators.lmb.storage import Links, LmbStorage, OperationLog
from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Defect, FirmwareMap, RegionList, Snapshot, Stop, column

MAX_TABLE_RECORDS = 1 << 22

_RECORD_FIELDS = ("op", "flags", "error", "base", "size", "align", "min", "max", "result", "caller")


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
    lmb = {name: program.lmb.value(raw, name, program.byte_order) for name in LMB_FIELDS}
    blocks_head = program.lmb_va + program.lmb.fields["blocks.next"].offset
    untouched = lmb["nr_blocks"] == 0 and lmb["nr_free"] == 0 and not lmb["closed"]
    if untouched and lmb["blocks.next"] in (0, blocks_head):
        raise NotReadyError("LMB is not initialised at this stop: continue to a place after lmb_init()")

    storage = Storage(program, memory)
    log = _read_log(program, memory, storage.defects, everything=with_log)
    chain = Head(blocks_head, lmb["blocks.next"], lmb["blocks.prev"])
    init = _init_record(log)
    storage.settle_block_size(chain, lmb["block_size"], init and init[0])
    storage.walk_chain(chain, init and init[1])
    if lmb["nr_blocks"] != len(storage.blocks):
        storage.defect(f"nr_blocks is {lmb['nr_blocks']}, but the chain has {len(storage.blocks)} blocks")
    for name in ("bottom_up", "may_grow", "closed"):
        if lmb[name] > 1:
            storage.defect(f"{name} is {lmb[name]:#x}, which is no truth value", program.lmb_va)

    region, link = program.region, program.region.fields["link.next"].offset
    next_va, prev_va, base, size, flags = storage.columns()
    blocks = tuple(storage.blocks)
    node_va = column(())
    starts_va = [block.entries_va or 0 for block in blocks]
    for start, block in zip(starts_va, blocks, strict=True):
        node_va.extend(range(start + link, start + link + block.nr * region.size, region.size))
    links = Links(node_va, next_va, prev_va)
    nodes = NodeTable(starts_va, [b.nr for b in blocks], region.size, link)

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

    handover, handover_nr = _read_handover(program, memory, storage.defects, closed=bool(lmb["closed"]))
    return Snapshot(
        memory=region_list("memory", on_memory),
        reserved=region_list("reserved", on_reserved),
        storage=LmbStorage(
            closed=bool(lmb["closed"]),
            blocks=blocks,
            nr_blocks=lmb["nr_blocks"],
            block_size=lmb["block_size"],
            entry_size=region.size,
            header_size=program.header_size,
            free=on_free.order,
            nr_free=lmb["nr_free"],
            free_walk=on_free.walk,
            links=links,
            may_grow=bool(lmb["may_grow"]),
            handover_nr=handover_nr,
            log=log if with_log else None,
        ),
        bits=program.bits,
        page_size=program.page_size,
        current_limit=lmb["current_limit"],
        bottom_up=bool(lmb["bottom_up"]),
        arch=program.arch,
        byte_order=program.byte_order,
        torn=torn,
        stop=stop,
        firmware=_read_firmware(program, memory, storage.defects),
        handover=handover,
        defects=tuple(storage.defects),
    )


def _init_record(log: OperationLog | None) -> tuple[int, int] | None:
    """Return what `lmb_init()` logged, where the log still has it: block size, entries in block 0."""
    if log and not log.lost and log.op and log.op[0] == "init":
        return log.size[0], log.max[0]
    return None


def _read_table(
    table: Table | None, what: str, memory: Memory, order: ByteOrder, defects: list[Defect], most: int | None = None
) -> tuple[int, int, bytes] | None:
    """Return the counter, the capacity and the first records' bytes (at most `most` records) of a table.

    None if the program has none, or if it cannot be read, which a defect reports.
    """
    if table is None:
        return None
    count = table.struct.fields[table.count]
    capacity = min(table.capacity, MAX_TABLE_RECORDS)
    try:
        nr = int.from_bytes(memory.read(table.va + count.offset, count.size), order)
        held = min(nr, capacity, capacity if most is None else most)
        start = table.va + table.struct.fields[table.items].offset
        return nr, capacity, memory.read(start, held * table.record.size) if held else b""
    except ReadError as error:
        defects.append(Defect(f"{what} cannot be read", (error.address,)))
        return None


def _read_log(program: LmbProgram, memory: Memory, defects: list[Defect], *, everything: bool) -> OperationLog | None:
    """Decode the log, oldest record first; only its first record unless `everything`."""
    most = None if everything else 1
    read = _read_table(program.log, "the operation log", memory, program.byte_order, defects, most)
    if read is None or program.log is None:
        return None
    (nr, capacity, raw), record = read, program.log.record
    if nr > capacity and everything:
        turn = nr % capacity * record.size
        raw = raw[turn:] + raw[:turn]
    cols = dict(zip(_RECORD_FIELDS, record.columns(raw, _RECORD_FIELDS, program.byte_order), strict=True))
    names = program.ops or {}
    ops = [names.get(value, f"?{value}") for value in cols.pop("op")]
    return OperationLog(nr=nr, capacity=capacity, op=ops, **cols)


def _read_handover(
    program: LmbProgram, memory: Memory, defects: list[Defect], *, closed: bool
) -> tuple[tuple[Range, ...] | None, int]:
    """Decode the ranges handed over and their number; before `lmb_free_all()` only the number, which is 0."""
    most = None if closed else 0
    what = "the table of ranges handed over"
    read = _read_table(program.handover, what, memory, program.byte_order, defects, most)
    if read is None or program.handover is None or not closed:
        return None, 0 if read is None else read[0]
    base, size = program.handover.record.columns(read[2], ("base", "size"), program.byte_order)
    return tuple((b, b + s) for b, s in zip(base, size, strict=True)), read[0]


def _read_firmware(program: LmbProgram, memory: Memory, defects: list[Defect]) -> FirmwareMap | None:
    read = _read_table(program.firmware, "the firmware map", memory, program.byte_order, defects)
    if read is None or program.firmware is None:
        return None
    nr, capacity, raw = read
    if nr > capacity:
        defects.append(Defect(f"the firmware map says it has {nr} ranges, but holds at most {capacity}"))
    return FirmwareMap(*program.firmware.record.columns(raw, ("base", "size", "type"), program.byte_order))

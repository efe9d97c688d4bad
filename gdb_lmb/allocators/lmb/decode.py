# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of the list-based LMB: `struct lmb` and its blocks in, a `Snapshot` out.

Mirrors `lmb.h`. Blocks are read whole, one request each, and decoded at once into columns; lists are
then followed inside those columns, so no entry costs a request. Damage of the storage
becomes a `Defect`, and the decoder goes on with the most believable value.
"""

from __future__ import annotations

from array import array

from gdb_lmb.allocators.lmb.blocks import Storage
from gdb_lmb.allocators.lmb.lists import Head, NodeTable, walk_lists
from gdb_lmb.allocators.lmb.program import LMB_FIELDS, LmbProgram, Table
from gdb_lmb.allocators.lmb.storage import Links, LmbStorage, OperationLog
from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.memory import Memory
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
    chain, *heads = (
        Head(program.lmb_va + program.lmb.fields[f"{name}.next"].offset, lmb[f"{name}.next"], lmb[f"{name}.prev"])
        for name in ("blocks", "memory.regions", "reserved.regions", "freelist")
    )
    untouched = lmb["nr_blocks"] == 0 and lmb["nr_free"] == 0 and not lmb["closed"]
    if untouched and chain.next_va in (0, chain.va):
        raise NotReadyError("LMB is not initialised at this stop: continue to a place after lmb_init()")

    storage = Storage(program, memory)
    log = _read_log(storage, everything=with_log)
    begins = log is not None and not log.lost and "init" in log.op[:1]
    # What `lmb_init()` logged, where the log still has it: block size, entries in block 0.
    logged_size, logged_nr = (log.size[0], log.max[0]) if log and begins else (None, None)
    storage.settle_block_size(chain, lmb["block_size"], logged_size)
    storage.walk_chain(chain, logged_nr)
    if lmb["nr_blocks"] != len(storage.blocks):
        storage.defect(f"nr_blocks is {lmb['nr_blocks']}, but the chain has {len(storage.blocks)} blocks")
    for name in ("bottom_up", "may_grow", "closed"):
        if lmb[name] > 1:
            storage.defect(f"{name} is {lmb[name]:#x}, which is no truth value", program.lmb_va)

    region, link = program.region, program.region.fields["link.next"].offset
    next_va, prev_va, base, size, flags = storage.columns()
    starts_va = [block.entries_va or 0 for block in storage.blocks]
    node_va = column(())
    for start, block in zip(starts_va, storage.blocks, strict=True):
        node_va.extend(range(start + link, start + link + block.nr * region.size, region.size))
    links = Links(node_va, next_va, prev_va)
    nodes = NodeTable(starts_va, [block.nr for block in storage.blocks], region.size, link)
    on_memory, on_reserved, (free, free_walk) = walk_lists(heads, nodes, links)
    memory_list, reserved_list = (
        RegionList(
            name=name,
            cnt=lmb[f"{name}.cnt"],
            total_size=lmb[f"{name}.total_size"],
            base=column(map(base.__getitem__, order)),
            size=column(map(size.__getitem__, order)),
            flags=column(map(flags.__getitem__, order)),
            entry=order,
            walk=walk,
        )
        for name, (order, walk) in (("memory", on_memory), ("reserved", on_reserved))
    )

    # Before `lmb_free_all()` there is only the number of ranges, which is 0.
    most, what = MAX_TABLE_RECORDS if lmb["closed"] else 0, "the table of ranges handed over"
    handover_nr, _, given = _read_table(storage, program.handover, what, ("base", "size"), most)
    ranges = ((first, first + length) for first, length in zip(*given or ((), ()), strict=True))
    return Snapshot(
        memory=memory_list,
        reserved=reserved_list,
        storage=LmbStorage(
            closed=bool(lmb["closed"]),
            blocks=tuple(storage.blocks),
            nr_blocks=lmb["nr_blocks"],
            block_size=lmb["block_size"],
            entry_size=region.size,
            header_size=program.header_size,
            free=free,
            nr_free=lmb["nr_free"],
            free_walk=free_walk,
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
        firmware=_read_firmware(storage),
        handover=tuple(ranges) if given and lmb["closed"] else None,
        defects=tuple(storage.defects),
    )


# The counter, the capacity and the columns `names` of the first records (at most `most`) of a table. No columns if the
# program has none, or if it cannot be read, which a defect reports.
def _read_table(
    storage: Storage, table: Table | None, what: str, names: tuple[str, ...], most: int = MAX_TABLE_RECORDS
) -> tuple[int, int, list[array[int]]]:
    if table is None:
        return 0, 0, []
    order, count, items = storage.program.byte_order, table.struct.fields["nr"], table.struct.fields[table.items]
    capacity = min(items.size // table.record.size, MAX_TABLE_RECORDS)
    try:
        nr = int.from_bytes(storage.memory.read(table.va + count.offset, count.size), order)
        size = min(nr, capacity, most) * table.record.size
        raw = storage.memory.read(table.va + items.offset, size) if size else b""
    except ReadError as error:
        storage.defects.append(Defect(f"{what} cannot be read", (error.address,)))
        return 0, 0, []
    return nr, capacity, table.record.columns(raw, names, order)


# The log, oldest record first; only its first record unless `everything`.
def _read_log(storage: Storage, *, everything: bool) -> OperationLog | None:
    most, names = MAX_TABLE_RECORDS if everything else 1, storage.program.ops or {}
    nr, capacity, columns = _read_table(storage, storage.program.log, "the operation log", _RECORD_FIELDS, most)
    if not columns:
        return None
    turn = nr % capacity if nr > capacity and everything else 0
    op, *others = (values[turn:] + values[:turn] for values in columns)
    return OperationLog(nr, capacity, [names.get(value, f"?{value}") for value in op], *others)


def _read_firmware(storage: Storage) -> FirmwareMap | None:
    nr, capacity, columns = _read_table(storage, storage.program.firmware, "the firmware map", ("base", "size", "type"))
    if nr > capacity:
        storage.defects.append(Defect(f"the firmware map says it has {nr} ranges, but holds at most {capacity}"))
    return FirmwareMap(*columns) if columns else None

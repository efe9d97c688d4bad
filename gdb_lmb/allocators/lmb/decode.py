# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of the list-based LMB: `struct lmb` and its blocks in, a `Snapshot` out.

Mirrors `lmb.h`. Blocks are read whole, one request each, and decoded at once into columns; lists are
then followed inside those columns, so no entry costs a request. Damage of the storage
becomes a `Defect`, and the decoder goes on with the most believable value.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate, chain

from gdb_lmb.allocators.lmb.blocks import Head, Storage
from gdb_lmb.allocators.lmb.program import LMB_FIELDS, LmbProgram, Table
from gdb_lmb.allocators.lmb.storage import Links, LmbStorage, OperationLog, flag_names, unknown_revision
from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.snapshot import Defect, FirmwareMap, RegionList, Snapshot, Stop, Walk, column

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
    blocks, *heads = (
        Head(program.lmb_va + program.lmb.fields[f"{name}.next"].offset, lmb[f"{name}.next"], lmb[f"{name}.prev"])
        for name in ("blocks", "memory.regions", "reserved.regions", "freelist")
    )
    untouched = not any(lmb[name] for name in ("nr_blocks", "nr_free", "memory.cnt", "reserved.cnt", "closed"))
    storage = Storage(program, memory)
    log = _read_log(storage, everything=with_log)
    if untouched and blocks.next_va in (0, blocks.va):
        # `lmb_init()` makes the heads, then the entries, and logs itself as the first operation at its end.
        begun = "the operation log is" if log and log.nr else "the static array's entries are"
        if not (log and log.nr) and (blocks.next_va or not storage.has_linked()):
            raise NotReadyError("LMB is not initialised at this stop: continue to a place after lmb_init()")
        storage.defect(f"struct lmb is as before lmb_init(), but {begun} not", program.lmb_va)

    # What `lmb_init()` logged, where the log still has it: block size, entries in block 0.
    whole = log is not None and not log.lost and list(log.op[:1]) == ["init"]
    logged_size, logged_nr = (log.size[0], log.max[0]) if log and whole else (None, None)
    storage.settle_block_size(blocks, lmb["block_size"], logged_size)
    storage.walk_chain(blocks, logged_nr)
    if lmb["nr_blocks"] != len(storage.blocks):
        storage.defect(f"nr_blocks is {lmb['nr_blocks']}, but the chain has {len(storage.blocks)} blocks")
    for name in ("bottom_up", "may_grow", "closed"):
        if lmb[name] > 1:
            storage.defect(f"{name} is {lmb[name]:#x}, which is no truth value", program.lmb_va)
    if not lmb["may_grow"] and len(storage.blocks) > 1:
        storage.defect(f"may_grow is 0, but {len(storage.blocks) - 1} blocks were gained", program.lmb_va)
    for name in ("memory", "reserved"):
        _check_name(storage, name, raw)

    revision = program.revision(raw)
    region, link = program.region, program.region.fields["link.next"].offset
    next_va, prev_va, base, size, flags = storage.columns()
    runs = [(block.entries_va, block.nr) for block in storage.blocks if block.entries_va is not None]
    node_va = column(())
    for start, nr in runs:
        node_va.extend(range(start + link, start + link + nr * region.size, region.size))
    links = Links(node_va, next_va, prev_va)
    nodes = NodeTable([start for start, _ in runs], [nr for _, nr in runs], region.size, link)
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
            revision=revision,
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
        flag_names=flag_names(revision),
        uncompared=tuple(filter(None, (unknown_revision(revision),))),
    )


# Report a list's name that is not its own; nothing is read outside of the program.
def _check_name(storage: Storage, name: str, raw: bytes) -> None:
    program, text = storage.program, name.encode() + b"\0"
    if not program.image or f"{name}.name" not in program.lmb.fields:
        return
    va = program.lmb.value(raw, f"{name}.name", program.byte_order)
    with suppress(ReadError):
        if any(va in part for part in program.image) and storage.memory.read(va, len(text)) == text:
            return
    what = f"{name}.name is {va:#x}, which is not where the program has this name"
    storage.defects.append(Defect(what, (va,), "bad-name"))


# The counter, the capacity and the columns `names` of the first records (at most `most`) of a table. None, and no
# columns, if the program has none, or if it cannot be read, which a defect reports.
def _read_table(
    storage: Storage, table: Table | None, what: str, names: tuple[str, ...], most: int = MAX_TABLE_RECORDS
) -> tuple[int | None, int | None, list[array[int]]]:
    if table is None:
        return None, None, []
    order, count, items = storage.program.byte_order, table.struct.fields["nr"], table.struct.fields[table.items]
    capacity = min(items.size // table.record.size, MAX_TABLE_RECORDS)
    try:
        nr = int.from_bytes(storage.memory.read(table.va + count.offset, count.size), order)
        size = min(nr, capacity, most) * table.record.size
        raw = storage.memory.read(table.va + items.offset, size) if size else b""
    except ReadError as error:
        storage.defects.append(Defect(f"{what} cannot be read", (error.address,)))
        return None, None, []
    return nr, capacity, table.record.columns(raw, names, order)


# The log, oldest record first; only its first record unless `everything`.
def _read_log(storage: Storage, *, everything: bool) -> OperationLog | None:
    most, names = MAX_TABLE_RECORDS if everything else 1, storage.program.ops or {}
    nr, capacity, columns = _read_table(storage, storage.program.log, "the operation log", _RECORD_FIELDS, most)
    if nr is None or capacity is None:
        return None
    # The next record is written over the oldest one.
    turn = nr % max(1, len(columns[0]))
    op, *others = (values[turn:] + values[:turn] for values in columns)
    return OperationLog(nr, capacity, [names.get(value, f"?{value}") for value in op], *others)


def _read_firmware(storage: Storage) -> FirmwareMap | None:
    nr, capacity, columns = _read_table(storage, storage.program.firmware, "the firmware map", ("base", "size", "type"))
    if nr is not None and capacity is not None and nr > capacity:
        storage.defects.append(Defect(f"the firmware map says it has {nr} ranges, but holds at most {capacity}"))
    return FirmwareMap(*columns) if columns else None


# -- lists that may be damaged, without losing what lies behind the damage --------------------------


class NodeTable:
    """Turns the address of a list node into the index of its entry.

    Of each block the address of the first entry and the number of entries are known; `link` is offsetof(link).
    """

    def __init__(self, starts_va: Sequence[int], counts: Sequence[int], entry_size: int, link: int) -> None:
        runs = zip(starts_va, counts, accumulate(counts, initial=0), strict=False)
        rows = sorted((va, va + count * entry_size, at) for va, count, at in runs if count)
        columns: list[tuple[int, ...]] = list(zip(*rows, strict=True)) or [(), (), ()]
        self._starts, self._ends, self._first = columns
        self._entry_size = entry_size
        self._link = link

    def index(self, node_va: int) -> int | None:
        """Return the index of the entry whose link lies at `node_va`, None if that is in no block."""
        va = node_va - self._link
        row = bisect_right(self._starts, va) - 1
        if row < 0 or va >= self._ends[row]:
            return None
        slot, rest = divmod(va - self._starts[row], self._entry_size)
        return None if rest else self._first[row] + slot

    def follow(
        self, head_va: int, start_va: int, ahead: Sequence[int], behind: Sequence[int]
    ) -> tuple[array[int], bool]:
        """Follow `ahead` from the head while `behind` agrees; tell whether that led back to the head.

        No visited set is needed: a node's one `behind` link cannot agree with two predecessors. The body
        is `index()` once more, because a call for each entry would double the cost of the walk.
        """
        order = array("Q")
        append, starts, ends, first = order.append, self._starts, self._ends, self._first
        entry_size, link = self._entry_size, self._link
        find = bisect_right
        came_from, va = head_va, start_va
        while va != head_va:
            start = va - link
            row = find(starts, start) - 1
            if row < 0 or start >= ends[row]:
                return order, False
            offset = start - starts[row]
            slot = offset // entry_size
            i = first[row] + slot
            if slot * entry_size != offset or behind[i] != came_from:
                return order, False
            append(i)
            came_from, va = va, ahead[i]
        return order, True


def walk_lists(heads: Sequence[Head], nodes: NodeTable, links: Links) -> list[tuple[array[int], Walk]]:
    """Return the members of each list as entry indexes in list order, as far as they can be known, and its walk.

    A list is first followed from both ends as long as every link is mutual (`e->next->prev == e`). One bad
    link stops each side at the same place, and both sides together still know every member. What remains
    in a gap with two bad ends is followed leniently, but never into entries that another list owns. Every
    step claims an entry not claimed before, or ends the walk: the work is bounded by the number of entries.
    Apart from that no walk depends on damage in another list. `links.va` holds node addresses.
    """
    owned = bytearray(len(links.va))
    strict = []
    for head in heads:
        forward, returned = nodes.follow(head.va, head.next_va, links.next_va, links.prev_va)
        last_va = links.va[forward[-1]] if forward else head.va
        backward: deque[int] = deque()
        # The forward walk may have skipped entries where it did not end at the head's prev link.
        if not returned or head.prev_va != last_va:
            found, _ = nodes.follow(head.va, head.prev_va, links.prev_va, links.next_va)
            known = set(forward)
            backward.extend(i for i in reversed(found) if i not in known)
        for i in chain(forward, backward):
            owned[i] = 1
        strict.append((forward, backward, returned))
    return [
        _join(head, forward, backward, returned, nodes, links, owned)
        for head, (forward, backward, returned) in zip(heads, strict, strict=True)
    ]


# The members of the forward and the backward walk, and those found between them.
def _join(
    head: Head,
    forward: array[int],
    backward: deque[int],
    returned: bool,
    nodes: NodeTable,
    links: Links,
    owned: bytearray,
) -> tuple[array[int], Walk]:
    def next_va() -> int:
        return links.next_va[forward[-1]] if forward else head.next_va

    def prev_va() -> int:
        return links.prev_va[backward[0]] if backward else head.prev_va

    def joined() -> bool:
        left = links.va[forward[-1]] if forward else head.va
        right = links.va[backward[0]] if backward else head.va
        return next_va() == right or prev_va() == left

    # Add the one member that both ends agree on, whose own links lead elsewhere: it is on this list too.
    def agreed() -> bool:
        i = nodes.index(next_va()) if next_va() == prev_va() else None
        if i is None or i in forward or i in backward:
            return False
        forward.append(i)
        owned[i] = 1
        return True

    complete = joined() or agreed()
    for follow, add in ((next_va, forward.append), (prev_va, backward.appendleft)):
        while not complete:
            i = nodes.index(follow())
            if i is None or owned[i]:
                break
            owned[i] = 1
            add(i)
            complete = joined()
    complete = complete or agreed()
    order = forward + array("Q", backward)
    mutual = returned and not backward and head.prev_va == (links.va[order[-1]] if order else head.va)
    return order, Walk(head.va, head.next_va, head.prev_va, complete, mutual)

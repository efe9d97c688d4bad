# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and sentences for people: what `lmb-dump` and `lmb-check` print in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from gdb_lmb.allocators.base import LogVerdict
from gdb_lmb.core.errors import LmbError
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.snapshot import FINDING, FIRMWARE_TYPES, Finding, Range, RegionArray, RegionList, Snapshot
from gdb_lmb.core.words import address, flag_names, human_size, plural, safe
from gdb_lmb.report.map_text import bar_lines
from gdb_lmb.report.table import table as _table
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, NOTE, PLAIN, Terminal

PARTS = ("memory", "reserved", "free", "blocks", "firmware", "all")
DRAWN = ("memory", "reserved", "all")
"""The parts of `lmb-dump` that begin with a picture of memory."""


def _region_lines(snapshot: Snapshot, regions: RegionList, entries: bool, terminal: Terminal) -> list[str]:
    total = f"{human_size(regions.total_size)} ({regions.total_size:,} bytes)"
    room = "" if regions.max is None else f" (room for {regions.max:,})"
    if regions.dummy:
        return [terminal.paint(f"{regions.name}: empty{room} (one dummy region of size 0)", HEADING)]
    if regions.name in snapshot.refused:
        return [terminal.paint(f"{regions.name}: not shown: {snapshot.refused[regions.name]}", NOTE)]
    lines = [terminal.paint(f"{regions.name}: {plural(regions.cnt, 'region')}{room}, {total}", HEADING)]
    if not len(regions):
        return lines
    bits = snapshot.bits
    rows = []
    for at, region in enumerate(regions.regions()):
        row = [at, address(region.base, bits), address(region.end, bits), human_size(region.size),
               f"{region.size:,}", flag_names(region.flags, snapshot.flag_names)]  # fmt: skip
        if len(regions.nid):
            node = regions.nid[at]
            row.append(str(node) if snapshot.no_node is None or 0 <= node < snapshot.no_node else "-")
        if entries and regions.max is None:
            where = snapshot.entry(regions.entry[at])
            row += [f"{where.block}:{where.slot}", f"{snapshot.entry_va(regions.entry[at]):#x}"]
        rows.append(row)
    headers = ["#", "base", "end", "size", "bytes", "flags"] + (["node"] if len(regions.nid) else [])
    headers += ["entry", "entry address"] if entries and regions.max is None else []
    return lines + _table(
        rows, headers, ("#", "size", "bytes"), terminal, cut=("flags",), spare=("bytes", "entry address")
    )


def _free_lines(snapshot: Snapshot, listed: bool, terminal: Terminal) -> list[str]:
    title = f"free: {plural(snapshot.nr_free, 'entry')} on the freelist, of {snapshot.nr_entries:,} in all"
    lines = [terminal.paint(title, HEADING)]
    if not listed or not len(snapshot.free):
        return lines
    rows = []
    for at, index in enumerate(snapshot.free):
        where = snapshot.entry(index)
        rows.append([at, f"{where.block}:{where.slot}", f"{snapshot.entry_va(index):#x}"])
    return lines + _table(rows, ["#", "entry", "entry address"], ("#",), terminal)


def _block_lines(snapshot: Snapshot, terminal: Terminal) -> list[str]:
    size = human_size(snapshot.block_size)
    growth = f"grows by {size}" if snapshot.may_grow else f"may not grow yet (block size {size})"
    lines = [terminal.paint(f"blocks: {plural(snapshot.nr_blocks, 'block')} of entries, {growth}", HEADING)]
    rows = []
    for number, block in enumerate(snapshot.blocks):
        kind = "static array" if block.static else "klimit page" if number == 0 else "grown"
        base = "-" if block.static else address(block.base, snapshot.bits)
        rows.append([number, kind, base, human_size(block.size) if block.size else "-", block.nr,
                     f"{block.entries_va:#x}"])  # fmt: skip
    headers = ["#", "storage", "base", "size", "entries", "first entry address"]
    return lines + _table(
        rows, headers, ("#", "size", "entries"), terminal, cut=("storage",), spare=("first entry address",)
    )


def _storage(snapshot: Snapshot, array: RegionArray) -> str:
    if array.static:
        return "static array"
    return "doubled, freed" if array.name in snapshot.refused else "doubled"


def _array_lines(snapshot: Snapshot, terminal: Terminal) -> list[str]:
    rows = [
        [array.name, _storage(snapshot, array), "-" if array.base is None else hex(array.base),
         human_size(array.size), array.max, f"{array.va:#x}"]
        for array in snapshot.arrays
    ]  # fmt: skip
    headers = ["list", "storage", "base", "size", "room", "address"]
    title = terminal.paint("arrays:", HEADING)
    return [title, *_table(rows, headers, ("size", "room"), terminal, cut=("storage",), spare=("address",))]


def _firmware_lines(snapshot: Snapshot, terminal: Terminal) -> list[str]:
    if snapshot.firmware is None:
        # Linux always keeps one, but not from the first instruction on, nor to the end of the boot.
        early = snapshot.layout == "memblock"
        return ["firmware: no map can be read at this stop" if early else "firmware: this program keeps no map"]
    firmware = snapshot.firmware
    rows = [
        [
            at,
            address(base, 64),
            address(base + size, 64),
            human_size(size),
            FIRMWARE_TYPES.get(kind, f"type {kind}"),
        ]
        for at, (base, size, kind) in enumerate(zip(firmware.base, firmware.size, firmware.type, strict=True))
    ]
    headers = ["#", "base", "end", "size", "type"]
    lines = [terminal.paint(f"firmware: {plural(len(rows), 'range')}", HEADING)]
    return lines + (_table(rows, headers, ("#", "size"), terminal, cut=("type",)) if rows else [])


def _where(snapshot: Snapshot) -> str:
    kind = "memblock" if snapshot.layout == "memblock" else "LMB"
    if snapshot.stop is None:
        return f"{kind} of {snapshot.arch}"
    symbol = f"{safe(snapshot.stop.symbol)} ({snapshot.stop.pc:#x})" if snapshot.stop.symbol else hex(snapshot.stop.pc)
    state = snapshot.phase or ("handed over" if snapshot.closed else "in use")
    direction = "bottom-up" if snapshot.bottom_up else "top-down"
    limit = "none" if snapshot.current_limit == snapshot.phys_addr_max else hex(snapshot.current_limit)
    return f"{kind} of {snapshot.arch} at {symbol}: {state}, {direction}, limit {limit}"


def torn_line(snapshot: Snapshot, terminal: Terminal = PLAIN) -> str:
    """Return the warning that belongs over everything a torn snapshot shows."""
    text = f"torn: the stop is inside {safe(snapshot.torn or '')}: the lists may be between two states"
    return terminal.paint(text, NOTE)


def dump_text(
    snapshot: Snapshot,
    part: str = "all",
    entries: bool = False,
    *,
    image: Sequence[Range] = (),
    terminal: Terminal = PLAIN,
) -> str:
    """Return what `lmb-dump` prints: a picture of memory, then tables.

    `part` is one of `PARTS`, `entries` adds where each is stored, `image` is where the kernel's image lies.
    """
    lines = [terminal.paint(_where(snapshot), HEADING)]
    if snapshot.torn:
        lines.append(torn_line(snapshot, terminal))
    if part in DRAWN:
        lines += ["", *bar_lines(snapshot, image, terminal)]
    sections = []
    if part in ("memory", "all"):
        sections.append(_region_lines(snapshot, snapshot.memory, entries, terminal))
    if part in ("reserved", "all"):
        sections.append(_region_lines(snapshot, snapshot.reserved, entries, terminal))
    if part == "all" and snapshot.physmem is not None:
        sections.append(_region_lines(snapshot, snapshot.physmem, entries, terminal))
    if snapshot.layout == "memblock":
        if part == "free":
            raise LmbError("memblock has no freelist: its regions lie in arrays (lmb-dump blocks)")
        if part in ("blocks", "all"):
            sections.append(_array_lines(snapshot, terminal))
    else:
        if part in ("free", "all"):
            sections.append(_free_lines(snapshot, part == "free", terminal))
        if part in ("blocks", "all"):
            sections.append(_block_lines(snapshot, terminal))
    if part == "firmware":
        sections.append(_firmware_lines(snapshot, terminal))
    for section in sections:
        lines += ["", *section]
    return "\n".join(lines)


def finding_lines(findings: Sequence[Finding], terminal: Terminal = PLAIN) -> list[str]:
    """Return one line for each finding and note, in their order."""
    return [
        terminal.paint(f"{f.severity}: {f.code}:", BAD if f.severity == FINDING else NOTE) + f" {safe(f.message, 1000)}"
        for f in findings
    ]


def summary(findings: Sequence[Finding]) -> str:
    """Return "2 findings, 1 note" in words."""
    faults = sum(f.severity == FINDING for f in findings)
    notes = len(findings) - faults
    return plural(faults, "finding") + (f", {plural(notes, 'note')}" if notes else "")


def check_text(
    snapshot: Snapshot, findings: Sequence[Finding], log: LogVerdict | None, terminal: Terminal = PLAIN
) -> str:
    """Return what `lmb-check` prints: findings, then one line that says what was verified."""
    lines = [torn_line(snapshot, terminal)] if snapshot.torn else []
    lines += finding_lines(findings, terminal)
    lines += [terminal.paint(f"not verified: {name}: {why}", NOTE) for name, why in snapshot.refused.items()]
    array_backed = snapshot.layout == "memblock"
    seen = plural(sum(len(regions) for regions in snapshot.lists if not regions.dummy), "region")
    if array_backed:
        seen += f" in {plural(len(snapshot.arrays), 'array')}"
    else:
        seen = f"{plural(snapshot.nr_entries, 'entry')}, {seen}, {plural(len(snapshot.blocks), 'block')}"
    if array_backed:
        replayed = "memblock keeps no log of operations"
    elif log is None:
        replayed = "log not asked for"
    elif log.not_verified:
        replayed = f"history NOT verified: {log.not_verified}"
    else:
        replayed = f"{plural(log.replayed, 'operation')} replayed on the model"
    faults = any(f.severity == FINDING for f in findings)
    if snapshot.torn or snapshot.refused:
        role, verdict = BAD if faults else NOTE, f"NOT verified, {summary(findings)} seen"
    elif faults:
        role, verdict = BAD, f"{summary(findings)} in"
    else:
        role = CLEAN if array_backed or log is None or not log.not_verified else NOTE
        verdict = "clean" + (f" ({summary(findings)[len('0 findings, ') :]})" if findings else "") + ", verified"
    lines.append(f"{terminal.paint(f'lmb-check: {verdict}:', role)} {seen}; {replayed}")
    return "\n".join(lines)


def stats_line(meter: Meter, seconds: float) -> str:
    """Return what a command cost: requests to the stub, bytes, and where the time went."""
    return (
        f"stats: {plural(meter.requests, 'request')}, {meter.bytes_read:,} bytes, "
        f"{seconds * 1e3:.1f} ms in all, {meter.seconds * 1e3:.1f} ms of it reading"
    )

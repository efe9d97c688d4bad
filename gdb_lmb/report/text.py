# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and sentences for people, and the kernel's own printout: the output of `lmb-dump` and `lmb-check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gdb_lmb.allocators.base import LogVerdict, allocator, check
from gdb_lmb.allocators.section import ADDRESS, BYTES, FLAGS, NUMBER, POINTER, SIZE, TEXT, WIDE, Section
from gdb_lmb.core.address import Phase
from gdb_lmb.core.errors import LmbError
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Finding, Snapshot, flag_names
from gdb_lmb.core.words import FINDING, address, human_size, plural, safe
from gdb_lmb.report.picture import bar_lines
from gdb_lmb.report.table import more_line, table
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, NOTE, PLAIN, Terminal

PARTS = ("memory", "reserved", "free", "blocks", "firmware", "all")
DRAWN = ("memory", "reserved", "all")
"""The parts of `lmb-dump` that begin with a picture of memory."""


# How a cell is written, by the kind of its column.
_CELLS: Mapping[str, Callable[[Any, Snapshot], str]] = {
    ADDRESS: lambda value, snapshot: address(value, snapshot.bits),
    WIDE: lambda value, snapshot: address(value, 64),
    POINTER: lambda value, snapshot: hex(value),
    SIZE: lambda value, snapshot: human_size(value),
    BYTES: lambda value, snapshot: f"{value:,}",
    NUMBER: lambda value, snapshot: str(value),
    TEXT: lambda value, snapshot: safe(value),
    FLAGS: lambda value, snapshot: safe(flag_names(value, snapshot.flag_names)),
}


def section_lines(section: Section, snapshot: Snapshot, terminal: Terminal = PLAIN) -> list[str]:
    """Return the lines of a table that an allocator gave; "-" stands for what is not known or not there."""
    lines = [terminal.paint(safe(section.title, 1000), HEADING if section.shown else NOTE)]
    if not section.rows:
        return lines
    columns, hidden = section.columns, terminal.left_out(len(section.rows))
    rows = [
        [
            "-" if value is None else _CELLS[column.kind](value, snapshot)
            for column, value in zip(columns, row, strict=True)
        ]
        for row in section.rows[: len(section.rows) - hidden]
    ]
    lines += table(
        rows,
        [column.title for column in columns],
        [column.title for column in columns if column.kind in (SIZE, BYTES, NUMBER)],
        terminal,
        cut=[column.title for column in columns if column.cut],
        spare=[column.title for column in columns if column.spare],
    )
    return lines + more_line(hidden)


def _where(snapshot: Snapshot) -> str:
    kind = allocator(snapshot.layout).title
    if snapshot.stop is None:
        return f"{kind} of {snapshot.arch}"
    symbol = f"{safe(snapshot.stop.symbol)} ({snapshot.stop.pc:#x})" if snapshot.stop.symbol else hex(snapshot.stop.pc)
    state = snapshot.phase or (Phase.HANDED_OVER.value if snapshot.storage.closed else "in use")
    direction = "bottom-up" if snapshot.bottom_up else "top-down"
    limit = "none" if snapshot.current_limit == snapshot.phys_addr_max else hex(snapshot.current_limit)
    return f"{kind} of {snapshot.arch} at {symbol}: {state}, {direction}, limit {limit}"


def torn_line(snapshot: Snapshot, terminal: Terminal = PLAIN) -> str:
    """Return the warning to print above everything that is shown of a torn snapshot."""
    inside = "the allocator" if snapshot.torn is None else safe(snapshot.torn)
    text = f"torn: the stop is inside {inside}: the lists may be between two states"
    return terminal.paint(text, NOTE)


def doubt_lines(snapshot: Snapshot, terminal: Terminal = PLAIN) -> list[str]:
    """Return what to print above an answer that rests on the lists: why it may not be true."""
    if snapshot.torn:
        return [torn_line(snapshot, terminal)]
    lines = []
    if snapshot.handed_over:
        closed = "the allocator is closed, and " if snapshot.storage.closed else ""
        lines.append(f"handed over: {closed}what was free then is the page allocator's now")
    found = faults(snapshot)
    if found:
        lines.append(terminal.paint(f"warning: {plural(found, 'finding')}; lmb-check lists them", BAD))
    return lines


def faults(snapshot: Snapshot) -> int:
    """Return how many findings a state has; 0 at a stop inside an allocator function, where they may be none."""
    return 0 if snapshot.torn else sum(finding.severity == FINDING for finding in check(snapshot))


def doubts_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {"torn": snapshot.torn is not None, "closed": snapshot.handed_over, "findings": faults(snapshot)}


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
    for section in allocator(snapshot.layout).sections(snapshot, part, entries):
        lines += ["", *section_lines(section, snapshot, terminal)]
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
    lines = [
        *([torn_line(snapshot, terminal)] if snapshot.torn else []),
        *finding_lines(findings, terminal),
        *(terminal.paint(f"not verified: {name}: {safe(why, 1000)}", NOTE) for name, why in snapshot.refused.items()),
    ]
    own = allocator(snapshot.layout)
    seen = ", ".join(plural(number, noun) for noun, number in own.counts(snapshot).items())
    if not own.keeps_log:
        replayed = f"{own.title} keeps no log of operations"
    elif log is None:
        replayed = "log not asked for"
    elif log.not_verified:
        replayed = f"history NOT verified: {log.not_verified}"
    else:
        replayed = f"{plural(log.replayed, 'operation')} replayed on the model"
    lacking = (("not verified against", snapshot.uncompared), ("not at hand at this phase:", snapshot.unsettled))
    against = "".join(f"; {told} {', '.join(safe(what, 1000) for what in some)}" for told, some in lacking if some)
    faults = any(f.severity == FINDING for f in findings)
    if snapshot.torn or snapshot.refused or (snapshot.uncompared and not faults):
        role, verdict = BAD if faults else NOTE, f"NOT verified, {summary(findings)} seen"
    elif faults:
        role, verdict = BAD, f"{summary(findings)} in"
    else:
        role = CLEAN if log is None or not log.not_verified else NOTE
        verdict = "clean" + (f" ({summary(findings)[len('0 findings, ') :]})" if findings else "") + ", verified"
    lines.append(f"{terminal.paint(f'lmb-check: {verdict}:', role)} {seen}; {replayed}{against}")
    return "\n".join(lines)


def kernel_text(snapshot: Snapshot) -> str:
    """Return what the kernel's own dump prints in this state, without time stamps, byte for byte.

    Raises: `LmbError` where a list is not true any more.
    Source: `lmb_dump_all()` in lmb_handover.c; `__memblock_dump_all()` in mm/memblock.c.
    """
    for name, why in snapshot.refused.items():
        raise LmbError(f"the kernel's own dump cannot be shown any more: {name}: {why}")
    bits = snapshot.bits
    lines = [
        f"{allocator(snapshot.layout).title.upper()} configuration:",
        f" memory size = {address(snapshot.memory.total_size, bits)} "
        f"reserved size = {address(snapshot.reserved.total_size, bits)}",
    ]
    for regions in snapshot.lists:
        lines.append(f" {regions.name}.cnt  = {regions.cnt:#x}")
        for at, region in enumerate(regions.regions()):
            nid = regions.nid[at] if at < len(regions.nid) else None
            has_node = nid is not None and snapshot.no_node is not None and 0 <= nid < snapshot.no_node
            node = f" on node {nid}" if has_node else ""
            low, high = address(region.base, bits), address((region.end - 1) & snapshot.phys_addr_max, bits)
            lines.append(
                f" {regions.name}[{at:#x}]\t[{low}-{high}], {address(region.size, bits)} bytes{node} "
                f"flags: {region.flags:#x}"
            )
    return "".join(f"{line}\n" for line in lines)


def stats_line(meter: Meter, seconds: float) -> str:
    """Return what a command cost: requests to the stub, bytes, and milliseconds in all and for reading."""
    return (
        f"stats: {plural(meter.requests, 'request')}, {meter.bytes_read:,} bytes, "
        f"{seconds * 1e3:.1f} ms in all, {meter.seconds * 1e3:.1f} ms of it reading"
    )

# SPDX-License-Identifier: GPL-2.0-or-later
"""Free memory as tables and as JSON `gdb-lmb/free/1`: the output of `lmb-free`."""

from __future__ import annotations

from gdb_lmb.allocators.json_fields import Json
from gdb_lmb.core.holes import Fit, FreeSpace
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import address, human_size, plural
from gdb_lmb.report.jsonio import stop_json
from gdb_lmb.report.table import table
from gdb_lmb.report.terminal import HEADING, PLAIN, Terminal
from gdb_lmb.report.text import torn_line

FREE_SCHEMA = "gdb-lmb/free/1"


def free_text(snapshot: Snapshot, space: FreeSpace, terminal: Terminal = PLAIN) -> str:
    """Return the tables of `lmb-free`: the holes, then the largest allocations, then fragmentation."""
    bits = snapshot.bits
    lines = [torn_line(snapshot, terminal)] if snapshot.torn else []
    if snapshot.storage.closed:
        lines.append("handed over: the allocator is closed, and what was free then is the page allocator's now")
    title = (
        f"free in [{space.min:#x}, {space.max:#x}): {plural(len(space.holes), 'hole')}, {human_size(space.total)} "
        f"({space.total:,} bytes)"
    )
    lines.append(terminal.paint(title, HEADING))
    if not space.holes:
        return "\n".join(lines)
    rows = [
        [at, address(base, bits), address(end, bits), human_size(end - base), f"{end - base:,}"]
        for at, (base, end) in enumerate(space.holes)
    ]
    lines += table(rows, ["#", "base", "end", "size", "bytes"], ("#", "size", "bytes"), terminal, spare=("bytes",))
    lines += ["", terminal.paint("largest allocation possible, by the alignment of its base:", HEADING)]
    lines += _fits_lines(space, terminal)
    lines += ["", f"fragmentation: {100 * space.fragmentation:.1f} % (1 - largest hole / all free bytes)"]
    return "\n".join(lines)


def _fits_lines(space: FreeSpace, terminal: Terminal) -> list[str]:
    """Return a row for each alignment and a column for each limit; a row for each of both where that is too wide."""
    limits = list(dict.fromkeys(fit.max for fit in space.fits))
    names = ["anywhere", *(f"below {human_size(limit)}" for limit in limits[1:])]
    found = {(fit.align, fit.max): fit for fit in space.fits}
    aligns = list(dict.fromkeys(fit.align for fit in space.fits))
    rows = [[human_size(align), *(_fit(found[align, limit]) for limit in limits)] for align in aligns]
    lines = table(rows, ["align", *names], ("align",), Terminal(color=terminal.color))
    if terminal.width is None or max(map(len, lines[1:])) <= terminal.columns:
        return lines
    rows = [
        [human_size(align), name, _fit(found[align, limit])]
        for align in aligns
        for limit, name in zip(limits, names, strict=True)
    ]
    return table(rows, ["align", "where", "largest"], ("align",), terminal)


def _fit(fit: Fit) -> str:
    return f"{human_size(fit.size)} at {fit.base:#x}" if fit.size else "none"


def free_json(snapshot: Snapshot, space: FreeSpace) -> Json:
    """Return what is free as JSON values of schema `gdb-lmb/free/1`."""
    return {
        "schema": FREE_SCHEMA,
        "layout": snapshot.layout,
        "arch": snapshot.arch,
        "torn": snapshot.torn is not None,
        "closed": snapshot.storage.closed,
        "stop": stop_json(snapshot),
        "min": hex(space.min),
        "max": hex(space.max),
        "free": hex(space.total),
        "holes": [{"base": hex(base), "size": hex(end - base)} for base, end in space.holes],
        "largest": [
            {
                "align": hex(fit.align),
                "max": hex(fit.max),
                "base": hex(fit.base) if fit.size else None,
                "size": hex(fit.size),
            }
            for fit in space.fits
        ],
        "fragmentation": round(space.fragmentation, 6),
    }

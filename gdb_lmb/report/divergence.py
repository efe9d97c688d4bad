# SPDX-License-Identifier: GPL-2.0-or-later
"""Where kernel and model differ, for people and as JSON: the operation, who called it, and all that differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gdb_lmb.allocators.difference import RegionRow
from gdb_lmb.analysis.compare import StateDiff
from gdb_lmb.analysis.lockstep import Divergence
from gdb_lmb.core.operation import Symbol
from gdb_lmb.core.snapshot import FLAG_NAMES, flag_names
from gdb_lmb.core.words import address, human_size, safe
from gdb_lmb.report.table import table
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, PLAIN, Terminal
from gdb_lmb.report.trace_file import record_json

MAX_SHOWN = 40
"""How many rows of regions a terminal gets; JSON has all that were kept."""


def site(pc: int, symbol: Symbol | None) -> str:
    """Return what a program counter means: "setup_arch+0x10 (arch/x86/kernel/setup.c:812)", or its digits."""
    if symbol is None:
        return f"{pc:#x}"
    text = safe(symbol.function) + (f"+{symbol.offset:#x}" if symbol.offset else "")
    line = "" if symbol.line is None else f":{symbol.line}"
    return text if symbol.file is None else f"{text} ({safe(symbol.file)}{line})"


def headline(divergence: Divergence) -> str:
    """Return in one sentence after which operation kernel and model differ, and in what."""
    record = divergence.record
    if record is None:
        return f"kernel and model differ from the beginning: {safe(divergence.message, 1000)}"
    if divergence.kind == "outside":
        return f"the state changed after operation {record}, outside of any: {safe(divergence.message, 1000)}"
    return f"kernel and model differ after operation {record}: {safe(divergence.message, 1000)}"


def divergence_text(
    divergence: Divergence,
    symbols: Mapping[int, Symbol],
    bits: int = 64,
    names: Mapping[int, str] = FLAG_NAMES,
    terminal: Terminal = PLAIN,
) -> str:
    """Return the whole report: what was called, by whom, in which place of the boot, and a table of - and +."""
    lines = [terminal.paint(headline(divergence), BAD)]
    record = divergence.record
    if record is not None:
        if not divergence.exact:
            lines.append(
                f"  (seen only now: the states last agreed after operation {divergence.good}, so that "
                f"any operation from {divergence.good + 1} to {record.seq} may have done it)"
                if divergence.good
                else f"  (states were not compared: any operation from 1 to {record.seq} may have done it)"
            )
        if record.phase is not None:
            lines.append(f"in the boot: {safe(record.phase)}")
        if record.callers:
            lines.append("called from:")
        for number, pc in enumerate(record.callers):
            lines.append(f"  #{number} {pc:#x} {site(pc, symbols[pc]) if pc in symbols else '?'}")
    if divergence.diff is not None:
        lines += diff_lines(divergence.diff, bits, names, terminal)
    return "\n".join(lines)


def diff_lines(
    diff: StateDiff, bits: int = 64, names: Mapping[int, str] = FLAG_NAMES, terminal: Terminal = PLAIN
) -> list[str]:
    """Return all that differs as a table of regions and one of values: - is expected, + was found."""
    lines: list[str] = []
    if diff.regions:
        cells = [_row(row, bits, names) for row in diff.regions[:MAX_SHOWN]]
        columns = [at for at in range(len(_HEADERS)) if at < _ALWAYS or any(row[at] != "-" for row in cells)]
        rows, headers = [[row[at] for at in columns] for row in cells], [_HEADERS[at] for at in columns]
        lines.append(terminal.paint("regions (- expected, + found):", HEADING))
        head, rule, *rest = table(rows, headers, ("#", "size", "node"), terminal, cut=("flags",), spare=("entry",))
        roles = {"+": CLEAN, "-": BAD}
        lines += [head, rule, *(terminal.paint(line, roles.get(line.strip()[:1])) for line in rest)]
        hidden = len(diff.regions) - len(rows) + diff.omitted
        if hidden:
            lines.append(f"  ... and {hidden:,} more")
    if diff.values:
        rows = [[value.name, safe(value.expected), safe(value.found)] for value in diff.values]
        lines.append(terminal.paint("values:", HEADING))
        lines += table(rows, ["", "expected", "found"], (), terminal, cut=("expected", "found"))
    return lines


_HEADERS = ("", "list", "#", "base", "end", "size", "flags", "node", "entry")
_ALWAYS = 7  # of them are shown also where all cells are "-"


def _row(row: RegionRow, bits: int, names: Mapping[int, str]) -> list[str]:
    return [
        row.sign, row.list, str(row.position), address(row.base, bits), address(row.base + row.size, bits),
        human_size(row.size), safe(flag_names(row.flags, names)), "-" if row.nid is None else str(row.nid),
        "-" if row.entry is None else str(row.entry),
    ]  # fmt: skip


def divergence_json(divergence: Divergence) -> dict[str, Any]:
    """Return a divergence as JSON values; callers are program counters, which `symbols_json` explains."""
    diff = divergence.diff or StateDiff()
    return {
        "kind": divergence.kind,
        "message": safe(divergence.message, 1000),
        "record": None if divergence.record is None else record_json(divergence.record),
        "good": divergence.good,
        "exact": divergence.exact,
        "expected": divergence.expected,
        "found": divergence.found,
        "regions": [
            {
                **asdict(row),
                "base": hex(row.base),
                "size": hex(row.size),
                "entry": None if row.entry is None else [row.entry.block, row.entry.slot],
            }
            for row in diff.regions
        ],
        "omitted": diff.omitted,
        "values": [
            {"name": value.name, "expected": safe(value.expected), "found": safe(value.found)} for value in diff.values
        ],
    }


def symbols_json(pcs: Iterable[int], symbols: Mapping[int, Symbol]) -> dict[str, str]:
    """Return what those of `pcs` mean that are known, in words."""
    return {hex(pc): site(pc, symbols[pc]) for pc in pcs if pc in symbols}

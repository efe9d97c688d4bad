# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory as a picture: one bar as wide as the terminal, or rows of cells, with a scale and a legend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import human_size
from gdb_lmb.report.map_cells import Cell, Layers, cell_size, drawn, edges
from gdb_lmb.report.terminal import FREE, IMAGE, KEPT, RESERVED, Terminal

INDENT = "  "
GAP = " // "
"""What stands between two parts of the bar for a hole that is left out."""

_COLUMNS_PER_HOLE = 10
"""Holes are left out of a bar only while each part still has some columns."""

MAX_ROWS = 16
MAX_HOLES = 8
"""Rows of cells and holes between them in a map."""


@dataclass(frozen=True)
class Glyph:
    """How a cell looks, in Unicode and in ASCII, its colour, and what it means."""

    unicode: str
    ascii: str
    role: str | None
    meaning: str


FULL = Glyph("█", "#", RESERVED, "all reserved")
MOST = Glyph("▓", "=", RESERVED, "half or more")
SOME = Glyph("░", "-", RESERVED, "less than half")
OPEN = Glyph("·", ".", FREE, "free")
KERNEL = Glyph("K", "K", IMAGE, "kernel image")
KERNEL_SOME = Glyph("k", "k", IMAGE, "kernel image: less than half, or not reserved")
NEVER = Glyph("N", "N", KEPT, "never given (as NOMAP)")
NEVER_SOME = Glyph("n", "n", KEPT, "never given: less than half")
NOTHING = Glyph(" ", " ", None, "no memory")


def glyph(cell: Cell) -> Glyph:
    """Return how a cell looks: the kernel's image first, then what is reserved, never given, free."""
    half = -(-cell.size // 2)
    if cell.image:
        return KERNEL if cell.image_reserved >= half else KERNEL_SOME
    if cell.reserved:
        return FULL if cell.reserved == cell.size else MOST if cell.reserved >= half else SOME
    if cell.kept:
        return NEVER if cell.kept >= half else NEVER_SOME
    return OPEN if cell.free else NOTHING


def why_not(snapshot: Snapshot) -> str | None:
    """Return why there is no picture of a snapshot, None where there is one."""
    for regions in (snapshot.memory, snapshot.reserved):
        if regions.name in snapshot.refused:
            return f"not drawn: {regions.name}: {snapshot.refused[regions.name]}"
    return None


def bar_lines(snapshot: Snapshot, image: Iterable[Range], terminal: Terminal) -> list[str]:
    """Return one bar of all memory, as wide as the terminal, with its scale and its legend."""
    why = why_not(snapshot)
    if why is not None:
        return [f"map: {why}"]
    layers = Layers(snapshot, image)
    if not layers.present.ranges:
        return ["map: no memory, and nothing is reserved"]
    width = terminal.columns - len(INDENT)
    spans, left_out = drawn(layers.all, layers.present, width // _COLUMNS_PER_HOLE)
    size = cell_size(spans, width - (len(spans) - 1) * len(GAP))
    rows = [[layers.cell(*edge) for edge in edges(span, size)] for span in spans]
    bar = GAP.join(painted((glyph(cell) for cell in row), terminal) for row in rows)
    seen = {glyph(cell) for row in rows for cell in row}
    lines = [INDENT + bar, *(INDENT + line for line in _scale(rows))]
    return [*lines, *legend_lines(seen, size, left_out, terminal)]


def painted(glyphs: Iterable[Glyph], terminal: Terminal) -> str:
    """Return a run of cells, each run of one colour painted once."""
    runs = groupby(glyphs, lambda each: each.role)
    return "".join(
        terminal.paint("".join(each.unicode if terminal.unicode else each.ascii for each in run), role)
        for role, run in runs
    )


# -- the scale --------------------------------------------------------------------------------------


def _size(value: int) -> str:
    return human_size(value) if value else "0"


class _Scale:
    """Two lines under a bar: marks with addresses, and the same in units."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows = ([" "] * width, [" "] * width)

    def put(self, column: int, value: int, *, end: bool = False) -> bool:
        """Write a mark under a column, its text to the right of it, or to the left where it marks an end."""
        texts = (hex(value), _size(value))
        length = 1 + max(map(len, texts))
        first = column - length + 1 if end else column
        around = slice(max(first - 1, 0), first + length + 1)
        if first < 0 or first + length > self._width or any(c != " " for row in self._rows for c in row[around]):
            return False
        for row, text, mark in zip(self._rows, texts, "| ", strict=True):
            row[first : first + length] = f"{text}{mark}".rjust(length) if end else f"{mark}{text}".ljust(length)
        return True

    def lines(self) -> list[str]:
        """Return the lines."""
        return ["".join(row).rstrip() for row in self._rows]


def _scale(rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return the scale of a bar: where its parts begin, its end, and round addresses between them."""
    starts = list(accumulate((len(row) + len(GAP) for row in rows), initial=0))
    width = starts.pop() - len(GAP)
    scale = _Scale(width)
    for start, row in zip(starts, rows, strict=True):
        scale.put(start, row[0].base)
    scale.put(width - 1, rows[-1][-1].end, end=True)
    for start, row in zip(starts, rows, strict=True):
        for at, value in _round_marks(row, len(hex(rows[-1][-1].end)) + 3):
            scale.put(start + at, value)
    return scale.lines()


def _round_marks(row: Sequence[Cell], columns: int) -> Iterator[tuple[int, int]]:
    """Yield columns of a row of cells and round addresses in them, at least so many columns apart."""
    base, size = row[0].base, row[0].size
    step = 1
    while step < columns * size:
        step *= 2
    value = base // step * step + step
    while value < row[-1].end:
        yield (value - base) // size, value
        value += step


# -- the legend -------------------------------------------------------------------------------------


def legend_lines(seen: set[Glyph], size: int, left_out: Sequence[Range], terminal: Terminal) -> list[str]:
    """Return what the characters mean, with `seen` the ones that need not always be told."""

    def key(one: Glyph) -> str:
        return painted([one], terminal)

    items = [(key(FULL), FULL.meaning), (key(MOST), MOST.meaning), (key(SOME), SOME.meaning), (key(OPEN), OPEN.meaning)]
    items += [(key(each), each.meaning) for each in (KERNEL, KERNEL_SOME, NEVER, NEVER_SOME) if each in seen]
    items.append(("blank", NOTHING.meaning))
    if left_out:
        sizes = ", ".join(human_size(end - base) for base, end in left_out[:2])
        more = f", {len(left_out) - 2} more" if len(left_out) > 2 else ""
        items.append((GAP.strip(), f"no memory, not drawn: {sizes}{more}"))
    items.append(("1 character", f"= {human_size(size)}"))
    return _flowed(items, terminal)


def _flowed(items: Sequence[tuple[str, str]], terminal: Terminal) -> list[str]:
    """Return keys and their meanings in lines that fit; colours take no room."""
    lines: list[str] = []
    room = 0
    for key, meaning in items:
        plain = 1 if key.startswith("\x1b") else len(key)
        length = plain + 1 + len(meaning)
        if lines and length + 2 <= room:
            lines[-1] += f"  {key} {meaning}"
            room -= length + 2
        else:
            lines.append(f"{INDENT}{key} {meaning}")
            room = terminal.columns - len(INDENT) - length
    return lines


# -- rows of cells ----------------------------------------------------------------------------------


def grid_lines(layers: Layers, shown: Range, terminal: Terminal) -> tuple[list[str], int]:
    """Return a range as rows of cells, and how many bytes a cell holds.

    Cells are powers of two, and so is the number of a row's. A row begins at its own address; holes that are large
    for the range are left out between rows, and told.
    """
    spans, left_out = drawn(shown, layers.present, MAX_HOLES)
    if not spans:
        return [f"{INDENT}no memory, and nothing is reserved"], shown[1] - shown[0]
    digits = len(f"{shown[1]:x}")
    label = 2 + digits
    room = terminal.columns - len(INDENT) - label - 2
    per_row = 1 << max(room, 8).bit_length() - 1
    size = 1
    while sum(-(-(end - base) // (size * per_row)) for base, end in _aligned(spans, shown, size * per_row)) > MAX_ROWS:
        size *= 2
    lines = [f"{INDENT}{'':{label}}  {_offsets(per_row, size)}"]
    seen: set[Glyph] = set()
    pieces = [*((span, True) for span in _aligned(spans, shown, size * per_row)), *((hole, False) for hole in left_out)]
    for (base, end), has_memory in sorted(pieces):
        if not has_memory:
            lines.append(f"{INDENT}{'':{label}}  {GAP.strip()} {human_size(end - base)} without memory")
            continue
        for low, high in edges((base, end), size * per_row):
            glyphs = [glyph(layers.cell(*edge)) for edge in edges((low, high), size)]
            seen.update(glyphs)
            lines.append(f"{INDENT}{low:#0{label}x}  {painted(glyphs, terminal)}".rstrip())
    return [*lines, *legend_lines(seen, size, (), terminal)], size


def _aligned(spans: Sequence[Range], shown: Range, row: int) -> list[Range]:
    """Return spans that begin at a multiple of a row's bytes where only a hole lies before them."""
    out: list[Range] = []
    for base, end in spans:
        low = max(base // row * row, out[-1][1] if out else shown[0])
        out.append((low if base != shown[0] else base, end))
    return out


def _offsets(per_row: int, size: int) -> str:
    """Return the heading of rows of cells: what is to be added to a row's address at each quarter of it."""
    for parts in (4, 2, 1):
        room = per_row // parts
        marks = [f"+{human_size(at * room * size)}" if at else "+0" for at in range(parts)]
        if all(len(mark) < room for mark in marks):
            break
    return "".join(mark.ljust(room) for mark in marks).rstrip()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory as a picture: one bar as wide as the terminal, or rows of cells, with a scale and a legend.

A damaged list is taken as the set of bytes that its regions cover: unsorted, overlapping and empty regions do no harm,
and what wraps is cut at the end of the address space.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from gdb_lmb.core.holes import NEVER_GIVEN
from gdb_lmb.core.ranges import Range, subtract, union
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import human_size
from gdb_lmb.report.terminal import FREE, IMAGE, KEPT, RESERVED, Terminal

HOLE_SHARE = 4
"""Holes take at most one part in so many of a picture; the largest ones are left out until that is so."""

INDENT = "  "
GAP = " // "
"""What stands between two parts of the bar for a hole that is left out."""

# Holes are left out of a bar only while each part still has some columns.
_COLUMNS_PER_HOLE = 10

MAX_ROWS = 16
MAX_HOLES = 8
"""Rows of cells and holes between them in a map."""


# -- what a cell holds ------------------------------------------------------------------------------


class Coverage:
    """A set of bytes: sorted, disjoint ranges below `limit`, and how many bytes of them lie where."""

    def __init__(self, ranges: Iterable[Range], limit: int) -> None:
        self.ranges = union((base, min(end, limit)) for base, end in ranges if base < limit)
        self._base = [base for base, _ in self.ranges]
        self._end = [0, *(end for _, end in self.ranges)]
        self._total = [0, *accumulate(end - base for base, end in self.ranges)]

    def _below(self, address: int) -> int:
        at = bisect_right(self._base, address)
        return self._total[at] - max(self._end[at] - address, 0)

    def within(self, low: int, high: int) -> int:
        """Return how many bytes of [low, high) are in the set."""
        return self._below(high) - self._below(low)


@dataclass(frozen=True)
class Cell:
    """The bytes of [base, end) by kind.

    `kept` is memory that no allocation gets (NOMAP), `image` the kernel's, `image_reserved` what of that is
    reserved: init memory may be free again, and early in the boot nothing is reserved yet.
    """

    base: int
    end: int
    reserved: int = 0
    free: int = 0
    kept: int = 0
    image: int = 0
    image_reserved: int = 0

    @property
    def size(self) -> int:
        """Return the cell's bytes."""
        return self.end - self.base


class Layers:
    """The ranges of an address space by kind: reserved, free, never given, the kernel's image."""

    def __init__(self, snapshot: Snapshot, image: Iterable[Range] = ()) -> None:
        """Take the lists of `snapshot`, and the ranges that the kernel's image lies in."""
        limit = 1 << snapshot.bits
        memory = snapshot.memory
        self.free_word = snapshot.free_word
        never = sum(bit for bit, name in snapshot.flag_names.items() if name in NEVER_GIVEN)
        given = Coverage(memory.ranges(without_flags=never), limit).ranges
        self.reserved = Coverage(snapshot.reserved.ranges(), limit)
        taken = self.reserved.ranges
        self.present = Coverage([*memory.ranges(), *taken], limit)
        self.free = Coverage(subtract(given, taken), limit)
        self._kept = Coverage(subtract(subtract(self.present.ranges, taken), self.free.ranges), limit)
        self._image = Coverage(image, limit)
        self._image_reserved = Coverage(subtract(self._image.ranges, subtract(self._image.ranges, taken)), limit)

    @property
    def all(self) -> Range:
        """Return all addresses up to the end of what there is."""
        return 0, self.present.ranges[-1][1] if self.present.ranges else 0

    def cell(self, base: int, end: int) -> Cell:
        """Return what lies in [base, end)."""
        layers = (self.reserved, self.free, self._kept, self._image, self._image_reserved)
        return Cell(base, end, *(layer.within(base, end) for layer in layers))


def drawn(shown: Range, present: Coverage, max_left_out: int) -> tuple[list[Range], list[Range]]:
    """Return what of the range `shown` is drawn, and the holes that are left out, both ascending.

    The largest holes are left out, at most `max_left_out` of them, until the rest takes its share at most.
    """
    low, high = shown
    whole = [shown] if low < high else []
    inside = [(max(base, low), min(end, high)) for base, end in present.ranges if base < high and low < end]
    holes = sorted(subtract(whole, inside), key=lambda hole: (hole[0] - hole[1], hole))
    rest = sum(end - base for base, end in holes)
    used = high - low - rest
    left_out: list[Range] = []
    for hole in holes[:max_left_out]:
        if rest * HOLE_SHARE <= used + rest:
            break
        left_out.append(hole)
        rest -= hole[1] - hole[0]
    left_out.sort()
    return subtract(whole, left_out), left_out


def _cell_size(spans: Sequence[Range], cells: int) -> int:
    # The fewest bytes a cell can hold if all spans are to fit into so many cells, a whole number each.
    low, high = 1, max(end - base for base, end in spans)
    while low < high:
        middle = (low + high) // 2
        if sum(-(-(end - base) // middle) for base, end in spans) <= cells:
            high = middle
        else:
            low = middle + 1
    return low


def _edges(span: Range, size: int) -> Iterator[Range]:
    # The cells of a span; the last one ends where it does.
    return ((base, min(base + size, span[1])) for base in range(*span, size))


# -- how a cell looks -------------------------------------------------------------------------------


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


def _painted(glyphs: Iterable[Glyph], terminal: Terminal) -> str:
    # Each run of one colour is painted once.
    return "".join(
        terminal.paint("".join(each.unicode if terminal.unicode else each.ascii for each in run), role)
        for role, run in groupby(glyphs, lambda each: each.role)
    )


def why_not(snapshot: Snapshot) -> str | None:
    """Return why there is no picture of a snapshot, None where there is one."""
    for regions in (snapshot.memory, snapshot.reserved):
        if regions.name in snapshot.refused:
            return f"not drawn: {regions.name}: {snapshot.refused[regions.name]}"
    return None


# -- a bar and its scale ----------------------------------------------------------------------------


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
    size = _cell_size(spans, width - (len(spans) - 1) * len(GAP))
    rows = [[layers.cell(*edge) for edge in _edges(span, size)] for span in spans]
    bar = GAP.join(_painted(map(glyph, row), terminal) for row in rows)
    seen = {glyph(cell) for row in rows for cell in row}
    legend = _legend_lines(seen, size, left_out, layers.free_word, terminal)
    return [INDENT + bar, *(INDENT + line for line in _scale(rows)), *legend]


def _scale(rows: Sequence[Sequence[Cell]]) -> list[str]:
    # Two lines under a bar: where its parts begin, its end, and round addresses between them; the same in units.
    *starts, past = accumulate((len(row) + len(GAP) for row in rows), initial=0)
    last, end = past - len(GAP) - 1, rows[-1][-1].end
    lines = ([" "] * (last + 1), [" "] * (last + 1))
    for start, row in zip(starts, rows, strict=True):
        _mark(lines, start, row[0].base)
    _mark(lines, last, end, end=True)
    for start, row in zip(starts, rows, strict=True):
        base, size = row[0].base, row[0].size
        step = 1 << ((len(hex(end)) + 3) * size - 1).bit_length()
        for value in range(base // step * step + step, row[-1].end, step):
            _mark(lines, start + (value - base) // size, value)
    return ["".join(line).rstrip() for line in lines]


def _mark(lines: tuple[list[str], list[str]], column: int, value: int, *, end: bool = False) -> None:
    # Write a mark under a column where there is room, its text to the right of it; to the left where it marks an end.
    texts = (hex(value), human_size(value) if value else "0")
    length = 1 + max(map(len, texts))
    first = column - length + 1 if end else column
    around = slice(max(first - 1, 0), first + length + 1)
    if first < 0 or first + length > len(lines[0]) or any(c != " " for line in lines for c in line[around]):
        return
    for line, text, mark in zip(lines, texts, "| ", strict=True):
        line[first : first + length] = f"{text}{mark}".rjust(length) if end else f"{mark}{text}".ljust(length)


# -- the legend -------------------------------------------------------------------------------------


def _legend_lines(
    seen: set[Glyph], size: int, left_out: Sequence[Range], free_word: str, terminal: Terminal
) -> list[str]:
    # What the characters mean, with `seen` the ones that need not always be told.
    told = [FULL, MOST, SOME, OPEN, *(each for each in (KERNEL, KERNEL_SOME, NEVER, NEVER_SOME) if each in seen)]
    meanings = [free_word if each is OPEN else each.meaning for each in told]
    items = [*zip((_painted([each], terminal) for each in told), meanings, strict=True), ("blank", NOTHING.meaning)]
    if left_out:
        sizes = ", ".join(human_size(end - base) for base, end in left_out[:2])
        more = f", {len(left_out) - 2} more" if len(left_out) > 2 else ""
        items.append((GAP.strip(), f"no memory, not drawn: {sizes}{more}"))
    lines: list[str] = []
    room = 0
    for key, meaning in [*items, ("1 character", f"= {human_size(size)}")]:
        length = (1 if key.startswith("\x1b") else len(key)) + 1 + len(meaning)  # colours take no room
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
    label = 2 + len(f"{shown[1]:x}")
    per_row = 1 << max(terminal.columns - len(INDENT) - label - 2, 8).bit_length() - 1
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
        for row in _edges((base, end), size * per_row):
            glyphs = [glyph(layers.cell(*edge)) for edge in _edges(row, size)]
            seen.update(glyphs)
            lines.append(f"{INDENT}{row[0]:#0{label}x}  {_painted(glyphs, terminal)}".rstrip())
    return [*lines, *_legend_lines(seen, size, (), layers.free_word, terminal)], size


def _aligned(spans: Sequence[Range], shown: Range, row: int) -> list[Range]:
    # Spans that begin at a multiple of a row's bytes where only a hole lies before them.
    out: list[Range] = []
    for base, end in spans:
        low = max(base // row * row, out[-1][1] if out else shown[0])
        out.append((low if base != shown[0] else base, end))
    return out


def _offsets(per_row: int, size: int) -> str:
    # The heading of rows of cells: what is to be added to a row's address at each quarter of it.
    for parts in (4, 2, 1):
        room = per_row // parts
        marks = [f"+{human_size(at * room * size)}" if at else "+0" for at in range(parts)]
        if all(len(mark) < room for mark in marks):
            break
    return "".join(mark.ljust(room) for mark in marks).rstrip()

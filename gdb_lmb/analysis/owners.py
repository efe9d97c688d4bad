# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reserved what: the history of the reserved list, piece by piece where merging has joined regions.

A piece belongs to the first caller outside the allocator. What is reserved a second time stays with its first
owner, as the list's own regions do, and is remembered: `findings` tells of every reservation that was laid over
another's. Removals trim pieces. What the allocator reserves for itself (a doubled array, a grown block) is no
operation of anybody's, and is found in the snapshot.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from gdb_lmb.allocators.base import allocator
from gdb_lmb.core.record import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import FINDING, NOTE, Finding, Snapshot
from gdb_lmb.programs.wrappers import WRAPPERS

Function = Callable[[int], "str | None"]
"""Turns a program counter into the name of the function that was called there (not one inlined into it)."""

MAX_OVERLAPS = 1000
"""How many reservations laid over another are remembered; the rest is counted."""


@dataclass(frozen=True)
class Piece:
    """A run of reserved bytes with one history.

    `record` is the operation that reserved it, None where the trace does not tell; `storage` then says what of
    the allocator's own lies there, and `initial` that it was reserved before the trace began.
    """

    base: int
    end: int
    record: Record | None = None
    storage: str = ""
    initial: bool = False


@dataclass(frozen=True)
class Overlap:
    """A reservation that was laid over reserved memory: `record` over what `old` owns."""

    record: Record
    old: Piece


def function_of(symbols: Mapping[int, Symbol]) -> Function:
    """Return what looks a program counter up in a saved trace's symbols."""

    def function(pc: int) -> str | None:
        symbol = symbols.get(pc)
        return None if symbol is None else symbol.function

    return function


def owner_pc(record: Record, function: Function, layout: str) -> int | None:
    """Return the program counter in the first caller outside the allocator.

    The outermost one where all are inside it, None where no caller is known.
    """
    for pc in record.callers:
        name = function(pc)
        if name is None or not _inside(name, layout):
            return pc
    return record.callers[-1] if record.callers else None


def owner_name(record: Record, function: Function, layout: str) -> str:
    """Return the name of the first caller outside the allocator, or its program counter in hex."""
    pc = owner_pc(record, function, layout)
    return "an unknown caller" if pc is None else function(pc) or hex(pc)


def _inside(name: str, layout: str) -> bool:
    plain = name.partition(".")[0]  # without what the compiler adds to copies: ".isra.0"
    return plain.startswith(allocator(layout).prefixes) or plain in WRAPPERS


class Owners:
    """The owners of the reserved list, updated by one operation of a trace after the other."""

    def __init__(self, layout: str, bits: int, page_size: int, initial: Snapshot | None = None) -> None:
        """Begin with what `initial` has reserved, of unknown owners."""
        self.layout = layout
        self.overlaps: list[Overlap] = []
        self.omitted = 0
        self._allocator = allocator(layout)
        self._bits, self._limit = bits, (1 << bits) - 1
        self._page_size = page_size
        self._pieces: list[Piece] = []
        self._bases: list[int] = []
        if initial is not None and not initial.reserved.dummy:
            for base, end in initial.reserved.ranges():
                self._put(Piece(base, end, initial=True))

    @classmethod
    def of(cls, header: TraceHeader, records: Iterable[Record] = ()) -> Owners:
        """Return the pieces after the records of a trace."""
        owners = cls(header.layout, header.bits, header.page_size, header.initial)
        for record in records:
            owners.follow(record)
        return owners

    # -- following ------------------------------------------------------------------------------------

    def follow(self, record: Record) -> None:
        """Take the next operation of the trace in."""
        for effect in self._allocator.effects(record, self._bits, self._page_size):
            if effect.list == "reserved":
                if effect.adds:
                    self._reserve(effect.base, effect.end, record)
                else:
                    self._remove(effect.base, effect.end)

    def _reserve(self, base: int, end: int, record: Record) -> None:
        at = base
        for piece in self.pieces(base, end):
            if len(self.overlaps) < MAX_OVERLAPS:
                self.overlaps.append(Overlap(record, piece))
            else:
                self.omitted += 1
            if at < piece.base:
                self._put(Piece(at, piece.base, record))
            at = piece.end
        if at < end:
            self._put(Piece(at, end, record))

    def _remove(self, base: int, end: int) -> None:
        first, past = self._slice(base, end)
        kept = []
        for piece in self._pieces[first:past]:
            if piece.base < base:
                kept.append(replace(piece, end=base))
            if end < piece.end:
                kept.append(replace(piece, base=end))
        self._pieces[first:past] = kept
        self._bases[first:past] = [piece.base for piece in kept]

    def _put(self, piece: Piece) -> None:
        if piece.base < piece.end:
            at = bisect_left(self._bases, piece.base)
            self._pieces.insert(at, piece)
            self._bases.insert(at, piece.base)

    def _slice(self, base: int, end: int) -> tuple[int, int]:
        """Return the slice of pieces that share a byte with [base, end)."""
        first = bisect_right(self._bases, base)
        if first and self._pieces[first - 1].end > base:
            first -= 1
        return first, bisect_left(self._bases, end) if base < end else first

    # -- asking ---------------------------------------------------------------------------------------

    def pieces(self, base: int = 0, end: int | None = None) -> list[Piece]:
        """Return what is known to be reserved in a range, cut to it, in ascending order."""
        end = self._limit if end is None else end
        first, past = self._slice(base, end)
        return [_cut(piece, base, end) for piece in self._pieces[first:past]]

    def at(self, address: int) -> Piece | None:
        """Return the whole piece that an address lies in, None where the trace knows nothing of it."""
        first, past = self._slice(address, address + 1)
        return self._pieces[first] if first < past else None

    def cover(self, snapshot: Snapshot) -> list[list[Piece]]:
        """Return for each reserved region of a walked state the pieces it is made of, without a gap.

        What no operation explains is the allocator's own storage, or a piece of which nothing is known.
        """
        own = sorted(
            (place.base, place.end, place.what) for place in self._allocator.own_ranges(snapshot, reserved=True)
        )
        return [self._cover(base, end, own) for base, end in snapshot.reserved.ranges()]

    def _cover(self, base: int, end: int, own: list[tuple[int, int, str]]) -> list[Piece]:
        out: list[Piece] = []
        at = base
        for piece in [*self.pieces(base, end), Piece(end, end)]:
            # The allocator's own lies in what no operation explains, and nowhere else.
            for low, high, storage in own[bisect_left(own, (at,)) : bisect_left(own, (piece.base,))]:
                if low > at:
                    out.append(Piece(at, low))
                out.append(Piece(low, min(high, piece.base), storage=storage))
                at = min(high, piece.base)
            if at < piece.base:
                out.append(Piece(at, piece.base))
            if piece.base < piece.end:
                out.append(piece)
            at = piece.end
        return out

    def findings(self, function: Function) -> list[Finding]:
        """Return what is wrong or worth knowing about reservations laid over another owner's.

        Memory that was *allocated* belongs to whom it was given: if another caller then reserves it by its
        address, both believe it theirs, and one will be overwritten. That is a finding, as is an allocation of
        what is already reserved. A reservation by address over another such is a note: sound kernels do it,
        since firmware's ranges overlap those of the kernel's own (x86 reserves the first megabyte several times).
        """
        found: dict[tuple[int, int], Finding] = {}
        for overlap in self.overlaps:
            finding = self._finding(overlap, function)
            old = overlap.old.record
            if finding is not None:
                found.setdefault((overlap.record.seq, old.seq if old else 0), finding)
        out = list(found.values())
        if self.omitted:
            out.append(Finding("reserved-twice", NOTE, f"{self.omitted} more reservations lie over another"))
        return out

    def _within_one_call(self, one: Record, other: Record, function: Function) -> bool:
        """Tell whether the owner of one reservation called what made the other, by the very same call.

        A function that ends in a reservation jumps there instead of calling, and leaves no frame of its own: its
        caller is then seen in its place (x86's reserve_real_mode() allocates under 1 MiB, and last reserves it all).
        """
        ours, theirs = owner_pc(one, function, self.layout), owner_pc(other, function, self.layout)
        return ours in other.callers or theirs in one.callers

    def _finding(self, overlap: Overlap, function: Function) -> Finding | None:
        record, old = overlap.record, overlap.old
        name = owner_name(record, function, self.layout)
        where = f"[{old.base:#x}, {old.end:#x})"
        allocates = self._allocator.allocates(record.operation.op)
        if old.record is None:
            before = f"{where} was reserved before the trace began"
            code, severity = ("allocated-twice", FINDING) if allocates else ("reserved-twice", NOTE)
        else:
            former = owner_name(old.record, function, self.layout)
            was_allocated = self._allocator.allocates(old.record.operation.op)
            if not allocates and (former == name or self._within_one_call(record, old.record, function)):
                return None  # its own business, such as rounding a range up
            verb = "allocated to" if was_allocated else "reserved by"
            before = f"{where} was {verb} {former} in operation {old.record.seq}"
            code, severity = "reserved-twice", NOTE
            if allocates:
                code, severity = "allocated-twice", FINDING
            elif was_allocated:
                code, severity = "reserved-over-allocation", FINDING
        return Finding(
            code,
            severity,
            f"operation {record.seq}, {record.operation}, called from {name}, takes memory that is taken: {before}",
            (old.base,),
        )


def _cut(piece: Piece, base: int, end: int) -> Piece:
    if base <= piece.base and piece.end <= end:
        return piece
    return replace(piece, base=max(piece.base, base), end=min(piece.end, end))


def overlaid(header: TraceHeader, records: Iterable[Record], function: Function) -> list[Finding]:
    """Return what is wrong or worth knowing about a whole trace's reservations laid over another owner's."""
    return Owners.of(header, records).findings(function)

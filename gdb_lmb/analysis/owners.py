# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reserved what: the history of the reserved list, piece by piece where merging has joined regions.

A `History` has the owners, and what their program counters mean.

A piece belongs to the first caller outside the allocator. What is reserved a second time stays with its first
owner, as the list's own regions do, and is remembered: `findings` tells of every reservation that was laid over
another's. Removals trim pieces. What the allocator reserves for itself (a doubled array, a grown block) is no
operation of anybody's, and is found in the snapshot.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gdb_lmb.allocators.base import allocator
from gdb_lmb.core.operation import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import Finding, Snapshot
from gdb_lmb.core.words import FINDING, NOTE, plural
from gdb_lmb.programs.wrappers import WRAPPERS

Function = Callable[[int], "str | None"]
"""Turns a program counter into the name of the function that was called there (not one inlined into it)."""

Look = Callable[[int], "Symbol | None"]
"""Tells what a program counter means, None where that is not known."""

MAX_OVERLAPS = 1000
"""How many reservations laid over another are remembered whatever they are; past that, new kinds of what may be wrong.

The rest is counted.
"""

MAX_KINDS = 10_000
"""How many kinds are told apart: by their callers, and by which of the two is an allocation."""


@dataclass(frozen=True)
class Piece:
    """A run of reserved bytes with one history.

    `record` is the operation that reserved it, None where the trace does not tell; `storage` then says what of
    the allocator's own lies there, and `initial` that it was reserved before the trace began. `logged` tells that the
    operation is one of the guest's own log, and numbered there, in a history that a trace begins in mid-boot.
    `doubtful` tells that a later operation may have taken it off.
    """

    base: int
    end: int
    record: Record | None = None
    storage: str | None = None
    initial: bool = False
    logged: bool = False
    doubtful: bool = False


def function_of(look: Look) -> Function:
    """Return what names the function of a program counter whose meaning `look` tells."""

    def function(pc: int) -> str | None:
        symbol = look(pc)
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


def _functions(pc: int | None, look: Look, layout: str) -> list[str]:
    # The functions at `pc` from the innermost one on that is none of the allocator's, inlined ones included.
    symbol = None if pc is None else look(pc)
    if symbol is None:
        return []
    return [*(name for name in symbol.inlined if not _inside(name, layout)), symbol.function]


def _inside(name: str, layout: str) -> bool:
    plain = name.partition(".")[0]  # without what the compiler adds to copies: ".isra.0"
    return plain.startswith(allocator(layout).prefixes) or plain in WRAPPERS


class Owners:
    """The owners of the reserved list, updated by one operation of a trace after the other.

    `overlaps` are the reservations that were laid over reserved memory, each with what owned that.
    """

    def __init__(self, header: TraceHeader, records: Iterable[Record] = ()) -> None:
        """Begin with what is reserved where the trace begins, of unknown owners, and follow `records`."""
        self.layout = header.layout
        self.overlaps: list[tuple[Record, Piece]] = []
        self.omitted = self.unjudged = 0
        self._kinds: set[tuple[tuple[int, ...], bool, tuple[int, ...] | None, bool]] = set()
        self._allocator = allocator(header.layout)
        self._limit, self._page_size = (1 << header.bits) - 1, header.page_size
        self._pieces: list[Piece] = []
        self._bases: list[int] = []
        if header.initial is not None and not header.initial.reserved.dummy:
            for base, end in header.initial.reserved.ranges():
                self._put(Piece(base, end, initial=True))
        for record in records:
            self.follow(record)

    # -- following ------------------------------------------------------------------------------------

    def follow(self, record: Record) -> None:
        """Take the next operation of the trace in."""
        for name, adds, base, end in self._allocator.effects(record, self._limit, self._page_size):
            if name == "reserved":
                if adds:
                    self._reserve(base, end, record)
                else:
                    self._remove(base, end)
        doubted = self._allocator.may_take_off(record, self._limit)
        if doubted is not None:
            first, past = self._slice(*doubted)
            self._pieces[first:past] = [replace(piece, doubtful=True) for piece in self._pieces[first:past]]

    def _reserve(self, base: int, end: int, record: Record) -> None:
        for piece in self.pieces(base, end):
            if piece.doubtful:  # it is reserved anew, so it was off
                self._remove(piece.base, piece.end)
        for piece in self.pieces(base, end):
            self._remember(record, piece)
            self._put(Piece(base, piece.base, record))
            base = piece.end
        self._put(Piece(base, end, record))

    def _remember(self, record: Record, old: Piece) -> None:
        # All of one kind are judged alike, whatever their callers turn out to be: those of one call path are one kind.
        allocates, was_allocated = self._allocates(record), self._is_allocated(old)
        kind = record.callers, allocates, None if old.record is None else old.record.callers, was_allocated
        known = not (allocates or was_allocated) or kind in self._kinds
        if not known and len(self._kinds) < MAX_KINDS:
            self._kinds.add(kind)
        elif len(self.overlaps) >= MAX_OVERLAPS:
            self.omitted += 1
            self.unjudged += not known
            return
        self.overlaps.append((record, old))

    def _allocates(self, record: Record) -> bool:
        return self._allocator.allocates(record.operation.op)

    def _is_allocated(self, old: Piece) -> bool:
        return old.record is not None and self._allocates(old.record)

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
        # Of the pieces that share a byte with [base, end).
        first = bisect_right(self._bases, base)
        if first and self._pieces[first - 1].end > base:
            first -= 1
        return first, bisect_left(self._bases, end) if base < end else first

    def learn(self, log: Owners, *, whole: bool) -> None:
        """Take from the guest's own log who owns what was reserved before the trace began.

        What a `whole` log does not tell of, nobody has asked for.
        """
        for piece in [piece for piece in self._pieces if piece.initial]:
            at = piece.base
            self._remove(piece.base, piece.end)
            for known in log.pieces(piece.base, piece.end):
                if not whole:
                    self._put(replace(piece, base=at, end=known.base))
                self._put(replace(known, logged=True))
                at = known.end
            if not whole:
                self._put(replace(piece, base=at))

    # -- asking ---------------------------------------------------------------------------------------

    def pieces(self, base: int = 0, end: int | None = None) -> list[Piece]:
        """Return what is known to be reserved in a range, cut to it, in ascending order."""
        end = self._limit if end is None else end
        first, past = self._slice(base, end)
        return [
            piece
            if base <= piece.base and piece.end <= end
            else replace(piece, base=max(piece.base, base), end=min(piece.end, end))
            for piece in self._pieces[first:past]
        ]

    def cover(self, snapshot: Snapshot) -> list[list[Piece]]:
        """Return for each reserved region of a walked state, in list order, the pieces it is made of, without a gap.

        What no operation explains is the allocator's own storage, or a piece of which nothing is known.
        """
        own = sorted(
            (place.base, place.end, place.what) for place in self._allocator.own_ranges(snapshot, reserved=True)
        )
        ranges = () if snapshot.reserved.dummy else snapshot.reserved.ranges()
        return [self._cover(base, end, own) for base, end in ranges]

    def _cover(self, at: int, end: int, own: list[tuple[int, int, str]]) -> list[Piece]:
        out: list[Piece] = []
        for piece in [*self.pieces(at, end), Piece(end, end)]:
            # The allocator's own lies in what no operation explains, and nowhere else.
            for low, high, storage in own[bisect_left(own, (at,)) : bisect_left(own, (piece.base,))]:
                out += [Piece(at, low), Piece(low, min(high, piece.base), storage=storage)]
                at = min(high, piece.base)
            out += [Piece(at, piece.base), piece]
            at = piece.end
        return [piece for piece in out if piece.base < piece.end]

    def findings(self, look: Look) -> tuple[list[Finding], str | None]:
        """Return what is wrong or worth knowing about reservations laid over another owner's; and what is not known.

        The second, a sentence or None, tells of those that cannot be judged, since nothing says who called.

        Memory that was *allocated* belongs to whom it was given: if another caller then reserves it by its
        address, both believe it theirs, and one will be overwritten. That is a finding, as is an allocation of
        what is already reserved. A reservation by address over another such is a note: sound kernels do it,
        since firmware's ranges overlap those of the kernel's own (x86 reserves the first megabyte several times).
        These are compared by call: a function may reserve the kernel's image and an initrd, which must be apart.
        """
        found: dict[tuple[int, int | None], Finding | None] = {}
        unknown: dict[tuple[int, int | None], Record] = {}
        for record, old in self.overlaps:
            pair = record.seq, None if old.record is None else old.record.seq
            if self._is_unknown(record, old, look):
                unknown.setdefault(pair, record)
            else:
                found.setdefault(pair, self._finding(record, old, look))
        out = [finding for finding in found.values() if finding is not None]
        if self.omitted:
            out.append(Finding("reserved-twice", NOTE, f"{self.omitted} more reservations lie over another"))
        why = []
        if unknown:
            more = f" and {plural(len(unknown) - 1, 'more operation')}" if len(unknown) > 1 else ""
            first = next(iter(unknown.values()))
            why.append(
                f"without symbols nothing tells who called operation {first}{more}, over an allocation of another"
            )
        if self.unjudged:
            why.append(f"{plural(self.unjudged, 'more reservation')} may lie over an allocation of another")
        return out, "; ".join(why) or None

    def _is_unknown(self, record: Record, old: Piece, look: Look) -> bool:
        # Whether an allocation was reserved by its address once more, and whose either is cannot be told.
        if old.record is None or self._allocates(record) or not self._is_allocated(old):
            return False
        pcs = [owner_pc(one, function_of(look), self.layout) for one in (record, old.record)]
        same_call = record.callers == old.record.callers != ()
        return not same_call and any(pc is None or look(pc) is None for pc in pcs)

    def _finding(self, record: Record, old: Piece, look: Look) -> Finding | None:
        function = function_of(look)
        ours = owner_pc(record, function, self.layout)
        inside = _functions(ours, look, self.layout)
        name = inside[0] if inside else owner_name(record, function, self.layout)
        allocates, was_allocated = self._allocates(record), self._is_allocated(old)
        before = f"[{old.base:#x}, {old.end:#x}) was "
        if old.record is None:
            before += "reserved before the trace began"
        else:
            theirs = owner_pc(old.record, function, self.layout)
            others = _functions(theirs, look, self.layout)
            former = others[0] if others else owner_name(old.record, function, self.layout)
            # A function that ends in a reservation jumps there instead of calling, and leaves no frame of its own: its
            # caller is then seen in its place (x86's reserve_real_mode() allocates under 1 MiB, and last reserves it
            # all). So what the owner of one called by the very same call as the other is one owner's too.
            if not allocates and (ours in old.record.callers or theirs in record.callers):
                return None  # its own business, such as rounding a range up
            if was_allocated and not allocates and (former in inside or name in others):
                return None  # what one was given, as by a function that is inlined into it, one may also reserve
            before += f"{'allocated to' if was_allocated else 'reserved by'} {former} in operation {old.record.seq}"
        code = "allocated-twice" if allocates else "reserved-over-allocation" if was_allocated else "reserved-twice"
        return Finding(
            code,
            FINDING if allocates or was_allocated else NOTE,
            f"operation {record.seq}, {record.operation}, called from {name}, takes memory that is taken: {before}",
            (old.base,),
        )


@dataclass(frozen=True)
class History:
    """Who reserved what up to now: `source` says by which trace or log, `note` what it lacks, None for nothing.

    `look` tells what a program counter means, None where that is not known.
    """

    owners: Owners
    look: Look
    source: str
    note: str | None = None

    def owner(self, record: Record) -> int | None:
        """Return the program counter in the first caller outside the allocator, None where none is known."""
        return owner_pc(record, function_of(self.look), self.owners.layout)

    def callers(self, record: Record) -> tuple[int, ...]:
        """Return the program counters from the owner on outwards."""
        pc = self.owner(record)
        return record.callers[record.callers.index(pc) :] if pc is not None else ()

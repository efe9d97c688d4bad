# SPDX-License-Identifier: GPL-2.0-or-later
"""Single changes of a list-based LMB, and what each must come to: a table for any image of a sound one.

The codes are worked out by the rules of the design, by hand. The table is for a state that has grown blocks, two
regions or more on each list, and three free entries or more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.storage import with_mapped
from gdb_lmb.analysis.replay import check_log
from gdb_lmb.core.fields import Struct
from gdb_lmb.core.words import FINDING
from tests.helpers.image import Image

SOUND = ""
LOG = "log-divergence"
UNKNOWN = "generation-unknown"
LISTS = {"memory": "memory.regions", "reserved": "reserved.regions", "free": "freelist"}
PAGE = 4096


@dataclass
class LmbImage:
    """An image, and the names of its places: "memory.cnt", "free[0].link.next", "blocks[1].nr", "log[3].base"."""

    image: Image

    def __post_init__(self) -> None:
        image, at = self.image, self.image.lmb("blocks.next")
        headers = []
        while at != image.head("blocks"):
            headers.append(at)
            at = image.get(image.program.block, at, "link.next")
        self.nodes = {"blocks": headers, **{name: image.members(head) for name, head in LISTS.items()}}
        # What page tables say of the blocks.
        self.mapped = {va: image.get(image.program.block, va, "base") for va in headers}
        self.whole = {va: bytes(data) for va, data in image.segments.items()}

    def restore(self) -> None:
        for va, data in self.whole.items():
            self.image.segments[va][:] = data

    def place(self, name: str) -> tuple[Struct, int, str]:
        """Return the structure that a name is of, its address, and the member."""
        program, (of, bracket, rest) = self.image.program, name.partition("[")
        tables = {"log": program.log, "handover": program.handover, "firmware": program.firmware}
        if bracket:
            at, _, member = rest.partition("].")
            table = tables.get(of)
            if table is None:
                return program.block if of == "blocks" else program.region, self.nodes[of][int(at)], member
            start = table.va + table.struct.fields[table.items].offset
            return table.record, start + int(at) * table.record.size, member
        head, _, member = name.partition(".")
        if head in tables:
            table = tables[head]
            assert table is not None
            return table.struct, table.va, member
        return program.lmb, program.lmb_va, name

    def get(self, name: str) -> int:
        return self.image.get(*self.place(name))

    def set(self, name: str, value: int) -> None:
        struct, va, member = self.place(name)
        self.image.put(struct, va, member, value % (1 << 8 * struct.fields[member].size))

    def va(self, name: str) -> int:
        """Return the address of a place: of a list's head by the name of its first link."""
        struct, va, member = self.place(name)
        return va + struct.fields[member].offset

    def codes(self, *, log: bool) -> set[str]:
        """Return the codes of the findings, and why the log proves nothing."""
        snapshot = with_mapped(decode(self.image.program, self.image, with_log=log), self.mapped.get)
        found = {one.code for one in check(snapshot) if one.severity == FINDING}
        verdict = check_log(snapshot) if log else None
        if verdict is not None:
            found |= {LOG} if verdict.divergence is not None else set()
            found |= {str(verdict.reason)} if verdict.not_verified else set()
        return found


Change = Callable[[LmbImage], None]
Row = tuple[str, Change, str, str]
"""Name, change, the code of a finding that must come of it, and one that must come besides where the log is replayed.

`SOUND` where none may come; codes one of which must come are apart by "|".
"""


def _to(name: str, value: int) -> Change:
    return lambda image: image.set(name, value)


def _by(name: str, more: int) -> Change:
    return lambda image: image.set(name, image.get(name) + more)


def _lead(name: str, target: str) -> Change:
    # Makes a link lead to the place `target`.
    return lambda image: image.set(name, image.va(target))


def _swap(one: str, other: str) -> Change:
    def run(image: LmbImage) -> None:
        first, second = image.get(one), image.get(other)
        image.set(one, second)
        image.set(other, first)

    return run


def _all(*changes: Change) -> Change:
    def run(image: LmbImage) -> None:
        for change in changes:
            change(image)

    return run


WORDS = (0, 1, -1)


def _links() -> Iterator[Row]:
    bad = "link-broken|link-wild|list-cycle"
    for name, head in LISTS.items():
        places = [f"{head}.next", f"{head}.prev"]
        places += [f"{name}[{at}].link.{link}" for at in (0, 1, -1) for link in ("next", "prev")]
        for place in places:
            for value in (*WORDS, 0x1000, 0xDEAD << 40):
                yield f"{place} = {value:#x}", _to(place, value), "link-wild", SOUND
            for more in (1, -1, 3, 8):
                yield f"{place} {more:+}", _by(place, more), "link-wild", SOUND
            for more in (PAGE, -PAGE):  # no entry, or another one
                yield f"{place} {more:+}", _by(place, more), "link-broken|link-wild", SOUND
            for other, other_head in LISTS.items():
                if other != name:
                    yield f"{place} to {other}", _lead(place, f"{other_head}.next"), "link-wild", SOUND
                    yield f"{place} to {other}[0]", _lead(place, f"{other}[0].link.next"), "link-broken", SOUND
            yield f"{place} to blocks", _lead(place, "blocks.next"), "link-wild", SOUND
            yield f"{place} to a header", _lead(place, "blocks[1].link.next"), "link-wild", SOUND
            yield f"{place} to itself", _lead(place, place.replace("prev", "next")), bad, SOUND
        yield f"{name} empty at its head", _lead(f"{head}.next", f"{head}.next"), "link-broken", SOUND
        yield f"{name}[0] links swapped", _swap(f"{name}[0].link.next", f"{name}[0].link.prev"), bad, SOUND
        for link in ("next", "prev"):
            yield (f"{name}[0] and [1] {link} swapped", _swap(f"{name}[0].link.{link}", f"{name}[1].link.{link}"),
                   bad, SOUND)  # fmt: skip
        yield f"{name} head's links swapped", _swap(f"{head}.next", f"{head}.prev"), bad, SOUND


# Of a region that has the flag of blocks and should not, or the other way round.
_BLOCK_FLAG = {"memory": "bad-flags", "reserved": "no-block|block-unflagged"}


def _regions() -> Iterator[Row]:
    for name in ("memory", "reserved"):
        for at in (0, 1, -1):
            of = f"{name}[{at}]"
            yield f"{of}.size 0", _to(f"{of}.size", 0), "empty-region", LOG
            yield f"{of}.size all ones", _to(f"{of}.size", -1), "region-wraps|overlap", LOG
            yield f"{of}.base all ones", _to(f"{of}.base", -1), "region-wraps", LOG
            for more in (1, -1, PAGE, -PAGE):
                yield f"{of}.size {more:+}", _by(f"{of}.size", more), "size-mismatch", LOG
            # Other bits are carried unread, and any region may have each of the named ones.
            for flags in (1, 2, 8):
                yield f"{of}.flags ^ {flags:#x}", _flip(f"{of}.flags", flags), SOUND, LOG
            for flags in (1 << 31, -1):
                yield f"{of}.flags ^ {flags:#x}", _flip(f"{of}.flags", flags), _BLOCK_FLAG[name], LOG
        yield (
            f"{name}[1].base of [0]",
            lambda image, name=name: image.set(f"{name}[1].base", image.get(f"{name}[0].base")),
            "overlap",
            LOG,
        )
        yield f"{name}[1].base 0", _to(f"{name}[1].base", 0), "unsorted|overlap", LOG
        yield f"{name} bases swapped", _swap(f"{name}[0].base", f"{name}[1].base"), "unsorted", LOG
    yield "memory sizes swapped", _swap("memory[0].size", "memory[1].size"), "overlap|outside-firmware", LOG
    yield "memory[-1].base + 1 GiB", _by("memory[-1].base", 1 << 30), "outside-firmware", LOG
    # Any range may be reserved at any place that is free. (The one before may be a klimit page.)
    yield "reserved[2].base + 1", _by("reserved[2].base", 1), SOUND, LOG
    for member in ("base", "size", "flags"):
        for value in (*WORDS[1:], PAGE):
            yield f"free[1].{member} = {value}", _to(f"free[1].{member}", value), SOUND, SOUND


def _flip(name: str, bits: int) -> Change:
    return lambda image: image.set(name, image.get(name) ^ bits % (1 << 32))


def _shift(name: str, more: int) -> Change:
    return lambda image: image.set(name, (image.get(name) << more + 1) >> 1)


def _counters() -> Iterator[Row]:
    for name, code in (("memory.cnt", "count-mismatch"), ("reserved.cnt", "count-mismatch"),
                       ("memory.total_size", "size-mismatch"), ("reserved.total_size", "size-mismatch"),
                       ("nr_free", "free-count-mismatch"), ("nr_blocks", "storage-corrupt"),
                       ("block_size", "storage-corrupt")):  # fmt: skip
        for value in (*WORDS, 1 << 31):
            yield f"{name} = {value:#x}", _to(name, value), code, SOUND
        for more in (1, -1, PAGE):
            yield f"{name} {more:+}", _by(name, more), code, SOUND
    for more in (-1, 1, 2):
        yield f"block_size << {more}", _shift("block_size", more), "storage-corrupt", LOG
    yield "counts swapped", _swap("memory.cnt", "reserved.cnt"), "count-mismatch", SOUND
    yield "sizes swapped", _swap("memory.total_size", "reserved.total_size"), "size-mismatch", SOUND
    for limit in (0, 1, PAGE):
        yield f"current_limit {limit:#x}", _to("current_limit", limit), "bad-limit", LOG
    # It may be set to anything, and allocations above it stay.
    for limit in (1 << 21, 0x7FFF_FFFF):
        yield f"current_limit {limit:#x}", _to("current_limit", limit), SOUND, LOG
    yield "bottom_up 1", _to("bottom_up", 1), SOUND, LOG
    for name in ("bottom_up", "may_grow", "closed"):
        for value in (2, 0x80, -1):
            yield f"{name} {value:#x}", _to(name, value), "storage-corrupt", SOUND
    # Revision 1 has no flag of blocks.
    yield "revision 1", _to("revision", 1), SOUND, LOG
    for value in (0, 3, -1):
        yield f"revision {value}", _to("revision", value), SOUND, UNKNOWN
    # There is no block but by growth, and growth is never forbidden again.
    yield "may_grow 0", _to("may_grow", 0), "storage-corrupt", LOG
    for name in ("memory", "reserved"):
        for value in (*WORDS, 0x1000):
            yield f"{name}.name = {value:#x}", _to(f"{name}.name", value), "bad-name", SOUND
        for more in (1, -1, 8, PAGE, -PAGE, 0x20_0000):
            yield f"{name}.name {more:+}", _by(f"{name}.name", more), "bad-name", SOUND
        yield f"{name}.name to its list", _lead(f"{name}.name", f"{name}.regions.next"), "bad-name", SOUND
    yield "names swapped", _swap("memory.name", "reserved.name"), "bad-name", SOUND


def _blocks() -> Iterator[Row]:
    for place in [
        "blocks.next",
        "blocks.prev",
        *(f"blocks[{at}].link.{link}" for at in (0, 1, -1) for link in ("next", "prev")),
    ]:
        for value in (*WORDS, 0x1000):
            yield f"{place} = {value:#x}", _to(place, value), "storage-corrupt", SOUND
        for more in (1, -1, 8, PAGE, -PAGE):
            yield f"{place} {more:+}", _by(place, more), "storage-corrupt", SOUND
        for target in ("memory.regions.next", "freelist.next", "free[0].link.next", "reserved[0].link.next"):
            yield f"{place} to {target}", _lead(place, target), "storage-corrupt", SOUND
        yield f"{place} to itself", _lead(place, place.replace("prev", "next")), "storage-corrupt", SOUND
    for at in (0, 1, -1):
        for member in ("nr", "entries"):
            for value in (*WORDS, 0x1000):
                yield (
                    f"blocks[{at}].{member} = {value:#x}",
                    _to(f"blocks[{at}].{member}", value),
                    "storage-corrupt",
                    SOUND,
                )
            for more in (1, -1, 8, PAGE, -PAGE):
                yield f"blocks[{at}].{member} {more:+}", _by(f"blocks[{at}].{member}", more), "storage-corrupt", SOUND
        # The physical address is 0 of a static block 0.
        for value in WORDS if at else WORDS[1:]:
            yield f"blocks[{at}].base = {value:#x}", _to(f"blocks[{at}].base", value), "storage-corrupt", SOUND
        for more in (1, PAGE, -PAGE, 0x10_0000):
            yield f"blocks[{at}].base {more:+}", _by(f"blocks[{at}].base", more), "storage-corrupt", SOUND
    yield "headers' entries swapped", _swap("blocks[0].entries", "blocks[1].entries"), "storage-corrupt", SOUND
    yield "blocks' next swapped", _swap("blocks[0].link.next", "blocks[1].link.next"), "storage-corrupt", SOUND


def _tables() -> Iterator[Row]:
    # With the log left out nothing of it can be wrong.
    for value in (0, 1, -1, 1 << 31):
        yield f"log.nr = {value:#x}", _to("log.nr", value), SOUND, LOG
    for more in (1, -1, PAGE, 1 << 20):
        yield f"log.nr {more:+}", _by("log.nr", more), SOUND, LOG
    taken = {0: ("op", "flags", "error", "base", "size", "align", "min", "max", "result"),
             1: ("op", "flags", "error", "base", "size", "result")}  # fmt: skip
    for at, members in taken.items():
        for member in members:
            for more in (1, -1, PAGE):
                yield f"log[{at}].{member} {more:+}", _by(f"log[{at}].{member}", more), SOUND, LOG
        yield f"log[{at}].op none", _to(f"log[{at}].op", 77), SOUND, LOG
    for member in ("align", "min", "max", "caller"):
        yield f"log[1].{member}", _to(f"log[1].{member}", -1), SOUND, SOUND
    for member, other in (("op", 0), ("size", 0), ("base", 2)):
        yield f"log[1] and [{other}] {member} swapped", _swap(f"log[{other}].{member}", f"log[1].{member}"), SOUND, LOG
    yield "firmware.nr 0", _to("firmware.nr", 0), "outside-firmware", SOUND
    yield "firmware.nr all ones", _to("firmware.nr", -1), "storage-corrupt", SOUND
    for member, value in (("size", 0), ("base", 1 << 40), ("type", 0), ("type", 2), ("type", -1)):
        yield f"firmware[0].{member} {value}", _to(f"firmware[0].{member}", value), "outside-firmware", SOUND
    # Nothing else tells what the firmware has said.
    yield "firmware[1].type 1", _to("firmware[1].type", 1), SOUND, SOUND
    yield "handover.nr 1 more", _by("handover.nr", 1), "handover-mismatch", SOUND
    yield "handover.nr all ones", _to("handover.nr", -1), "handover-mismatch", SOUND


def _several() -> Iterator[Row]:
    yield "nothing", _all(), SOUND, SOUND
    yield "all of struct lmb zero", _wipe, "storage-corrupt", UNKNOWN
    yield (
        "the two lists swapped",
        _all(*(_swap(f"memory.{name}", f"reserved.{name}") for name in _TYPE)),
        "link-wild",
        LOG,
    )
    yield (
        "heads swapped",
        _all(*(_swap(f"memory.regions.{name}", f"reserved.regions.{name}") for name in ("next", "prev"))),
        "link-wild",
        SOUND,
    )
    yield "closed", _to("closed", 1), "handover-mismatch", LOG
    for name, head in LISTS.items():
        empty = _all(_lead(f"{head}.next", f"{head}.next"), _lead(f"{head}.prev", f"{head}.next"))
        yield f"{name} emptied", empty, "entry-lost", LOG
    yield (
        "all but block 0 forgotten",
        _all(_lead("blocks[0].link.next", "blocks.next"), _lead("blocks.prev", "blocks[0].link.next")),
        "storage-corrupt",
        SOUND,
    )


_TYPE = ("regions.next", "regions.prev", "cnt", "total_size", "name")


def _wipe(image: LmbImage) -> None:
    image.image.write(image.image.program.lmb_va, bytes(image.image.program.lmb.size))


CHANGES: list[Row] = [*_several(), *_links(), *_regions(), *_counters(), *_blocks(), *_tables()]

HANDED_OVER: list[Row] = [
    ("nothing", _all(), SOUND, SOUND),
    *((f"handover.nr {more:+}", _by("handover.nr", more), "handover-mismatch", SOUND) for more in (1, -1, PAGE)),
    ("handover.nr 0", _to("handover.nr", 0), "handover-mismatch", SOUND),
    *((f"handover[{at}].{member} {more:+}", _by(f"handover[{at}].{member}", more), "handover-mismatch", SOUND)
      for at in (0, 1) for member in ("base", "size") for more in (1, -1, PAGE, -PAGE, 1 << 31)),
    ("handover ranges swapped", _swap("handover[0].base", "handover[1].base"), "handover-mismatch", SOUND),
    ("closed 0", _to("closed", 0), "handover-mismatch", LOG),
    ("reserved[0].size + a page", _by("reserved[0].size", PAGE), "size-mismatch", LOG),
    ("memory[0] NOMAP", _flip("memory[0].flags", 4), "handover-mismatch", LOG),
]  # fmt: skip
"""The same for an allocator that has handed over two ranges or more."""


def wrong_rows(image: LmbImage, rows: list[Row]) -> dict[str, tuple[str, str, set[str], set[str]]]:
    """Run a table on an image; return the rows that came to something else, with what they came to."""
    wrong = {}
    for name, change, code, with_log in rows:
        change(image)
        bare, logged = image.codes(log=False), image.codes(log=True)
        image.restore()
        same = bare == set() if code == SOUND else bare & {*code.split("|")}
        more = with_log in logged if with_log else (bool(logged) if code else logged == set())
        if not same or not more or not bare <= logged:
            wrong[name] = (code, with_log, bare, logged)
    return wrong

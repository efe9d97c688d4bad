# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged memory: whatever the guest holds, the outcome is a bounded, orderly report.

More than 10,000 images, each damaged by its own seeded generator, are decoded, checked, replayed and
reported. A failure names its seed: `reproduce("x86_64-static", 1234)` makes that image again. What
hypothesis finds it shrinks by itself. The same kinds of damage are then done to a live guest.
"""

from __future__ import annotations

import json
import random
import string
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdb_lmb.checks import CHECKS, MAX_LISTED, check
from gdb_lmb.errors import NotReadyError, ReadError
from gdb_lmb.layout import blocks
from gdb_lmb.layout.lmb import decode
from gdb_lmb.memory import BoundedMemory, Memory
from gdb_lmb.model.lmb import LmbConfig, LmbModel
from gdb_lmb.region import FINDING, Finding, Snapshot
from gdb_lmb.report.jsonio import check_json, dumps, snapshot_json
from gdb_lmb.report.kernel import kernel_text
from gdb_lmb.report.text import PARTS, check_text, dump_text
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from gdb_lmb.trace import Operation, apply, check_log
from tests.image import ABIS, HIGH, STATIC_ENTRIES, STATIC_HEADER, Abi, Image, Logged, build

RAM = [(0x1000, 0x9F000, 1), (0x9F000, 0x1000, 2), (0x100000, 0x3F00000, 1)]
ORDER = [row.code for row in CHECKS if "lmb-list" in row.layouts] + ["log-divergence"]
PRINTABLE = frozenset(string.ascii_letters + string.digits + string.punctuation + " \t\n")

IMAGES_PER_STATE = 1010
"""10 states (5 ABIs, static and klimit): 10,100 images."""

# What one damaged image may cost. A sound one takes about 20 requests and 30 KiB, and says nothing.
MAX_REQUESTS = 200
MAX_BYTES = 1 << 20
MAX_REPORT_CHARS = 1 << 19
MAX_SECONDS = 5.0


# -- sound states ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A sound image, its bytes for putting it back, and the places worth damaging: address and size."""

    image: Image
    pristine: dict[int, bytes]
    places: dict[str, list[tuple[int, int]]]
    addresses: list[int]

    def restore(self) -> None:
        """Undo all damage."""
        for base, data in self.pristine.items():
            self.image.segments[base][:] = data


def boot(abi: Abi, klimit: int | None, closed: bool) -> tuple[LmbModel, Logged]:
    """Run a small boot on the model: RAM, an image, growth, then work that leaves holes."""
    _, region, block = abi.structs()
    header = -(-block.size // region.align) * region.align
    config = LmbConfig(static=8, klimit=klimit, block_size=1024, entry_size=region.size, header_size=header,
                       bits=abi.bits)  # fmt: skip
    model = LmbModel(config)
    operations = [Operation("reserve", 0x100000, 0x80000)]
    operations += [Operation("add", base, size) for base, size, kind in RAM if kind == 1]
    operations += [Operation("allow_growth"), Operation("remove", 0x200000, 0x3000), Operation("add", 5, 0)]
    operations.append(Operation("add", 0x200000, 0x1000, 4))
    log = [(operation, apply(model, operation)) for operation in operations]
    rng = random.Random(11)
    for _ in range(32):
        alloc = Operation("alloc", size=rng.choice((192, 4096, 10000)), align=64, flags=rng.choice((0, 0, 2)))
        base = apply(model, alloc)
        free = Operation("free", base + 64, 64)
        log += [(alloc, base), (free, apply(model, free))]
    if closed:
        log.append((Operation("free_all"), model.free_all()))
    return model, log


@cache
def state(name: str) -> State:
    """Return the sound state "ABI-storage"; every second ABI has handed over."""
    abi_name, _, storage = name.rpartition("-")
    abi = ABIS[abi_name]
    closed = (list(ABIS).index(abi_name) + (storage == "klimit")) % 2 == 0
    model, log = boot(abi, 0x180000 if storage == "klimit" else None, closed)
    image = build(model, abi, RAM, log)
    program, blocks = image.program, decode(image.program, image).blocks
    assert program.log is not None and program.firmware is not None and program.handover is not None
    entries = [node for nodes in image.lists.values() for node in nodes]
    headers = [block.header_va for block in blocks]
    word = abi.pointer
    places = {
        "struct lmb": [(program.lmb_va, program.lmb.size)],
        "heads": [
            (program.lmb_va + program.lmb.fields[f"{head}.{link}"].offset, word)
            for head in ("memory.regions", "reserved.regions", "freelist", "blocks")
            for link in ("next", "prev")
        ],
        "entries": [(va, program.region.size) for va in entries],
        "links": [(va, 2 * word) for va in entries],
        "headers": [(va, program.block.size) for va in headers],
        "log": [
            (program.log.va, word),
            (program.log.va + 8, program.log.record.size),
            (program.log.va + 8, (len(log) + 2) * program.log.record.size),
        ],
        "firmware": [(program.firmware.va, 4), (program.firmware.va, 8 + 4 * program.firmware.record.size)],
        "handover": [(program.handover.va, word), (program.handover.va, 8 + 16 * program.handover.record.size)],
    }
    heads = [place for place, _ in places["heads"]]
    edges = [edge for base, data in image.segments.items() for edge in (base, base + len(data), base + len(data) - 8)]
    if storage == "klimit":  # the builder's places for what only static storage has
        high = HIGH[abi.pointer]
        del image.segments[high + STATIC_HEADER], image.segments[high + STATIC_ENTRIES]
    pristine = {base: bytes(data) for base, data in image.segments.items()}
    return State(image, pristine, places, [*entries, *headers, *heads, *edges])


STATES = [f"{abi}-{storage}" for abi in ABIS for storage in ("static", "klimit")]


# -- damage ---------------------------------------------------------------------------------------------------


def odd_value(rng: random.Random, s: State, size: int) -> int:
    """Return a value that trips naive code: a limit, a power of two, an address of something else."""
    bits = 8 * size
    return rng.choice(
        (
            0,
            1,
            (1 << bits) - 1,
            (1 << bits) - rng.randrange(1, 100),
            1 << rng.randrange(bits),
            rng.getrandbits(bits),
            rng.choice(s.addresses),
            rng.choice(s.addresses) + rng.choice((-8, -1, 1, 4, 8, 40)),
        )
    ) % (1 << bits)


def random_bytes(rng: random.Random, s: State, at: int, size: int) -> None:
    length = rng.randint(1, min(size, 64))
    start = at + rng.randrange(size - length + 1)
    s.image.write(start, rng.randbytes(length))


def bit_flips(rng: random.Random, s: State, at: int, size: int) -> None:
    for _ in range(rng.randint(1, 3)):
        where = at + rng.randrange(size)
        s.image.write(where, bytes([s.image.read(where, 1)[0] ^ (1 << rng.randrange(8))]))


def _word(rng: random.Random, s: State, at: int, size: int) -> tuple[int, int]:
    """Return the address and size of an aligned word in [at, at + size)."""
    width = rng.choice((4, s.image.abi.pointer, s.image.abi.phys))
    width = min(width, size)
    return at + rng.randrange(size // width) * width, width


def swapped_words(rng: random.Random, s: State, at: int, size: int) -> None:
    one, width = _word(rng, s, at, size)
    kind = rng.choice(list(s.places))
    there, there_size = rng.choice(s.places[kind])
    two = there + rng.randrange(max(there_size // width, 1)) * width
    if there_size < width or abs(one - two) < width:
        return
    first, second = s.image.read(one, width), s.image.read(two, width)
    s.image.write(one, second)
    s.image.write(two, first)


def odd_words(rng: random.Random, s: State, at: int, size: int) -> None:
    for _ in range(rng.randint(1, 3)):
        where, width = _word(rng, s, at, size)
        s.image.write(where, odd_value(rng, s, width).to_bytes(width, s.image.abi.order))


def filled(rng: random.Random, s: State, at: int, size: int) -> None:
    s.image.write(at, bytes([rng.choice((0, 0xFF, 0x6B, 0xCC))]) * size)


DAMAGE: list[Callable[[random.Random, State, int, int], None]] = [
    random_bytes, bit_flips, swapped_words, odd_words, odd_words, filled,
]  # fmt: skip


def do_damage(rng: random.Random, s: State) -> None:
    """Damage a sound state in one to six places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        place = rng.choice(list(s.places))
        at, size = rng.choice(s.places[place])
        rng.choice(DAMAGE)(rng, s, at, size)


class CountingMemory:
    """A reader that counts what it is asked for."""

    def __init__(self, memory: Memory) -> None:
        self.memory = BoundedMemory(memory)
        self.requests = 0
        self.bytes_read = 0

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`."""
        self.requests += 1
        data = self.memory.read(address, size)
        self.bytes_read += len(data)
        return data


# -- judgement --------------------------------------------------------------------------------------------------


def reports(snapshot: Snapshot, findings: list[Finding]) -> Iterator[str]:
    """Yield everything that can be written about a snapshot."""
    log = check_log(snapshot)
    if log.divergence is not None:
        findings = [*findings, log.divergence]
    yield check_text(snapshot, findings, log)
    yield from (dump_text(snapshot, part, entries=True) for part in PARTS)
    yield kernel_text(snapshot)
    for value in (check_json(snapshot, findings, log), snapshot_json(snapshot, findings)):
        text = dumps(value)
        assert json.loads(text) == value
        yield text


def judge(image: Image, *, all_reports: bool = True) -> list[Finding] | None:
    """Decode, check, replay and report; assert that all of that is orderly. None: not initialised."""
    memory = CountingMemory(image)
    start = time.monotonic()
    try:
        snapshot = decode(image.program, memory, with_log=True)
    except NotReadyError:
        return None
    findings = check(snapshot)
    places = [ORDER.index(finding.code) for finding in findings]
    assert places == sorted(places), "not in the table's order"
    for code in ORDER:
        of_code = [finding for finding in findings if finding.code == code]
        assert len(of_code) <= MAX_LISTED[of_code[0].severity] + 1 if of_code else True
    if all_reports:
        for text in reports(snapshot, findings):
            assert PRINTABLE.issuperset(text)
            assert len(text) <= MAX_REPORT_CHARS
    else:
        log = check_log(snapshot)
        text = check_text(snapshot, findings, log) + dumps(check_json(snapshot, findings, log))
        assert PRINTABLE.issuperset(text) and len(text) <= MAX_REPORT_CHARS
    assert memory.requests <= MAX_REQUESTS and memory.bytes_read <= MAX_BYTES
    assert time.monotonic() - start < MAX_SECONDS
    return findings


def reproduce(name: str, seed: int) -> State:
    """Return the state that `test_damaged_images` made of this seed."""
    s = state(name)
    s.restore()
    do_damage(random.Random(f"{name}/{seed}"), s)
    return s


@pytest.mark.parametrize("name", STATES)
def test_sound_image_is_clean(name: str) -> None:
    s = state(name)
    s.restore()
    snapshot = decode(s.image.program, s.image, with_log=True)
    assert [f for f in check(snapshot) if f.severity == FINDING] == []
    verdict = check_log(snapshot)
    assert verdict.divergence is None and verdict.not_verified is None and verdict.replayed > 70


@pytest.mark.parametrize("name", STATES)
def test_damaged_images(name: str) -> None:
    noticed = 0
    for seed in range(IMAGES_PER_STATE):
        s = reproduce(name, seed)
        try:
            # The tables of all parts cost the most and change the least.
            findings = judge(s.image, all_reports=seed % 20 == 0)
        except Exception as error:  # noqa: BLE001
            pytest.fail(f"reproduce({name!r}, {seed}): {type(error).__name__}: {error}")
        noticed += findings is None or any(f.severity == FINDING for f in findings)
    # Damage in unused bytes, in the log or of equal value gives no finding of the table; most does.
    assert noticed > IMAGES_PER_STATE // 2


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from(STATES))
def test_damaged_words(data: st.DataObject, name: str) -> None:
    s = state(name)
    s.restore()
    word = s.image.abi.pointer
    values = st.one_of(st.sampled_from([v % (1 << 8 * word) for v in s.addresses]), st.integers(0, (1 << 8 * word) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        at, size = data.draw(st.sampled_from(s.places[data.draw(st.sampled_from(list(s.places)))]))
        slot = data.draw(st.integers(0, max(size // word - 1, 0)))
        value = data.draw(values).to_bytes(word, s.image.abi.order)[: min(word, size)]
        s.image.write(at + slot * word, value)
    judge(s.image)


# -- one bit ----------------------------------------------------------------------------------------------------

# What an operation of the log does not take means nothing there. The reservation's end touches the klimit page:
# with a little more of it the outcome is the same.
LOG_TAKES = {"init": ("size", "align", "min", "max", "flags"), "reserve": ("base",), "add": ("base", "size")}


def telling_bytes(s: State) -> Iterator[tuple[str, int]]:
    """Yield each byte that no sound guest could hold another value in, by name and address."""
    program, model_closed = s.image.program, bool(s.image.lmb("closed"))
    structs = [("struct lmb", program.lmb_va, program.lmb, ["memory.name", "reserved.name"])]
    structs += [(f"block at {va:#x}", va, program.block, []) for va, _ in s.places["headers"]]
    on_list = s.image.members("memory.regions") + s.image.members("reserved.regions")[::8]
    structs += [(f"entry at {va:#x}", va, program.region, []) for va in on_list]
    unread = ["base", "size", "flags"]
    structs += [(f"free entry at {va:#x}", va, program.region, unread) for va in s.image.members("freelist")[::7]]
    if model_closed and program.handover is not None:
        structs.append(("lmb_handover.ranges[1]", program.handover.va + 8 + program.handover.record.size,
                        program.handover.record, []))  # fmt: skip
    assert program.log is not None
    for record, op in ((0, "init"), (1, "reserve"), (2, "add")):
        va = program.log.va + 8 + record * program.log.record.size
        skipped = [f for f in program.log.record.fields if f not in ("op", *LOG_TAKES[op])]
        structs.append((f"lmb_log.ring[{record}]", va, program.log.record, skipped))
    for name, va, struct, skip in structs:
        for field, place in struct.fields.items():
            if field not in skip:
                yield from ((f"{name}.{field}", va + place.offset + at) for at in range(place.size))


@pytest.mark.parametrize("name", ["x86_64-static", "x86_64-klimit", "ppc32-klimit"])
def test_no_bit_flips_unnoticed(name: str) -> None:
    s, rng = state(name), random.Random(name)
    for what, at in telling_bytes(s):
        s.restore()
        bit = rng.randrange(8)
        s.image.write(at, bytes([s.image.read(at, 1)[0] ^ (1 << bit)]))
        try:
            snapshot = decode(s.image.program, s.image, with_log=True)
        except NotReadyError:
            continue
        verdict = check_log(snapshot)
        noticed = verdict.divergence or verdict.not_verified or any(f.severity == FINDING for f in check(snapshot))
        assert noticed, f"bit {bit} of {what}, at {at:#x}"


# -- numbers that ask for too much --------------------------------------------------------------------------------

HUGE = [(1 << 60) + 7, 1 << 63, (1 << 64) - 1, 1 << 40, (1 << 32) - 1, 1 << 31]
COUNTERS = ["memory.cnt", "reserved.cnt", "nr_free", "nr_blocks", "block_size", "memory.total_size", "current_limit"]


def _set_table(name: str) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        table = getattr(s.image.program, name)
        field = table.struct.fields[table.count]
        s.image.put(table.struct, table.va, table.count, value % (1 << 8 * field.size))

    return put


def _set_lmb(name: str) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        s.image.lmb(name, value % (1 << 8 * s.image.program.lmb.fields[name].size))

    return put


def _set_nr(block: int) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        header = s.places["headers"][min(block, len(s.places["headers"]) - 1)][0]
        s.image.put(s.image.program.block, header, "nr", value % (1 << 8 * s.image.abi.pointer))

    return put


def _set_init(*names: str) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        table = s.image.program.log
        assert table is not None
        for name in names:
            s.image.put(table.record, table.va + 8, name, value % (1 << 8 * table.record.fields[name].size))

    return put


def _both(*parts: Callable[[State, int], None]) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        for part in parts:
            part(s, value)

    return put


TOO_MUCH: dict[str, Callable[[State, int], None]] = {
    **{name: _set_lmb(name) for name in COUNTERS},
    "log.nr": _set_table("log"),
    "handover.nr": _set_table("handover"),
    "firmware.nr": _set_table("firmware"),
    "block 0 nr": _set_nr(0),
    "block 2 nr": _set_nr(2),
    "init size": _set_init("size"),
    "init max": _set_init("max"),
    "init min": _set_init("min"),
    "init align": _set_init("align"),
    # Several witnesses that tell the same lie.
    "block_size and init size": _both(_set_lmb("block_size"), _set_init("size")),
    "block_size, init, all nr": _both(_set_lmb("block_size"), _set_init("size", "max"), _set_nr(0), _set_nr(1)),
}


@pytest.mark.parametrize("what", list(TOO_MUCH))
@pytest.mark.parametrize("name", ["x86_64-static", "x86_64-klimit", "ppc32-static"])
def test_huge_numbers_allocate_nothing(name: str, what: str) -> None:
    s = state(name)
    for value in HUGE:
        s.restore()
        TOO_MUCH[what](s, value)
        tracemalloc.start()
        try:
            judge(s.image)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 << 20, f"{what} = {value:#x} took {peak} bytes"


def test_memory_of_damaged_images_is_bounded() -> None:
    for name in STATES:
        for seed in range(0, 100, 5):
            s = reproduce(name, seed)
            tracemalloc.start()
            try:
                judge(s.image, all_reports=False)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 4 << 20, f"reproduce({name!r}, {seed}) took {peak} bytes"


@pytest.mark.parametrize("where", range(4))
def test_circular_block_chains(where: int) -> None:
    s = state("x86_64-static")
    headers = [va for va, _ in s.places["headers"]]
    block = s.image.program.block
    for back in range(where + 1):
        s.restore()
        s.image.put(block, headers[where], "link.next", headers[back])
        s.image.put(block, headers[back], "link.prev", headers[where])
        findings = judge(s.image)
        assert findings is not None and "storage-corrupt" in {f.code for f in findings}
    # A circle that both ends lead into and that never meets the head.
    s.restore()
    s.image.lmb("blocks.next", headers[where])
    s.image.lmb("blocks.prev", headers[where])
    s.image.put(block, headers[where], "link.next", headers[where])
    s.image.put(block, headers[where], "link.prev", headers[where])
    findings = judge(s.image)
    assert findings is not None and "storage-corrupt" in {f.code for f in findings}


class EndlessChain:
    """Memory in which any address outside the image holds a believable block that leads to another."""

    def __init__(self, image: Image, block_size: int) -> None:
        self.image = image
        self.block_size = block_size

    def read(self, address: int, size: int) -> bytes:
        """Return the image's bytes, else a block's."""
        try:
            return self.image.read(address, size)
        except ReadError:
            program = self.image.program
            nr = (self.block_size - program.header_size) // program.region.size
            values = (address + self.block_size, address - self.block_size, address & 0xFFFFFFFF, nr,
                      address + program.header_size)  # fmt: skip
            head = b"".join((v % (1 << 64)).to_bytes(8, "little") for v in values)
            return (head + bytes(max(size - len(head), 0)))[:size]


@pytest.mark.parametrize(("block_size", "most"), [(1024, 4 << 20), (1 << 20, 24 << 20)])
def test_endless_block_chain_ends(monkeypatch: pytest.MonkeyPatch, block_size: int, most: int) -> None:
    monkeypatch.setattr(blocks, "MAX_STORAGE_BYTES", most)
    s = state("x86_64-static")
    s.restore()
    program = s.image.program
    s.image.lmb("block_size", block_size)
    s.image.put(program.block, s.places["headers"][0][0], "link.next", 0xFFFF900000000000)
    memory = CountingMemory(EndlessChain(s.image, block_size))
    snapshot = decode(replace(program, log=None, ops=None), memory)
    assert any("the block list holds more than" in defect.what for defect in snapshot.defects)
    assert memory.bytes_read <= most + (1 << 20)
    findings = check(snapshot)
    assert len(findings) < 1000
    assert len(dumps(check_json(snapshot, findings, None))) < MAX_REPORT_CHARS


def test_unreadable_struct_lmb_is_a_read_error() -> None:
    s = state("ppc64-static")
    image = Image(
        s.image.abi, s.image.program, {k: v for k, v in s.image.segments.items() if k != s.image.program.lmb_va}
    )
    with pytest.raises(ReadError, match=r"cannot read \d+ bytes of guest memory at 0x"):
        decode(image.program, image)


@pytest.mark.parametrize("name", STATES)
def test_unreadable_segments(name: str) -> None:
    """Each part of memory that is not there is one more finding, never an error."""
    s = state(name)
    s.restore()
    for base in s.pristine:
        if base == s.image.program.lmb_va:
            continue
        image = Image(s.image.abi, s.image.program, {k: v for k, v in s.image.segments.items() if k != base})
        findings = judge(image)
        assert findings is not None
        assert "storage-corrupt" in {f.code for f in findings}


# -- a live guest -------------------------------------------------------------------------------------------------

IN_GDB = '''
import gdb, json

def _va(what):
    return int(gdb.parse_and_eval(what))

def _chain(head, most):
    """Return the addresses of a sound list's nodes."""
    out, node = [], _va(head + ".next")
    while node != _va("&" + head) and len(out) < most:
        out.append(node)
        node = _va("((struct list_head *)%d)->next" % node)
    return out

def fuzz_places():
    sizeof = lambda what: _va("sizeof(%s)" % what)
    records = min(_va("lmb_log.nr"), 40) * sizeof("lmb_log.ring[0]")
    places = {
        "lmb": [[_va("&lmb"), sizeof("lmb")]],
        "heads": [[_va("&lmb." + name), 16] for name in ("memory.regions", "reserved.regions", "freelist", "blocks")],
        "headers": [[va, sizeof("struct lmb_block")] for va in _chain("lmb.blocks", 16)],
        "log": [[_va("&lmb_log.nr"), 8], [_va("&lmb_log.ring"), sizeof("lmb_log.ring[0]")],
                [_va("&lmb_log.ring"), records]],
        "firmware": [[_va("&firmware_map"), 8 + 24 * 6]],
        "handover": [[_va("&lmb_handover"), 8 + 16 * 6]],
        "page size": [[_va("&lmb_page_size"), 8]],
    }
    entries = [va for name in ("memory.regions", "reserved.regions", "freelist") for va in _chain("lmb." + name, 12)]
    places["entries"] = [[va, sizeof("struct lmb_region")] for va in entries]
    places["links"] = [[va, 16] for va in entries]
    print(json.dumps(places))

_undo = []

def fuzz_write(address, text):
    data = bytes.fromhex(text)
    inferior = gdb.selected_inferior()
    _undo.append((address, bytes(inferior.read_memory(address, len(data)))))
    inferior.write_memory(address, data)

def fuzz_restore():
    while _undo:
        gdb.selected_inferior().write_memory(*_undo.pop())
'''

LIVE_STATES = 120
"""In each of two guests."""

# The direct map's first page, VGA's memory, the I/O APIC (not mapped), no canonical address, the kernel's text.
LIVE_ADDRESSES = [0xFFFF888000000000, 0xFFFF8880000A0000, 0xFFFF8880FEC00000, 0x8000000000000000, 0xFFFFFFFF81001000]


def live_damage(rng: random.Random, places: dict[str, list[list[int]]]) -> Iterator[tuple[int, bytes]]:
    """Yield what to write where: random bytes, a word of them, or one that trips naive code."""
    addresses = [va for place in places.values() for va, _ in place] + LIVE_ADDRESSES
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.choice(places[rng.choice(list(places))])
        if rng.random() < 0.3:
            length = rng.randint(1, min(size, 24))
            yield at + rng.randrange(size - length + 1), rng.randbytes(length)
            continue
        value = rng.choice(
            (0, 1, (1 << 64) - 1, 1 << rng.randrange(64), rng.getrandbits(64), rng.choice(addresses),
             rng.choice(addresses) + rng.choice((-8, 4, 8, 40)))
        )  # fmt: skip
        yield at + rng.randrange(size // 8) * 8, (value % (1 << 64)).to_bytes(8, "little")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("storage", "symbol"), [("static", "lmb_ready"), ("klimit", "lmb_scenario_done")], ids=["in-use", "handed-over"]
)
def test_damaged_guest(fixture_kernel: Path, klimit_kernel: Path, tmp_path: Path, storage: str, symbol: str) -> None:
    helper = tmp_path / "fuzz.py"
    helper.write_text(IN_GDB)
    kernel = klimit_kernel if storage == "klimit" else fixture_kernel
    append = "lmb.scenario=random lmb.ops=300 lmb.static=8"
    with GuestSession(kernel, QemuOptions(append=append), timeout_s=20) as guest:
        guest.run_until(symbol)
        guest.command(f"source {helper}")
        places = json.loads(guest.command("python fuzz_places()"))
        before = guest.command("lmb-dump --json")
        noticed = 0
        for seed in range(LIVE_STATES):
            rng = random.Random(f"{storage}/{seed}")
            damage = list(live_damage(rng, places))
            for address, data in damage:
                guest.command(f"python fuzz_write({address}, '{data.hex()}')")
            commands = [
                "lmb-check --json",
                f"lmb-dump {rng.choice(PARTS)}",
                rng.choice(["lmb-check", "lmb-dump --json"]),
            ]
            for command in commands:
                start = time.monotonic()
                try:
                    text = guest.command(command)
                except CommandError as error:
                    # gdb says "Error occurred in Python" where an exception was not ours.
                    assert "LMB is not initialised" in error.message, f"seed {seed}, {damage}: {error}"
                    continue
                assert time.monotonic() - start < MAX_SECONDS, f"seed {seed}, {damage}: {command}"
                assert "Traceback" not in text and "Python Exception" not in text, f"seed {seed}, {damage}"
                assert PRINTABLE.issuperset(text) and len(text) < 1 << 22, f"seed {seed}, {damage}"
                if command == "lmb-check --json":
                    noticed += any(f["severity"] == FINDING for f in json.loads(text)["findings"])
            guest.command("python fuzz_restore()")
        assert noticed > LIVE_STATES // 2
        assert guest.command("lmb-dump --json") == before
        assert json.loads(guest.command("lmb-check --json"))["not_verified"] == []

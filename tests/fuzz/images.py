# SPDX-License-Identifier: GPL-2.0-or-later
"""Sound images of many ABIs, ways to damage them, and the judgement of what comes out."""

from __future__ import annotations

import json
import random
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.check import MAX_LISTED
from gdb_lmb.allocators.lmb.checks import CHECKS
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.analysis.replay import check_log
from gdb_lmb.core.errors import NotReadyError
from gdb_lmb.core.memory import BoundedMemory, Memory
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import Finding, Snapshot
from gdb_lmb.report.jsonio import check_json, dumps, snapshot_json
from gdb_lmb.report.text import PARTS, check_text, dump_text, kernel_text
from tests.helpers.image import ABIS, HIGH, STATIC_ENTRIES, STATIC_HEADER, Abi, Image, Logged, build
from tests.helpers.operations import apply
from tests.helpers.states import lmb

RAM = [(0x1000, 0x9E000, 1), (0x9F000, 0x1000, 2), (0x100000, 0x3F00000, 1)]
ORDER = [row.code for row in CHECKS] + ["log-divergence"]
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
    program, blocks = image.program, lmb(decode(image.program, image)).blocks
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
    start = time.process_time()
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
    assert time.process_time() - start < MAX_SECONDS
    return findings


def reproduce(name: str, seed: int) -> State:
    """Return the state that `test_damaged_images` made of this seed."""
    s = state(name)
    s.restore()
    do_damage(random.Random(f"{name}/{seed}"), s)
    return s

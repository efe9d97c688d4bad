# SPDX-License-Identifier: GPL-2.0-or-later
"""The same kinds of damage, done to a live guest."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.core.words import FINDING
from gdb_lmb.report.text import PARTS
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.fuzz.images import (
    PRINTABLE,
)
from tests.helpers.gdb_words import python_failed
from tests.helpers.soak import seeds

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
@pytest.mark.random
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
        for seed in seeds(LIVE_STATES):
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
                try:
                    text = guest.command(command)
                except CommandError as error:
                    # gdb says "Error occurred in Python" where an exception was not ours.
                    assert "LMB is not initialised" in error.message, f"seed {seed}, {damage}: {error}"
                    continue
                assert not python_failed(text), f"seed {seed}, {damage}"
                assert PRINTABLE.issuperset(text) and len(text) < 1 << 22, f"seed {seed}, {damage}"
                if command == "lmb-check --json":
                    noticed += any(f["severity"] == FINDING for f in json.loads(text)["findings"])
            guest.command("python fuzz_restore()")
        assert noticed > len(seeds(LIVE_STATES)) // 2
        assert guest.command("lmb-dump --json") == before
        assert json.loads(guest.command("lmb-check --json"))["not_verified"] == []

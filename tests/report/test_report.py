# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes from outside is harmless in a terminal and in JSON; sizes, flags and counts read well."""

from __future__ import annotations

import dataclasses
import json

import pytest

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.core.snapshot import Finding, Stop, flag_names
from gdb_lmb.core.words import FINDING, human_size, plural, safe
from gdb_lmb.report.jsonio import check_json, dumps, snapshot_json
from gdb_lmb.report.text import check_text, dump_text

EVIL = "a\x1b]0;title\x07\x1b[2J\r\n\x00\x9b31m\u202eevil\ud800"


def test_safe_leaves_nothing_that_a_terminal_obeys() -> None:
    out = safe(EVIL)
    assert out.isascii() and out.isprintable()
    assert out.startswith("a\\x1b]0;title\\x07\\x1b[2J\\r\\n\\x00\\x9b31m\\u202eevil")
    assert safe("back\\slash") == "back\\\\slash"


def test_safe_is_bounded() -> None:
    assert safe("x" * 1000, 10) == "xxxxxxxxxx..."
    assert len(safe("\x1b" * 100_000, 256)) <= 4 * 256 + 3


def test_evil_strings_reach_neither_terminal_nor_json_as_they_are() -> None:
    model = LmbModel(LmbConfig(static=4))
    snapshot = dataclasses.replace(model.snapshot(), stop=Stop(0x1000, EVIL), torn=EVIL)
    findings = [Finding("log-divergence", FINDING, EVIL * 50, (1,))]
    text = dump_text(snapshot) + check_text(snapshot, findings, None)
    line = dumps(snapshot_json(snapshot, findings)) + dumps(check_json(snapshot, findings, None))
    for out in (text.replace("\n", ""), line):
        assert out.isascii() and out.isprintable()
    assert "\x1b" not in json.loads(dumps(snapshot_json(snapshot, findings)))["findings"][0]["message"]
    assert len(text) < 5000


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (3 << 30, "3 GiB"), (1 << 63, "8 EiB")],
)
def test_sizes(size: int, words: str) -> None:
    assert human_size(size) == words


def test_words() -> None:
    assert [flag_names(flags) for flags in (0, 4, 3, 0x41)] == ["-", "NOMAP", "HOTPLUG|MIRROR", "HOTPLUG|0x40"]
    assert flag_names(8, {8: "DRIVER_MANAGED"}) == "DRIVER_MANAGED"
    assert plural(1, "entry") == "1 entry" and plural(2000, "entry") == "2,000 entries"
    assert plural(2, "array") == "2 arrays"

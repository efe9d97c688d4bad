# SPDX-License-Identifier: GPL-2.0-or-later
"""More rows than a person reads: a command tells how many it leaves out, and `--all` shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

APPEND = "lmb.scenario=random lmb.static=8 lmb.ops=900"


def rows_of(text: str) -> int:
    return len(re.findall(r"^ +\d+  0x", text, re.M))


def test_more_rows_than_a_person_reads(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append=APPEND)) as guest:
        guest.run_until("lmb_ready")
        known = int(guest.command("output lmb.reserved.cnt"))
        assert known > 200
        few = guest.command("lmb-dump reserved")
        assert few.rstrip().splitlines()[-1] == f"  ... and {known - 200} more: --all shows them"
        assert rows_of(few) == 200
        every = guest.command("lmb-dump reserved --all")
        assert rows_of(every) == known and "--all" not in every
        # The same of holes, and of what lies where.
        holes = json.loads(guest.command("lmb-free --json"))["holes"]
        assert f"  ... and {len(holes) - 200} more: --all shows them" in guest.command("lmb-free").splitlines()
        assert rows_of(guest.command("lmb-free --all")) == len(holes)
        parts = json.loads(guest.command("lmb-who 0+256M --json"))["parts"]
        assert f"  ... and {len(parts) - 200} more: --all shows them" in guest.command("lmb-who 0+256M").splitlines()
        assert "--all" not in guest.command("lmb-who 0+256M --all")
        # Of a note eight are listed.
        notes = [line for line in guest.command("lmb-check").splitlines() if line.startswith("note: ")]
        more = re.fullmatch(r"note: reserved-outside-memory: (\d+) more of this kind, not listed", notes[-1])
        assert more is not None and len(notes) == 9
        whole = [line for line in guest.command("lmb-check --all").splitlines() if line.startswith("note: ")]
        assert len(whole) == 8 + int(more[1]) and whole[:8] == notes[:8]

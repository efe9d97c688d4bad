# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that holds both allocators: which one the commands show, at stops of a real boot."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fixture_kernels import FIXTURES, make_words, vmlinux

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession

ROOT = Path(__file__).resolve().parent.parent.parent
BESIDE = Path(__file__).parent.parent / "helpers" / "memblock_beside.c"

# What memblock_beside.c has, written down again: (base, size, flags, nid).
MEMORY = [("0x1000", "0x9e000", 0, 0), ("0x100000", "0x7f00000", 1, 1)]
RESERVED = [("0x200000", "0x1234", 0, 0)]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the fixture kernel with a memblock beside its LMB."""
    work = tmp_path_factory.mktemp("both")
    sources = work / "src"
    sources.mkdir()
    for source in (*FIXTURES.glob("lmb*.c"), BESIDE):
        shutil.copy(source, sources)
    kernel = vmlinux(build=work / "out")
    done = subprocess.run(
        make_words(f"O={work / 'out'}", f"LMB_DIR={sources}", f"EXTRA_SRC={BESIDE.name}", kernel),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return kernel


def shown(guest: GuestSession) -> dict[str, Any]:
    """Return what `lmb-dump --json` writes."""
    data = json.loads(guest.command("lmb-dump --json"))
    assert isinstance(data, dict)
    return data


def check_memblock(snapshot: dict[str, Any]) -> None:
    """Hold a snapshot against the source."""
    assert snapshot["layout"] == "memblock"
    for name, rows in (("memory", MEMORY), ("reserved", RESERVED)):
        assert [(r["base"], r["size"], r["flags"], r["nid"]) for r in snapshot[name]["regions"]] == rows


def test_the_one_in_use_is_shown(kernel: Path) -> None:
    with GuestSession(kernel, QemuOptions(), timeout_s=60) as guest:
        # LMB is all zero yet; memblock needs no initialisation.
        guest.run_until("lmb_init")
        assert int(guest.command("output (long)lmb.memory.regions.next")) == 0
        check_memblock(shown(guest))
        assert "regions, 2 arrays" in guest.command("lmb-check")

        # Both are in use: the list-based one is shown, and memblock does not get in its way.
        guest.run_until("lmb_ready")
        snapshot = shown(guest)
        assert snapshot["layout"] == "lmb-list"
        assert [int(r["base"], 16) for r in snapshot["reserved"]["regions"]] == walked(guest)
        assert "operations replayed on the model" in guest.command("lmb-check")
        guest.command("set var memblock.memory.cnt = 1000")
        assert shown(guest)["findings"] == []

        # Damage to LMB is damage to show, not a reason to look elsewhere.
        guest.command("set var $saved = lmb.reserved.regions.next->next")
        guest.command("set var lmb.reserved.regions.next->next = 0")
        snapshot = shown(guest)
        assert snapshot["layout"] == "lmb-list" and snapshot["findings"]
        guest.command("set var lmb.reserved.regions.next->next = $saved")

        # One that was wiped has been in use: its log and its entries tell.
        guest.command("set var memblock.memory.cnt = 2")
        wipe(guest, "lmb")
        assert shown(guest)["layout"] == "lmb-list"

        # As if LMB had never been initialised, late in the boot.
        wipe(guest, "lmb_log")
        wipe(guest, "lmb_static_entries")
        check_memblock(shown(guest))

        # And where neither is whole, the damage told is memblock's, which is the one that could be shown.
        for name in ("memory", "reserved"):
            guest.command(f"set var memblock.{name}.name = (void *)1")
            guest.command(f"set var memblock.{name}.regions = (void *)1")
        guest.command("set var memblock_memory = (void *)1")
        snapshot = shown(guest)
        assert snapshot["layout"] == "memblock"
        assert {"array-pointer", "bad-name"} <= {found["code"] for found in snapshot["findings"]}


def test_before_paging_only_memblock_can_be_read(kernel: Path) -> None:
    with GuestSession(kernel, QemuOptions(), timeout_s=60) as guest:
        guest.command("hbreak *(pvh_start - 0xffffffff80000000)")
        guest.command("continue")
        with pytest.raises(CommandError, match="Cannot access memory"):
            guest.command("output lmb")
        snapshot = shown(guest)
        check_memblock(snapshot)
        assert snapshot["phase"] == "unmapped"


def wipe(guest: GuestSession, name: str) -> None:
    """Make a variable's bytes 0."""
    guest.command(
        f"python wiped = gdb.parse_and_eval('{name}'); "
        "gdb.selected_inferior().write_memory(int(wiped.address), bytes(wiped.type.sizeof))"
    )


def walked(guest: GuestSession) -> list[int]:
    """Return the bases of the reserved list, walked with gdb's own expressions."""
    out = []
    guest.command("set var $node = lmb.reserved.regions.next")
    while int(guest.command("output $node == &lmb.reserved.regions")) == 0:
        entry = "((struct lmb_region *)((char *)$node - (long)&((struct lmb_region *)0)->link))"
        out.append(int(guest.command(f"output/x {entry}->base"), 16))
        guest.command("set var $node = $node->next")
    return out

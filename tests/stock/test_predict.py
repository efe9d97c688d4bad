# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock kernels do what `lmb-whatif` says: each allocation of a boot, from setup_arch() to hand-over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.session import CommandError
from tests.helpers.stock import AMD64, boot

pytestmark = pytest.mark.stock

TWO_NODES = ("-object", "memory-backend-ram,id=m0,size=256M", "-object", "memory-backend-ram,id=m1,size=256M",
             "-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1")  # fmt: skip
SCRIPT = Path(__file__).parent.parent / "helpers" / "predict_memblock_in_gdb.py"
Json = dict[str, Any]


def applied(regions: list[Json], changes: list[Json]) -> list[Json]:
    """Return a list of regions after predicted changes."""
    rows = [dict(row) for row in regions]
    for change in changes:
        for row in change["before"]:
            rows.remove(row)
        rows += change["after"]
    return sorted(rows, key=lambda row: int(row["base"], 16))


@pytest.mark.parametrize("words", [(), TWO_NODES], ids=["one-node", "two-nodes"])
@pytest.mark.parametrize("name", AMD64)
def test_the_kernel_does_what_was_predicted(name: str, words: tuple[str, ...]) -> None:
    with boot(find_kernel(name, notice=print), smp=2 if words else 1, words=words) as guest:
        guest.run_until("setup_arch")
        guest.command(f"source {SCRIPT}")
        guest.run_until("memblock_free_all")
        seen = json.loads(guest.command("lmb-test-answers"))
        # Written as a trace writes it; what no caller can mean is refused.
        said = guest.command("lmb-whatif alloc 4K --nid 0")
        call = "memblock_alloc_range_nid(size=0x1000, align=0x0, min=0x0, max=0x0, nid=0, exact=false) returns 0x"
        assert said.startswith(call)
        for line, why in (("--align 3", "no power of two"), ("--nid 1025", "numbers its nodes from 0 to 1023")):
            with pytest.raises(CommandError, match=why):
                guest.command(f"lmb-whatif alloc 4K {line}")
    assert len(seen) > 40 and all("result" in call for call in seen)
    for call in seen:
        said = call["predicted"]
        assert said["function"] == "memblock_alloc_range_nid"
        assert (said["result"] if isinstance(said["result"], int) else int(said["result"], 16)) == call["result"]
        for name in ("memory", "reserved"):
            changes = [change for change in said["changes"] if change["list"] == name]
            assert applied(call["before"][name]["regions"], changes) == call["after"][name]["regions"]
    # The nodes are known by number, which memory below and above has.
    nodes = {region["nid"] for region in seen[-1]["after"]["memory"]["regions"]}
    assert nodes == ({0, 1} if words else {0})

# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of invariants: a `Snapshot` in, every `Finding` out, in a fixed order.

Each row of `CHECKS` is one rule of what always holds between two operations; its function yields what
breaks it. A check that cannot apply (no links in a model's snapshot, no firmware map) yields nothing.
This room never imports `model`: one mistake must not hide in both.

The order of the table is the order of the report: damaged structure first, then wrong contents, then
what the rest of the system makes of it. `log-divergence`, the last code, comes from `trace`.
"""

from __future__ import annotations

from itertools import islice

from gdb_lmb.allocators import check_regions as regions
from gdb_lmb.allocators import check_storage as storage
from gdb_lmb.allocators.check import Check, Facts
from gdb_lmb.allocators.lmb import check_links as links
from gdb_lmb.allocators.memblock import checks as memblock
from gdb_lmb.core.snapshot import FINDING, NOTE, Finding, Snapshot

MAX_LISTED = {FINDING: 100, NOTE: 8}
"""How many of one code are listed; the rest is counted in one more of the same code."""

LOG_DIVERGENCE = "log-divergence"


def check(snapshot: Snapshot) -> list[Finding]:
    """Return every finding and note about `snapshot`, in the table's order."""
    findings: list[Finding] = []
    facts = Facts(snapshot)
    for row in CHECKS:
        if snapshot.layout not in row.layouts:
            continue
        faults = row.run(facts)
        listed = [
            Finding(row.code, row.severity, f.message, f.addresses) for f in islice(faults, MAX_LISTED[row.severity])
        ]
        findings += listed
        more = sum(1 for _ in faults)
        if more:
            findings.append(Finding(row.code, row.severity, f"{more} more of this kind, not listed"))
    return findings


BOTH = ("lmb-list", "memblock")
MEMBLOCK = ("memblock",)

CHECKS: tuple[Check, ...] = (
    Check("link-broken", FINDING, links.links_with("link-broken")),
    Check("link-wild", FINDING, links.links_with("link-wild")),
    Check("list-cycle", FINDING, links.links_with("list-cycle")),
    Check("entry-shared", FINDING, links.entry_shared),
    Check("entry-lost", FINDING, links.entry_lost),
    Check("count-mismatch", FINDING, links.count_mismatch),
    Check("size-mismatch", FINDING, links.size_mismatch),
    Check("free-count-mismatch", FINDING, links.free_count_mismatch),
    Check("unsorted", FINDING, regions.unsorted, BOTH),
    Check("overlap", FINDING, regions.overlap, BOTH),
    Check("unmerged", FINDING, regions.unmerged),
    Check("empty-region", FINDING, regions.empty_region),
    Check("region-wraps", FINDING, regions.region_wraps, BOTH),
    Check("block-unreserved", FINDING, storage.block_unreserved),
    Check("storage-corrupt", FINDING, storage.storage_corrupt, BOTH),
    Check("freelist-exhausted", FINDING, storage.freelist_exhausted),
    Check("outside-firmware", FINDING, regions.outside_firmware, BOTH),
    Check("handover-mismatch", FINDING, regions.handover_mismatch),
    Check("reserved-outside-memory", NOTE, regions.reserved_outside_memory),
    Check("count-over-max", FINDING, memblock.count_over_max, MEMBLOCK),
    Check("empty-region", FINDING, memblock.empty_region, MEMBLOCK),
    Check("array-unreserved", FINDING, memblock.array_unreserved, MEMBLOCK),
    Check("size-stale", NOTE, memblock.size_stale, MEMBLOCK),
    Check("unmerged", NOTE, memblock.unmerged, MEMBLOCK),
    Check("headroom", NOTE, memblock.headroom, MEMBLOCK),
    Check("reserved-outside-memory", NOTE, memblock.reserved_outside_memory, MEMBLOCK),
)

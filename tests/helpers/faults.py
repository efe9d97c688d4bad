# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixture's faults, and the findings that each must give."""

from __future__ import annotations

import json
from typing import Any

from gdb_lmb.core.words import FINDING
from gdb_lmb.runner.session import GuestSession

LOG = "log-divergence"


_LISTS = {"": "reserved", "-memory": "memory", "-free": "free"}


_WILD = ["link-null", "link-wild", "link-wild-prev", "link-unmapped", "link-device", "link-misaligned",
         "link-foreign-head", "head-unmapped", "head-device", "head-prev"]  # fmt: skip


_FOREIGN = ["link-foreign", "head-foreign"]


# KIND -> all codes that must be found. Of what `log-divergence` stands beside, the lists hold something that no
# operation of the log explains; where it is absent, the lists can still be read in full and are as they should be.
EXPECTED: dict[str, set[str]] = {
    # Only a note: exit status 0.
    "reserved-outside-memory": set(),
    "block-unreserved": {"block-unreserved", LOG},
    "block-unflagged": {"block-unflagged", LOG},
    "no-block": {"no-block", LOG},
    "bad-flags": {"bad-flags", LOG},
    LOG: {LOG},
    "log-divergence-memory": {LOG},
    # It forbids growth, though blocks were gained.
    "storage-corrupt-switch": {"storage-corrupt", LOG},
    "bad-name": {"bad-name"},
    "bad-limit": {"bad-limit", LOG},
    "log-divergence-result": {LOG},
    "log-divergence-op": {LOG},
    "log-divergence-init": {LOG},
    "log-divergence-shorter": {LOG},
    "overlap": {"overlap", LOG},
    "overlap-memory": {"overlap", LOG},
    "unmerged": {"unmerged", LOG},
    "unmerged-memory": {"unmerged", LOG},
    "empty-region": {"empty-region", LOG},
    "empty-region-memory": {"empty-region", LOG},
    "outside-firmware": {"outside-firmware", LOG},
    # Calls that the allocator carries out, and logs.
    **{code: {code} for code in ("required-unreserved", "required-not-memory", "required-overlap")},
    "region-wraps": {"region-wraps", LOG},
    # What lies at the end of the address space is no RAM either.
    "region-wraps-memory": {"region-wraps", "outside-firmware", LOG},
    "entry-lost": {"entry-lost", LOG},
    "entry-lost-reserved": {"entry-lost", LOG},
    "entry-lost-memory": {"entry-lost", LOG},
    "unsorted": {"unsorted", LOG},
    "unsorted-memory": {"unsorted", LOG},
    "freelist-exhausted": {"freelist-exhausted", LOG},
    # Here the free entries are not used up but forgotten.
    "freelist-exhausted-lost": {"freelist-exhausted", "entry-lost", LOG},
    **{f"count-mismatch{how}": {"count-mismatch"} for how in ("", "-zero", "-huge")},
    **{f"count-mismatch{how}-memory": {"count-mismatch"} for how in ("", "-zero", "-huge")},
    "size-mismatch": {"size-mismatch"},
    "size-mismatch-memory": {"size-mismatch"},
    "free-count-mismatch": {"free-count-mismatch"},
    "free-count-mismatch-huge": {"free-count-mismatch"},
    "storage-corrupt": {"storage-corrupt"},
    # The log tells what size and what place lmb_init() and the growths chose.
    "storage-corrupt-size": {"storage-corrupt", LOG},
    "storage-corrupt-size-odd": {"storage-corrupt", LOG},
    "storage-corrupt-size-huge": {"storage-corrupt", LOG},
    "storage-corrupt-base": {"storage-corrupt", LOG},
    "storage-corrupt-nr": {"storage-corrupt"},
    "storage-corrupt-entries": {"storage-corrupt"},
    # The freelist begins with an entry that was never freed.
    "entry-shared": {"entry-shared", LOG},
    "entry-shared-memory": {"entry-shared", LOG},
    # One bad pointer: the list is followed from both ends, and nothing of it is lost.
    **{kind + suffix: {"link-wild"} for kind in _WILD for suffix in _LISTS},
    **{kind + suffix: {"link-broken"} for kind in [*_FOREIGN, "link-broken"] for suffix in _LISTS},
    **{f"list-cycle{suffix}": {"list-cycle"} for suffix in _LISTS},
    # The freelist's "other list" is the chain of blocks, whose nodes are no entries.
    **{f"{kind}-free": {"link-wild"} for kind in _FOREIGN},
    # In the chain every one of them says that the storage is damaged.
    **{f"{kind}-blocks": {"storage-corrupt"} for kind in [*_WILD, *_FOREIGN, "link-broken", "list-cycle"]},
    "handover-mismatch": {"handover-mismatch"},
    "handover-mismatch-reserved": {"handover-mismatch"},
    "handover-mismatch-count": {"handover-mismatch"},
}  # fmt: skip

ALL_AT_ONCE = ["block-unreserved", "block-unflagged", "bad-flags", "storage-corrupt-switch", "bad-name", "bad-limit",
               "overlap", "unmerged-memory", "empty-region-memory", "outside-firmware", "region-wraps", "entry-lost",
               "unsorted", "count-mismatch", "size-mismatch-memory", "free-count-mismatch", "storage-corrupt",
               "entry-shared-memory", "link-wild", "link-broken-free", "list-cycle-memory"]  # fmt: skip

# Not judged while growth is not allowed, which one of the above takes back.
REQUIRED = ("required-unreserved", "required-not-memory", "required-overlap")


HANDED_OVER = "lmb_scenario_done"


def stop_of(kinds: str) -> str:
    """Return the symbol at which these faults can be seen."""
    return HANDED_OVER if "handover" in kinds else "lmb_ready"


def check_json(guest: GuestSession, options: str = "") -> dict[str, Any]:
    """Return what `lmb-check` finds."""
    result: dict[str, Any] = json.loads(guest.command(f"lmb-check --json {options}"))
    return result


def codes(checked: dict[str, Any]) -> set[str]:
    """Return the codes of the findings; notes are none."""
    return {f["code"] for f in checked["findings"] if f["severity"] == FINDING}

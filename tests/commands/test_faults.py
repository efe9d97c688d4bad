# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults in the guest: each is found under its own code, and under no other.

`lmb.fault=KIND` makes the fixture kernel damage its own allocator (vmlinux-fixtures/fault.c); EXPECTED
says, by hand, all that must be found then. tests/fixture/test_every_architecture.py has each KIND alone, here are
other boots. Many more pointers are written into one guest through gdb.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gdb_lmb.allocators.lmb.checks import CHECKS as LMB_ROWS
from gdb_lmb.core.words import FINDING
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession, NotReachedError
from tests.helpers.faults import ALL_AT_ONCE, EXPECTED, HANDED_OVER, LOG, REQUIRED, check_json, codes, stop_of
from tests.helpers.gdb_words import python_failed

pytestmark = pytest.mark.kernel

RANDOM = "lmb.scenario=random lmb.static=8 lmb.ops=300"
"""A guest with all there is: several blocks, long lists, reservations outside of memory."""

# -- one fault, a real boot ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [row.code for row in LMB_ROWS] + [LOG])
def test_every_code_has_a_kind_of_its_name(code: str) -> None:
    assert code in EXPECTED
    assert EXPECTED[code] in ({code}, {code, LOG}, set())


def test_the_kernels_table_is_the_one_above(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        number = int(guest.command("output sizeof(faults) / sizeof(faults[0])"))
        text = "".join(guest.command(f"output faults[{at}].name") for at in range(number))
    assert re.findall(r'"([^"]+)"', text) == sorted(EXPECTED, key=re.findall(r'"([^"]+)"', text).index)
    assert number == len(EXPECTED)


# A boot with two memory regions, five reservations and one block; and one whose first block is a klimit page.
SMALL = ["link-broken", "link-wild-memory", "list-cycle-free", "link-null-blocks", "overlap", "unsorted-memory",
         "freelist-exhausted", "storage-corrupt-base", "storage-corrupt-size", "head-device-blocks",
         "handover-mismatch"]  # fmt: skip


@pytest.mark.parametrize("kind", SMALL)
def test_fault_in_a_plain_boot(fixture_kernel: Path, kind: str) -> None:
    # The static array's base, which is 0, is not in the log: rule 1 says it.
    expected = EXPECTED[kind] - ({LOG} if kind == "storage-corrupt-base" else set())
    with GuestSession(fixture_kernel, QemuOptions(append=f"lmb.fault={kind}")) as guest:
        guest.run_until(stop_of(kind))
        assert codes(check_json(guest)) == expected
        assert guest.verdict().exit_status == 1


@pytest.mark.parametrize(
    "kind", ["block-unreserved", "head-foreign-blocks", "list-cycle-blocks", "storage-corrupt-entries"]
)
@pytest.mark.parametrize("scenario", ["boot", "random"])
def test_fault_with_klimit_storage(klimit_kernel: Path, kind: str, scenario: str) -> None:
    append = f"lmb.scenario={scenario} lmb.ops=1000 lmb.fault={kind}"
    with GuestSession(klimit_kernel, QemuOptions(append=append)) as guest:
        guest.run_until("lmb_ready")
        assert codes(check_json(guest)) == EXPECTED[kind]
        assert guest.verdict().exit_status == 1


# -- several, and in the middle --------------------------------------------------------------------------------------

SEVERAL: list[tuple[str, set[str]]] = [
    # Every code that lists still in use can show.
    (",".join(ALL_AT_ONCE),
     {row.code for row in LMB_ROWS if row.severity == FINDING}
     # What is no block can be told only where all blocks are known.
     - {"freelist-exhausted", "handover-mismatch", "no-block", *REQUIRED}),
    (",".join(REQUIRED), set(REQUIRED)),
    ("list-cycle,list-cycle-memory,list-cycle-free,list-cycle-blocks", {"list-cycle", "storage-corrupt"}),
    ("link-null,link-device-memory,link-misaligned-free,link-unmapped-blocks", {"link-wild", "storage-corrupt"}),
    ("link-foreign,link-broken-memory,head-unmapped-free", {"link-broken", "link-wild"}),
    ("count-mismatch,count-mismatch-huge-memory,size-mismatch,size-mismatch-memory,free-count-mismatch-huge",
     {"count-mismatch", "size-mismatch", "free-count-mismatch"}),
    ("storage-corrupt,storage-corrupt-nr,storage-corrupt-entries,head-prev-blocks", {"storage-corrupt"}),
    ("reserved-outside-memory,handover-mismatch,handover-mismatch-count", {"handover-mismatch"}),
]  # fmt: skip


@pytest.mark.parametrize(("kinds", "expected"), SEVERAL, ids=[kinds[:40] for kinds, _ in SEVERAL])
def test_several_at_once_are_all_found(fixture_kernel: Path, kinds: str, expected: set[str]) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append=f"{RANDOM} lmb.fault={kinds}")) as guest:
        guest.run_until(stop_of(kinds))
        # One of them may still hide the history from the log; what it says then is not the point here.
        assert codes(check_json(guest, "--no-log")) == expected
        assert guest.verdict().exit_status == 1


def test_several_after_an_operation(fixture_kernel: Path) -> None:
    """The smallest N counts: A@20 and C@30 both strike after operation 20, and no other operation follows."""
    append = f"{RANDOM} lmb.fault=link-wild-memory@20,count-mismatch,unsorted@30"
    with GuestSession(fixture_kernel, QemuOptions(append=append)) as guest:
        guest.run_until("lmb_ready")
        checked = check_json(guest)
        assert codes(checked) == {"link-wild", "count-mismatch", "unsorted", LOG}
        assert "LMB configuration" not in guest.console().decode()
        first = int(guest.command("output lmb_log.nr"))
    with GuestSession(fixture_kernel, QemuOptions(append=f"{RANDOM} lmb.fault=link-wild-memory@21")) as guest:
        guest.run_until("lmb_ready")
        assert int(guest.command("output lmb_log.nr")) == first + 1


@pytest.mark.parametrize(("kind", "after"), [("overlap", 11), ("link-null-memory", 14), ("list-cycle-free", 3)])
def test_after_an_operation_of_the_boot(fixture_kernel: Path, kind: str, after: int) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append=f"lmb.fault={kind}@{after}")) as guest:
        guest.run_until("lmb_ready")
        checked = check_json(guest)
        assert codes(checked) == EXPECTED[kind]
        # lmb_init() is record 0.
        assert int(guest.command("output lmb_log.nr")) == after + 1
        with pytest.raises(NotReachedError, match="panicked") as caught:
            guest.run_until(HANDED_OVER)
        assert b"lmb.fault: no hand-over with corrupt lists" in caught.value.console


BAD_OPTIONS = [
    ("nonsense", "bad boot option lmb.fault=nonsense: no such fault"),
    ("overlap,", "bad boot option lmb.fault=: no such fault"),
    ("", "bad boot option lmb.fault=: no such fault"),
    ("overlap@", "bad boot option lmb.fault=overlap@: not a number from 1 up"),
    ("overlap@0", "bad boot option lmb.fault=overlap@0: not a number from 1 up"),
    ("overlap@x", "bad boot option lmb.fault=overlap@x: not a number from 1 up"),
    ("overlap@100000", "bad boot option lmb.fault: operation 100000 never came"),
    ("handover-mismatch@5", "bad boot option lmb.fault=handover-mismatch@5: the hand-over comes last"),
    ("block-unreserved", "lmb.fault: no block lies in memory that LMB manages"),
]


@pytest.mark.parametrize(("value", "line"), BAD_OPTIONS, ids=[value or "empty" for value, _ in BAD_OPTIONS])
def test_bad_option_panics(fixture_kernel: Path, value: str, line: str) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append=f"lmb.fault={value}")) as guest:
        with pytest.raises(NotReachedError, match="panicked") as caught:
            guest.run_until("lmb_ready")
        assert line in caught.value.console.decode().splitlines()[-1]


@pytest.mark.parametrize("kind", ["link-wild-free", "list-cycle-blocks", "count-mismatch", "handover-mismatch"])
def test_command_exits_with_1(fixture_kernel: Path, kind: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "gdb-lmb", "run", fixture_kernel, "--until", stop_of(kind),
         "--append", f"{RANDOM} lmb.fault={kind}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = re.findall(r"^finding: ([a-z-]+): ", done.stdout, re.M)
    assert set(found) == EXPECTED[kind]
    assert not python_failed(done.stderr + done.stdout)


# -- written through gdb, many to one guest ----------------------------------------------------------------------------

# What is written into a sound guest, and the codes it must give.
WRITTEN = [
    ("memory-count", "count-mismatch", "lmb.memory.cnt", "0"),
    ("memory-count-huge", "count-mismatch", "lmb.memory.cnt", "0xffffffffffffffff"),
    ("reserved-size", "size-mismatch", "lmb.reserved.total_size", "1"),
    ("free-count", "free-count-mismatch", "lmb.nr_free", "1000000"),
    ("free-count-zero", "free-count-mismatch", "lmb.nr_free", "0"),
    ("block-chain", "storage-corrupt", "lmb.blocks.next->next", "8"),
    ("block-chain-back", "storage-corrupt", "lmb.blocks.prev->prev", "lmb.blocks.prev"),
    ("block-chain-device", "storage-corrupt", "lmb.blocks.next->next->next", "0xffff8880000a0000"),
    ("block-chain-hole", "storage-corrupt", "lmb.blocks.prev", "0xffff8880fec00000"),
    ("block-chain-entry", "storage-corrupt", "lmb.blocks.next->next", "lmb.reserved.regions.next"),
    ("block-count", "storage-corrupt", "lmb.nr_blocks", "0xffffffffffffffff"),
    ("block-0-nr", "storage-corrupt", "lmb_static_block.nr", "9"),
    ("block-0-entries", "storage-corrupt", "lmb_static_block.entries", "0"),
    ("block-size-0", "storage-corrupt", "lmb.block_size", "0"),
    ("truth-value", "storage-corrupt", "*(char *)&lmb.may_grow", "2"),
    ("closed", "handover-mismatch", "lmb.closed", "1"),
    ("handover-count", "handover-mismatch", "lmb_handover.nr", "3"),
    ("firmware-count", "storage-corrupt", "firmware_map.nr", "0xffffffff"),
    ("firmware-empty", "outside-firmware", "firmware_map.nr", "0"),
    ("firmware-type", "outside-firmware", "firmware_map.ranges[0].type", "2"),
]

PLACES = ["{head}.next", "{head}.prev", "{head}.next->next", "{head}.next->prev", "{head}.next->next->next->next",
          "{head}.prev->prev->prev"]  # fmt: skip

# Where no entry lies: nothing, not canonical, not mapped, a device, the kernel's text, user space, within an entry.
NO_ENTRY = ["0", "0xdead000000000100", "0xffff8880fec00000", "0xffff8880000a0000", "lmb_ready", "0x1000",
            "(char *)lmb.reserved.regions.next + 4", "(char *)lmb.memory.regions.next + 8", "lmb.blocks.prev",
            "&lmb.blocks"]  # fmt: skip
HEADS = {"memory": "lmb.memory.regions", "reserved": "lmb.reserved.regions", "free": "lmb.freelist"}


def written_pointers() -> list[tuple[str, str, str, str]]:
    """Return every place of every list with every wrong target: name, code, place, value."""
    rows = []
    for name, head in HEADS.items():
        for place in PLACES:
            where = place.format(head=head)
            rows += [(f"{name} {place} {value}", "link-wild", where, f"(void *)({value})") for value in NO_ENTRY]
            for other, other_head in HEADS.items():
                if other == name:
                    continue
                # Another list's entry is one; another list's head is none.
                rows.append((f"{name} {place} {other}'s", "link-broken", where, f"{other_head}.next->next"))
                rows.append((f"{name} {place} {other}", "link-wild", where, f"&{other_head}"))
        rows.append((f"{name} cycle", "list-cycle", f"{head}.prev->next", f"{head}.next"))
        rows.append((f"{name} self", "list-cycle", f"{head}.next->next->next", f"{head}.next->next"))
        rows.append((f"{name} skips", "link-broken", f"{head}.next->next", f"{head}.next->next->next->next"))
        rows.append((f"{name} ends early", "link-broken", f"{head}.next->next->next", f"&{head}"))
        rows.append((f"{name} looks empty", "link-broken", f"{head}.next", f"&{head}"))
    return rows


def test_written_faults_are_found(fixture_kernel: Path) -> None:
    rows = WRITTEN + written_pointers()
    assert len(rows) > 250
    with GuestSession(fixture_kernel, QemuOptions(append=RANDOM)) as guest:
        guest.run_until("lmb_ready")
        guest.command("lmb-verdict --reset")
        for name, code, place, value in rows:
            # the address first: the place may be reached through what is written
            guest.command(f"set var $place = &({place})")
            guest.command("set var $saved = *$place")
            guest.command(f"set var *$place = {value}")
            findings = check_json(guest, "--no-log")["findings"]
            guest.command("set var *$place = $saved")
            assert {f["code"] for f in findings if f["severity"] == FINDING} == {code}, (name, findings)
        assert int(guest.command("output $lmb_status")) == 1
        assert guest.verdict().exit_status == 1
        guest.command("lmb-verdict --reset")
        guest.command("lmb-check")
        assert guest.verdict().exit_status == 0, "the guest was not restored"


def test_written_log_faults_are_found(fixture_kernel: Path) -> None:
    """Each member of a record that its operation takes, and the records' number."""
    places = [("ring[1].base", "0x5000"), ("ring[1].size", "1"), ("ring[1].op", "LMB_OP_ADD"), ("ring[1].error", "-22"),
              ("ring[0].op", "LMB_OP_FREE"), ("ring[0].size", "8192"), ("ring[0].min", "48"), ("ring[0].max", "5"),
              ("ring[0].flags", "32"), ("ring[9].op", "77"), ("nr", "3"), ("nr", "lmb_log.nr + 1"), ("nr", "1"),
              ("nr", "0")]  # fmt: skip
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        for place, value in places:
            guest.command(f"set var $saved = lmb_log.{place}")
            guest.command(f"set var lmb_log.{place} = {value}")
            found = codes(check_json(guest))
            guest.command(f"set var lmb_log.{place} = $saved")
            # With no grown block there is no third witness of block_size: both are named.
            expected = {LOG, "storage-corrupt"} if (place, value) == ("ring[0].size", "8192") else {LOG}
            assert found == expected, (place, value)
        assert codes(check_json(guest)) == set()

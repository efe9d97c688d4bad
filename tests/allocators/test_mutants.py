# SPDX-License-Identifier: GPL-2.0-or-later
"""The allocator with one rule broken, in QEMU: `lmb-check` finds every such kernel out, or it is equivalent.

A kernel is built of each mutant in `tests/mutants` and booted with the random scenario. The unpatched sources,
through the same path and with the same command lines, give no finding.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fixture_kernels import FIXTURES, make_words, vmlinux

from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession, NotReachedError
from tests.helpers.mutants import ALL, Boot, Mutant, mutate

CAUGHT = [mutant for mutant in ALL if not mutant.equivalent]
EQUIVALENT = [mutant for mutant in ALL if mutant.equivalent]
CONTROLS = list(dict.fromkeys((mutant.klimit, way) for mutant in ALL for way in mutant.boots))
# A mutant may send the guest round in circles; a sound boot takes one second.
BOOT_TIMEOUT_S = 40.0


class Workshop:
    """A copy of the allocator's sources and a build of them, where one mutant after the other is made."""

    def __init__(self, folder: Path) -> None:
        self.sources = folder / "lmb"
        self.sources.mkdir()
        self.out = folder / "build"

    def build(self, mutant: Mutant | None, klimit: bool) -> Path:
        """Build one kernel with the mutant's allocator, or the unpatched one; return it."""
        mutate(FIXTURES, self.sources, mutant)
        kernel = vmlinux(klimit=klimit, build=self.out)
        # Without what a make around this test run says: its job slots are not ours.
        environ = {
            name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
        }
        done = subprocess.run(
            make_words(f"O={self.out}", f"LMB_DIR={self.sources}", kernel),
            capture_output=True, text=True, timeout=120, check=False, env=environ,
        )  # fmt: skip
        assert done.returncode == 0, f"it does not build:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return kernel


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """One for each test process: only what a mutant changes is compiled again."""
    return Workshop(tmp_path_factory.mktemp("mutants"))


@dataclass
class Outcome:
    """What one boot showed: the codes found, the first message, and why `lmb_ready` was not reached."""

    codes: set[str]
    message: str = ""
    stopped: str = ""


def check(guest: GuestSession) -> Outcome:
    """Run `lmb-check` where the guest is; its verdict must agree with its own list."""
    guest.command("lmb-verdict --reset")
    report = json.loads(guest.command("lmb-check --json"))
    found = [finding for finding in report["findings"] if finding["severity"] == "finding"]
    status = guest.verdict().exit_status
    assert status == (ExitStatus.FINDINGS if found else ExitStatus.CLEAN), f"{status!r}, {report['not_verified']}"
    return Outcome({finding["code"] for finding in found}, found[0]["message"] if found else "")


def boot(kernel: Path, way: Boot) -> Outcome:
    """Boot and check before the hand-over, and after it if nothing was found; or where the guest stopped."""
    initrd = kernel.parent / "initrd"
    initrd.write_bytes(bytes(5000))
    options = QemuOptions(append=way.command_line, memory=way.memory, initrd=initrd if way.initrd else None)
    with GuestSession(kernel, options, timeout_s=BOOT_TIMEOUT_S) as guest:
        try:
            guest.run_until("lmb_ready")
        except NotReachedError as error:
            return replace(check(guest), stopped=f"{error}\n{error.console.decode(errors='replace')}")
        ready = check(guest)
        if ready.codes:
            return ready
        guest.run_until("lmb_scenario_done")
        return check(guest)


@pytest.mark.kernel
@pytest.mark.parametrize("mutant", CAUGHT, ids=lambda mutant: mutant.name)
def test_mutant_is_caught(workshop: Workshop, mutant: Mutant) -> None:
    kernel = workshop.build(mutant, mutant.klimit)
    for way in mutant.boots:
        outcome = boot(kernel, way)
        if outcome.codes:
            break
    assert set(mutant.codes) <= outcome.codes, f"{mutant.breaks}: {outcome}"
    if mutant.panics:
        assert "the guest panicked" in outcome.stopped and mutant.panics in outcome.stopped
    else:
        assert outcome.stopped == "", "it was to boot"


@pytest.mark.kernel
@pytest.mark.parametrize("mutant", EQUIVALENT, ids=lambda mutant: mutant.name)
def test_equivalent_mutant_is_not_caught(workshop: Workshop, mutant: Mutant) -> None:
    kernel = workshop.build(mutant, mutant.klimit)
    for way in mutant.boots:
        assert boot(kernel, way) == Outcome(set()), mutant.equivalent


@pytest.mark.kernel
@pytest.mark.parametrize(("klimit", "way"), CONTROLS, ids=lambda value: value.append if isinstance(value, Boot) else "")
def test_unpatched_sources_give_no_finding(workshop: Workshop, klimit: bool, way: Boot) -> None:
    """Each boot of the table, also one that stops early with a good reason: no entry is left."""
    outcome = boot(workshop.build(None, klimit), way)
    assert outcome.codes == set(), outcome
    assert not outcome.stopped or "failed: -12" in outcome.stopped


def test_every_rule_has_mutants() -> None:
    assert len({mutant.name for mutant in ALL}) == len(ALL)
    # Rule 10, the firmware map, is none of the allocator's.
    assert {mutant.rule for mutant in CAUGHT} == set(range(10))
    assert all(mutant.boots and mutant.codes for mutant in ALL)


def test_a_mutant_must_find_its_text_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bad: lmb\.c has this text 0 times, not once:\nno such text"):
        mutate(FIXTURES, tmp_path, Mutant("bad", 2, "", "lmb.c", (("no such text", ""),)))
    with pytest.raises(ValueError, match=r"has this text \d+ times, not once:\nreturn error;"):
        mutate(FIXTURES, tmp_path, Mutant("bad", 2, "", "lmb.c", (("return error;", ""),)))
    with pytest.raises(ValueError, match="there is no lmb_nowhere"):
        mutate(FIXTURES, tmp_path, Mutant("bad", 2, "", "lmb_nowhere.c", ()))

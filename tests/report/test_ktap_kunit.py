# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP as the kernel's own reader of it, `kunit.py parse`, reads it: names, statuses and counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.core.suite import SuiteResult
from gdb_lmb.kernels.stock import find_source
from gdb_lmb.report import ktap
from tests.helpers.suites import ALL, HOSTILE, hostile

pytestmark = pytest.mark.stock


@pytest.fixture(scope="module", params=["source:6.1", "source:6.12", "source:7"])
def kunit(request: pytest.FixtureRequest) -> Path:
    return find_source(request.param, notice=print).kunit


def parsed(kunit: Path, suite: SuiteResult, folder: Path) -> tuple[dict[str, Any], str]:
    """Return the JSON that `kunit.py parse` makes of a suite's KTAP, and what it prints."""
    (folder / "log").write_text(ktap.write(suite))
    (folder / "json").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, kunit, "parse", f"--json={folder / 'json'}", folder / "log"],
        capture_output=True, text=True, timeout=60, check=False, cwd=folder,
    )  # fmt: skip
    return json.loads((folder / "json").read_text()), done.stdout + done.stderr


def outline(group: dict[str, Any]) -> list[Any]:
    """Return the results of a group, in order of cases and then of groups, as kunit.py's JSON has them."""
    cases = [(case["name"], case["status"]) for case in group["test_cases"]]
    return cases + [(inner["name"], outline(inner)) for inner in group["sub_groups"]]


def test_names_and_statuses(kunit: Path, tmp_path: Path) -> None:
    data, told = parsed(kunit, ALL, tmp_path)
    moved = "moved: memblock_free_all: setup_arch's 4 KiB moved from 0x1000 to 0x2000"
    assert outline(data) == [
        ("x86_64, 512M", "PASS"),
        ("x86_64, 4G", "FAIL"),
        ("x86_64, 8G", "SKIP"),
        ("x86_64, 16G", "FAIL"),
        ("arm64, 512M", [(moved, "FAIL"), ("vanished: lmb_ready: the initrd's 2 MiB at 0x7000000 vanished", "FAIL")]),
        ("x86_64, 1G", [("overlap: reserved [0x1000, 0x3000) and [0x2000, 0x4000) overlap", "FAIL")]),
        ("x86_64, 2G", [("died: the guest panicked before it reached memblock_free_all", "FAIL")]),
    ]
    # Its last words: four nested results, two of infrastructure, one that passed, one skipped; no error of form.
    assert "Testing complete." in told
    assert "[ERROR]" not in told
    counts = told.partition("Testing complete.")[2].lower()
    assert ("passed: 1" in counts, "failed: 6" in counts, "skipped: 1" in counts) == (True, True, True), counts


def test_a_hostile_text_changes_no_count(kunit: Path, tmp_path: Path) -> None:
    suites = [hostile(text) for text in HOSTILE]
    data, told = parsed(kunit, SuiteResult("all", tuple(case for one in suites for case in one.cases)), tmp_path)
    assert "[ERROR]" not in told
    statuses = [status for _, status in outline(data)]
    assert statuses[: 3 * len(HOSTILE)] == ["FAIL", "SKIP", "PASS"] * len(HOSTILE)
    assert [[inner for _, inner in group] for group in statuses[3 * len(HOSTILE) :]] == [["FAIL"]] * 3 * len(HOSTILE)

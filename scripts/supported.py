#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the test of every architecture, and print the table of what it has shown; --write puts it into the reference.

A cell says "yes" where all tests of its column have passed on that machine, "no" where one has failed, and is empty
where there is none.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from bench_docs import write_block
from fixture_kernels import ARCHES, ROOT, VARIANTS, Row, machine

PAGE = ROOT / "gdb_lmb" / "docs" / "reference.md"
TEST = "tests/fixture/test_every_architecture.py"
COLUMNS = {
    "boot": "test_boot_with_klimit_storage",
    "commands": "test_every_command_in_a_boot",
    "faults": "test_each_fault_gives_the_same_findings",
    "lockstep, replay": "test_lockstep_and_its_replay",
    "dump": "test_a_dump",
}
ROWS = [*map(Row, ARCHES), *VARIANTS]

# Test, its parameters as pytest writes them, and whether it passed.
Result = tuple[str, str, bool]


def results(report: Path) -> list[Result]:
    """Read pytest's JUnit XML."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    named = (
        (case.get("name", ""), not any(child.tag in ("failure", "error", "skipped") for child in case))
        for case in cases
    )
    return [(*name.rstrip("]").partition("[")[::2], passed) for name, passed in named]


def cell(row: Row, test: str, found: Iterable[Result]) -> str:
    outcomes = [passed for name, given, passed in found if name == test and f"-{given}".endswith(f"-{row}")]
    return ("yes" if all(outcomes) else "no") if outcomes else ""


def table(found: list[Result]) -> str:
    """Return the table, in Markdown."""
    lines = [f"| machine | byte order, bits | {' | '.join(COLUMNS)} |", f"|---|---|{'---|' * len(COLUMNS)}"]
    for row in ROWS:
        arch = machine(row.arch)
        name = " ".join(filter(None, (f"`{arch.qemu} -machine {row.machine or arch.machine or 'pc'}`", row.variant)))
        cells = (cell(row, test, found) for test in COLUMNS.values())
        lines.append(f"| {name}, {row.memory} | {arch.byte_order}, {arch.bits} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    if words not in ([], ["--write"]):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", TEST], cwd=ROOT)
        text = table(results(report))
    print(text)
    if words:
        write_block("supported", text, PAGE)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

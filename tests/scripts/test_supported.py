# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of supported machines: every machine is in it, and what it says comes from the tests' results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from fixture_kernels import ROOT, Row
from supported import PAGE, ROWS, TEST, cell, results, table

JUNIT = """<testsuites><testsuite>
<testcase name="test_a_dump[ppc-256M]"/>
<testcase name="test_lockstep_and_its_replay[static-ppc-256M]"/>
<testcase name="test_lockstep_and_its_replay[klimit-ppc-256M]"><failure/></testcase>
<testcase name="test_lockstep_and_its_replay[static-ppc-bamboo-256M]"/>
<testcase name="test_the_same_operations_make_the_same_lists"/>
</testsuite></testsuites>"""


def test_a_cell_is_what_its_tests_have_shown(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT)
    found = results(tmp_path / "junit.xml")
    lockstep = "test_lockstep_and_its_replay"
    assert cell(Row("ppc"), "test_a_dump", found) == "yes"
    assert cell(Row("ppc"), lockstep, found) == "no"
    assert cell(Row("ppc", "bamboo"), lockstep, found) == "yes"
    assert cell(Row("ppc64"), lockstep, found) == cell(Row("ppc", "bamboo"), "test_a_dump", found) == ""
    assert "| no |" in table(found)


def test_the_page_is_what_the_script_writes_where_every_test_passes() -> None:
    """They are tests of this lane too: one that fails makes it fail, whatever the page says."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", TEST],
        cwd=ROOT, env={**os.environ, "CI": "true"}, capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    passed = [(name, given, True) for name, given in re.findall(r"^\S+::(\w+)(?:\[(.*)\])?$", listed, re.M)]
    page = re.search("<!-- supported -->\n(.*)\n<!-- /supported -->", PAGE.read_text(), re.S)
    assert page is not None and page[1] == table(passed)
    assert page[1].count(" yes ") > len(ROWS) * 3

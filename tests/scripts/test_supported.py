# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of supported machines: every machine is in it, and what it says comes from the tests' results."""

from __future__ import annotations

import re
from pathlib import Path

from fixture_kernels import Row
from supported import COLUMNS, PAGE, ROWS, cell, results, table

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


def test_the_page_has_every_machine_and_nothing_that_failed() -> None:
    found = re.search("<!-- supported -->\n(.*)\n<!-- /supported -->", PAGE.read_text(), re.S)
    assert found is not None
    lines = found[1].splitlines()
    assert [line.split("|")[1] for line in lines] == [line.split("|")[1] for line in table([]).splitlines()]
    assert len(lines) == len(ROWS) + 2
    cells = [cell.strip() for line in lines[2:] for cell in line.split("|")[3:-1]]
    assert set(cells) == {"yes", ""} and cells.count("yes") > len(COLUMNS)

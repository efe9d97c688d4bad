# SPDX-License-Identifier: GPL-2.0-or-later
"""The reports of checks: what each says of each outcome, and that no text in them is taken for anything but text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from lxml import etree

from gdb_lmb.cli.reports import Report, write_reports
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.golden import Change
from gdb_lmb.core.suite import CaseResult, SuiteResult
from gdb_lmb.report import github, junit, ktap, suite_json, suite_text
from tests.helpers.suites import ALL, DAMAGED, DIED, DIFFERS, HOSTILE, MOVED, OVERLAP, SOUND, hostile, suite
from tests.helpers.xml_schema import refused

WRITERS = {"text": suite_text.write, "ktap": ktap.write, "junit": junit.write, "github": github.write,
           "summary": github.summary}  # fmt: skip


def test_text() -> None:
    assert (
        suite_text.write(suite(SOUND, DIFFERS))
        == """\
check: 2 cases: 1 different, 1 passed
  kernel: vmlinux
  boots: 6
passed: x86_64, 512M (1.2 s)
  the same as golden.toml
differs: arm64, 512M (2.5 s)
  2 changes
  moved: memblock_free_all: setup_arch's 4 KiB moved from 0x1000 to 0x2000
  vanished: lmb_ready: the initrd's 2 MiB at 0x7000000 vanished
  repeat it with: gdb-lmb check vmlinux
  kept in: kept/arm64
"""
    )


def test_the_status_of_a_suite_is_its_worst() -> None:
    assert suite_text.status_of(ALL) == 4
    assert suite_text.status_of(suite(DIED, DIFFERS)) == 3
    assert suite_text.status_of(suite(SOUND)) == 0
    assert suite_text.status_of(suite()) == 5


def test_a_guest_that_died_is_told_before_its_findings() -> None:
    died = replace(DIED, findings=(OVERLAP,))
    assert [problem.kind for problem in suite_text.problems(died)] == ["died", "overlap"]
    assert suite_text.problems(CaseResult("odd", "differs", 1)) == [("differs", "differs")]


def test_no_case_and_long_names() -> None:
    found = SuiteResult("check", (), {"n" * 80: "v" * 1000, "m" * 81: "w" * 1001})
    assert suite_text.write(found) == f"check: 0 cases\n  {'n' * 80}: {'v' * 1000}\n  {'m' * 80} …: {'w' * 1000} …\n"


# -- JSON -------------------------------------------------------------------------------------------------------


def test_results_there_and_back() -> None:
    found = suite(replace(DIFFERS, seconds=1.123), DAMAGED, *ALL.cases)
    assert suite_json.read(suite_json.write(found)) == found


def test_what_are_no_results() -> None:
    data = suite_json.suite_json(suite(SOUND))
    odd = "x" * 300
    for bad, why in (
        (data | {"schema": "gdb-lmb/diff/1"}, "this is 'gdb-lmb/diff/1', not results of schema gdb-lmb/suite/1"),
        (data | {"cases": [data["cases"][0] | {"outcome": odd}]},
         "these are no results of schema gdb-lmb/suite/1: " + f'ValueError("outcome \'{odd}'[:200] + "..."),
        ([], "these are no results of schema gdb-lmb/suite/1: "
         "TypeError('list indices must be integers or slices, not str')"),
    ):  # fmt: skip
        with pytest.raises(InputError) as refusal:
            suite_json.read(json.dumps(bad))
        assert str(refusal.value) == why


# -- KTAP -------------------------------------------------------------------------------------------------------


def test_ktap() -> None:
    lines = ktap.write(ALL).splitlines()
    assert [line for line in lines if not line.lstrip().startswith("#")] == [
        "KTAP version 1",
        "1..7",
        "ok 1 x86_64, 512M",
        "  KTAP version 1",
        "  1..2",
        "  not ok 1 moved: memblock_free_all: setup_arch's 4 KiB moved from 0x1000 to 0x2000",
        "  not ok 2 vanished: lmb_ready: the initrd's 2 MiB at 0x7000000 vanished",
        "not ok 2 arm64, 512M",
        "  KTAP version 1",
        "  1..1",
        "  not ok 1 overlap: reserved [0x1000, 0x3000) and [0x2000, 0x4000) overlap",
        "not ok 3 x86_64, 1G",
        "  KTAP version 1",
        "  1..1",
        "  not ok 1 died: the guest panicked before it reached memblock_free_all",
        "not ok 4 x86_64, 2G",
        "not ok 5 x86_64, 4G # ERROR infrastructure",
        "ok 6 x86_64, 8G # SKIP not verified",
        "not ok 7 x86_64, 16G # ERROR usage",
    ]
    assert "# | kernel: vmlinux" in lines


def test_ktap_of_any_text_keeps_its_form() -> None:
    """Each line is a header, a plan, a result, or a comment that no reader takes for a header; numbers are in order."""
    for text in HOSTILE:
        ktap_keeps_its_form(ktap.write(hostile(text)))


def ktap_keeps_its_form(told: str) -> None:
    numbers = {0: count(1), 2: count(1)}
    for line in told.splitlines():
        depth = len(line) - len(line.lstrip(" "))
        if re.fullmatch(r" *KTAP version 1", line):
            numbers[depth] = count(1)
        elif re.fullmatch(r"# \|.*", line) or re.fullmatch(r" *1\.\.\d+", line):
            assert (
                "Kernel panic - not syncing: VFS:" not in line and "System halted" not in line.partition("reboot:")[2]
            )
        else:
            found = re.fullmatch(r"( {0}| {2})(ok|not ok) (\d+) ([^#\s-][^#]*)( # (SKIP|ERROR) [a-z ]+)?", line)
            assert found, line
            assert int(found[3]) == next(numbers[depth])
            assert "System halted" not in line.partition("reboot:")[2]


# -- JUnit ------------------------------------------------------------------------------------------------------


def test_junit_is_valid_and_tells_kernel_from_infrastructure() -> None:
    document = junit.write(ALL)
    assert refused(document) == []
    root = etree.fromstring(document.encode())
    assert dict(root.attrib) == {"name": "check", "tests": "7", "failures": "3", "errors": "2", "time": "11.000"}
    (inner,) = root
    assert inner.get("skipped") == "1"
    found = {case.get("name"): [(child.tag, child.get("type")) for child in case] for case in inner.iter("testcase")}
    assert found == {
        "x86_64, 512M": [("system-out", None)],
        "arm64, 512M": [("failure", "differs")],
        "x86_64, 1G": [("failure", "findings")],
        "x86_64, 2G": [("failure", "died")],
        "x86_64, 4G": [("error", "infrastructure")],
        "x86_64, 8G": [("skipped", "not verified")],
        "x86_64, 16G": [("error", "usage")],
    }
    (differs,) = root.xpath("//failure[@type='differs']")
    assert differs.get("message").startswith("memblock_free_all: setup_arch's 4 KiB moved")
    assert "repeat it with: gdb-lmb check vmlinux" in differs.text
    assert [dict(one.attrib) for one in root.iter("property")] == [
        {"name": "kernel", "value": "vmlinux"}, {"name": "boots", "value": "6"},
    ]  # fmt: skip
    assert [len(line) - len(line.lstrip()) for line in document.splitlines()[:4]] == [0, 0, 2, 4]


def test_junit_of_nothing_to_tell_and_of_much() -> None:
    changes = tuple(Change("moved", "reserved", f"piece {number} moved") for number in range(4))
    root = etree.fromstring(junit.write(suite(
        replace(SOUND, lines=()), CaseResult("many", "differs", 1, changes=changes))).encode())  # fmt: skip
    quiet, many = root.iter("testcase")
    assert len(quiet) == 0
    assert many[0].get("message") == "piece 0 moved; piece 1 moved; piece 2 moved"


def test_the_schema_refuses_what_is_wrong() -> None:
    # Guards the tests beside against a schema that takes everything.
    assert refused(junit.write(ALL).replace("<testcase ", "<test ").replace("</testcase>", "</test>"))
    assert refused(junit.write(ALL).replace('failures="3"', ""))


def test_junit_of_any_text_is_valid() -> None:
    for text in HOSTILE:
        document = junit.write(hostile(text))
        assert refused(document) == [], ascii(text)
        assert len(etree.fromstring(document.encode()).xpath("//testcase")) == 6


# -- GitHub -----------------------------------------------------------------------------------------------------


def test_github() -> None:
    assert github.write(ALL).splitlines() == [
        "::error title=x86_64%2C 2G%3A died::the guest panicked before it reached memblock_free_all",
        "::error title=x86_64%2C 1G%3A overlap::reserved [0x1000, 0x3000) and [0x2000, 0x4000) overlap",
        "::error file=a.toml,title=arm64%2C 512M%3A moved::memblock_free_all: setup_arch's 4 KiB moved from 0x1000 "
        "to 0x2000",
        "::error file=a.toml,title=arm64%2C 512M%3A vanished::lmb_ready: the initrd's 2 MiB at 0x7000000 vanished",
        "::warning title=x86_64%2C 4G%3A infrastructure::qemu ended with status 1",
        "::warning title=x86_64%2C 16G%3A usage::there is no golden a.toml",
        "::notice title=x86_64%2C 8G%3A not verified::torn",
        "7 cases: 1 died, 1 with findings, 1 different, 1 stopped by the infrastructure, 1 asked wrongly, "
        "1 not verified, 1 passed",
    ]


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of GitHub Actions, with the file of its summary."""
    path = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_github_shows_ten_of_a_kind_the_worst_first_and_all_in_the_summary(step: Path) -> None:
    changes = tuple(Change("moved", "reserved", f"piece {number} moved") for number in range(25))
    found = suite(CaseResult("many", "differs", 1, changes=changes), DIED)
    lines = github.write(found).splitlines()
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == 10
    assert "died" in errors[0]
    assert "16 more of kind error: all of them are in the step's summary" in lines
    told = github.summary(found)
    assert all(f"piece {number} moved" in told for number in range(25))
    ten = github.write(suite(CaseResult("ten", "differs", 1, changes=changes[:10]))).splitlines()
    assert len(ten) == 11 and ten[-1] == "1 case: 1 different"


def test_what_is_said_of_the_rest_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no summary, where it is cut, by itself or by what is in it before, and where it has room."""
    changes = tuple(Change("moved", "reserved", f"piece {number} moved") for number in range(25))
    found = suite(CaseResult("many", "differs", 1, changes=changes))
    path = tmp_path / "summary"

    def told() -> tuple[str, bool]:
        """Return what the report says of the rest, and whether the summary has it."""
        write_reports(found, [Report("github", tmp_path / "report")])
        (line,) = re.findall("^15 more of kind error: (.*)$", (tmp_path / "report").read_text(), re.M)
        return line, path.exists() and all(f"piece {n} moved" in path.read_text() for n in range(25))

    cut = "the step's summary is cut at 1 MiB, --report text=FILE has all of them"
    for variable in ("", None):
        if variable is None:
            monkeypatch.delenv("GITHUB_STEP_SUMMARY")
        else:
            monkeypatch.setenv("GITHUB_STEP_SUMMARY", variable)
        assert told() == (
            "there is no summary (GITHUB_STEP_SUMMARY is not set), --report text=FILE has all of them",
            False,
        )
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert told() == ("all of them are in the step's summary", True)
    # Of what other commands have written some place is left, as many bytes as it takes, one less, or none.
    size = path.stat().st_size
    for left, expected in ((size, "all of them are in the step's summary"), (size - 1, cut), (0, cut), (-5, cut)):
        path.write_bytes(b"x" * ((1 << 20) - left))
        assert told()[0] == expected
    path.unlink()
    found = suite(CaseResult("many", "differs", 1, changes=changes, lines=tuple("y" * 900 for _ in range(1500))))
    assert told()[0] == cut
    found = suite(
        CaseResult(
            "many", "differs", 1, changes=tuple(replace(one, words=one.words + "é" * 900) for one in changes * 100)
        )
    )
    path.unlink()
    write_reports(found, [Report("github", tmp_path / "report")])
    assert f"2490 more of kind error: {cut}" in (tmp_path / "report").read_text()
    write_reports(found, [Report("text", tmp_path / "text")])
    assert all(f"piece {number} moved" in (tmp_path / "text").read_text() for number in range(25))


def test_the_summary() -> None:
    moved, vanished = (
        f"{kind}: {words}" for kind, words in (
            ("moved", "memblock_free_all: setup_arch's 4 KiB moved from 0x1000 to 0x2000"),
            ("vanished", "lmb_ready: the initrd's 2 MiB at 0x7000000 vanished"),
        )
    )  # fmt: skip
    rows = [one.replace("_", "\\_") for one in (moved, vanished)]
    assert (
        github.summary(suite(SOUND, DIFFERS))
        == f"""\
### check

2 cases: 1 different, 1 passed

| outcome | case | seconds | problem |
|---|---|---|---|
| differs | arm64, 512M | 2.5 | {rows[0]} |
| differs | arm64, 512M | 2.5 | {rows[1]} |
| passed | x86\\_64, 512M | 1.2 |  |

arm64, 512M:

    2 changes
    {moved}
    {vanished}
    repeat it with: gdb-lmb check vmlinux
    kept in: kept/arm64

"""
    )


def test_a_summary_is_cut_to_what_github_takes() -> None:
    changes = tuple(Change("moved", "reserved", f"piece {number} moved{'é' * 900}") for number in range(2000))
    told = github.summary(suite(CaseResult("many", "differs", 1, changes=changes)))
    assert (1 << 20) - 4000 < len(told.encode()) <= 1 << 20
    assert told.endswith("é |\n\n(cut: a summary holds 1 MiB at most)\n")
    assert github.summary(ALL, 10) == ""


def test_no_text_is_a_command_of_github() -> None:
    for line in (line for text in HOSTILE for line in github.write(hostile(text)).splitlines()):
        found = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line)
        if found is None:
            assert re.fullmatch(r"6 cases: [a-z0-9, ]+", line)
            continue
        names = [part.partition("=")[0] for part in found[2].split(",")]
        assert names in (["title"], ["file", "title"])
        assert re.fullmatch(r"([^%]|%25|%0A|%0D)*", found[3])


def test_a_summary_is_never_larger_than_its_room() -> None:
    whole = github.summary(ALL)
    for room in range(40, len(whole), 7):
        assert len(github.summary(ALL, room)) <= room
    assert github.summary(ALL, len(whole)) == whole


# -- all --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_no_report_holds_a_control_character(write: Callable[[SuiteResult], str]) -> None:
    for told in map(write, map(hostile, HOSTILE)):
        assert told == told.encode().decode()
        # Each of Unicode's line ends too, and marks that change the direction of text.
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ufffe]", told)


def test_a_change_that_the_lines_tell_is_not_told_twice() -> None:
    case = CaseResult("one", "differs", 1, changes=(MOVED,), lines=(f"reserved: {MOVED.words}",))
    assert suite_text.details(case) == list(case.lines)

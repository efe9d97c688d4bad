# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb check` with many boots, its reports, and what it keeps of a failure, on the real fixture kernel."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from pathlib import Path

import pytest

from gdb_lmb.cli.many_boots import answer
from gdb_lmb.core.golden import Environment, Golden, GoldenStop, Item
from gdb_lmb.report import suite_json
from tests.helpers.minimal import GOLDEN
from tests.helpers.suites import ALL
from tests.helpers.tool import Tool

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def golden(fixture_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    (folder / "tmp").mkdir()
    status, _, err = Tool(folder / "tmp", "snapshot", fixture_kernel, "-o", folder / "a.golden").finish()
    assert status == 0, err
    return folder / "a.golden"


def check(folder: Path, *words: str | Path, timeout_s: float = 120.0) -> tuple[int, str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    tool = Tool(folder / "tmp", "check", *words)
    found = tool.finish(timeout_s)
    assert tool.left_behind() == []
    return found


def test_json_of_a_suite_is_read_back() -> None:
    assert suite_json.read(suite_json.write(ALL)) == ALL


def test_where_no_memory_is_free() -> None:
    full = (Item("memory", 0, 0x1000), Item("reserved", 0, 0x1000))
    environment = Environment("vmlinux", "lmb-list", "x86_64", "little", 64, 4096)
    lines = answer(ALL, {"boot 2": Golden(environment, (GoldenStop("lmb_ready", full, 0, False),))})
    assert lines[-2] == "no memory is free in boot 2"


def test_many_boots_one_answer(fixture_kernel: Path, golden: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    status, out, err = check(
        tmp_path,
        fixture_kernel,
        "--golden",
        golden,
        "--boots",
        "4",
        "--vary",
        "memory,cpus",
        "--report",
        f"json={report}",
    )
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "stand still: 6 of 14 reservations in 4 boots"
    # They are taken from the end of RAM, of which the boots have 256 or 512 MiB.
    assert "  alloc_page_table moves: 2 places from 0xffdf000 to 0x1ffdf000, with the end of RAM" in lines
    assert re.fullmatch(
        r"the smallest of the largest free windows: 23\d\.\d MiB at .* in boot [12] \(256 MiB, .*\)", lines[-2]
    )
    assert lines[-1] == "4 cases: 4 passed"
    suite = suite_json.read(report.read_text())
    assert [case.name for case in suite.cases] == [
        "boot 1 (256 MiB, 1 CPU)", "boot 2 (256 MiB, 2 CPUs)", "boot 3 (512 MiB, 1 CPU)", "boot 4 (512 MiB, 2 CPUs)"
    ]  # fmt: skip
    assert "--memory=512M" in suite.cases[2].command


def test_boots_that_fail_are_named_and_what_explains_them_is_kept(
    golden: Path, fixture_kernel: Path, tmp_path: Path
) -> None:
    words = ["--golden", golden, "--append", "lmb.fault=overlap@9", "--boots", "2", "--vary", "memory"]
    status, out, err = check(tmp_path, fixture_kernel, *words, "--artefacts", tmp_path / "kept")
    assert status == 1
    assert "findings: boot 1 (256 MiB)" in out
    assert out.splitlines()[-1] == "2 cases: 2 with findings"
    assert err.splitlines()[-1] == f"gdb-lmb: artefacts are in {tmp_path / 'kept'}"
    for boot in ("boot-1", "boot-2"):
        names = {path.name for path in (tmp_path / "kept" / boot).iterdir()}
        assert {"actual.golden", "check.txt", "diff.txt", "command.sh", "console.log", "gdb.log"} <= names
        assert b"lmb.fault: overlap" in (tmp_path / "kept" / boot / "console.log").read_bytes()


def test_the_kept_command_repeats_a_failure(golden: Path, fixture_kernel: Path, tmp_path: Path) -> None:
    words = ["--golden", golden, "--append", "lmb.fault=overlap@9", "--artefacts", tmp_path / "kept"]
    status, out, _ = check(tmp_path, fixture_kernel, *words)
    assert status == 1
    again = shlex.split((tmp_path / "kept" / "command.sh").read_text())
    assert again[:2] == ["cd", str(Path.cwd())]
    assert check(tmp_path, *again[again.index("check") + 1 :])[:2] == (status, out)


def test_a_death_keeps_its_console(fixture_kernel: Path, tmp_path: Path) -> None:
    golden, kept = tmp_path / "b.golden", tmp_path / "kept"
    (tmp_path / "tmp").mkdir()
    until = ["--until", "lmb_scenario_done"]
    assert Tool(tmp_path / "tmp", "snapshot", fixture_kernel, "-o", golden, *until).finish()[0] == 0
    words = ["--golden", golden, "--append", "lmb.fault=overlap@9", "--artefacts", kept]
    status, _, err = check(tmp_path, fixture_kernel, *words, "--report", f"junit={tmp_path / 'junit'}")
    assert status == 3, err
    assert b"Kernel panic - not syncing: lmb.fault" in (kept / "console.log").read_bytes()
    assert '<failure type="died" message="the guest panicked before it reached' in (tmp_path / "junit").read_text()
    assert err.splitlines()[-1] == f"gdb-lmb: artefacts are in {kept}"


def test_a_golden_that_is_missing_is_an_error_of_usage_before_any_boot(fixture_kernel: Path, tmp_path: Path) -> None:
    for more in ([], ["--boots", "3"]):
        status, out, err = check(tmp_path, fixture_kernel, "--golden", tmp_path / "none", *more)
        assert (status, out) == (2, "")
        assert "there is no golden" in err
    assert not list(tmp_path.glob("none*"))


@pytest.mark.parametrize("words", [
    ["--report", "xml=a"], ["--report", "json"], ["--report", "json=a", "--report", "ktap=a"], ["--vary", "moon"],
    ["--boots", "0"], ["--boots", "-1"], ["--report", "json=no/such/folder/a"],
], ids=" ".join)  # fmt: skip
def test_wrong_options_are_told_before_any_boot(
    fixture_kernel: Path, golden: Path, tmp_path: Path, words: list[str]
) -> None:
    status, out, err = check(tmp_path, fixture_kernel, "--golden", golden, *words)
    assert (status, out) == (4 if "no/such" in words[-1] else 2, ""), err


IGNORED = [
    (["--boots", "2", "--actual", "F"],
     "--actual is the state of one boot: leave it out with --boots; of a boot that fails it is among the artefacts"),
    (["--boots", "2", "--console", "F"],
     "--console is that of one boot: leave it out with --boots; of a boot that fails it is among the artefacts"),
    (["--vary", "memory"], "--vary is for many boots: give --boots N too, of 2 or more"),
    (["--boots", "1", "--vary", "kaslr"], "--vary is for many boots: give --boots N too, of 2 or more"),
    (["--boots", "-1"], "argument --boots: '-1' is negative, but must be 1 or more (4096, 0x1000, 640K)"),
    (["--golden", "F"], "argument --golden: give it only once"),
    (["--actual", "F", "--actual", "F"], "argument --actual: give it only once"),
    (["--console", "F", "--console", "G"], "argument --console: give it only once"),
    (["--artefacts", "F", "--artefacts", "G"], "argument --artefacts: give it only once"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), IGNORED, ids=[" ".join(row[0]) for row in IGNORED])
def test_no_option_is_ignored(
    fixture_kernel: Path, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = check(tmp_path, fixture_kernel, "--golden", golden, *words)
    prefix = "gdb-lmb check: error" if said.startswith("argument ") else "gdb-lmb"
    assert (status, out, err.splitlines()[-1]) == (2, "", f"{prefix}: {said}")
    assert not Path("F").exists()


def test_variants_that_were_not_booted_are_named(fixture_kernel: Path, golden: Path, tmp_path: Path) -> None:
    words = ["--golden", golden, "--boots", "2", "--vary", "memory,cpus"]
    status, out, err = check(tmp_path, fixture_kernel, *words)
    assert (status, err) == (0, "")
    assert out.splitlines()[-2:] == [
        "not booted: 512 MiB, 1 CPU; 512 MiB, 2 CPUs (--boots 4 boots all)", "2 cases: 2 passed"
    ]  # fmt: skip


def test_what_was_torn_moves_nothing_and_has_no_window(fixture_kernel: Path, golden: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.golden"
    torn.write_text(GOLDEN.replace("lmb_ready", "lmb_next_gap"))
    status, out, _ = check(tmp_path, fixture_kernel, "--golden", torn, "--boots", "2")
    assert status == 5
    assert "windows" not in out and "stand still" not in out
    assert out.splitlines()[-1] == "2 cases: 2 not verified"


def test_an_interrupt_ends_all_boots(fixture_kernel: Path, golden: Path, tmp_path: Path) -> None:
    before = golden.read_bytes()
    (tmp_path / "tmp").mkdir()
    tool = Tool(tmp_path / "tmp", "check", fixture_kernel, "--golden", golden, "--boots", "50", "--jobs", "4")
    deadline = time.monotonic() + 60
    # The tool, four runs, and a QEMU or gdb of one of them.
    while len(tool.relatives()) < 12:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    tool.process.send_signal(signal.SIGINT)
    assert tool.finish()[0] == 130
    assert tool.left_behind() == []
    assert golden.read_bytes() == before
    assert [path.name for path in golden.parent.iterdir() if path.name.startswith("a.golden.")] == []


@pytest.mark.parametrize("boots", ["1", "2"])
def test_a_report_on_stdout_is_alone_there(fixture_kernel: Path, golden: Path, tmp_path: Path, boots: str) -> None:
    status, out, err = check(tmp_path, fixture_kernel, "--golden", golden, "--boots", boots, "--report", "json=-")
    assert status == 0
    assert len(json.loads(out)["cases"]) == int(boots)
    assert ("no change from " if boots == "1" else "2 cases: 2 passed") in err


def test_a_run_of_many_that_is_killed_leaves_nothing(fixture_kernel: Path, golden: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    tool = Tool(tmp_path / "tmp", "check", fixture_kernel, "--golden", golden, "--boots", "50", "--jobs", "4")
    deadline = time.monotonic() + 60
    while len(tool.relatives()) < 12:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    tool.kill()
    assert tool.finish()[0] == -signal.SIGKILL
    assert tool.left_behind() == []


def test_a_report_of_each_format_in_one_run(fixture_kernel: Path, golden: Path, tmp_path: Path) -> None:
    kinds = ("text", "json", "ktap", "junit", "github")
    words = [word for kind in kinds for word in ("--report", f"{kind}={tmp_path / kind}")]
    assert check(tmp_path, fixture_kernel, "--golden", golden, *words)[0] == 0
    found = {kind: (tmp_path / kind).read_text() for kind in kinds}
    assert json.loads(found["json"])["cases"][0]["outcome"] == "passed"
    assert "\nok 1 vmlinux a.golden\n" in found["ktap"]
    assert 'name="vmlinux a.golden"' in found["junit"]
    assert "passed: vmlinux a.golden" in found["text"]
    assert found["github"] == "1 case: 1 passed\n"


def test_what_grows_from_boot_to_boot_has_not_moved() -> None:
    """Page tables: how many a direct map takes depends on where KASLR puts it."""
    home = Environment("vmlinux", "memblock", "x86_64", "little", 64, 4096)
    goldens = {}
    for number, size in enumerate((0x55000, 0x56000, 0x55000)):
        item = Item("reserved", 0x1FFAB000, size, name="page tables", by="role")
        goldens[f"boot {number + 1}"] = Golden(home, (GoldenStop("here", (item,), 1 << 32, False),))
    lines = answer(ALL, goldens)
    at = lines.index("stand still: 0 of 1 reservation in 3 boots")
    assert lines[at + 1 :][:1] == [
        "  page tables stays at 0x1ffab000, with 2 sizes from 340 KiB to 344 KiB",
    ]

# SPDX-License-Identifier: GPL-2.0-or-later
"""One golden of an unmodified distribution kernel, and boots with KASLR and without, more memory, and two nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.report import suite_json
from tests.helpers.tool import Tool

pytestmark = pytest.mark.stock

KERNEL = "debian:6.1-cloud-amd64"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    (folder / "tmp").mkdir()
    words = ["--memory", "512M", "-o", folder / "a.golden"]
    assert Tool(folder / "tmp", "snapshot", KERNEL, *words).finish()[0] == 0
    return folder / "a.golden"


def boots(golden: Path, folder: Path, *words: str) -> tuple[int, list[str], list[str]]:
    """Return the exit status, the lines, and how each boot ended."""
    (folder / "tmp").mkdir()
    tool = Tool(folder / "tmp", "check", KERNEL, "--golden", golden, *words, f"--report=json={folder / 'json'}")
    status, out, _ = tool.finish(240)
    assert tool.left_behind() == []
    return status, out.splitlines(), [case.outcome for case in suite_json.read((folder / "json").read_text()).cases]


def test_kaslr_and_memory_change_nothing_that_counts(golden: Path, tmp_path: Path) -> None:
    status, lines, outcomes = boots(golden, tmp_path, "--boots", "4", "--vary", "kaslr,memory")
    assert (status, outcomes) == (0, ["passed"] * 4)
    moves = {line.partition(" moves: ")[0].strip(): line for line in lines if " moves: " in line}
    assert moves["kernel image"].endswith(", with the image")
    assert moves["firmware"].endswith(", with the end of RAM")
    # What lies in the first MiB stands still, and nothing was reserved between it and the per-CPU areas.
    assert any(line.startswith("the smallest of the largest free windows: ") and "512 MiB)" in line for line in lines)


def test_a_second_node_is_a_change(golden: Path, tmp_path: Path) -> None:
    status, lines, outcomes = boots(golden, tmp_path, "--boots", "2", "--vary", "nodes")
    assert (status, outcomes) == (1, ["passed", "differs"])
    assert lines[0] == "differs: boot 2 (2 nodes)"
    assert any("node's data (pg_data_t)" in line and line.endswith("appeared") for line in lines)

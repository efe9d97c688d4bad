# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's index of a large program: kept for one file and no other, made by gdb, and forgotten when unused."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.runner.gdb_process import LARGE_BYTES, UNUSED_S, index_folder, is_large, open_program, start_gdb
from gdb_lmb.runner.process import RunFolder

GDB = "GNU gdb (Debian 13.1-3) 13.1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache."""
    folder = tmp_path / "cache of mine"
    monkeypatch.setenv("GDB_LMB_CACHE", str(folder))
    return folder


def large(path: Path, content: bytes = b"") -> Path:
    """Make `path` large, in a file with a hole."""
    path.write_bytes(content)
    os.truncate(path, LARGE_BYTES)
    return path


def test_a_small_or_missing_program_has_none(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "small").write_bytes(b"\x7fELF")
    assert not is_large(tmp_path / "small") and not is_large(tmp_path / "none")
    assert index_folder(tmp_path / "none", GDB) is None
    assert not cache.exists()
    assert is_large(large(tmp_path / "a"))


def test_each_file_has_its_own(tmp_path: Path, cache: Path) -> None:
    first, second = large(tmp_path / "a"), large(tmp_path / "b")
    folder = index_folder(first, GDB)
    assert folder is not None and folder.is_dir() and cache in folder.parents
    assert index_folder(first, GDB) == folder != index_folder(second, GDB)
    # Written anew: what was known of it holds no longer.
    os.utime(first, (1, 1))
    assert index_folder(first, GDB) not in (folder, None)


@pytest.mark.parametrize(
    "other", ["GNU gdb (Debian 13.1-4) 13.1", "GNU gdb (GDB) 13.1", "", "../../gdb\n13.1", "x" * 999]
)
def test_each_gdb_has_its_own(tmp_path: Path, cache: Path, other: str) -> None:
    program = large(tmp_path / "a")
    folder, folder_of_other = index_folder(program, GDB), index_folder(program, other)
    assert folder is not None and folder_of_other is not None and folder != folder_of_other
    # Neither lies in the other, which would be forgotten with it.
    assert folder.parent == folder_of_other.parent == cache / "gdb-index"


def test_long_unused_ones_are_removed(tmp_path: Path) -> None:
    first, second = large(tmp_path / "a"), large(tmp_path / "b")
    folder = index_folder(first, GDB)
    assert folder is not None
    (folder / "index").write_bytes(b"x")
    at = folder.stat().st_mtime
    os.utime(folder, (at, at - UNUSED_S + 60))
    index_folder(second, GDB)
    assert folder.exists()
    os.utime(folder, (at, at - UNUSED_S - 60))
    index_folder(second, GDB)
    assert not folder.exists()
    # Using one counts.
    assert index_folder(first, GDB) == folder and folder.stat().st_mtime >= at


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert index_folder(large(tmp_path / "a"), GDB) is None


def test_gdb_writes_and_finds_it(tmp_path: Path) -> None:
    source = tmp_path / "program.c"
    source.write_text("int answer = 42; int main(void) { return 0; }\n")
    program = tmp_path / "program"
    subprocess.run(["gcc", "-g", "-Wl,--build-id", "-o", program, source], check=True, timeout=60)
    # gdb reads what the headers tell; what follows is not looked at.
    os.truncate(program, LARGE_BYTES)
    seen = []
    for _ in range(2):
        folder = RunFolder()
        try:
            mi = start_gdb(folder, str(shutil.which("gdb")), program)
            open_program(mi, program, folder.path, 60)
            assert mi.console("output answer", 60).console == "42"
            seen.append("hits (this session): 1" in mi.console("show index-cache stats", 60).console)
        finally:
            folder.close()
    told = subprocess.run(["gdb", "--version"], capture_output=True, text=True, check=True, timeout=60)
    home = index_folder(program, told.stdout.splitlines()[0])
    assert home is not None and [path.suffix for path in home.iterdir()] == [".gdb-index"]
    assert seen == [False, True]

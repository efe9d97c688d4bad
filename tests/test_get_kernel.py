# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, apt's sources and the cache's manifest, without the network; the stock lane fetches for real."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from gdb_lmb.errors import UsageError
from gdb_lmb.runner import stock
from gdb_lmb.runner.stock import KernelFiles, archive_address, find_kernel, is_name

ONE_LINE = """\
# deb http://commented.invalid/debian bookworm main
deb https://other.invalid/apt cloud-sdk-bookworm main
deb [arch=amd64 signed-by=/some/key.gpg] http://archive.invalid/debian bookworm main contrib
deb http://fixes.invalid/debian-security bookworm-security main
"""
DEB822 = """\
Types: deb
# http://commented.invalid/debian
URIs: http://archive.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://fixes.invalid/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.mark.parametrize("sources", [ONE_LINE, DEB822], ids=["one-line", "deb822"])
def test_archive_is_read_from_the_sources(sources: str) -> None:
    assert archive_address(sources) == "http://archive.invalid/debian"
    assert archive_address(sources, security=True) == "http://fixes.invalid/debian-security"


def test_sources_without_an_archive() -> None:
    assert archive_address("deb https://other.invalid/apt nodistro main\n") is None
    assert archive_address(DEB822.replace("Types: deb", "Types: deb-src")) is None
    assert archive_address(DEB822.replace("Components: main", "Components: main\nEnabled: no")) is None


def test_names() -> None:
    assert is_name("debian:6.1-cloud-amd64") and not is_name("vmlinux") and not is_name("./debian")
    with pytest.raises(UsageError, match=r"unknown kernel 'debian:2\.6'; known are debian:6\.1-cloud-amd64"):
        find_kernel("debian:2.6")


def test_nothing_is_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="bring it there with scripts/get-kernel debian:7-cloud-amd64"):
        find_kernel("debian:7-cloud-amd64", fetch=False)


def test_cache_and_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    name = "debian:7-cloud-amd64"
    home = tmp_path / "kernels" / "debian-7-cloud-amd64"
    home.mkdir(parents=True)
    files = KernelFiles(name, "amd64", "7.1-1", home / "vmlinuz", home / "vmlinux", {"a_deb": "00ff"})
    manifest = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(files).items()}
    (home / "manifest.json").write_text(json.dumps(manifest))
    assert stock.cached(name) is None, "the files themselves are missing"
    for path in (files.image, files.vmlinux):
        path.write_bytes(b"x")
    assert find_kernel(name, fetch=False) == files
    tested = tmp_path / "tested.json"
    monkeypatch.setattr(stock, "TESTED", tested)
    assert stock.drift(files) == "; none was tested yet"
    tested.write_text(json.dumps({name: {"version": "7.1-1", "hashes": {"a_deb": "00ff"}}}))
    assert stock.drift(files) == "; last tested"
    tested.write_text(json.dumps({name: {"version": "7.0-1", "hashes": {}}}))
    assert stock.drift(files) == "; last tested was 7.0-1"
    (home / "manifest.json").write_text("{")
    assert stock.cached(name) is None


def test_every_name_has_a_known_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert stock.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in stock.NAMES)
    assert stock.main(["debian:nothing"]) == 2
    assert "unknown kernel 'debian:nothing'" in capsys.readouterr().err

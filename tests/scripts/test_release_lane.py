# SPDX-License-Identifier: GPL-2.0-or-later
"""The lane of a release, as far as no root is needed: settings, keys, what is pruned, and what counts.

That nothing of the machine can be reached from inside needs mounts, which only root may make: the lane itself does.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import release
import release_roots
from release_roots import RootError, Roots, Step, copy_checkout, put_files, remove
from release_settings import CA_BUNDLE, Settings, machine_settings

from gdb_lmb.core.errors import InfrastructureError

APT = "/etc/apt/apt.conf.d/90machine"


# -- settings -----------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with settings of its own: its user's home."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("release_settings.system_archive", lambda: "http://archive.invalid/debian/")
    monkeypatch.setattr("release_settings.system_settings", lambda: "")
    return tmp_path


def test_apt_asks_the_machines_archive_for_the_release(machine: Path) -> None:
    settings = machine_settings("trixie")
    assert settings.archive == "http://archive.invalid/debian"
    line = settings.files["/etc/apt/sources.list"].decode()
    assert line.startswith("deb [signed-by=/usr/share/keyrings/")
    assert line.endswith("] http://archive.invalid/debian trixie main\n")


def test_the_first_of_a_list_of_mirrors(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = machine / "mirrors"
    listed.write_text("\nhttps://first.invalid/debian\tpriority:1\nhttps://second.invalid/debian\n")
    monkeypatch.setattr("release_settings.system_archive", lambda: f"mirror+file:{listed}")
    assert machine_settings("sid").archive == "https://first.invalid/debian"


@pytest.mark.parametrize("address", [None, "mirror+file:{}"])
def test_without_an_archive_it_is_said(machine: Path, monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    (machine / "mirrors").write_text("\n")
    found = None if address is None else address.format(machine / "mirrors")
    monkeypatch.setattr("release_settings.system_archive", lambda: found)
    with pytest.raises(InfrastructureError, match="names no archive of Debian"):
        machine_settings("sid")


def test_an_archive_on_disk_is_seen_inside(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("release_settings.system_archive", lambda: f"file:{machine}/archive")
    assert f"{machine}/archive" in machine_settings("sid").folders


def test_apts_way_to_the_network(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = machine / "ca.pem"
    certificate.write_text("certificate")
    carried = (
        'Acquire::http::Proxy "http://proxy.invalid:3128";\nAcquire::https::Proxy "DIRECT";\n'
        f'Acquire::https::CAInfo "{certificate}";\nAcquire::https::Verify-Peer "false";\n'
        'Acquire::Check-Valid-Until "false";\n'
    )
    monkeypatch.setattr("release_settings.system_settings", lambda: carried)
    settings = machine_settings("sid")
    assert settings.files[APT].decode().startswith(carried)
    assert settings.files[str(certificate)] == b"certificate"
    # debootstrap fetches with wget.
    wgetrc = ["http_proxy = http://proxy.invalid:3128", f"ca_certificate = {certificate}", "check_certificate = off"]
    assert settings.wgetrc().splitlines() == wgetrc


def test_the_program_that_finds_a_proxy_is_asked_here(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = machine / "find-proxy"
    finder.write_text("#!/bin/sh\necho http://found-for-$1\n")
    finder.chmod(0o755)
    monkeypatch.setattr("release_settings.system_settings", lambda: f'Acquire::http::Proxy-Auto-Detect "{finder}";\n')
    written = machine_settings("sid").files[APT].decode()
    assert 'Acquire::http::Proxy "http://found-for-http://archive.invalid/debian";' in written
    assert "Auto-Detect" not in written


def test_apts_passwords_as_wget_reads_them() -> None:
    text = (
        b"# ours\nmachine https://a.invalid:8443/debian login me password one\nmachine b.invalid login x password two\n"
    )
    words = Settings("", {"/etc/apt/auth.conf.d/a.conf": text}).netrc().split()
    assert words == "machine a.invalid login me password one machine b.invalid login x password two".split()  # noqa: SIM905


def test_pips_settings_and_what_they_name(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, links, limits = machine / "index" / "simple", machine / "wheels", machine / "limits.txt"
    index.mkdir(parents=True)
    links.mkdir()
    limits.write_text("limits")
    config = machine / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text(
        f"[global]\nextra-index-url = file://{index}\n    https://index.invalid/simple\nconstraint = {limits}\n"
        "[install]\nfind-links = /nonexistent/wheels\n"
    )
    monkeypatch.setenv("PIP_FIND_LINKS", f"{links} /nonexistent/other")
    monkeypatch.setenv("PIP_CACHE_DIR", "/nonexistent/cache")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    settings = machine_settings("sid")
    assert settings.files["/root/.config/pip/pip.conf"] == config.read_bytes()
    assert settings.files[str(limits)] == b"limits"
    # An index refers to files beside it; what does not exist here need not exist there.
    assert {str(machine / "index"), str(links)} <= set(settings.folders)
    assert not any("nonexistent" in folder for folder in settings.folders)
    assert settings.environment["PIP_FIND_LINKS"] == f"{links} /nonexistent/other"
    assert settings.environment["https_proxy"] == "http://proxy.invalid"
    assert "PIP_CACHE_DIR" not in settings.environment


def test_certificates(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = machine / "own.pem"
    own.write_text("own")
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    settings = machine_settings("sid")
    assert settings.files[str(own)] == b"own" and settings.environment["SSL_CERT_FILE"] == str(own)
    assert settings.files[CA_BUNDLE] == Path(CA_BUNDLE).read_bytes()


def test_files_are_written_with_hosts_only_for_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This very test runs in roots without one.
    monkeypatch.setattr(release_roots, "HOSTS", tmp_path / "machine-hosts")
    (tmp_path / "machine-hosts").write_text("127.0.0.1 archive\n")
    settings = Settings("", {"/etc/apt/auth.conf": b"secret", "/etc/pip.conf": b"pip"})
    written = put_files(tmp_path, settings, hosts=False)
    assert written == [tmp_path / "etc/apt/auth.conf", tmp_path / "etc/pip.conf"]
    assert [path.stat().st_mode & 0o777 for path in written] == [0o600, 0o644]
    assert put_files(tmp_path, settings, hosts=True)[2:] == [tmp_path / "etc/hosts"]


# -- the checkout -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_git", [True, False], ids=["git", "unpacked"])
def test_the_checkout_without_what_was_made_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_git: bool
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("scripts/test", "new.py", ".venv/bin/python", "vmlinux-fixtures/build/vmlinux", ".gitignore"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(".venv/\nbuild/\n")
    # The tests need no git: this one knows what the real one would list, a file that is gone among it.
    git = tmp_path / "git"
    git.write_text(
        f"#!/bin/sh\nprintf 'scripts/test\\0new.py\\0gone.py\\0.gitignore\\0'; exit {0 if by_git else 128}\n"
    )
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(release_roots, "ROOT", source)
    copy_checkout(target)
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert found == {"scripts/test", "new.py", ".gitignore"}


# -- layers -------------------------------------------------------------------------------------------------


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Roots]:
    made = Roots(tmp_path / "roots")
    yield made
    made.release()


def make(roots: Roots, name: str, age_days: float = 0) -> Path:
    path = roots.folder / name
    (path / "etc").mkdir(parents=True)
    used = time.time() - age_days * 24 * 3600
    os.utime(path, (used, used))
    return path


def left(roots: Roots) -> set[str]:
    return {path.name for path in roots.folder.iterdir() if path.is_dir()}


def test_the_roots_used_last_are_kept(roots: Roots) -> None:
    for name, age in (("a", 1), ("b", 2), ("c", 3)):
        make(roots, f"trixie-base-{name}", age)
        make(roots, f"trixie-packages-{name}-1", age)
        make(roots, f"trixie-venv-{name}-1-1", age)
    make(roots, "sid-base-z", 20)
    make(roots, "sid-base-old", 40)
    roots.prune("trixie")
    assert left(roots) == {"sid-base-z"} | {
        f"trixie-{rest}" for name in "ab" for rest in (f"base-{name}", f"packages-{name}-1", f"venv-{name}-1-1")
    }


def test_what_is_in_use_is_not_removed(roots: Roots) -> None:
    mine = make(roots, "trixie-packages-a-1", 50)
    theirs = make(roots, "work-theirs")
    make(roots, "work-dead")
    other = Roots(roots.folder)
    assert other.hold(mine.name)
    os.utime(mine, (0, 0))
    descriptor = os.open(theirs, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    roots.prune("trixie")
    assert left(roots) == {"trixie-packages-a-1", "work-theirs"}
    os.close(descriptor)
    other.release()
    roots.prune("trixie")
    assert left(roots) == set()


def test_a_root_with_mounts_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that has a mount in it, by what the kernel says of the mounts there are."""
    path = tmp_path / "root"
    (path / "etc").mkdir(parents=True)
    real = Path.read_text
    row = f"99 1 0:5 / {path}/dev rw - devtmpfs devtmpfs rw\n"
    monkeypatch.setattr(Path, "read_text", lambda self: row if self.name == "mountinfo" else real(self))
    with pytest.raises(RootError, match=r"/dev is mounted in .*/root: not removing it"):
        remove(path)
    assert path.is_dir()


class Making(Step):
    """A step that fails so often before it makes its layer."""

    fails = 0

    def run(self, roots: Roots, work: str, settings: Settings, lowers: list[str]) -> None:
        (roots.folder / work / "upper").mkdir()
        if Making.fails:
            Making.fails -= 1
            raise RootError("no archive")


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_layer_is_made_whole_or_not_at_all(roots: Roots, monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    monkeypatch.setattr(release_roots, "RETRY_S", 0)
    monkeypatch.setattr(Making, "fails", fails)
    if fails < 2:
        roots.layer("trixie-base-a", "a base", Making([]), Settings(""), [])
        assert left(roots) == {"trixie-base-a"}
        Making.fails = 2
        roots.layer("trixie-base-a", "a base", Making([]), Settings(""), [])
    else:
        with pytest.raises(RootError, match="no archive"):
            roots.layer("trixie-base-a", "a base", Making([]), Settings(""), [])
        assert left(roots) == set()


# -- what counts --------------------------------------------------------------------------------------------

WRITTEN = {"gdb": "18.1", "QEMU": "11.1.3"}
FOUND = {**WRITTEN, "gcc": "16"}


@pytest.mark.parametrize(
    ("held_to", "found", "failed", "status", "says"),
    [
        ({}, FOUND, [], 0, "passed with gdb 18.1"),
        ({}, FOUND, ["plain"], 1, "plain failed with gdb 18.1"),
        (WRITTEN, FOUND, [], 0, "passed"),
        (WRITTEN, FOUND, ["demo", "plain"], 1, "demo, plain failed"),
        (
            WRITTEN,
            {**FOUND, "gdb": "18.2"},
            ["plain"],
            0,
            "plain failed with gdb 18.2, QEMU 11.1.3, gcc 16; not counted",
        ),
        (WRITTEN, {}, ["plain"], 0, "not counted, held only to gdb 18.1, QEMU 11.1.3"),
        ({}, None, [], 4, "no kernel to be had: no archive"),
        (WRITTEN, None, [], 0, "no kernel to be had: no archive"),
    ],
)
def test_a_release_counts_where_it_is_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    held_to: dict[str, str], found: dict[str, str] | None, failed: list[str], status: int, says: str,
) -> None:  # fmt: skip
    def make_root(*_: object) -> list[str]:
        if found is None:
            raise RootError("no archive")
        return []

    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    monkeypatch.setattr(release, "KERNELS", ())
    monkeypatch.setattr(release, "make_root", make_root)
    monkeypatch.setattr(release, "versions", lambda *_: found)
    monkeypatch.setattr(release, "run_steps", lambda *_: failed)
    assert release.lane("sid", held_to, []) == status
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("== sid: ") and says in last
    assert list((tmp_path / "roots").glob("*/")) == []


def test_the_file_names_trixie_without_versions_and_sid_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(release, "lane", lambda name, held_to, words: told.update({name: held_to}) or 0)
    for name in ("trixie", "sid"):
        monkeypatch.setattr("sys.argv", ["release.py", name])
        assert release.main() == 0
    assert told["trixie"] == {}
    assert {"gdb", "QEMU", "Python"} <= set(told["sid"]) <= set(release.VERSIONS)


@pytest.mark.parametrize(
    ("program", "line", "version"),
    [
        ("gdb", "GNU gdb (Debian 16.3-1) 16.3", "16.3"),
        ("gdb", "GNU gdb (GDB) 18.0.50.20261001-git", "18.0.50.20261001-git"),
        ("QEMU", "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", "10.0.13"),
        ("Python", "Python 3.14.10", "3.14.10"),
        ("gcc", "16.2.0", "16.2.0"),
    ],
)
def test_versions_are_read_as_programs_tell_them(program: str, line: str, version: str) -> None:
    assert release.version_in(program, line) == version

# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, apt's sources and the cache's manifest, without the network; the stock lane fetches for real."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from gdb_lmb.core.errors import InfrastructureError, UsageError
from gdb_lmb.kernels import cache, fetch, stock
from gdb_lmb.kernels.apt import Apt, archive_address
from gdb_lmb.kernels.cache import KERNELS, SOURCES, KernelFiles, Name, SourceFiles, is_name
from gdb_lmb.kernels.stock import find_kernel
from tests.helpers.packages import made_package

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


def test_sources_in_every_spelling() -> None:
    signed = DEB822.split("\n\n")[0]
    vendor = "deb [signed-by=/vendor.gpg] http://vendor.invalid/apt bookworm main\n\n"
    assert archive_address(vendor + signed) == "http://archive.invalid/debian"
    assert archive_address(vendor + ONE_LINE) == "http://archive.invalid/debian"
    assert archive_address(vendor) == "http://vendor.invalid/apt"
    assert archive_address("deb\thttp://a.invalid/debian/  oldstable  main # why\n") == "http://a.invalid/debian/"
    folded = "Types: deb\nURIs:\n http://a.invalid/debian\nSuites:\n trixie\n trixie-updates\nComponents: main\n"
    assert archive_address(folded) == "http://a.invalid/debian"
    assert archive_address(signed + "\nEnabled: No\n") is None
    assert archive_address(signed.replace("Types", "TYPES").replace("URIs", "uris")) == "http://archive.invalid/debian"


def test_only_whole_packages_are_unpacked(tmp_path: Path) -> None:
    deb = made_package(tmp_path, 1 << 20)
    fetch.extract_kernel(deb, tmp_path / "whole")
    found = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert found == [Path("boot/vmlinuz-6"), Path("usr/lib/debug/boot/vmlinux-6")]
    assert (tmp_path / "whole" / found[1]).stat().st_size == 1 << 20
    content = bytearray(deb.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4096] = os.urandom(4096)
    deb.write_bytes(content)
    with pytest.raises(InfrastructureError, match=r"linux-image-6_6-1_all\.deb cannot be unpacked to its end"):
        fetch.extract_kernel(deb, tmp_path / "damaged")


class FakeApt(Apt):
    """`apt-get download` that writes `contents` in turn, into the folder it is given."""

    def __init__(self, folder: Path, contents: list[bytes]) -> None:
        (folder / "debs").mkdir(parents=True, exist_ok=True)
        self.folder, self.contents, self.told = folder, contents, list[str]()
        self.sizes = {}
        self.row = Name("debian:6", ("trixie",), "linux-image-6.", "cloud-arm64", "arm64")
        self.notice = self.told.append

    def run(self, *words: str, program: str = "apt-get", cwd: Path | None = None, told: object = None) -> str:
        assert cwd is not None
        (cwd / f"{words[1].replace('=', '_')}_all.deb").write_bytes(self.contents.pop(0))
        return ""


def test_a_damaged_download_is_fetched_anew(tmp_path: Path) -> None:
    good = hashlib.sha256(b"good").hexdigest()
    apt = FakeApt(tmp_path, [b"damaged", b"good"])
    (deb,) = apt.download([("linux-image-6", "6-2", good)])
    assert deb.read_bytes() == b"good"
    assert apt.told == ["linux-image-6_6-2_all.deb is damaged; fetching it anew"]
    with pytest.raises(InfrastructureError, match="linux-image-6 6-2 does not have the SHA-256"):
        FakeApt(tmp_path, [b"damaged", b"damaged"]).download([("linux-image-6", "6-2", good)])


class Archive(Apt):
    """An archive of packages: {name: versions}, as apt-cache would show it."""

    def __init__(self, packages: dict[str, list[str]]) -> None:
        self.row = Name("debian:6", ("trixie",), "linux-image-6.", "cloud-arm64", "arm64")
        self.packages, self.told = packages, list[str]()
        self.sizes = {}
        self.notice = self.told.append

    def run(self, *words: str, program: str = "apt-get", cwd: Path | None = None, told: object = None) -> str:
        assert program == "apt-cache"
        if words[0] == "pkgnames":
            return "\n".join(name for name in self.packages if name.startswith(words[1]))
        if words[1] not in self.packages:
            raise InfrastructureError("apt-cache show failed: E: No packages found")
        form = "Package: {0}\nVersion: {1}\nSHA256: {0} {1}\n"
        return "\n".join(form.format(words[1], version) for version in self.packages[words[1]])


OLD, NEW = "linux-image-6.9-cloud-arm64", "linux-image-6.12-cloud-arm64"


def versions(archive: Archive) -> list[tuple[str, str]]:
    return [(package, version) for package, version, _ in archive.newest()]


def test_the_newest_image_that_has_symbols() -> None:
    both = {OLD: ["6.9-1"], f"{OLD}-dbg": ["6.9-1"], NEW: ["6.12-1"], f"{NEW}-dbg": ["6.12-1"]}
    other = {"linux-image-6.99-arm64": ["6.99-1"], "linux-image-6.99-arm64-dbg": ["6.99-1"]}
    assert versions(Archive({**both, **other})) == [(NEW, "6.12-1"), (f"{NEW}-dbg", "6.12-1")]
    # The symbols of the newest have not come yet, or are those of its older version.
    for dbg in ([], ["6.12~rc1-1"]):
        archive = Archive({**both, f"{NEW}-dbg": dbg})
        assert versions(archive) == [(OLD, "6.9-1"), (f"{OLD}-dbg", "6.9-1")]
        assert archive.told == [f"{NEW} 6.12-1 has no debug symbols yet: taking 6.9-1"]
    archive = Archive({**both, NEW: ["6.12-1", "6.12-2"]})
    assert versions(archive) == [(NEW, "6.12-1"), (f"{NEW}-dbg", "6.12-1")]
    # The image in a package of its own, which must be there in the same version.
    binary = NEW.replace("image", "binary")
    assert versions(Archive({**both, binary: ["6.12-1"]}))[-1] == (binary, "6.12-1")
    assert versions(Archive({**both, binary: ["6.11-1"]})) == [(OLD, "6.9-1"), (f"{OLD}-dbg", "6.9-1")]
    with pytest.raises(InfrastructureError, match=r"no debug symbols of linux-image-\S+; try again"):
        Archive({NEW: ["6.12-1"]}).newest()
    with pytest.raises(InfrastructureError, match=r"no package linux-image-6\.\*-cloud-arm64 any more"):
        Archive({}).newest()


def put(name: str, version: str) -> KernelFiles:
    """Lay a kernel into the cache as a fetch would."""
    folder = stock._folder(name, version)
    folder.mkdir(parents=True)
    files = KernelFiles(name, "arm64", version, folder / "vmlinuz", folder / "vmlinux", {})
    for path in (files.image, files.vmlinux):
        path.write_bytes(b"x")
    manifest = {key: str(value) if isinstance(value, Path) else value for key, value in files._asdict().items()}
    (folder.parent / "manifest.json").write_text(json.dumps(manifest))
    return files


ARM64 = "debian:6.12-cloud-arm64"


def test_offline_the_cache_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))

    def unreachable(*_: object) -> KernelFiles:
        raise InfrastructureError("apt-get update failed: E: no route to the archive")

    monkeypatch.setattr(fetch, "_fetch", unreachable)
    with pytest.raises(InfrastructureError, match="no route"):
        stock.get(ARM64, print, KernelFiles)
    files, told = put(ARM64, "6.12.1-1"), list[str]()
    assert stock.get(ARM64, told.append, KernelFiles) == files
    assert told[0] == f"{ARM64}: apt-get update failed: E: no route to the archive"
    assert told[1].startswith(f"{ARM64}: keeping 6.12.1-1, which is in the cache; last tested was")
    assert stock.main([ARM64]) == 0


def test_files_in_use_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    files = put(ARM64, "6.12.1-1")
    code = f"from gdb_lmb.kernels import stock; stock.find_kernel({ARM64!r}); print('kept', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None and user.stdout.readline() == "kept\n"
        cache.remove_unless_used(files.image.parent)
        assert files.image.is_file()
        user.communicate("\n")
    cache.remove_unless_used(files.image.parent)
    assert not files.image.parent.exists()


def test_files_that_went_are_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Between reading the manifest and taking the lock a newer version may have come.
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    old, new = put(ARM64, "6.12.1-1"), put(ARM64, "6.12.2-1")
    shutil.rmtree(old.image.parent)
    seen = iter([old, new])
    monkeypatch.setattr(stock, "cached", lambda *_: next(seen))
    assert find_kernel(ARM64) == new


def test_packages_of_another_version_do_not_mix_in(tmp_path: Path) -> None:
    # Debian's 6.1.192-1 and 6.1.192-2 have the same package names.
    apt = FakeApt(tmp_path, [b"good"])
    for old in (
        tmp_path / "debs" / "linux-image-6_6-1_all.deb",
        tmp_path / "debs" / "6-1" / "linux-image-6_6-1_all.deb",
    ):
        old.parent.mkdir(exist_ok=True)
        old.write_bytes(b"stale")
    debs = apt.download([("linux-image-6", "6-2", hashlib.sha256(b"good").hexdigest())])
    assert list((tmp_path / "debs").rglob("*.deb")) == debs


def test_a_relative_cache_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GDB_LMB_CACHE", "here")
    assert cache.cache_folder() == tmp_path / "here"


def test_names() -> None:
    assert is_name("debian:6.1-cloud-amd64") and not is_name("vmlinux") and not is_name("./debian")
    with pytest.raises(UsageError, match=r"unknown kernel 'debian:2\.6'; known are debian:6\.1-cloud-amd64"):
        find_kernel("debian:2.6")


def test_nothing_is_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="bring it there with scripts/get-kernel debian:7-cloud-amd64"):
        find_kernel("debian:7-cloud-amd64", fetch=False)


def test_what_was_fetched_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    first, second = tmp_path / "kernels" / "debian-6" / "6.1-1", tmp_path / "kernels" / "debian-6" / "6.1-2"
    assert cache.fetched_together(first / "boot/vmlinuz-6", first / "usr/lib/debug/boot/vmlinux-6")
    for image, vmlinux in (
        (first / "boot/vmlinuz-6", second / "usr/lib/debug/boot/vmlinux-6"),
        (first / "boot/vmlinuz-6", first / ".." / "6.1-2" / "usr/lib/debug/boot/vmlinux-6"),
        (first / "boot/vmlinuz-6", tmp_path / "vmlinux-6"),
        (tmp_path / "vmlinuz-6", tmp_path / "vmlinux-6"),
    ):
        assert not cache.fetched_together(image, vmlinux)
    # A link leads to what is compared.
    first.mkdir(parents=True)
    (first / "vmlinux").symlink_to("/usr/lib/debug/boot/vmlinux-6")
    assert not cache.fetched_together(first / "vmlinuz", first / "vmlinux")


def test_cache_and_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    name = "debian:7-cloud-amd64"
    home = tmp_path / "kernels" / "debian-7-cloud-amd64"
    home.mkdir(parents=True)
    files = KernelFiles(name, "amd64", "7.1-1", home / "vmlinuz", home / "vmlinux", {"a_deb": "00ff"})
    manifest = {key: str(value) if isinstance(value, Path) else value for key, value in files._asdict().items()}
    (home / "manifest.json").write_text(json.dumps(manifest))
    assert stock.cached(name, KernelFiles) is None, "the files themselves are missing"
    for path in (files.image, files.vmlinux):
        path.write_bytes(b"x")
    assert find_kernel(name, fetch=False) == files
    tested = tmp_path / "tested.json"
    monkeypatch.setattr(cache, "TESTED", tested)
    assert cache.drift(files) == "; none was tested yet"
    tested.write_text(json.dumps({name: {"version": "7.1-1", "hashes": {"a_deb": "00ff"}}}))
    assert cache.drift(files) == "; last tested"
    tested.write_text(json.dumps({name: {"version": "7.0-1", "hashes": {}}}))
    assert cache.drift(files) == "; last tested was 7.0-1"
    (home / "manifest.json").write_text("{")
    assert stock.cached(name, KernelFiles) is None


def test_every_name_has_a_known_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert stock.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*KERNELS, *SOURCES])
    assert stock.main(["debian:nothing"]) == 2
    assert "unknown kernel 'debian:nothing'" in capsys.readouterr().err


def _source_package(folder: Path) -> Path:
    """Build a package like linux-source-6.1: an archive in an archive."""
    tree = folder / "tree"
    inner = folder / "linux-source-6.1"
    for name in (
        "mm/memblock.c",
        "mm/slub.c",
        "tools/testing/memblock/Makefile",
        "include/linux/memblock.h",
        "tools/testing/kunit/kunit.py",
    ):
        (inner / name).parent.mkdir(parents=True, exist_ok=True)
        (inner / name).write_bytes(name.encode() + os.urandom(1 << 16))
    (tree / "usr" / "src").mkdir(parents=True)
    with tarfile.open(tree / "usr" / "src" / "linux-source-6.1.tar.xz", "w:xz") as archive:
        archive.add(inner, "linux-source-6.1")
    (tree / "DEBIAN").mkdir()
    control = "Package: linux-source-6.1\nVersion: 6-1\nArchitecture: all\nMaintainer: n <n@n.invalid>\n"
    (tree / "DEBIAN" / "control").write_text(control + "Description: n\n")
    deb = folder / "linux-source-6.1_6-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, stdout=subprocess.DEVNULL)
    return deb


def test_only_what_builds_memblock_and_reads_ktap_is_unpacked(tmp_path: Path) -> None:
    deb = _source_package(tmp_path)
    fetch.extract_source(deb, tmp_path / "whole")
    found = sorted(str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*.*"))
    assert found == ["include/linux/memblock.h", "mm/memblock.c", "tools/testing/kunit/kunit.py"]
    assert (tmp_path / "whole" / "tools" / "testing" / "memblock" / "Makefile").stat().st_size > 1 << 16
    content = bytearray(deb.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4096] = os.urandom(4096)
    deb.write_bytes(content)
    with pytest.raises(InfrastructureError, match=r"linux-source-6\.1_6-1_all\.deb cannot be unpacked to its end"):
        fetch.extract_source(deb, tmp_path / "damaged")


class ListedApt(FakeApt):
    """`apt-cache` of an archive that has these packages, each with its versions."""

    def __init__(self, image: str, packages: dict[str, list[str]]) -> None:
        self.row, self.packages, self.sizes = Name("source:n", (), image, "", "amd64"), packages, {}

    def run(self, *words: str, program: str = "apt-get", cwd: Path | None = None, told: object = None) -> str:
        if words[0] == "pkgnames":
            return "\n".join(name for name in self.packages if name.startswith(words[1]))
        return "\n\n".join(f"Package: {words[1]}\nVersion: {v}\nSHA256: {v}" for v in self.packages[words[1]])


def test_the_newest_source_of_a_name() -> None:
    packages = {
        "linux-source-6.1": ["6.1.9-1", "6.1.10-1"], "linux-source-6.12": ["6.12.1-1"],
        "linux-source-7.2": ["7.2.1-1"], "linux-source-7.10": ["7.10.1-1"], "linux-source-7.10-rt": ["8"],
    }  # fmt: skip
    for image, expected in (
        ("linux-source-6.1", ("linux-source-6.1", "6.1.10-1")),
        ("linux-source-6.12", ("linux-source-6.12", "6.12.1-1")),
        ("linux-source-7.", ("linux-source-7.10", "7.10.1-1")),
    ):
        assert ListedApt(image, packages).newest_source()[:2] == expected
    with pytest.raises(InfrastructureError, match=r"no package linux-source-5\.\* any more"):
        ListedApt("linux-source-5.", packages).newest_source()


def test_sources_are_not_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDB_LMB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match=r"bring it there with scripts/get-kernel source:6\.1"):
        stock.find_source("source:6.1", fetch=False)
    home = tmp_path / "sources" / "source-6.1"
    home.mkdir(parents=True)
    deb = _source_package(tmp_path)
    fetch.unpack(SOURCES["source:6.1"], home, fetch.SOURCE, [deb], [("deb", "6-1", "00ff")])
    expected = SourceFiles("source:6.1", "6-1", home / "6-1", {"deb": "00ff"})
    assert stock.find_source("source:6.1", fetch=False) == expected
    assert stock.main(["--cached", "source:6.1"]) == 0

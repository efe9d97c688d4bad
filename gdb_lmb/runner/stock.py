# SPDX-License-Identifier: GPL-2.0-or-later
"""Distribution kernels and their debug symbols, as signed packages, in the cache.

apt fetches and checks them with a configuration of its own inside the cache: the system's is not touched,
but its sources say which archive to ask. The archive drops old versions, so the newest of a name is
taken; what it was is recorded beside the files, and `stock-kernels.json` says which one was last tested.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from gdb_lmb.errors import InfrastructureError, LmbError, UsageError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TESTED = Path(__file__).with_name("stock-kernels.json")
NEEDED_BYTES = 3 << 30
"""Free disk that a fetch wants: packages, and the unpacked debug file beside them."""

_APT_TIMEOUT_S = 3600


@dataclass(frozen=True)
class Name:
    """A kernel that can be asked for: where its newest version lives and how its packages are called.

    `suites` of the Debian archive are tried together; `image` is the start of the image package's name.
    """

    name: str
    suites: tuple[str, ...]
    image: str
    flavour: str
    arch: str


NAMES = {
    row.name: row
    for row in (
        Name(
            "debian:6.1-cloud-amd64",
            ("bookworm", "bookworm-updates", "bookworm-security"),
            "linux-image-6.1.",
            "cloud-amd64",
            "amd64",
        ),
        Name(
            "debian:6.12-cloud-amd64",
            ("bookworm-backports", "bookworm-security"),
            "linux-image-6.12.",
            "cloud-amd64",
            "amd64",
        ),
        Name("debian:7-cloud-amd64", ("trixie-backports",), "linux-image-7.", "cloud-amd64", "amd64"),
        Name(
            "debian:6.12-cloud-arm64",
            ("trixie", "trixie-updates", "trixie-security"),
            "linux-image-6.12.",
            "cloud-arm64",
            "arm64",
        ),
    )
}


@dataclass(frozen=True)
class KernelFiles:
    """A kernel in the cache: its packages' `version`, their SHA-256 by file name, and the unpacked files."""

    name: str
    arch: str
    version: str
    image: Path
    vmlinux: Path
    hashes: dict[str, str]


def cache_folder() -> Path:
    """Return the cache: $GDB_LMB_CACHE, or ~/.cache/gdb-lmb."""
    return Path(os.environ.get("GDB_LMB_CACHE") or Path.home() / ".cache" / "gdb-lmb")


def is_name(text: str) -> bool:
    """Tell whether `text` is meant as a kernel's name and not as a file."""
    return text.startswith("debian:")


def find_kernel(name: str, *, fetch: bool = True, notice: Callable[[str], None] = lambda _: None) -> KernelFiles:
    """Return the kernel of this name, brought into the cache first if it is not there.

    Raises: UsageError for an unknown name, or one not in the cache where `fetch` is False;
    InfrastructureError where it cannot be had.
    """
    if name not in NAMES:
        raise UsageError(f"unknown kernel {name!r}; known are {', '.join(NAMES)}")
    held = cached(name)
    if held is not None:
        return held
    if not fetch:
        raise UsageError(f"{name} is not in the cache; bring it there with scripts/get-kernel {name}")
    return get_kernel(name, notice)


def cached(name: str) -> KernelFiles | None:
    """Return what the cache holds of this name."""
    manifest = _home(name) / "manifest.json"
    try:
        data = json.loads(manifest.read_text())
        files = KernelFiles(
            data["name"], data["arch"], data["version"], Path(data["image"]), Path(data["vmlinux"]), data["hashes"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if files.image.is_file() and files.vmlinux.is_file() else None


def _home(name: str) -> Path:
    return cache_folder() / "kernels" / name.replace(":", "-")


def get_kernel(name: str, notice: Callable[[str], None]) -> KernelFiles:
    """Bring the newest kernel of this name into the cache, unless it is there already.

    Two at once are safe: the second waits and finds it. What was fetched before an interruption is kept.
    """
    row = NAMES[name]
    for program in ("apt-get", "apt-cache", "dpkg-deb", "tar"):
        if shutil.which(program) is None:
            raise InfrastructureError(f"{program} not found: distribution kernels come as Debian packages")
    if not KEYRING.is_file():
        raise InfrastructureError(f"{KEYRING} not found; apt-get install debian-archive-keyring")
    home = _home(name)
    with _locked(home):
        apt = _Apt(home / "apt", row)
        notice(f"{name}: asking the archive for the newest version")
        apt.run("update")
        packages = apt.newest()
        version = packages[0][1]
        held = cached(name)
        if held is not None and held.version == version:
            notice(f"{name}: {version} is in the cache")
            return held
        free = shutil.disk_usage(home).free
        if free < NEEDED_BYTES:
            raise InfrastructureError(f"{home} has {free >> 20} MiB free; {NEEDED_BYTES >> 20} MiB are needed")
        notice(f"{name}: fetching {', '.join(package for package, _, _ in packages)} {version}")
        debs = apt.download(packages)
        notice(f"{name}: unpacking")
        files = _unpack(row, home, version, debs, {package: digest for package, _, digest in packages})
        notice(f"{name}: {version} is in the cache{drift(files)}")
        return files


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise InfrastructureError(f"cannot write the cache {home}: {error.strerror or error}") from None


def archive_address(sources: str, *, security: bool = False) -> str | None:
    """Return the address of the Debian archive from the text of apt's sources, either format.

    The archive is the one that has the release itself; with `security`, the one that has its fixes.
    """
    found: dict[str, set[str]] = {}
    for block in sources.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            key, colon, value = line.partition(":")
            if colon and key.strip() in ("Types", "URIs", "Suites", "Components", "Enabled"):
                fields[key.strip()] = value.strip()
            words = [word for word in _without_options(line).split() if word]
            if len(words) >= 4 and words[0] == "deb" and "main" in words[3:]:
                found.setdefault(words[1], set()).add(words[2])
        types = fields.get("Types", "").split()
        if "deb" in types and "main" in fields.get("Components", "").split() and fields.get("Enabled") != "no":
            for uri in fields.get("URIs", "").split():
                found.setdefault(uri, set()).update(fields.get("Suites", "").split())
    releases = {"bookworm", "trixie", "forky", "sid", "stable", "testing"}
    wanted = {f"{release}-security" for release in releases} if security else releases
    return next((uri for uri, suites in found.items() if suites & wanted), None)


def _without_options(line: str) -> str:
    """Return a one-line source without its "[signed-by=…]"."""
    before, bracket, rest = line.partition("[")
    return before + rest.partition("]")[2] if bracket else line


def _system_sources() -> str:
    folder = Path("/etc/apt/sources.list.d")
    paths = [Path("/etc/apt/sources.list"), *sorted([*folder.glob("*.list"), *folder.glob("*.sources")])]
    return "\n\n".join(path.read_text(errors="replace") for path in paths if path.is_file())


class _Apt:
    """apt with a configuration of its own."""

    def __init__(self, folder: Path, row: Name) -> None:
        sources = _system_sources()
        address = archive_address(sources)
        if address is None:
            raise InfrastructureError("this machine's apt sources name no Debian archive with its main component")
        fixes = archive_address(sources, security=True)
        self.folder, self.row = folder, row
        for part in ("etc", "state/lists/partial", "cache/archives/partial", "debs"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "state" / "status").touch()
        lines = []
        for suite in row.suites:
            uri = fixes if suite.endswith("-security") else address
            # A machine without security updates has no address for them; then the release itself will do.
            if uri is not None:
                lines.append(f"deb [arch={row.arch} signed-by={KEYRING}] {uri} {suite} main\n")
        (folder / "etc" / "sources.list").write_text("".join(lines))
        settings = {
            "Dir::Etc": f"{folder}/etc/", "Dir::Etc::main": "/dev/null", "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": f"{folder}/etc/sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::trusted": "/dev/null", "Dir::Etc::trustedparts": "/dev/null",
            "Dir::State": f"{folder}/state/", "Dir::State::status": f"{folder}/state/status",
            "Dir::Cache": f"{folder}/cache/", "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "",
            "APT::Architecture": row.arch, "APT::Sandbox::User": "", "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
        }  # fmt: skip
        text = "".join(f'{key} "{value}";\n' for key, value in settings.items())
        (folder / "apt.conf").write_text(f'{text}APT::Architectures {{ "{row.arch}"; }};\n')

    def run(self, *words: str, program: str = "apt-get", cwd: Path | None = None) -> str:
        """Run apt, its progress on our stderr where that is a terminal; return what it printed."""
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(
            [program, *words],
            env=environment, cwd=cwd, timeout=_APT_TIMEOUT_S, check=False, text=True,
            capture_output=True,
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
            why = lines[0] if lines else f"exit status {done.returncode}"
            raise InfrastructureError(f"{program} {words[0]} failed: {why}")
        return done.stdout

    def newest(self) -> list[tuple[str, str, str]]:
        """Return (package, version, SHA-256) of the newest image and what belongs to it."""
        names = self.run("pkgnames", self.row.image, program="apt-cache").split()
        images = [name for name in names if name.endswith(f"-{self.row.flavour}")]
        shown = [row for name in images for row in self._show(name)]
        if not shown:
            raise InfrastructureError(f"the archive has no package {self.row.image}*-{self.row.flavour} any more")
        best = shown[0]
        for row in shown[1:]:
            if subprocess.run(["dpkg", "--compare-versions", row[1], "gt", best[1]], check=False).returncode == 0:
                best = row
        # Since 7.x the image itself is in a package of its own, linux-binary-*.
        others = [f"{best[0]}-dbg", best[0].replace("linux-image-", "linux-binary-")]
        rest = [row for name in others for row in self._show(name) if row[1] == best[1]]
        if not any(name.endswith("-dbg") for name, _, _ in rest):
            raise InfrastructureError(f"the archive has no debug symbols of {best[0]} {best[1]}; try again later")
        return [best, *rest]

    def _show(self, package: str) -> list[tuple[str, str, str]]:
        try:
            text = self.run("show", package, program="apt-cache")
        except InfrastructureError:
            return []
        rows = []
        for block in text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
            if fields.get("Package") == package and "SHA256" in fields:
                rows.append((package, fields["Version"], fields["SHA256"]))
        return rows

    def download(self, packages: list[tuple[str, str, str]]) -> list[Path]:
        """Fetch the packages; apt goes on where it was interrupted and checks every hash."""
        folder = self.folder / "debs"
        for package, version, _ in packages:
            self.run("download", f"{package}={version}", cwd=folder)
        debs = [deb for package, _, _ in packages for deb in folder.glob(f"{package}_*.deb")]
        if len(debs) < len(packages):
            raise InfrastructureError(f"apt-get download left {len(debs)} of {len(packages)} packages in {folder}")
        return debs


def _unpack(row: Name, home: Path, version: str, debs: list[Path], hashes: dict[str, str]) -> KernelFiles:
    """Take the image and the debug file out of the packages, in a folder that appears whole or not at all."""
    safe = "".join(c if c.isalnum() or c in ".+-~" else "_" for c in version)
    final, work = home / safe, home / f"{safe}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    wanted = ["*/vmlinuz*", "*/vmlinux*", "*/boot/config-*"]
    for deb in debs:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as unpacked:
            # tar fails where a package has none of the members; what is missing is seen below.
            subprocess.run(
                ["tar", "-x", "-C", work, "--wildcards", "--no-anchored", *wanted],
                stdin=unpacked.stdout, stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
    found = [path for path in work.rglob("vmlinu*") if path.is_file() and not path.is_symlink()]
    images = [path for path in found if path.name.startswith("vmlinuz")]
    symbols = [path for path in found if path.name.startswith("vmlinux") and "debug" in path.parts]
    if not images or not symbols:
        raise InfrastructureError(f"the packages of {row.name} {version} hold no kernel image or no debug file")
    shutil.rmtree(final, ignore_errors=True)
    work.rename(final)
    files = KernelFiles(
        row.name, row.arch, version,
        final / images[0].relative_to(work), final / symbols[0].relative_to(work), hashes,
    )  # fmt: skip
    manifest = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(files).items()}
    partial = home / "manifest.partial"
    partial.write_text(json.dumps(manifest, indent=1) + "\n")
    partial.rename(home / "manifest.json")
    for deb in debs:
        deb.unlink()
    for path in home.iterdir():
        if path.is_dir() and path.name not in ("apt", final.name):
            shutil.rmtree(path, ignore_errors=True)
    return files


def drift(files: KernelFiles) -> str:
    """Say in half a sentence whether this is the version that was last tested."""
    try:
        tested = json.loads(TESTED.read_text()).get(files.name, {})
    except (OSError, ValueError):
        tested = {}
    if not tested:
        return "; none was tested yet"
    same = tested.get("version") == files.version and tested.get("hashes") == files.hashes
    return "; last tested" if same else f"; last tested was {tested.get('version')}"


def list_kernels() -> str:
    """Return a line for each name: what the cache holds of it."""
    lines = []
    for name in NAMES:
        files = cached(name)
        if files is None:
            lines.append(f"{name:28} not in the cache")
        else:
            size = (files.image.stat().st_size + files.vmlinux.stat().st_size) >> 20
            lines.append(f"{name:28} {files.version}, {size} MiB{drift(files)}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Do what scripts/get-kernel is asked for; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/get-kernel",
        description="Bring a distribution kernel and its debug symbols into the cache, signatures checked.",
        epilog=f"names: {', '.join(NAMES)}",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="suite, flavour and architecture")
    parser.add_argument("--cached", action="store_true", help="be content with what the cache holds, however old")
    parser.add_argument("--list", action="store_true", help="show the known names and what the cache holds")
    options = parser.parse_args(argv)
    if options.list or options.name is None:
        print(list_kernels())
        return 0
    try:
        if options.name not in NAMES:
            raise UsageError(f"unknown kernel {options.name!r}; known are {', '.join(NAMES)}")

        def tell(text: str) -> None:
            print(f"get-kernel: {text}", file=sys.stderr)

        files = find_kernel(options.name, notice=tell) if options.cached else get_kernel(options.name, tell)
    except LmbError as error:
        print(f"get-kernel: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 4
    print(f"image={files.image}\nvmlinux={files.vmlinux}\nversion={files.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

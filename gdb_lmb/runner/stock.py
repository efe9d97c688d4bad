# SPDX-License-Identifier: GPL-2.0-or-later
"""Distribution kernels and their debug symbols, as signed packages, in the cache.

apt fetches and checks them with a configuration of its own inside the cache: the system's is not touched,
but its sources say which archive to ask. The archive drops old versions, so the newest of a name is
taken; what it was is recorded beside the files, and `stock-kernels.json` says which one was last tested.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from gdb_lmb.errors import InfrastructureError, LmbError, UsageError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TESTED = Path(__file__).with_name("stock-kernels.json")
NEEDED_BYTES = 3 << 30
"""Free disk that a fetch wants: packages, and the unpacked debug file beside them."""

_APT_TIMEOUT_S = 3600
_PROGRESS_STEP_PERCENT = 10
_WANTED = re.compile(
    r"boot/(vmlinuz|config)-[^/]+|(usr/)?lib/modules/[^/]+/vmlinuz|usr/lib/debug/(boot/vmlinux-[^/]+|lib/modules/[^/]+/vmlinux)"
)
# How this machine reaches the archive goes with us; what apt fetches, and how it checks it, does not.
_CARRIED = re.compile(
    r"Acquire::(https?|ftp|tor|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date|Max-)", re.IGNORECASE
)
_RELEASES = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "sid"} | {"oldoldstable", "oldstable", "stable", "testing", "unstable"}
)


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
    # Absolute, because apt runs in another folder and the manifest outlives this process.
    return Path(os.environ.get("GDB_LMB_CACHE") or Path.home() / ".cache" / "gdb-lmb").absolute()


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
    for program in ("apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-deb"):
        if shutil.which(program) is None:
            raise InfrastructureError(f"{program} not found: distribution kernels come as Debian packages")
    if not KEYRING.is_file():
        raise InfrastructureError(f"{KEYRING} not found; apt-get install debian-archive-keyring")
    home = _home(name)
    with _locked(home, lambda: notice(f"{name}: waiting for another get-kernel")) as lock:
        apt = _Apt(home / "apt", row, lock, lambda text: notice(f"{name}: {text}"))
        notice(f"{name}: asking the archive for the newest version")
        apt.run("update")
        packages = apt.newest()
        version = packages[0][1]
        held = cached(name)
        if held is not None and held.version == version:
            notice(f"{name}: {version} is in the cache{drift(held)}")
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
def _locked(home: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold this name's lock; yields its descriptor, which apt inherits: it may outlive a killed parent."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()
    except OSError as error:
        raise InfrastructureError(f"cannot write the cache {home}: {error.strerror or error}") from None


def archive_address(sources: str, *, security: bool = False) -> str | None:
    """Return the address of the Debian archive from the text of apt's sources, either format.

    The archive is the one that has the release itself; with `security`, the one that has its fixes. Others
    call their suites the same, so one signed with Debian's keyring comes first, then one called "debian".
    """
    wanted = {f"{release}-security" for release in _RELEASES} if security else _RELEASES
    found = [
        (KEYRING.name not in signed_by, "/debian" not in uri, place, uri)
        for place, (uri, suites, signed_by) in enumerate(_read_sources(sources))
        if wanted & suites
    ]
    return min(found)[3] if found else None


def _read_sources(sources: str) -> Iterator[tuple[str, set[str], str]]:
    """Yield (address, suites, what it is signed by) of each enabled binary source with the main component."""
    for line in sources.splitlines():
        one = re.fullmatch(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)(?:#.*)?", line.strip())
        if one and "main" in one[4].split():
            yield one[2], {one[3]}, one[1] or ""
    plain = "\n".join(line.rstrip() for line in sources.splitlines() if not line.startswith("#"))
    for block in plain.split("\n\n"):
        folded = re.findall(r"^([A-Za-z-]+):(.*(?:\n[ \t].*)*)", block, re.MULTILINE)
        fields = {key.lower(): value.split() for key, value in folded}
        enabled = [word.lower() for word in fields.get("enabled", [])] not in (["no"], ["false"], ["0"])
        if enabled and "deb" in fields.get("types", []) and "main" in fields.get("components", []):
            for uri in fields.get("uris", []):
                yield uri, set(fields.get("suites", [])), " ".join(fields.get("signed-by", []))


def _system_sources() -> str:
    folder = Path("/etc/apt/sources.list.d")
    paths = [Path("/etc/apt/sources.list"), *sorted([*folder.glob("*.list"), *folder.glob("*.sources")])]
    return "\n\n".join(path.read_text(errors="replace") for path in paths if path.is_file())


class _Apt:
    """apt with a configuration of its own."""

    def __init__(self, folder: Path, row: Name, lock: int, notice: Callable[[str], None]) -> None:
        sources = _system_sources()
        address = archive_address(sources)
        if address is None:
            raise InfrastructureError("this machine's apt sources name no Debian archive with its main component")
        fixes = archive_address(sources, security=True)
        self.folder, self.row, self.lock, self.notice = folder, row, lock, notice
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
            "Dir::Etc::netrc": "/etc/apt/auth.conf", "Dir::Etc::netrcparts": "/etc/apt/auth.conf.d",
            "Acquire::Languages": "none", "Acquire::GzipIndexes": "true",
        }  # fmt: skip
        text = "".join(f'{key} "{value}";\n' for key, value in settings.items())
        system = subprocess.run(["apt-config", "dump"], check=False, text=True, capture_output=True).stdout
        carried = "".join(f"{line}\n" for line in system.splitlines() if _CARRIED.match(line))
        config = folder / "apt.conf"
        config.touch()
        config.chmod(0o600)  # a proxy's address may hold a password
        config.write_text(f'{carried}{text}APT::Architectures {{ "{row.arch}"; }};\n')

    def run(self, *words: str, program: str = "apt-get", cwd: Path | None = None, what: str = "") -> str:
        """Run apt and return what it printed; with `what`, tell how far it is."""
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            reader, writer = os.pipe()
            with os.fdopen(reader) as status:
                try:
                    process = subprocess.Popen(
                        [program, *words, *(["-o", f"APT::Status-Fd={writer}"] if what else [])],
                        env=environment, cwd=cwd, stdout=out, stderr=err, pass_fds=(self.lock, writer),
                    )  # fmt: skip
                finally:
                    os.close(writer)
                deadline = threading.Timer(_APT_TIMEOUT_S, process.kill)
                deadline.start()
                try:
                    with process:
                        self._follow(status, what)
                finally:
                    deadline.cancel()
            out.seek(0)
            err.seek(0)
            if process.returncode:
                lines = [line for line in err.read().splitlines() if line.startswith(("E:", "W:"))]
                why = lines[0] if lines else f"exit status {process.returncode}"
                raise InfrastructureError(f"{program} {words[0]} failed: {why}")
            return out.read()

    def _follow(self, status: TextIO, what: str) -> None:
        """Tell about every tenth of a download, from apt's "dlstatus:NUMBER:PERCENT:TEXT" lines."""
        told = 0
        for line in status:
            words = line.split(":")
            percent = float(words[2]) if len(words) > 3 and words[0] == "dlstatus" else 0.0
            if percent >= told + _PROGRESS_STEP_PERCENT:
                told = int(percent) // _PROGRESS_STEP_PERCENT * _PROGRESS_STEP_PERCENT
                self.notice(f"{what}: {told} %")

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
        """Fetch the packages; apt goes on where it was interrupted, and every hash is checked here.

        apt itself takes a file of the right size for the right one.
        """
        # A folder for each version: the same package of another version, half fetched, must not mix in.
        folder = self.folder / "debs" / _safe(packages[0][1])
        for old in (self.folder / "debs").iterdir():
            if old != folder:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        folder.mkdir(exist_ok=True)
        return [self._download_one(folder, *package) for package in packages]

    def _download_one(self, folder: Path, package: str, version: str, digest: str) -> Path:
        for _ in range(2):
            self.run("download", f"{package}={version}", cwd=folder, what=package)
            for deb in folder.glob(f"{package}_*.deb"):
                if _sha256(deb) == digest:
                    return deb
                self.notice(f"{deb.name} is damaged; fetching it anew")
                deb.unlink()
        raise InfrastructureError(f"{package} {version} does not have the SHA-256 that the archive signed for")


def _safe(version: str) -> str:
    return "".join(c if c.isalnum() or c in ".+-~" else "_" for c in version)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _extract(deb: Path, work: Path) -> None:
    """Take the wanted members out of one package.

    Raises: InfrastructureError unless the package could be read to its end.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as unpacked:
        assert unpacked.stdout is not None
        try:
            with tarfile.open(fileobj=unpacked.stdout, mode="r|", bufsize=1 << 20) as members:
                for member in members:
                    path = member.name.removeprefix("./")
                    content = members.extractfile(member) if member.isfile() and _WANTED.fullmatch(path) else None
                    if content is not None:
                        (work / path).parent.mkdir(parents=True, exist_ok=True)
                        with (work / path).open("wb") as target:
                            shutil.copyfileobj(content, target, 1 << 20)
            # What follows the last member: dpkg-deb must not die of a closed pipe.
            while unpacked.stdout.read(1 << 20):
                pass
            whole = unpacked.wait() == 0
        except tarfile.TarError:
            whole = False
        finally:
            unpacked.kill()
    if not whole:
        raise InfrastructureError(f"{deb.name} cannot be unpacked to its end")


def _unpack(row: Name, home: Path, version: str, debs: list[Path], hashes: dict[str, str]) -> KernelFiles:
    """Take the image and the debug file out of the packages, in a folder that appears whole or not at all."""
    safe = _safe(version)
    final, work = home / safe, home / f"{safe}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for deb in debs:
        _extract(deb, work)
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

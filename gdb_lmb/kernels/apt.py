# SPDX-License-Identifier: GPL-2.0-or-later
"""apt with a configuration of its own: the machine's archive, the machine's proxy, nothing else of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from debian.deb822 import Deb822
from debian.debian_support import Version

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import human_size
from gdb_lmb.kernels.cache import Name, safe_name
from gdb_lmb.report.progress import PROGRESS

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT_TIMEOUT_S = 3600
# How this machine reaches the archive goes with us; what apt fetches, and how it checks it, does not.
_CARRIED = re.compile(
    r"Acquire::(https?|ftp|tor|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date|Max-)", re.IGNORECASE
)
_RELEASES = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "sid"} | {"oldoldstable", "oldstable", "stable", "testing", "unstable"}
)


# (package, version, SHA-256)
Package = tuple[str, str, str]


class Sizes(NamedTuple):
    """Bytes of a package as it is fetched, and of what it unpacks to, None where the archive's index does not tell."""

    fetched: int | None = None
    unpacked: int | None = None


def archive_address(sources: str, *, security: bool = False) -> str | None:
    """Return the address of the Debian archive from the text of apt's sources, either format.

    The archive is the one that has the release itself; with `security`, the one that has its fixes. Others
    call their suites the same, so one signed with Debian's keyring comes first, then one called "debian".
    """
    wanted = {f"{release}-security" for release in _RELEASES} if security else _RELEASES
    found = [
        (signed_by is None or KEYRING.name not in signed_by, "/debian" not in uri, place, uri)
        for place, (uri, suites, signed_by) in enumerate(_read_sources(sources))
        if wanted & suites
    ]
    return min(found)[3] if found else None


def _read_sources(sources: str) -> Iterator[tuple[str, set[str], str | None]]:
    """Yield (address, suites, what it is signed by if that is told) of each enabled binary source of main."""
    for line in sources.splitlines():
        one = re.fullmatch(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)(?:#.*)?", line.strip())
        if one and "main" in one[4].split():
            yield one[2], {one[3]}, one[1]
    for block in re.split(r"\n\s*\n", sources):
        fields = Deb822(block.splitlines())
        enabled = fields.get("Enabled", "yes").lower() not in ("no", "false", "0")
        lists = {name: fields[name].split() if name in fields else [] for name in _LISTS}
        if enabled and "deb" in lists["Types"] and "main" in lists["Components"]:
            for uri in lists["URIs"]:
                yield uri, set(lists["Suites"]), fields.get("Signed-By")


def system_archive(*, security: bool = False) -> str | None:
    """Return the address of the Debian archive that this machine's apt uses, or that of its security updates."""
    folder = Path("/etc/apt/sources.list.d")
    paths = [Path("/etc/apt/sources.list"), *sorted([*folder.glob("*.list"), *folder.glob("*.sources")])]
    texts = [path.read_text(errors="replace") for path in paths if path.is_file()]
    return archive_address("\n\n".join(texts), security=security)


def system_settings() -> str:
    """Return what this machine's apt is told about reaching an archive, in the format of its configuration files."""
    system = subprocess.run(["apt-config", "dump"], check=False, text=True, capture_output=True).stdout
    return "".join(f"{line}\n" for line in system.splitlines() if _CARRIED.match(line))


def require_apt() -> None:
    """Check that apt and what belongs to it are there. Raises: InfrastructureError naming what is not."""
    for program in ("apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-deb"):
        if shutil.which(program) is None:
            raise InfrastructureError(f"{program} not found: distribution kernels come as Debian packages")
    if not KEYRING.is_file():
        raise InfrastructureError(f"{KEYRING} not found; apt-get install debian-archive-keyring")


_LISTS = ("Types", "Components", "URIs", "Suites")


def _sum(numbers: Iterable[int | None]) -> int | None:
    # None where one of them is not known.
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if len(known) == len(found) else None


class Apt:
    """apt with a configuration of its own."""

    def __init__(self, folder: Path, row: Name, lock: int, notice: Callable[[str], None]) -> None:
        address = system_archive()
        if address is None:
            raise InfrastructureError("this machine's apt sources name no Debian archive with its main component")
        fixes = system_archive(security=True)
        self.folder, self.row, self.lock, self.notice = folder, row, lock, notice
        self.sizes: dict[tuple[str, str], Sizes] = {}
        for part in ("etc", "state/lists/partial", "cache/archives/partial", "debs"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "state" / "status").touch()
        uris = [(suite, fixes if suite.endswith("-security") else address) for suite in row.suites]
        # A machine without security updates has no address for them; then the release itself will do.
        lines = [f"deb [arch={row.arch} signed-by={KEYRING}] {uri} {suite} main\n" for suite, uri in uris if uri]
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
        config = folder / "apt.conf"
        config.touch()
        config.chmod(0o600)  # a proxy's address may hold a password
        config.write_text(f'{system_settings()}{text}APT::Architectures {{ "{row.arch}"; }};\n')

    def run(
        self,
        *words: str,
        program: str = "apt-get",
        cwd: Path | None = None,
        told: Callable[[float], None] | None = None,
    ) -> str:
        """Run apt and return what it printed; `told` is called with the percentage of a download."""
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        printed = []
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [program, *words, *(["-o", "APT::Status-Fd=1"] if told else [])], env=environment, cwd=cwd,
                stdout=subprocess.PIPE, stderr=errors, text=True, pass_fds=(self.lock,),
            )  # fmt: skip
            deadline = threading.Timer(_APT_TIMEOUT_S, process.kill)
            deadline.start()
            try:
                with process:
                    for line in process.stdout or ():
                        printed.append(line)
                        percent = re.match(r"dlstatus:[^:]*:([\d.]+):", line)
                        if told and percent:
                            told(float(percent[1]))
            finally:
                deadline.cancel()
            if process.returncode:
                errors.seek(0)
                lines = [line for line in errors.read().splitlines() if line.startswith(("E:", "W:"))]
                why = lines[0] if lines else f"exit status {process.returncode}"
                raise InfrastructureError(f"{program} {words[0]} failed: {why}")
        return "".join(printed)

    def newest(self) -> list[Package]:
        """Return (package, version, SHA-256) of the newest image that has debug symbols, and what belongs to it.

        The archive may have an image before it has its symbols.
        """
        shown = self._newest_first(".*-" + re.escape(self.row.flavour), f"{self.row.image}*-{self.row.flavour}")
        for image in shown:
            packages = self._complete(image)
            if packages:
                if image is not shown[0]:
                    self.notice(f"{shown[0][0]} {shown[0][1]} has no debug symbols yet: taking {image[1]}")
                return packages
        raise InfrastructureError(f"the archive has no debug symbols of {shown[0][0]}; try again later")

    def newest_source(self) -> Package:
        """Return (package, version, SHA-256) of the newest package of this name, or that goes on after its dot."""
        # linux-source-6.1 is not the beginning of linux-source-6.12, but linux-source-7. is that of every 7.x.
        pattern = re.escape(self.row.image) + (r"\d+" if self.row.image.endswith(".") else "")
        return self._newest_first(pattern, f"{self.row.image}*")[0]

    def _newest_first(self, pattern: str, what: str) -> list[Package]:
        """Return all versions of the packages whose names match. Raises: `InfrastructureError` if there is none."""
        names = self.run("pkgnames", self.row.image, program="apt-cache").split()
        shown = [row for name in names if re.fullmatch(pattern, name) for row in self._show(name)]
        if not shown:
            raise InfrastructureError(f"the archive has no package {what} any more")
        return sorted(shown, key=lambda row: Version(row[1]), reverse=True)

    def _complete(self, image: Package) -> list[Package]:
        # Nothing where a part is missing.
        name, version, _ = image
        packages = [image, *(row for row in self._show(f"{name}-dbg") if row[1] == version)][:2]
        # Since 7.x the image itself is in a package of its own.
        binaries = self._show(name.replace("linux-image-", "linux-binary-"))
        packages += [row for row in binaries if row[1] == version][:1]
        return packages if len(packages) == (3 if binaries else 2) else []

    def _show(self, package: str) -> list[Package]:
        try:
            text = self.run("show", package, program="apt-cache")
        except InfrastructureError:
            return []
        rows = []
        for fields in Deb822.iter_paragraphs(text.splitlines(), use_apt_pkg=False):
            if fields.get("Package") == package and "SHA256" in fields:
                rows.append((package, fields["Version"], fields["SHA256"]))
                sizes = map(fields.get, ("Size", "Installed-Size"))
                fetched, kib = (int(size) if size is not None and size.isdigit() else None for size in sizes)
                self.sizes[package, fields["Version"]] = Sizes(fetched, None if kib is None else kib << 10)
        return rows

    def download(self, packages: list[Package]) -> list[Path]:
        """Fetch the packages; apt goes on where it was interrupted, and every hash is checked here.

        apt itself takes a file of the right size for the right one.
        """
        # A folder for each version: the same package of another version, half fetched, must not mix in.
        folder = self.folder / "debs" / safe_name(packages[0][1])
        for old in (self.folder / "debs").iterdir():
            if old != folder:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        folder.mkdir(exist_ok=True)
        found = [self._download_one(folder, packages, at) for at in range(len(packages))]
        PROGRESS.clear()
        return found

    def total(self, packages: list[Package]) -> Sizes:
        """Return the sizes of packages together."""
        known = [self.sizes.get((package, version), Sizes()) for package, version, _ in packages]
        return Sizes(_sum(sizes.fetched for sizes in known), _sum(sizes.unpacked for sizes in known))

    def kept(self) -> int:
        """Return how many bytes of packages are here, whole or in part, for the next download to go on from."""
        return sum(path.stat().st_size for path in (self.folder / "debs").rglob("*") if path.is_file())

    def _download_one(self, folder: Path, packages: list[Package], at: int) -> Path:
        package, version, digest = packages[at]
        before, size, total = (self.total(part).fetched for part in (packages[:at], [packages[at]], packages))

        def told(percent: float) -> None:
            how_far = f"{percent:.0f} %"
            if before is not None and size is not None and total is not None:
                how_far = f"{human_size(before + int(size * percent / 100))} of {human_size(total)}"
            PROGRESS.show(f"{self.row.name}: fetching {package}: {how_far}")

        for _ in range(2):
            self.run("download", f"{package}={version}", cwd=folder, told=told)
            for deb in folder.glob(f"{package}_*.deb"):
                if _sha256(deb) == digest:
                    return deb
                self.notice(f"{deb.name} is damaged; fetching it anew")
                deb.unlink()
        raise InfrastructureError(f"{package} {version} does not have the SHA-256 that the archive signed for")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

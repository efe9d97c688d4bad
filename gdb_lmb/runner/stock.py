# SPDX-License-Identifier: GPL-2.0-or-later
"""Distribution kernels and their debug symbols, as signed packages, in the cache.

apt fetches and checks them with a configuration of its own inside the cache: the system's is not touched,
but its sources say which archive to ask. The archive drops old versions, so the newest of a name is
taken; what it was is recorded beside the files, and `stock-kernels.json` says which one was last tested.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from gdb_lmb.errors import InfrastructureError, LmbError, UsageError
from gdb_lmb.runner import sources
from gdb_lmb.runner.apt import Apt, Name, require_apt, safe_name
from gdb_lmb.runner.cache import cache_folder, keep, locked, remove_unless_used, require_space
from gdb_lmb.runner.package import read_package, write_file

TESTED = Path(__file__).with_name("stock-kernels.json")
NEEDED_BYTES = 3 << 30
"""Free disk that a fetch wants: packages, and the unpacked debug file beside them."""

_WANTED = re.compile(
    r"boot/(vmlinuz|config)-[^/]+|(usr/)?lib/modules/[^/]+/vmlinuz|usr/lib/debug/(boot/vmlinux-[^/]+|lib/modules/[^/]+/vmlinux)"
)

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


def is_name(text: str) -> bool:
    """Tell whether `text` is meant as a kernel's name and not as a file."""
    return text.startswith("debian:")


def row_of(name: str) -> Name:
    """Return the row of this kernel. Raises: UsageError naming those there are."""
    if name not in NAMES:
        raise UsageError(f"unknown kernel {name!r}; known are {', '.join(NAMES)}")
    return NAMES[name]


def find_kernel(name: str, *, fetch: bool = True, notice: Callable[[str], None] = lambda _: None) -> KernelFiles:
    """Return the kernel of this name, brought into the cache first if it is not there.

    Its files stay for as long as this process lives, whatever else comes into the cache meanwhile.
    Raises: UsageError for an unknown name, or one not in the cache where `fetch` is False;
    InfrastructureError where it cannot be had.
    """
    row_of(name)
    while True:
        files = cached(name)
        if files is None:
            if not fetch:
                raise UsageError(f"{name} is not in the cache; bring it there with scripts/get-kernel {name}")
            files = get_kernel(name, notice)
        if _keep(files):
            return files


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


def _keep(files: KernelFiles) -> bool:
    """See that no other process removes the files; tell whether they are still there."""
    return keep(_folder(files.name, files.version), lambda: files.image.is_file() and files.vmlinux.is_file())


def _folder(name: str, version: str) -> Path:
    return _home(name) / safe_name(version)


def _home(name: str) -> Path:
    return cache_folder() / "kernels" / name.replace(":", "-")


def get_kernel(name: str, notice: Callable[[str], None]) -> KernelFiles:
    """Bring the newest kernel of this name into the cache, unless it is there already.

    Two at once are safe: the second waits and finds it. What was fetched before an interruption is kept.
    Where the archive cannot give the newest one, that of the cache will do.
    """
    try:
        return _fetch(NAMES[name], notice)
    except InfrastructureError as error:
        held = cached(name)
        if held is None:
            raise
        notice(f"{name}: {error}")
        notice(f"{name}: keeping {held.version}, which is in the cache{drift(held)}")
        return held


def _fetch(row: Name, notice: Callable[[str], None]) -> KernelFiles:
    """Ask the archive, and fetch what the cache has not."""
    name = row.name
    require_apt()
    home = _home(name)
    with locked(home, lambda: notice(f"{name}: waiting for another get-kernel")) as lock:
        apt = Apt(home / "apt", row, lock, lambda text: notice(f"{name}: {text}"))
        notice(f"{name}: asking the archive for the newest version")
        apt.run("update")
        packages = apt.newest()
        version = packages[0][1]
        held = cached(name)
        if held is not None and held.version == version:
            notice(f"{name}: {version} is in the cache{drift(held)}")
            return held
        require_space(home, NEEDED_BYTES)
        notice(f"{name}: fetching {', '.join(package for package, _, _ in packages)} {version}")
        debs = apt.download(packages)
        notice(f"{name}: unpacking")
        files = _unpack(row, home, version, debs, {package: digest for package, _, digest in packages})
        notice(f"{name}: {version} is in the cache{drift(files)}")
        return files


def _extract(deb: Path, work: Path) -> None:
    """Take the wanted members out of one package, which may hold none of them."""

    def take(path: str, content: IO[bytes]) -> bool:
        if _WANTED.fullmatch(path):
            write_file(work / path, content)
        return True

    read_package(deb, take)


def _unpack(row: Name, home: Path, version: str, debs: list[Path], hashes: dict[str, str]) -> KernelFiles:
    """Take the image and the debug file out of the packages, in a folder that appears whole or not at all."""
    final = _folder(row.name, version)
    work = final.with_name(f"{final.name}.partial")
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
            remove_unless_used(path)
    return files


def drift(files: KernelFiles | sources.SourceFiles) -> str:
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
    for name in sources.SOURCES:
        source = sources.cached(name)
        lines.append(f"{name:28} {source.version}{drift(source)}" if source else f"{name:28} not in the cache")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Do what scripts/get-kernel is asked for; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/get-kernel",
        description="Bring a distribution kernel and its debug symbols, or what builds its memblock in user space, "
        "into the cache, signatures checked.",
        epilog=f"names: {', '.join([*NAMES, *sources.SOURCES])}",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="suite, flavour and architecture")
    parser.add_argument("--cached", action="store_true", help="be content with what the cache holds, however old")
    parser.add_argument("--list", action="store_true", help="show the known names and what the cache holds")
    options = parser.parse_args(argv)
    if options.list or options.name is None:
        print(list_kernels())
        return 0
    try:

        def tell(text: str) -> None:
            print(f"get-kernel: {text}", file=sys.stderr)

        if options.name in sources.SOURCES:
            get = sources.find_source if options.cached else sources.get_source
            source = get(options.name, notice=tell)
            print(f"source={source.tree}\nversion={source.version}")
            return 0
        row_of(options.name)
        files = find_kernel(options.name, notice=tell) if options.cached else get_kernel(options.name, tell)
    except LmbError as error:
        print(f"get-kernel: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 4
    print(f"image={files.image}\nvmlinux={files.vmlinux}\nversion={files.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""The package: what a source distribution and a wheel hold, that they are the same at every build, and clean."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from fixture_kernels import vmlinux

import gdb_lmb

ROOT = Path(__file__).resolve().parent.parent.parent
TOP = (".ci", ".gitignore", "LICENSE", "README.md", "gdb_lmb", "pyproject.toml", "scripts", "tests", "vmlinux-fixtures")
MADE = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".hypothesis")
BUILD = "import sys; from hatchling import build; print(build.build_sdist(sys.argv[1]), build.build_wheel(sys.argv[1]))"


def checkout(folder: Path) -> Path:
    """Copy what a checkout holds, without what was made in it."""
    folder.mkdir(parents=True)
    for name in TOP:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=MADE)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def built(source: Path, out: Path, *, umask: int = 0o022, **environment: str) -> tuple[Path, Path]:
    """Build both in the way that pip and `python -m build` do; return the sdist and the wheel."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, out], cwd=source, text=True, capture_output=True, timeout=120, check=True,
        umask=umask, env={"PATH": os.environ["PATH"], **environment},
    )  # fmt: skip
    sdist, wheel = done.stdout.split()
    return out / sdist, out / wheel


def extracted(sdist: Path, folder: Path) -> Path:
    """Unpack a source distribution; return its only folder."""
    subprocess.run(["tar", "xzf", sdist, "-C", folder], check=True, timeout=60)
    return folder / f"gdb_lmb-{gdb_lmb.__version__}"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("first")
    return built(checkout(folder / "src"), folder / "out")


def digests(files: tuple[Path, Path]) -> list[tuple[str, str]]:
    return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


def test_every_build_gives_the_same_bytes(first: tuple[Path, Path], tmp_path: Path) -> None:
    # Another folder, umask, time zone, language and hash seed; every file touched, and some leftovers of use.
    other = checkout(tmp_path / "an other folder" / "src")
    for path in sorted(other.rglob("*"), reverse=True):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(path.stat().st_mode & ~0o066)
    (other / "vmlinux-fixtures" / "build").mkdir()
    (other / "vmlinux-fixtures" / "build" / "vmlinux").write_text("made")
    (other / "gdb_lmb" / "__pycache__").mkdir()
    (other / "gdb_lmb" / "__pycache__" / "x.pyc").write_text("made")
    there = built(other, tmp_path / "out", umask=0o077, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="1")
    assert digests(there) == digests(first)
    unpacked = extracted(there[0], tmp_path)
    assert digests(built(unpacked, tmp_path / "again")) == digests(first)
    # SOURCE_DATE_EPOCH is taken, and then decides alone.
    dated = [built(source, tmp_path / f"dated-{at}", SOURCE_DATE_EPOCH="1700000000")
             for at, source in enumerate((other, unpacked))]  # fmt: skip
    assert digests(dated[0]) == digests(dated[1]) != digests(first)


def test_the_checkout_stays_clean(tmp_path: Path) -> None:
    source = checkout(tmp_path / "src")
    before = {path.relative_to(source) for path in source.rglob("*")}
    for words in (["install"], ["wheel", "--wheel-dir", str(tmp_path / "wheel")]):
        target = ["--target", str(tmp_path / "site")] if words == ["install"] else []
        subprocess.run(
            [sys.executable, "-m", "pip", *words, *target, "--quiet", "--no-deps", "--no-build-isolation",
             "--disable-pip-version-check", source],
            check=True, timeout=120,
        )  # fmt: skip
    assert {path.relative_to(source) for path in source.rglob("*")} == before
    assert (tmp_path / "site" / "gdb_lmb" / "py.typed").exists()


def test_what_the_wheel_says(first: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(first[1]) as wheel:
        names = wheel.namelist()
        info = f"gdb_lmb-{gdb_lmb.__version__}.dist-info"
        metadata = HeaderParser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["License-Expression"] == "GPL-2.0-or-later" and metadata["License"] is None
    assert metadata.get_all("License-File") == ["LICENSE"] and f"{info}/licenses/LICENSE" in names
    assert all(line.partition(", ")[2].startswith("https://") for line in metadata.get_all("Project-URL"))
    for data in (
        "py.typed",
        "CHANGELOG.md",
        "docs/tutorial.md",
        "docs/commands.md",
        "kernels/stock-kernels.json",
        "commands/load.py",
        "__main__.py",
    ):
        assert f"gdb_lmb/{data}" in names
    assert {name.partition("/")[0] for name in names} == {"gdb_lmb", info}
    schemas = {f"gdb_lmb/schemas/{path.name}" for path in (ROOT / "gdb_lmb" / "schemas").iterdir()}
    assert schemas and schemas <= set(names)
    python = {f"gdb_lmb/{path.relative_to(ROOT / 'gdb_lmb')}" for path in (ROOT / "gdb_lmb").rglob("*.py")}
    assert python <= set(names)


def test_the_tests_of_an_sdist_run_where_it_is_unpacked(first: tuple[Path, Path], tmp_path: Path) -> None:
    root = extracted(first[0], tmp_path)
    for folder in ("gdb_lmb", "scripts", "tests", "vmlinux-fixtures"):
        here = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
        there = {path.relative_to(root) for path in (root / folder).rglob("*") if path.is_file()}
        made = {path for path in here if {"build", "__pycache__", ".hypothesis"} & set(path.parts)}
        assert there == here - made
        assert all(os.access(root / path, os.X_OK) == os.access(ROOT / path, os.X_OK) for path in there)
    # The kernel of the fixtures is built there, and what is tested is what lies there.
    (root / "tests" / "test_where.py").write_text(
        "import gdb_lmb\n\n\ndef test_where() -> None:\n    assert gdb_lmb.__file__ == "
        f"{str(root / 'gdb_lmb' / '__init__.py')!r}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_where.py",
         "tests/core/test_numbers.py", "tests/design/test_imports.py"],
        cwd=root, text=True, capture_output=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    subprocess.run(["make", "-s", "-C", root / "vmlinux-fixtures", "kernels"], check=True, timeout=240)
    assert (root / vmlinux().relative_to(ROOT)).exists()


def test_the_module_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "gdb_lmb", "--version"], text=True, capture_output=True, check=True)
    assert done.stdout == f"gdb-lmb {gdb_lmb.__version__}\n"
    done = subprocess.run(
        [sys.executable, "-m", "gdb_lmb", "replay", "/nowhere"], text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "gdb-lmb: cannot read /nowhere: No such file or directory\n")


def test_the_changes_of_this_version_are_told() -> None:
    assert f"\n## {gdb_lmb.__version__}" in (ROOT / "gdb_lmb" / "CHANGELOG.md").read_text()

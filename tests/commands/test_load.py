# SPDX-License-Identifier: GPL-2.0-or-later
"""Loading the commands into a plain gdb: no target, no symbols, twice, and nothing of the user's changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.gdb_words import python_failed
from tests.helpers.plain_gdb import LOAD, ROOT, gdb


def test_loads_with_nothing_and_says_what_is_missing() -> None:
    output = gdb(f"source {LOAD}", "lmb-check")
    assert "lmb-check: there is no guest: connect with `target remote" in output
    assert not python_failed(output)


def test_sourcing_twice_is_harmless() -> None:
    output = gdb(f"source {LOAD}", f"source {LOAD}", "help lmb-dump")
    assert output.count("Usage: lmb-dump") == 1 and "rror" not in output.replace("--", "")


def test_path_and_settings_stay() -> None:
    show = "python import sys, json; print('PATH', json.dumps(sys.path))"
    settings = "python print('SET', [gdb.parameter(n) for n in ('pagination', 'confirm', 'height', 'width', 'endian')])"
    names = "python print('NAMES', sorted(n for n in globals() if not n.startswith('__') and n not in ('sys', 'json')))"
    output = gdb(show, settings, names, f"source {LOAD}", show, settings, names)
    before, after = (json.loads(line[5:]) for line in output.splitlines() if line.startswith("PATH"))
    assert after[: len(before)] == before and str(ROOT) in after[len(before) :]
    assert len({line for line in output.splitlines() if line.startswith("SET")}) == 1
    assert len({line for line in output.splitlines() if line.startswith("NAMES")}) == 1


def test_program_without_an_allocator(tmp_path: Path) -> None:
    source = tmp_path / "none.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-g", "-o", tmp_path / "none", source], check=True)
    output = gdb(f"source {LOAD}", f"file {tmp_path / 'none'}", "break main", "run", "lmb-dump")
    assert "none has no LMB (no variable `lmb`)" in output and not python_failed(output)


def test_program_without_debug_information(tmp_path: Path) -> None:
    source = tmp_path / "bare.c"
    source.write_text("long lmb[40]; int main(void) { return lmb[3]; }\n")
    subprocess.run(["gcc", "-o", tmp_path / "bare", source], check=True)
    output = gdb(f"source {LOAD}", f"file {tmp_path / 'bare'}", "break main", "run", "lmb-dump")
    assert "has an LMB but no debug information of it: build it with -g" in output and not python_failed(output)


def test_another_structure_of_that_name(tmp_path: Path) -> None:
    source = tmp_path / "other.c"
    source.write_text(
        "struct lmb_region { long base; }; struct lmb_block { long base; };\n"
        "struct lmb { struct lmb_region r; struct lmb_block b; long memory; } lmb; int main(void) { return 0; }\n"
    )
    subprocess.run(["gcc", "-g", "-o", tmp_path / "other", source], check=True)
    output = gdb(f"source {LOAD}", f"file {tmp_path / 'other'}", "break main", "run", "lmb-check")
    assert "struct lmb has no member" in output and not python_failed(output)


def test_installed_package_loads(tmp_path: Path) -> None:
    # A copy of what git tracks, so that building leaves nothing in the checkout.
    shutil.copytree(ROOT / "gdb_lmb", tmp_path / "src" / "gdb_lmb", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "src")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--target", tmp_path / "site", tmp_path / "src"],
        check=True, timeout=120,
    )  # fmt: skip
    installed = tmp_path / "site" / "gdb_lmb"
    assert (tmp_path / "site" / "bin" / "gdb-lmb").exists()
    # From another folder, so that nothing of the checkout is found.
    show = "python import gdb_lmb; print(gdb_lmb.__file__)"
    output = gdb(f"source {installed / 'commands' / 'load.py'}", show, "help lmb-check", cwd=tmp_path)
    assert str(installed) in output and "Usage: lmb-check" in output


def test_import_is_lazy() -> None:
    # What a gdb start-up must not pay for.
    output = gdb(
        f"source {LOAD}", "python import sys; print('HAS', 'tabulate' in sys.modules, 'hypothesis' in sys.modules)"
    )
    assert "HAS False False" in output


@pytest.mark.parametrize("name", ["lmb-dump", "lmb-check", "lmb-verdict"])
def test_help_without_a_target(name: str) -> None:
    assert f"Usage: {name}" in gdb(f"source {LOAD}", f"help {name}")


NAMES = ("attach", "check", "dump", "free", "trace", "verdict", "whatif", "who")


def test_lmb_alone_and_help_lmb_list_every_command() -> None:
    output = gdb(f"source {LOAD}", "echo ONE\\n", "lmb", "echo TWO\\n", "help lmb", "echo THREE\\n", "apropos lmb")
    alone, helped, found = (output.split(mark)[1] for mark in ("ONE", "TWO", "THREE"))
    assert alone.replace("ONE", "").split("TWO")[0].strip() == helped.split("THREE")[0].strip()
    for name in NAMES:
        summary = next(line for line in found.splitlines() if line.startswith(f"lmb-{name} -- ")).partition(" -- ")[2]
        assert f"lmb {name} -- {summary}\n" in alone and summary.endswith(".")


def test_two_words_are_the_same_command_as_one() -> None:
    for name in NAMES:
        output = gdb(f"source {LOAD}", f"source {LOAD}", f"help lmb-{name}", "echo HALF\\n", f"help lmb {name}")
        one, two = output.split("HALF\n")
        assert one and one == two.removesuffix("END\n"), name
    output = gdb(f"source {LOAD}", "lmb dump", "lmb dump --typo", "lmb no", "complete lmb du", "complete lmb dump --en")
    for line in (
        "lmb-dump: there is no guest: connect with `target remote ...`, open a dump with `core FILE`, or use "
        "`gdb-lmb run`",
        "lmb-dump: unknown option '--typo' (see: help lmb-dump)",
        "lmb: there is no command 'no': lmb alone lists the commands",
        "lmb dump",
        "lmb dump --entries",
    ):
        assert line in output.splitlines(), output

# SPDX-License-Identifier: GPL-2.0-or-later
"""The example of git bisect in docs/ci.md, on a small repository of fixture kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fixture_kernels import DEFAULT_ARCH
from transcripts import DOCS

from gdb_lmb.cli import main
from tests.helpers.seeded import Sources

GUARD = ("lmb_reserve, 0x2000000ul", "lmb_reserve, 0x2001000ul")
BROKEN = ("\treserve_platform();\n", "\treserve_platforms();\n")
COMMITS: list[tuple[str, tuple[tuple[str, str], ...]]] = [
    ("boot: say less", ()),
    ("boot: begin a rework", (BROKEN,)),
    ("boot: end the rework", ()),
    ("platform: leave a guard page before the tables", (GUARD,)),
    ("boot: say more", (GUARD,)),
    ("boot: mind the page", (GUARD,)),
]
"""What each commit is called, and what differs in it from the first one; the second does not build."""


def shell(command: str, folder: Path) -> str:
    """Run a command line in a folder where `gdb-lmb` and git are set up, and return its standard output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    who = {
        f"GIT_{role}_{what}": "gdb-lmb@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    home = {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, **who}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=os.environ | home, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.kernel
@pytest.mark.long
def test_the_commit_that_moves_a_reservation_is_found(tmp_path: Path) -> None:
    sources = Sources(tmp_path / "linux", 0x2000000, 0x3000000)
    with (sources.folder / "GNUmakefile").open("w") as file:
        target = f"build/{DEFAULT_ARCH}/vmlinux"
        file.write(f"all:\n\t@$(MAKE) -s -f Makefile ARCH={DEFAULT_ARCH} {target}\n\t@cp {target} vmlinux\n")
    (sources.folder / ".gitignore").write_text("build\nvmlinux\n")
    shell("git init -q -b main && git add . && git commit -qm 'boot: begin' && git tag v1 && make -s", sources.folder)
    assert main(["snapshot", str(sources.folder / "vmlinux"), "-o", str(tmp_path / "golden")]) == 0
    for number, (subject, pairs) in enumerate(COMMITS):
        sources.write(sources.changed(*pairs) + f"/* {number} */\n")
        shell(f"git commit -qam '{subject}'", sources.folder)
    block = (
        (DOCS / "ci.md")
        .read_text()
        .partition("## git bisect")[2]
        .partition("```console elsewhere\n")[2]
        .partition("```")[0]
    )
    expected: list[str] = []
    out = ""
    for line in block.splitlines():
        if line.startswith("$ "):
            out = shell(line.removeprefix("$ "), sources.folder)
        else:
            expected.append(line)
            assert line in out.splitlines()
    assert expected[-1] == COMMITS[3][0]

# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command reads is never what it writes, and no two outputs are one file: refused before anything is booted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from tests.helpers.minimal import GOLDEN

Capture = pytest.CaptureFixture[str]

READ = "is read, so it cannot be written too: name another file"
TWICE = "would be written twice: name another file for one of them"

# What is read is there; `out` is not. Links are made by the test.
COLLISIONS = [
    ("check kernel --golden golden --console golden", "golden", READ),
    ("check kernel --golden golden --actual golden", "golden", READ),
    ("check kernel --golden golden --report text=golden", "golden", READ),
    ("check kernel --golden golden --actual kernel", "kernel", READ),
    ("check kernel --golden golden --console initrd --initrd initrd", "initrd", READ),
    ("check kernel --golden golden --actual symbols --symbols symbols", "symbols", READ),
    ("check kernel --golden golden --console soft", "soft", READ),
    ("check kernel --golden golden --actual hard", "hard", READ),
    ("check golden.new --golden golden", "golden.new", READ),
    ("check kernel --golden soft", "soft.new", READ),
    ("check kernel --golden golden --report json=out --actual out", "out", TWICE),
    ("check kernel --golden golden --report json=out --report ktap=./out", "out", TWICE),
    ("check kernel --golden golden --report json=out --console to-out", "to-out", TWICE),
    ("check kernel --golden golden --actual out --console out", "out", TWICE),
    ("check kernel --golden golden --actual golden.new", "golden.new", TWICE),
    ("check kernel --golden golden --boots 2 --report json=golden", "golden", READ),
    ("snapshot kernel -o kernel", "kernel", READ),
    ("snapshot kernel -o out --console out", "out", TWICE),
    ("snapshot kernel -o out --console kernel", "kernel", READ),
    ("snapshot kernel -o initrd --initrd initrd", "initrd", READ),
    ("trace kernel -o out --console to-out", "to-out", TWICE),
    ("trace kernel -o hard --initrd golden", "hard", READ),
    ("run kernel --console kernel", "kernel", READ),
]


@pytest.mark.parametrize(("line", "name", "why"), COLLISIONS, ids=[row[0] for row in COLLISIONS])
def test_a_file_that_is_used_twice(
    line: str, name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    for one in ("kernel", "symbols", "initrd"):
        Path(one).write_text(one)
    Path("golden").write_text(GOLDEN)
    if "golden.new" in line.split()[1]:
        Path("golden.new").write_text("a kernel")
    os.link("golden", "hard")
    Path("soft").symlink_to("golden")
    Path("soft.new").symlink_to("golden")
    Path("to-out").symlink_to("out")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()}
    assert main(line.split()) == 2
    assert capsys.readouterr() == ("", f"gdb-lmb: {name} {why}\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()} == before


class Found:
    """A guest of an image whose symbols were found, not named."""

    program = Path("vmlinux-found")

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    "line", ["check vmlinuz --golden golden --actual", "snapshot vmlinuz -o", "run vmlinuz --console"]
)
def test_symbols_that_were_found_are_read_too(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gdb_lmb.cli.guest.GuestSession", Found)
    Path("golden").write_text(GOLDEN)
    Found.program.write_text(GOLDEN)
    assert main([*line.split(), "vmlinux-found"]) == 2
    assert capsys.readouterr() == ("", f"gdb-lmb: vmlinux-found {READ}\n")
    assert Found.program.read_text() == GOLDEN


def test_what_takes_any_number_of_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """The kernel is none, which is told only when the outputs have been looked at."""
    monkeypatch.chdir(tmp_path)
    Path("kernel").write_text("kernel")
    Path("golden").write_text(GOLDEN)
    words = ["check", "kernel", "--golden", "golden", "--actual", "/dev/null", "--console", "/dev/null"]
    assert main(words) == 2
    assert "kernel: not an ELF file" in capsys.readouterr().err
    assert main([*words, "--report", "json=-", "--report", "ktap=-"]) == 2
    assert capsys.readouterr().err == "gdb-lmb: two reports into stdout: name a file for one of them\n"


@pytest.mark.parametrize("option", ["--actual", "--console", "--report=text"])
def test_what_cannot_be_written_is_told_before_the_boot(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("golden").write_text(GOLDEN)
    assert main(["check", "no-kernel", "--golden", "golden", f"{option}=no/such"]) == 4
    assert capsys.readouterr() == ("", "gdb-lmb: cannot write no/such: No such file or directory\n")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Every transcript of the README and of the pages, run again and compared; and no other fenced block has commands."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import transcripts
from transcripts import (
    ELSEWHERE,
    INSTALL,
    PAGES,
    PLAIN,
    PROMPTS,
    TRANSCRIPTS,
    Block,
    Page,
    difference,
    masked,
    read_page,
)

from gdb_lmb.cli.common import build_parser

ROOT = Path(__file__).resolve().parent.parent.parent
PARSED = {path: read_page(path) for path in PAGES}


def name_of(path: Path) -> str:
    return path.stem


def has(path: Path, *, stock: bool) -> bool:
    """Tell whether a page has transcripts, on distribution kernels or others."""
    return any(block.info in TRANSCRIPTS and block.masked == stock for block in PARSED[path].blocks)


def assert_as_shown(path: Path, folder: Path, *, stock: bool) -> None:
    exact = not stock and transcripts.built_as_shown()
    shown = transcripts.shown_blocks(PARSED[path], folder, stock=stock)
    assert shown
    told = [difference(block, text, exact=exact) for block, text in shown]
    assert not any(told), "\n".join([*filter(None, told), "(scripts/docs --write puts in what is printed today)"])


@pytest.mark.kernel
@pytest.mark.usefixtures("fixture_kernel")
@pytest.mark.parametrize("path", [path for path in PAGES if has(path, stock=False)], ids=name_of)
def test_a_page_shows_what_is_printed(path: Path, tmp_path: Path) -> None:
    assert_as_shown(path, tmp_path, stock=False)


@pytest.mark.stock
@pytest.mark.usefixtures("fixture_kernel")
@pytest.mark.parametrize("path", [path for path in PAGES if has(path, stock=True)], ids=name_of)
def test_a_page_shows_what_a_distribution_kernel_gives(path: Path, tmp_path: Path) -> None:
    assert_as_shown(path, tmp_path, stock=True)


def faults_of(page: Page) -> list[str]:
    """Return what is wrong with the fences of a page: each block must be run, or hold no commands."""
    out = [f"{where}: a command outside of a fence" for where in transcripts.commands_outside(page)]
    for block in page.blocks:
        if block.info in (*TRANSCRIPTS, ELSEWHERE):
            try:
                transcripts.steps_of(block)
            except ValueError as error:
                out.append(str(error))
        elif block.info not in (INSTALL, *PLAIN):
            out.append(f"{block.where}: nothing runs a block marked {block.info!r}")
        elif any(line.lstrip().startswith(tuple(PROMPTS)) for line in block.lines):
            out.append(f"{block.where}: a block marked {block.info!r} has a command, which nothing runs")
    return out


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_block_is_run_or_has_no_commands(path: Path) -> None:
    assert faults_of(PARSED[path]) == []


UNRUN = [
    ("```sh\nmake\n```\n", "nothing runs a block marked 'sh'"),
    ("```\n$ make\n```\n", "nothing runs a block marked ''"),
    ("```text\n$ make\n```\n", "has a command"),
    ("```json\n(gdb) lmb-dump\n```\n", "has a command"),
    ("```sh install\n$ make\n```\n", "has a command"),
    ("```console live\n$ make\n```\n", "nothing runs a block marked 'console live'"),
    ("```console\nmake\n```\n", "begins with '$ '"),
    ("```console gdb\n$ make\n```\n", "begins with '(gdb) '"),
    ("```console\n```\n", "is empty"),
    ("text\n\n    $ make\n", "a command outside of a fence"),
    ("text\n\n    (gdb) lmb-dump\n", "a command outside of a fence"),
]


@pytest.mark.parametrize(("text", "fault"), UNRUN)
def test_what_nothing_runs_is_a_fault(text: str, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transcripts, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(f"# Page: of the test\n\n{text}")
    (told,) = faults_of(read_page(tmp_path / "page.md"))
    assert fault in told


def test_an_open_fence_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transcripts, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("```console\n$ true\n")
    with pytest.raises(ValueError, match=r"page\.md:1: the fence is never closed"):
        read_page(tmp_path / "page.md")


# -- what is not run -------------------------------------------------------------------------------------------------

INSTALLED = [block for page in PARSED.values() for block in page.blocks if block.info == INSTALL]
INSTALLERS = ("pipx", "scripts/demo", "scripts/test", "gdb-lmb gdbinit", "gdb-lmb completion")
"""All that a block which is not run may do."""


@pytest.mark.parametrize("block", INSTALLED, ids=lambda block: block.where)
def test_what_is_not_run_installs_and_is_written_right(block: Block) -> None:
    subprocess.run(["bash", "-n", "-c", "\n".join(block.lines)], check=True, timeout=30)
    for line in block.lines:
        words = shlex.split(line.partition(">>")[0], comments=True)
        assert " ".join(words).startswith(INSTALLERS), line
        if words[0] == "gdb-lmb":
            build_parser(words[1]).parse_args(words[1:])  # ends with status 2 for what it does not know
        elif words[0].startswith("scripts/"):
            assert (ROOT / words[0]).stat().st_mode & 0o111


# -- the machinery ---------------------------------------------------------------------------------------------------


def block_of(text: str, info: str = "console") -> Block:
    return Block(ROOT / "README.md", 1, info, text.splitlines())


def test_commands_run_in_order_and_see_the_status_before(tmp_path: Path) -> None:
    block = block_of("$ echo one > file; false\n$ echo $?\n$ cat file\nnot this")
    with transcripts.shell_folder(tmp_path):
        shown = transcripts.run_shell(block, tmp_path)
    assert shown == ["$ echo one > file; false", "$ echo $?", "1", "$ cat file", "one"]
    assert "-not this" in difference(block, shown, exact=True)
    assert difference(block_of("\n".join(shown)), shown, exact=True) == ""


def test_the_compiler_is_known(fixture_kernel: Path) -> None:
    gcc = subprocess.run(["gcc", "-dumpfullversion"], check=True, capture_output=True, text=True, timeout=30)
    assert transcripts.compiler_of(fixture_kernel) == gcc.stdout.strip()


def test_what_runs_on_is_ended(tmp_path: Path) -> None:
    block = block_of("$ sleep 600 >/dev/null 2>&1 & echo $! > sleep.pid")
    with transcripts.shell_folder(tmp_path):
        transcripts.run_shell(block, tmp_path)
        pid = int((tmp_path / "sleep.pid").read_text())
        assert Path(f"/proc/{pid}").exists()
    subprocess.run(["timeout", "30", "tail", f"--pid={pid}", "-f", "/dev/null"], check=True, timeout=60)


SAME = [
    ("kernel vmlinux-6.1.0-56-x, build id " + "3b" * 20, "kernel vmlinux-6.1.0-9-x, build id " + "f0" * 20),
    ("memory: 2 regions, 255.5 MiB (267,907,072 bytes)", "memory: 2 regions, 1 GiB (1,024 bytes)"),
    ("memory: 2 regions", "memory: 1 region"),
    ("  #0 0xffffffff8100a2b0 f+0x20 (main.c:92)", "  #0 0xffffffff8200a2b0 f+0x24 (main.c:101)"),
    ("    0  0x0000  -\n    1  0x1000  -", "   10  0x0000  -"),
    ("  ---  ------", "  -----  --"),
]
DIFFERENT = [
    ("finding: overlap: x", "finding: unsorted: x"),
    ("lmb-check: clean", "lmb-check: 1 finding"),
    ("    0  0x0000  -", "    0  0x0000  NOMAP"),
    ("  from f+0x1 (a.c:1)", "  from g+0x1 (a.c:1)"),
    ("a\nb", "b\na"),
    ("a", "a\na2"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_masked_figures_are_alike(left: str, right: str) -> None:
    assert left != right
    assert masked(left.splitlines()) == masked(right.splitlines())


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_all_else_differs_when_masked(left: str, right: str) -> None:
    assert masked(left.splitlines()) != masked(right.splitlines())


def test_a_picture_is_masked_as_a_whole() -> None:
    before, after = "LMB at x:", "memory:"
    low = [before, "", "  ..##", "  |0x0  0x10|", "  # all reserved", "  1 character = 3 MiB", "", after]
    high = [before, "", "  ..#K", "  # all", "  K image", "  blank no memory  1 character = 4 KiB", "", after]
    assert masked(low) == masked(high) == [before, "PICTURE", "", after]

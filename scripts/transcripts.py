# SPDX-License-Identifier: GPL-2.0-or-later
"""The fenced blocks of a Markdown page, and running the transcripts among them.

The info string of a fence says how its block is run:

    console              shell commands after "$ ", on the fixture kernel `vmlinux`
    console gdb          gdb commands after "(gdb) ", in a fixture kernel stopped at lmb_ready
    ... stock            the same on a distribution kernel; the output is compared masked
    console elsewhere    shell commands, which a test of its own runs
    sh install           commands that install something: not run
    text, json, c, ...   no commands at all
"""

from __future__ import annotations

import difflib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fixture_kernels import vmlinux

from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "gdb_lmb" / "docs"
PAGES = (ROOT / "README.md", ROOT / "scripts" / "demo.md", *sorted(DOCS.glob("*.md")))
FIXTURE = vmlinux("x86_64").relative_to(ROOT)
STOCK = "debian:6.1-cloud-amd64"
COMPILER = "12.2.0"
"""The release of gcc, that of Debian 12, whose fixture kernel the pages show."""

TRANSCRIPTS = ("console", "console gdb", "console stock", "console gdb stock")
INSTALL = "sh install"
ELSEWHERE = "console elsewhere"
"""Of a transcript that a test of its own runs."""

PLAIN = ("text", "json", "c", "python", "diff", "yaml", "toml")
PROMPTS = {"$ ": "shell", "(gdb) ": "gdb"}
TIMEOUT_S = 300


@dataclass
class Block:
    """One fenced block: its page, the line number of its fence, its info string, and its lines."""

    page: Path
    line: int
    info: str
    lines: list[str]

    @property
    def where(self) -> str:
        """Return FILE:LINE."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def masked(self) -> bool:
        """Tell whether the block is compared masked whatever the fixture was built with."""
        return "stock" in self.info.split()

    @property
    def prompt(self) -> str:
        """Return what stands before each command of a transcript."""
        return "(gdb) " if "gdb" in self.info.split() else "$ "


@dataclass
class Page:
    """A page: its text by lines, and its blocks in order."""

    path: Path
    lines: list[str]
    blocks: list[Block] = field(default_factory=list)


def read_page(path: Path) -> Page:
    """Return a page with its blocks. Raises: ValueError for a fence that is never closed."""
    page = Page(path, path.read_text(encoding="utf-8").splitlines())
    inside: Block | None = None
    for number, line in enumerate(page.lines, 1):
        if line.lstrip().startswith("```"):
            if inside is None:
                inside = Block(path, number, line.strip().removeprefix("```").strip(), [])
                page.blocks.append(inside)
            else:
                inside = None
        elif inside is not None:
            inside.lines.append(line)
    if inside is not None:
        raise ValueError(f"{inside.where}: the fence is never closed")
    return page


def commands_outside(page: Page) -> list[str]:
    """Return FILE:LINE of each line outside of fences that begins as a command of a transcript does."""
    fenced = {number for block in page.blocks for number in range(block.line, block.line + len(block.lines) + 2)}
    return [
        f"{page.path.relative_to(ROOT)}:{number}"
        for number, line in enumerate(page.lines, 1)
        if number not in fenced and line.lstrip().startswith(tuple(PROMPTS))
    ]


def steps_of(block: Block) -> list[tuple[str, list[str]]]:
    """Return the commands of a transcript, each with the output that is expected.

    Raises: ValueError where the block does not begin with a command.
    """
    steps: list[tuple[str, list[str]]] = []
    for line in block.lines:
        if line.startswith(block.prompt):
            steps.append((line.removeprefix(block.prompt), []))
        elif steps:
            steps[-1][1].append(line)
        else:
            raise ValueError(f"{block.where}: a transcript begins with {block.prompt!r}")
    if not steps:
        raise ValueError(f"{block.where}: the transcript is empty")
    return steps


# -- running -------------------------------------------------------------------------------------------------------


@contextmanager
def shell_folder(folder: Path) -> Iterator[Path]:
    """Make `folder` the one that a page's shell commands run in; what they leave running is ended."""
    (folder / "vmlinux").symlink_to(ROOT / FIXTURE)
    (folder / FIXTURE.parts[0]).symlink_to(ROOT / FIXTURE.parts[0])
    (folder / "scripts").symlink_to(ROOT / "scripts")
    try:
        yield folder
    finally:
        for file in folder.glob("*.pid"):
            with suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def run_shell(block: Block, folder: Path) -> list[str]:
    """Run the commands of a block one after another; return the block as it should be."""
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith("GDB_LMB_") or name == "GDB_LMB_CACHE"
    } | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8", "TERM": "dumb", "HOME": os.environ.get("HOME", "/"),
    }  # fmt: skip
    out, status = [], 0
    for command, _ in steps_of(block):
        done = subprocess.run(
            ["bash", "--norc", "-c", f"(exit {status}); {command}"], cwd=folder, env=environment, timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        status = done.returncode
        out += [block.prompt + command, *done.stdout.decode().splitlines()]
    return out


@contextmanager
def guest_for(block: Block) -> Iterator[GuestSession]:
    """Boot the guest that gdb's transcripts ask: the fixture kernel, or a distribution's, its allocator complete."""
    if block.masked:
        files = find_kernel(STOCK, notice=lambda _: None)
        # At a random place its regions may touch others, and then tables have other rows.
        options = QemuOptions(memory="512M", append="nokaslr")
        session = GuestSession(files.image, options, symbols=files.vmlinux, timeout_s=TIMEOUT_S)
    else:
        session = GuestSession(ROOT / FIXTURE, QemuOptions(), timeout_s=TIMEOUT_S)
    with session as guest:
        guest.run_until(None)
        yield guest


_ASSIGNMENT = re.compile(r"set var (?P<place>[^=]+?) = ")


def run_gdb(block: Block, guest: GuestSession) -> list[str]:
    """Run the commands of a block in `guest`; return the block as it should be.

    What `set var` wrote is undone afterwards, so that each block begins with the same guest.
    """
    out: list[str] = []
    changed = 0
    for command, _ in steps_of(block):
        assignment = _ASSIGNMENT.match(command)
        if assignment:
            # The address first: the place may be reached through what is written.
            guest.command(f"set var $place{changed} = &({assignment['place']})")
            guest.command(f"set var $saved{changed} = *$place{changed}")
            changed += 1
        try:
            text = guest.command(command)
        except CommandError as error:
            text = error.message
        out += [block.prompt + command, *text.splitlines()]
    for number in reversed(range(changed)):
        guest.command(f"set var *$place{number} = $saved{number}")
    return out


def shown_blocks(page: Page, folder: Path, *, stock: bool) -> list[tuple[Block, list[str]]]:
    """Run a page's transcripts, those on distribution kernels or the others; return each with what it should be."""
    blocks = [block for block in page.blocks if block.info in TRANSCRIPTS and block.masked == stock]
    shell = [block for block in blocks if block.prompt == "$ "]
    in_gdb = [block for block in blocks if block.prompt != "$ "]
    out = []
    if shell:
        with shell_folder(folder):
            out += [(block, run_shell(block, folder)) for block in shell]
    if in_gdb:
        with guest_for(in_gdb[0]) as guest:
            out += [(block, run_gdb(block, guest)) for block in in_gdb]
    return out


# -- comparing -----------------------------------------------------------------------------------------------------


def built_as_shown() -> bool:
    """Tell whether the fixture kernel was built by the compiler whose addresses the pages show."""
    return compiler_of(ROOT / FIXTURE) == COMPILER


def compiler_of(kernel: Path) -> str:
    """Return the release of gcc that built a kernel, as its debug information has it (DW_AT_producer)."""
    found = re.search(rb"GNU C\d+ (\d+\.\d+\.\d+) ", kernel.read_bytes())
    if found is None:
        raise ValueError(f"{kernel}: its debug information does not name the compiler")
    return found[1].decode()


_MASKS = (
    (re.compile(r"\b[0-9]+\.[0-9]+(\.[0-9]+)*(-[0-9a-z.+-]+)? \("), "VERSION ("),
    (re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{40}\b"), "N"),
    (re.compile(r"\+N \([^ )]*:\d+\)"), "+N (FILE)"),
    (re.compile(r"\d[\d,.]*( (bytes?|[KMGT]iB))?"), "N"),
    (re.compile(r"\b(N )?N\b"), "N"),
    (re.compile(r"-{2,}"), "--"),
    (re.compile(r"\s+"), " "),
    # 1 region, 2 regions
    (re.compile(r"\b(finding|note|region|operation|block|array)s\b"), r"\1"),
)
_PICTURE_END = re.compile(r" 1 character = ")


def masked(lines: Sequence[str]) -> list[str]:
    """Return lines in which versions, addresses, sizes and counts are alike, so that only the rest is compared.

    A picture of memory becomes one line, and so do rows of a table that are alike then.
    """
    out: list[str] = []
    for line in lines:
        if _PICTURE_END.search(line):
            start = max((at for at, text in enumerate(out) if not text), default=0)
            out[start:] = ["PICTURE"]
            continue
        for pattern, mask in _MASKS:
            line = pattern.sub(mask, line)
        line = line.rstrip()
        if not out or out[-1] != line or not line:
            out.append(line)
    return out


def difference(block: Block, shown: Sequence[str], *, exact: bool) -> str:
    """Return how a block differs from what it should be, as a unified diff; empty where it does not."""
    expected, got = (block.lines, shown) if exact else (masked(block.lines), masked(shown))
    return "\n".join(difflib.unified_diff(list(expected), list(got), block.where, "as run now", lineterm="", n=2))


def rewritten(page: Page, shown: Sequence[tuple[Block, list[str]]]) -> str:
    """Return a page's text with the blocks as they should be."""
    lines = list(page.lines)
    for block, text in sorted(shown, key=lambda pair: -pair[0].line):
        lines[block.line : block.line + len(block.lines)] = text
    return "\n".join(lines) + "\n"

# SPDX-License-Identifier: GPL-2.0-or-later
"""Make gdb_lmb/docs/commands.md: the help of every command, as gdb and the command line's parsers have it."""

from __future__ import annotations

import argparse
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

from gdb_lmb.cli.common import build_parser
from gdb_lmb.cli.completion import LMB_COMMANDS, Argument, Command, described
from gdb_lmb.report.statuses import STATUSES
from gdb_lmb.runner.gdb_process import PATH_VARIABLE, extension, python_path

PAGE = Path(__file__).resolve().parent.parent / "gdb_lmb" / "docs" / "commands.md"
_MARK = "-- end of help --"
_WIDTH = 100

_HEAD = """\
# Commands: the help of every command

<!-- Made by scripts/docs --write from the commands' own help: change it there. -->

There are two sets of commands: those of the shell's `gdb-lmb`, and the `lmb-*` commands of gdb, which `gdb-lmb` runs
too. What an exit status means, and which environment variables are read, is in [reference](reference.md).
"""
_IN_GDB = """\
## In gdb

`gdb-lmb gdb VMLINUX` opens a gdb that has these commands; `gdb-lmb gdbinit` prints the lines that load them in
every gdb. `lmb` lists them, `help lmb-dump` prints what is below, TAB completes words and options, and `lmb dump` is
`lmb-dump`. Every check sets `$lmb_status`: 0 clean, 1 findings, 5 not verified; after a command that failed it is 2, 4
or 5. So a gdb script can end with `quit $lmb_status`.

A number is typed as `4096`, `0x1000`, `640K`, `$variable` or `sizeof(type)`; an address also as a symbol, which stands
for its physical address. Nothing else is evaluated, so a question can change nothing in the guest. A range is `A-B` (B
is left out) or `A+SIZE`. None of this needs quotes, and options of `gdb-lmb` take the same numbers.

On a terminal, tables and pictures fit its width (`set width`; with `gdb-lmb` also COLUMNS): long texts are cut in the
middle. In a file or a pipe they are whole. Colours follow gdb's `set style enabled`, NO_COLOR and `gdb-lmb --color`.
Addresses are physical unless the column says otherwise; `end` is the first address past a region; sizes are bytes.
"""


def page() -> str:
    """Return the whole page."""
    parser = build_parser()
    parsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    out = [_HEAD, "## In a shell\n"]
    out += ["\n".join(_shell_command(command, parsers[command.name])) for command in described(parser)]
    out.append(_IN_GDB)
    out += [f"### `{name}`\n\n```text\n{text}\n```\n" for name, text in gdb_help()]
    return "\n".join(out)


def gdb_help() -> list[tuple[str, str]]:
    """Return what gdb's `help` prints of each command."""
    words = ["gdb", "-nx", "-batch", "-ex", f"source {extension()}"]
    for name in LMB_COMMANDS:
        words += ["-ex", f"help {name}", "-ex", rf"echo {_MARK}\n"]
    done = subprocess.run(
        words, text=True, capture_output=True, check=True, timeout=120,
        env={**os.environ, PATH_VARIABLE: python_path(), "LC_ALL": "C.UTF-8", "LANGUAGE": ""},
    )  # fmt: skip
    texts = [text.strip("\n") for text in done.stdout.split(f"{_MARK}\n")]
    return list(zip(LMB_COMMANDS, texts, strict=False))


def _shell_command(command: Command, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the lines of one command of the shell."""
    yield f"### `gdb-lmb {command.name}`\n"
    yield "```text"
    yield f"Usage: {parser.usage or _usage(command)}\n"
    yield (parser.description or "").strip()
    rows = [(_label(argument), argument.help) for argument in (*command.positional, *command.options)
            if "--help" not in argument.flags]  # fmt: skip
    width = max((len(label) for label, _ in rows), default=0) + 4
    if rows:
        yield ""
    for label, text in rows:
        wrapped = textwrap.wrap(text, _WIDTH - width, break_on_hyphens=False) or [""]
        yield f"  {label:{width - 2}}{wrapped[0]}".rstrip()
        yield from (" " * width + line for line in wrapped[1:])
    epilog = (parser.epilog or "").removesuffix(STATUSES).strip()
    if epilog:
        yield f"\n{epilog}"
    yield "```\n"


def _usage(command: Command) -> str:
    """Return the usage of a command whose parser has none of its own."""
    options = [f"[{_label(argument)}]" for argument in command.options if "--help" not in argument.flags]
    return " ".join(["gdb-lmb", command.name, *options, *(_label(argument) for argument in command.positional)])


def _label(argument: Argument) -> str:
    """Return how an argument is typed: its name, or its flags and what they take."""
    value = "|".join(argument.words) if argument.words and argument.label.islower() else argument.label
    if not argument.flags:
        return value
    names = "|".join(argument.flags)
    return f"{names} {value}" if argument.takes_value else names

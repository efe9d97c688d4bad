# SPDX-License-Identifier: GPL-2.0-or-later
"""What several commands of the command line share: options, output, and the way to the verdict."""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TextIO

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.numbers import DEFAULT_TIMEOUT_S, seconds, whole_number
from gdb_lmb.core.words import printable
from gdb_lmb.report.progress import PROGRESS
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.report.terminal import BAD, NOTE, PLAIN, Terminal, is_utf8, may_color

if TYPE_CHECKING:
    from gdb_lmb.runner.base import Session

DEFAULT_COMMANDS = ("lmb-dump", "lmb-check")
_MESSAGE_CHARACTERS = 2000

# What add_subparsers returns; argparse keeps its name private.
Subparsers = Any

Argument = tuple[tuple[str, ...], dict[str, Any]]
"""Names and settings of one argument of a command."""

WITH_GDB_COMMANDS = ("run", "attach", "core", "trace")
"""The commands that take gdb commands after `--`."""


class SplitParser(argparse.ArgumentParser):
    """A parser that keeps the words after the first `--` out of argparse's hands.

    argparse drops a `--` here and there, and which one depends on its version.
    """

    commands: Subparsers = None

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse `args`; what follows `--` is `gdb_commands`, or None where there is no `--`."""
        words = list(args or [])
        takes = words[:1] and words[0] in WITH_GDB_COMMANDS
        cut = words.index("--") if "--" in words and takes else len(words)
        found, rest = super().parse_known_args(words[:cut], namespace)
        if rest:
            self.commands.choices[found.command_name].refuse(rest[0], found.command_name)
        found.gdb_commands = words[cut + 1 :] if cut < len(words) else None
        return found

    def refuse(self, word: str, command: str) -> NoReturn:
        """End with the usage of `command`, which knows no such word; a gdb command is shown its place."""
        shown = printable(word, 80)
        options = [name for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(word, options, 1) if word.startswith("-") else []
        what = f"unknown option {shown!r}" if word.startswith("-") else f"{shown!r} is one word too many"
        hint = f", did you mean {near[0]}?" if near else ""
        if not near and command in WITH_GDB_COMMANDS:
            sample = "lmb-dump" if word.startswith("-") else shown
            hint = f" (gdb commands come after --: gdb-lmb {command} ... -- {shlex.quote(sample)})"
        self.error(what + hint)


def number_of(least: int = 0, most: int = (1 << 64) - 1) -> Callable[[str], int]:
    """Return a type for argparse: a number as it is typed everywhere, from `least` to `most`."""

    def number(text: str) -> int:
        try:
            return whole_number(text, "", least=least, most=most)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error).strip()) from None

    return number


def time_of(text: str) -> float:
    """Return a time in seconds, as a type for argparse."""
    try:
        return seconds(text, "")
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error).strip()) from None


class Either(NamedTuple):
    """Arguments of which at most one can be given, and one must be if `required`."""

    required: bool
    arguments: Sequence[Argument]


class CommandLine(NamedTuple):
    """One command of `gdb-lmb`: what its help says, the arguments it takes, and the function that executes it."""

    name: str
    run: Callable[[argparse.Namespace], int]
    help: str
    description: str
    epilog: str
    arguments: Sequence[Argument | Either] = ()
    usage: str | None = None

    def add_to(self, commands: Subparsers) -> None:
        """Add the command to the command line."""
        raw = argparse.RawDescriptionHelpFormatter
        parser = commands.add_parser(
            self.name, help=self.help, description=self.description, epilog=self.epilog, usage=self.usage,
            formatter_class=raw,
        )  # fmt: skip
        for entry in self.arguments:
            if isinstance(entry, Either):
                group = parser.add_mutually_exclusive_group(required=entry.required)
                for names, settings in entry.arguments:
                    group.add_argument(*names, **settings)
            else:
                parser.add_argument(*entry[0], **entry[1])
        parser.set_defaults(run=self.run)


def argument(*names: str, **settings: Any) -> Argument:
    """Return one argument as `ArgumentParser.add_argument()` takes it."""
    return names, settings


COLOR_OPTION = argument(
    "--color", choices=("auto", "always", "never"), default="auto",
    help="colours in the output (default: on a terminal, unless NO_COLOR is set)",
)  # fmt: skip
GDB_OPTION = argument("--gdb", metavar="BIN", help="the gdb to use (default: gdb or gdb-multiarch, by the ELF)")
GDB_OPTIONS = (
    GDB_OPTION,
    argument(
        "--timeout", metavar="SECONDS", type=time_of, default=DEFAULT_TIMEOUT_S,
        help="the longest the way to the symbol, and each command, may take (default: %(default)g)",
    ),
    COLOR_OPTION,
)  # fmt: skip
"""What all commands take that start gdb."""


def stdout_terminal(color: str) -> Terminal:
    """Return what stdout is: a file and a pipe have no width; `color` is "auto", "always" or "never"."""
    shown = sys.stdout.isatty()
    return Terminal(
        width=shutil.get_terminal_size().columns if shown else None,
        color=color == "always" or (color == "auto" and shown and may_color()),
        unicode=is_utf8(sys.stdout.encoding),
    )


def commands_of(arguments: argparse.Namespace) -> Sequence[str]:
    """Return the gdb commands to run."""
    return DEFAULT_COMMANDS if arguments.gdb_commands is None else arguments.gdb_commands


def say(message: str, prefix: str = "gdb-lmb: ", terminal: Terminal = PLAIN, role: str | None = None) -> None:
    """Write one line of our own to stderr, in the colour of a role where `terminal` shows colours."""
    text = terminal.paint(printable(message, _MESSAGE_CHARACTERS), role)
    PROGRESS.clear()
    try:
        sys.stderr.write(f"{prefix}{text}\n")
        sys.stderr.flush()
    except OSError:  # stderr is closed; the exit status still tells
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Discard what is still buffered in a broken `stream`, whose last flush would fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def progress(message: str) -> None:
    """Write a line for a person who watches."""
    if sys.stderr.isatty():
        say(message)


def show(text: str) -> None:
    """Write output of gdb's to stdout, now."""
    PROGRESS.clear()
    sys.stdout.write(text)
    sys.stdout.flush()


def run_commands(session: Session, commands: Sequence[str], *, by_default: bool = False) -> ExitStatus:
    """Execute gdb `commands` in order, show their output, and return the verdict's status.

    Where they were chosen by us, a failing one is no command of the user's: its message stands for itself.
    """
    from gdb_lmb.runner.base import CommandError  # by now loaded with the session; other commands need no runner

    for command in commands:
        progress(printable(command, 80))
        try:
            session.command(command, show)
        except CommandError as error:
            if not by_default:
                raise
            if error.status != ExitStatus.NOT_VERIFIED:
                raise UsageError(error.message) from None
            say(f"not verified: {error.message}")
            return ExitStatus.NOT_VERIFIED
    verdict = session.verdict()
    if verdict.exit_status is not ExitStatus.CLEAN or not verdict.checks:
        # The verdict's own stream may be a file while stdout is none.
        shown = Terminal(color=session.terminal.color and sys.stderr.isatty())
        say(verdict.in_words(), terminal=shown, role=BAD if verdict.total else NOTE)
    return verdict.exit_status

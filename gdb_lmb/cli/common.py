# SPDX-License-Identifier: GPL-2.0-or-later
"""From words to a command, and from how it ended to the exit status; and what commands share: options and output."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TextIO, TypeVar

from gdb_lmb import __version__
from gdb_lmb.core.errors import LmbError, NotReachedError, UsageError
from gdb_lmb.core.numbers import DEFAULT_TIMEOUT_S, seconds
from gdb_lmb.core.words import printable
from gdb_lmb.report.progress import PROGRESS
from gdb_lmb.report.statuses import STATUSES, ExitStatus, status_for_bisect, status_of_error, status_of_run
from gdb_lmb.report.terminal import BAD, NOTE, PLAIN, Terminal, is_utf8, may_color

if TYPE_CHECKING:
    from gdb_lmb.runner.base import Session

# Which module of this package has which command.
_MODULES = {
    "run": "guest",
    "trace": "trace",
    "attach": "guest",
    "core": "guest",
    "gdb": "interactive",
    "gdbinit": "interactive",
    "snapshot": "golden",
    "check": "golden",
    "diff": "golden",
    "accept": "golden",
    "replay": "replay",
    "export": "replay",
    "completion": "completion",
    "help": "help",
}

WITH_GDB_COMMANDS = ("run", "attach", "core", "trace")
"""The commands that take gdb commands after `--`."""

# What a line of the guest's console begins with, where it is shown.
_CONSOLE = "  | "

DEFAULT_COMMANDS = ("lmb-dump", "lmb-check")
N = TypeVar("N", int, float)

Argument = tuple[tuple[str, ...], dict[str, Any]]
"""Names and settings of one argument of a command."""


class SplitParser(argparse.ArgumentParser):
    """A parser that keeps the words after the first `--` out of argparse's hands.

    argparse drops a `--` here and there, and which one depends on its version.
    """

    commands: Any = None

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse `args`; what follows `--` is `gdb_commands`, or None where there is no `--`."""
        words = list(args or [])
        takes = words[:1] and words[0] in WITH_GDB_COMMANDS
        cut = words.index("--") if "--" in words and takes else len(words)
        found, rest = super().parse_known_args(words[:cut], namespace)
        if rest:
            self.commands.choices[found.command_name].refuse(rest[0], found.command_name)
        found.gdb_commands = words[cut + 1 :] if cut < len(words) else None
        found.command_line = tuple(words)
        return found

    def refuse(self, word: str, command: str) -> NoReturn:
        """End with the usage of `command`, which knows no such word; a gdb command is shown its place."""
        what, near, sample = f"{printable(word, 80)!r} is one word too many", [], printable(word, 80)
        if word.startswith("-"):
            what, sample = f"unknown option {printable(word, 80)!r}", "lmb-dump"
            import difflib  # few are mistyped

            near = difflib.get_close_matches(word, [name for row in self._actions for name in row.option_strings], 1)
        hint = f", did you mean {near[0]}?" if near else ""
        if not near and command in WITH_GDB_COMMANDS:
            hint = f" (gdb commands come after --: gdb-lmb {command} ... -- {shlex.quote(sample)})"
        self.error(what + hint)


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


def build_parser(word: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands, or only what a line that begins with `word` needs: it imports no more."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = SplitParser(
        prog="gdb-lmb",
        epilog=STATUSES,
        formatter_class=raw,
        description="See and prove the early-boot memory allocator (LMB) of a kernel, on live memory.",
    )
    parser.add_argument("--version", action="version", version=f"gdb-lmb {__version__}")
    parser.commands = parser.add_subparsers(title="commands", dest="command_name", metavar="COMMAND", required=True)
    for name in () if word == "--version" else [word] if word in _MODULES else _MODULES:
        module = importlib.import_module(f"gdb_lmb.cli.{_MODULES[name]}")
        row: CommandLine = next(row for row in module.COMMANDS if row.name == name)
        command = parser.commands.add_parser(
            name, help=row.help, description=row.description, epilog=row.epilog, usage=row.usage, formatter_class=raw
        )
        command.set_defaults(run=row.run)
        for entry in row.arguments:
            group = command
            if isinstance(entry, Either):
                group = command.add_mutually_exclusive_group(required=entry.required)
            for names, settings in entry.arguments if isinstance(entry, Either) else [entry]:
                group.add_argument(*names, **settings)
    return parser


def dispatch(words: Sequence[str]) -> int:
    """Run one command line and return its exit status, having said on stderr why it is not 0."""
    status = _dispatch(words)
    return status_for_bisect(status) if words[:1] == ["check"] and "--bisect" in words else status


def _dispatch(words: Sequence[str]) -> int:
    try:
        try:
            arguments = build_parser(words[0] if words else "").parse_args(words)
            status = int(arguments.run(arguments))
        except SystemExit as end:  # argparse has said why; --help and --version end with 0
            status = int(end.code or 0)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output has exited
        discard(sys.stdout)
        return 128 + signal.SIGPIPE
    except LmbError as error:
        tell(error_lines(error))
        return int(status_of_error(error))
    except OSError as error:
        say(f"{error.filename or 'cannot write to stdout'}: {error.strerror or error}")
        discard(sys.stdout)
        return int(ExitStatus.INFRASTRUCTURE)


# -- options ----------------------------------------------------------------------------------------


def typed(parse: Callable[..., N], **limits: int) -> Callable[[str], N]:
    """Return a type for argparse: a number as it is typed everywhere, by a function of `core.numbers`."""

    def value(text: str) -> N:
        try:
            return parse(text, "", **limits)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error).strip()) from None

    return value


def argument(*names: str, **settings: Any) -> Argument:
    """Return one argument as `ArgumentParser.add_argument()` takes it."""
    return names, settings


class Once(argparse.Action):
    """The action of an option that names a file of which there is one: of two, one would never be read or written."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "give it only once")
        setattr(namespace, self.dest, values)


COLOR_OPTION = argument(
    "--color", choices=("auto", "always", "never"), default="auto",
    help="colours in the output (default: on a terminal, unless NO_COLOR is set)",
)  # fmt: skip
GDB_OPTION = argument("--gdb", metavar="BIN", help="the gdb to use (default: gdb or gdb-multiarch, by the ELF)")
GDB_OPTIONS = (
    GDB_OPTION,
    argument(
        "--timeout", metavar="SECONDS", type=typed(seconds), default=DEFAULT_TIMEOUT_S,
        help="the longest the way to the symbol, and each command, may take (default: %(default)g)",
    ),
    COLOR_OPTION,
)  # fmt: skip
"""What all commands take that start gdb."""


# -- output -----------------------------------------------------------------------------------------


def stdout_terminal(color: str) -> Terminal:
    """Return what stdout is: a file and a pipe have no width; `color` is "auto", "always" or "never"."""
    shown = sys.stdout.isatty()
    return Terminal(
        width=shutil.get_terminal_size().columns if shown else None,
        color=color == "always" or (color == "auto" and shown and may_color()),
        unicode=is_utf8(sys.stdout.encoding),
    )


def say(message: str, prefix: str = "gdb-lmb: ", terminal: Terminal = PLAIN, role: str | None = None) -> None:
    """Write one line of our own to stderr, in the colour of a role where `terminal` shows colours."""
    PROGRESS.clear()
    try:
        sys.stderr.write(f"{prefix}{terminal.paint(printable(message, 2000), role)}\n")
        sys.stderr.flush()
    except OSError:  # stderr is closed; the exit status still tells
        discard(sys.stderr)


def error_lines(error: LmbError) -> list[str]:
    """Return in lines what went wrong, of a guest that was lost with the end of its console."""
    lines = [str(error)]
    if isinstance(error, NotReachedError):
        from gdb_lmb.runner.process import tail

        console = [_CONSOLE + line for line in tail(error.console)]
        lines += ["the guest's console ends with:" if console else "the guest's console is empty", *console]
    return lines


def tell(lines: Sequence[str]) -> None:
    """Write `error_lines()` to stderr."""
    for line in lines:
        if line.startswith(_CONSOLE):
            say(line.removeprefix(_CONSOLE), _CONSOLE)
        else:
            say(line)


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


def run_on_lost(session: Session, commands: Sequence[str] | None) -> None:
    """Execute the user's gdb `commands` on a guest that did not get to its place, which is what the run is about."""
    from gdb_lmb.runner.base import CommandError

    if commands:
        try:
            run_commands(session, commands)
        except CommandError as error:
            say(str(error))


def run_commands(session: Session, commands: Sequence[str] | None) -> ExitStatus:
    """Execute gdb `commands` in order, `DEFAULT_COMMANDS` for None; show their output, return the verdict's status.

    Where they were chosen by us, a failing one is no command of the user's: its message stands for itself.
    """
    from gdb_lmb.runner.base import CommandError  # by now loaded with the session; other commands need no runner

    failed: CommandError | None = None
    for command in DEFAULT_COMMANDS if commands is None else commands:
        progress(printable(command, 80))
        try:
            session.command(command, show)
        except CommandError as error:
            failed = error
            break
    verdict = session.verdict()
    if verdict.total if failed else verdict.exit_status is not ExitStatus.CLEAN:
        # The verdict's own stream may be a file while stdout is none.
        shown = Terminal(color=session.terminal.color and sys.stderr.isatty())
        say(verdict.in_words(), terminal=shown, role=BAD if verdict.total else NOTE)
    if failed is None:
        return verdict.exit_status
    if commands is not None:
        raise failed
    if failed.status != ExitStatus.NOT_VERIFIED:
        raise UsageError(failed.message)
    say(f"not verified: {failed.message}")
    return status_of_run((verdict.exit_status, ExitStatus.NOT_VERIFIED))

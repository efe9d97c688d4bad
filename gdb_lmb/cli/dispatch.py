# SPDX-License-Identifier: GPL-2.0-or-later
"""From words to a command, and from how it ended to the exit status."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

from gdb_lmb import __version__
from gdb_lmb.cli.common import SplitParser, discard, say
from gdb_lmb.core.errors import LmbError, NotReachedError
from gdb_lmb.report.statuses import STATUSES, ExitStatus, status_of_error

_MODULES = {
    "run": "boot",
    "trace": "trace",
    "attach": "existing",
    "core": "existing",
    "gdb": "interactive",
    "gdbinit": "interactive",
    "replay": "replay",
    "export": "export",
    "completion": "completion",
    "help": "help",
}
"""Which module of this package has which command."""


def build_parser(word: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands, or only what a line that begins with `word` needs: it imports no more."""
    parser = SplitParser(
        prog="gdb-lmb",
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="See and prove the early-boot memory allocator (LMB) of a kernel, on live memory.",
    )
    parser.add_argument("--version", action="version", version=f"gdb-lmb {__version__}")
    commands = parser.commands = parser.add_subparsers(
        title="commands", dest="command_name", metavar="COMMAND", required=True
    )
    modules = [] if word == "--version" else [_MODULES[word]] if word in _MODULES else dict.fromkeys(_MODULES.values())
    for module in modules:
        for command in importlib.import_module(f"gdb_lmb.cli.{module}").COMMANDS:
            command.add_to(commands)
    return parser


def dispatch(words: Sequence[str]) -> int:
    """Run one command line and return its exit status, having said on stderr why it is not 0."""
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output has exited
        discard(sys.stdout)
        return 128 + signal.SIGPIPE
    except LmbError as error:
        say(str(error))
        if isinstance(error, NotReachedError):
            _show_console(error.console)
        return int(status_of_error(error))
    except OSError as error:
        say(f"{error.filename or 'cannot write to stdout'}: {error.strerror or error}")
        discard(sys.stdout)
        return int(ExitStatus.INFRASTRUCTURE)


def _run(words: Sequence[str]) -> int:
    """Parse and run one command line; return its exit status. Raises: `LmbError`, `OSError`."""
    try:
        arguments = build_parser(words[0] if words else "").parse_args(words)
    except SystemExit as end:  # argparse has said why; --help and --version end with 0
        return end.code if isinstance(end.code, int) else int(ExitStatus.USAGE)
    return int(arguments.run(arguments))


def _show_console(console: bytes) -> None:
    from gdb_lmb.runner.process import tail

    lines = tail(console)
    say("the guest's console is empty" if not lines else "the guest's console ends with:")
    for line in lines:
        say(line, "  | ")

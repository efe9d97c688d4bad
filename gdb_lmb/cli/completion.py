# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb completion`: a shell's completion of this command line, made from its own parsers."""

from __future__ import annotations

import argparse
import sys

from gdb_lmb.arches.registry import NAMES
from gdb_lmb.cli.common import WITH_GDB_COMMANDS, CommandLine, argument
from gdb_lmb.cli.completion_shells import FILE, NOTHING, PROGRAM, SHELLS, Argument, Command
from gdb_lmb.cli.help import topics
from gdb_lmb.kernels.names import KERNELS
from gdb_lmb.report.statuses import ExitStatus

LMB_COMMANDS = (
    "lmb-attach", "lmb-check", "lmb-dump", "lmb-free", "lmb-map", "lmb-trace", "lmb-verdict", "lmb-whatif", "lmb-who",
)  # fmt: skip
"""What may follow `--`, besides all other commands of gdb's."""

_EPILOG = """\
To have it in every shell:
  bash:  gdb-lmb completion bash > ~/.local/share/bash-completion/completions/gdb-lmb
         or, without the package bash-completion: gdb-lmb completion bash >> ~/.bashrc
  zsh:   gdb-lmb completion zsh > ~/.zfunc/_gdb-lmb     (a folder of $fpath, before compinit)
  fish:  gdb-lmb completion fish > ~/.config/fish/completions/gdb-lmb.fish
"""
_FILES = ("FILE", "VMLINUX", "TRACE", "KERNEL")


def _run(arguments: argparse.Namespace) -> ExitStatus:
    """Print the script."""
    from gdb_lmb.cli.dispatch import build_parser  # which imports this module

    sys.stdout.write(SHELLS[arguments.shell](described(build_parser())))
    return ExitStatus.CLEAN


def described(parser: argparse.ArgumentParser) -> list[Command]:
    """Return what each command of `parser` takes."""
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help or "" for choice in subparsers._choices_actions}
    return [
        Command(
            name,
            summaries.get(name, ""),
            tuple(_argument(command, action, name) for action in command._actions),
            LMB_COMMANDS if name in WITH_GDB_COMMANDS else (),
        )
        for name, command in subparsers.choices.items()
    ]


def _argument(parser: argparse.ArgumentParser, action: argparse.Action, command: str) -> Argument:
    """Return what one argument takes, as far as its parser tells."""
    label = action.metavar if isinstance(action.metavar, str) else action.dest
    words: tuple[str, ...] = tuple(str(choice) for choice in action.choices or ())
    if action.dest == "arch":
        words = NAMES
    elif label == "TOPIC":
        words = tuple(topics())
    elif label == "STUB":
        words = ("unix:", "tcp:")
    elif not action.option_strings and command in WITH_GDB_COMMANDS and label in ("KERNEL", "VMLINUX"):
        words = tuple(KERNELS)
    kind = PROGRAM if label == "BIN" else FILE if label in _FILES or action.nargs == argparse.REMAINDER else NOTHING
    told = parser._get_formatter()._expand_help(action) if action.help else ""
    return Argument(tuple(action.option_strings), action.nargs != 0, words, kind, label, " ".join(told.split()))


COMMANDS = (
    CommandLine(
        "completion",
        _run,
        "print the completion of this command line for a shell",
        "Print a script that completes the words of gdb-lmb in a shell.",
        _EPILOG,
        (argument("shell", choices=tuple(SHELLS), help="the shell that is to read it"),),
    ),
)

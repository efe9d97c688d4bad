# SPDX-License-Identifier: GPL-2.0-or-later
"""What all commands share: arguments, completion, errors, and taking a snapshot of the guest."""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import gdb

from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.commands.words import for_parser, joined
from gdb_lmb.core.errors import LmbError, NotReadyError, ReadError, UsageError
from gdb_lmb.core.memory import BoundedMemory, Meter
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import safe
from gdb_lmb.machine.clients import tell_client
from gdb_lmb.machine.identity import own_identity, require_same_build
from gdb_lmb.machine.memblock import take_memblock
from gdb_lmb.machine.not_there import explain_unreadable
from gdb_lmb.machine.physical import put_back
from gdb_lmb.machine.program import find_lmb, lookup
from gdb_lmb.machine.reader import virtual_memory
from gdb_lmb.machine.registers import booting_cpu
from gdb_lmb.machine.stop import current_stop, require_stopped, torn_in
from gdb_lmb.programs.linux import find_kernel
from gdb_lmb.report.statuses import status_of_error


class _Parser(argparse.ArgumentParser):
    """Raises instead of ending gdb."""

    def error(self, message: str) -> NoReturn:
        both = re.fullmatch(r"argument (\S+): not allowed with argument (\S+)", message)
        said = f"{both[2]} and {both[1]} exclude each other" if both else message
        raise UsageError(f"{said} (see: help {self.prog})")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is not one of an argument's choices, in the same words under every Python."""
        if action.choices is not None and value not in action.choices:
            raise UsageError(f"{safe(value, 40)!r} is none of {', '.join(action.choices)} (see: help {self.prog})")

    def options_of(self, words: Sequence[str]) -> argparse.Namespace:
        """Return what the words of a command line mean. Raises: `UsageError`."""
        found, rest = self.parse_known_args(for_parser(joined(words), self))
        if rest:
            raise UsageError(f"{safe(rest[0], 40)!r} is one word too many (see: help {self.prog})")
        return found


class LmbCommand(gdb.Command):
    """One `lmb-*` command: subclasses set `name`, fill `arguments()` and do the work in `run()`.

    gdb's help is the subclass's docstring.
    """

    name = ""

    def __init_subclass__(cls) -> None:
        """Take the indentation out of gdb's help: gdb does so itself from 13 on."""
        super().__init_subclass__()
        cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")

    def __init__(self, typed: str) -> None:
        """Register the command with gdb as `typed`: its name, or the two words of it."""
        super().__init__(typed, gdb.COMMAND_DATA)

    @classmethod
    def register(cls) -> None:
        """Make gdb know the command by both of its names: lmb-dump, and dump of the prefix lmb."""
        cls(cls.name)
        cls(cls.name.replace("-", " ", 1))

    @functools.cached_property
    def parser(self) -> _Parser:
        """Make the parser when it is first asked for: a session uses few of the commands."""
        parser = _Parser(prog=self.name, add_help=False, allow_abbrev=False)
        self.arguments(parser)
        return parser

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes to `parser`."""

    def run(self, options: argparse.Namespace) -> None:
        """Do the command's work. Raises: `LmbError`."""
        raise NotImplementedError

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Parse and run; one clean line for everything that is not our own bug."""
        self.dont_repeat()
        try:
            self.run(self.parser.options_of(gdb.string_to_argv(argument)))
        except LmbError as error:
            # Whoever looks at it next must not find the verdict of the command before.
            set_variable("lmb_status", int(status_of_error(error, in_gdb=True)))
            raise gdb.GdbError(f"{self.name}: {error}") from None
        finally:
            put_back()

    def complete(self, text: str, word: str | None) -> list[str]:
        """Offer the words and options that fit and are not there yet.

        gdb asks twice: first with no word, only for how words are to be broken, which is left to it.
        """
        if word is None:
            return []
        given = text.split()
        typed = given.pop() if given and not text.endswith(" ") else ""
        # gdb breaks words at "-" too, and wants only what follows the break.
        cut = len(typed) - len(word)
        return [c[cut:] for c in self._candidates(given) if c.startswith(typed)]

    def _candidates(self, given: list[str]) -> list[str]:
        out: list[str] = []
        for action in self.parser._actions:
            if action.option_strings:
                out += [name for name in action.option_strings if name not in given]
            elif action.choices and not any(word in action.choices for word in given):
                out += list(action.choices)
        return out


def take_snapshot(*, with_log: bool = False, meter: Meter | None = None) -> Snapshot:
    """Read the stopped guest's whole allocator: the list-based LMB, else Linux's memblock.

    A program may hold both; then memblock is shown while LMB is not initialised or cannot be read yet. What
    reading costs is added to `meter`. Raises: `LmbError`.
    """
    require_stopped()
    both = lookup("lmb") is not None and lookup("memblock") is not None
    with booting_cpu():
        if both:
            with contextlib.suppress(NotReadyError, ReadError):
                return _take_lmb(with_log, meter)
        kernel = find_kernel()
        return _take_lmb(with_log, meter) if kernel is None else take_memblock(kernel, meter)


def _take_lmb(with_log: bool, meter: Meter | None) -> Snapshot:
    memory = BoundedMemory(virtual_memory(), meter)
    program = find_lmb(memory)
    require_same_build(memory)
    try:
        return decode(program, memory, with_log=with_log, torn=torn_in(), stop=current_stop())
    except ReadError as error:
        own = program.lmb_va <= error.address < program.lmb_va + program.lmb.size
        path, identity = own_identity()
        if not own or path is None:
            raise
        raise explain_unreadable(path, identity, error) from None


def write(text: str) -> None:
    """Write a command's output to gdb's standard output."""
    gdb.write(text if text.endswith("\n") else text + "\n")


def announce(text: str) -> None:
    """Write what no command was asked for: also to a DAP client, which sees only what its own commands print."""
    write(text)
    tell_client(text)


def set_variable(name: str, value: Any) -> None:
    """Set the convenience variable `$name`."""
    gdb.set_convenience_variable(name, value)

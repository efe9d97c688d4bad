# SPDX-License-Identifier: GPL-2.0-or-later
"""What all commands share: arguments, completion, errors, and taking a snapshot of the guest."""

from __future__ import annotations

import contextlib
import fcntl
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gdb

from gdb_lmb.commands.arguments import Argument, Options, candidates, parse
from gdb_lmb.core.errors import LayoutError, LmbError
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.current import current
from gdb_lmb.machine.memory import put_back
from gdb_lmb.machine.run_control import tell_client
from gdb_lmb.machine.symbols import why_no_allocator
from gdb_lmb.programs import base as programs
from gdb_lmb.report.jsonio import dumps
from gdb_lmb.report.statuses import status_of_error
from gdb_lmb.report.terminal import TERMINAL_VARIABLE, Terminal, is_utf8, may_color


class LmbCommand(gdb.Command):
    """One `lmb-*` command: a subclass has its name, a table of its arguments, `ask()`, and two writers.

    gdb's help is the subclass's docstring.
    """

    name = ""
    arguments: ClassVar[Sequence[Argument]] = ()
    exclusive: ClassVar[Sequence[str]] = ()
    """Options of which at most one may be given."""
    writers: ClassVar[tuple[Callable[..., dict[str, Any]], Callable[..., str]]]
    """What makes JSON values of what `ask()` returns, and what makes a text of the same for a `Terminal`."""

    def __init_subclass__(cls) -> None:
        """Remove the indentation from the help: gdb does so itself from version 13 on."""
        cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def register(cls) -> None:
        """Make gdb know the command by both of its names: lmb-dump, and dump of the prefix lmb."""
        for typed in (cls.name, cls.name.replace("-", " ", 1)):
            cls(typed, gdb.COMMAND_DATA)

    def ask(self, options: Options) -> tuple[Any, ...]:
        """Return what the writers take. Raises: `LmbError`."""
        raise NotImplementedError

    def run(self, options: Options) -> None:
        """Do the command's work. Raises: `LmbError`."""
        self.show(options, *self.ask(options))

    def show(self, options: Options, *found: Any) -> None:
        """Write what was found, as JSON or as text."""
        as_json, as_text = self.writers
        write(dumps(as_json(*found)) if options.json else as_text(*found, terminal()))

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Parse the arguments and run the command; report an `LmbError` in one line."""
        self.dont_repeat()
        try:
            self.run(parse(gdb.string_to_argv(argument), self.arguments, self.name, self.exclusive))
        except LmbError as error:
            # The status of the previous command must not stay.
            gdb.set_convenience_variable("lmb_status", int(status_of_error(error, in_gdb=True)))
            raise gdb.GdbError(f"{self.name}: {error}") from None
        finally:
            put_back()

    def complete(self, text: str, word: str | None) -> list[str]:
        """Return the options and choices that complete `word` and are not given yet.

        gdb calls this twice: first with None, to ask how words are split, which is left to gdb.
        """
        if word is None:
            return []
        given = text.split()
        typed = given.pop() if given and not text.endswith(" ") else ""
        # gdb also splits words at "-", and wants only the part after the split.
        cut = len(typed) - len(word)
        return [c[cut:] for c in candidates(given, self.arguments) if c.startswith(typed)]


def take_snapshot(*, with_log: bool = False, meter: Meter | None = None) -> Snapshot:
    """Read the stopped guest's whole allocator: the list-based LMB, else Linux's memblock.

    A program may hold both; then memblock is shown while LMB is not initialised or cannot be read yet. What
    reading costs is added to `meter`. Raises: `LmbError`.
    """
    machine = current()
    machine.require_stopped()
    snapshot = programs.take_snapshot(machine, with_log=with_log, meter=meter)
    if snapshot is None:
        raise LayoutError(why_no_allocator())
    return snapshot


def write(text: str) -> None:
    """Write a command's output to gdb's standard output."""
    gdb.write(text if text.endswith("\n") else text + "\n")


def announce(text: str) -> None:
    """Write a message outside of any command; a DAP client, which sees only its own commands' output, gets it too."""
    write(text)
    tell_client(text)


# -- the terminal -------------------------------------------------------------------------------------------

_STDERR = 2


def terminal() -> Terminal:
    """Return the terminal of the command that runs now."""
    words = None if TERMINAL_VARIABLE not in os.environ else os.environ[TERMINAL_VARIABLE].split()
    # gdb refuses to print what its character set lacks.
    unicode = is_utf8(gdb.host_charset()) and (words is None or "unicode" in words)
    if _captured() or (words is None and _piped()):
        return Terminal(unicode=unicode)
    redirected = gdb.parameter("logging enabled") and gdb.parameter("logging redirect")
    shown = not redirected and os.isatty(1) if words is None else "tty" in words
    color = shown and may_color() if words is None else "color" in words
    width = gdb.parameter("width") if shown else None
    return Terminal(width or None, color and bool(gdb.parameter("style enabled")), unicode)


def _captured() -> bool:
    """Tell whether a program may capture the output: other Python code runs the command with `gdb.execute()`."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return not str(frame.f_globals.get("__name__")).startswith("gdb_lmb.")


def _piped() -> bool:
    """Tell whether gdb's `pipe` command gets the output: gdb then writes to a pipe that another process reads."""
    inodes: dict[int, set[str]] = {os.O_RDONLY: set(), os.O_WRONLY: set()}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not files
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is closed by now
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            if int(name) > _STDERR and target.startswith("pipe:"):
                mode = fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE
                inodes.setdefault(mode, set()).add(target)
    return bool(inodes[os.O_WRONLY] - inodes[os.O_RDONLY])

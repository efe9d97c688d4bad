# SPDX-License-Identifier: GPL-2.0-or-later
"""What all commands share: arguments, completion, errors, taking a snapshot of the guest, and what this gdb keeps.

`$lmb_status` holds the status of the last command, by the tables of report/statuses.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import gdb

from gdb_lmb.commands.arguments import Argument, Options, candidates, parse
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, StateError
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.snapshot import Finding, Snapshot
from gdb_lmb.core.words import FINDING, safe
from gdb_lmb.machine.current import current
from gdb_lmb.machine.memory import put_back, watched_connection
from gdb_lmb.machine.run_control import tell_client
from gdb_lmb.machine.symbols import why_no_allocator
from gdb_lmb.programs import base as programs
from gdb_lmb.report.jsonio import bounded, dumps
from gdb_lmb.report.statuses import ExitStatus, status_of_error, status_of_outcome
from gdb_lmb.report.terminal import MAX_ROWS, TERMINAL_VARIABLE, Terminal, is_utf8, may_color

if TYPE_CHECKING:  # lmb-trace imports it where it is used: see commands/trace.py
    from gdb_lmb.tracing.session import TraceSession


class LmbCommand(gdb.Command):
    """One `lmb-*` command: a subclass has its name, a table of its arguments, `ask()`, and two writers.

    Of the options `exclusive` at most one may be given. One writer makes JSON values of what `ask()` returns, the other
    a text of the same for a `Terminal`. gdb's help is the subclass's docstring.
    """

    name = ""
    arguments: ClassVar[Sequence[Argument]] = ()
    exclusive: ClassVar[Sequence[str]] = ()
    writers: ClassVar[tuple[Callable[..., dict[str, Any]], Callable[..., str]]]

    def __init_subclass__(cls) -> None:
        # From version 13 on gdb removes the indentation itself.
        cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def register(cls) -> None:
        # By both of its names: lmb-dump, and dump of the prefix lmb.
        for typed in (cls.name, cls.name.replace("-", " ", 1)):
            cls(typed, gdb.COMMAND_DATA)

    def ask(self, options: Options) -> tuple[Any, ...]:
        """Return what the writers take. Raises: `LmbError`."""
        raise NotImplementedError

    def run(self, options: Options) -> None:
        """Do the command's work. Raises: `LmbError`."""
        self.show(options, *self.ask(options))

    def show(self, options: Options, *found: Any) -> None:
        as_json, as_text = self.writers
        write(json_text(as_json(*found), options) if options.json else as_text(*found, terminal(options)))

    def invoke(self, argument: str, from_tty: bool) -> None:
        self.dont_repeat()
        before = [gdb.convenience_variable(name) for name in _VARIABLES]
        # However this ends, by an exception of gdb's too, the verdict of the previous command must not stay.
        SESSION.set_status(ExitStatus.NOT_VERIFIED)
        times = SESSION.times_set
        try:
            with watched_connection():
                self.run(parse(gdb.string_to_argv(argument), self.arguments, self.name, self.exclusive))
            if SESSION.times_set == times:  # it checked nothing, and leaves the last check's
                for name, value in zip(_VARIABLES, before, strict=True):
                    gdb.set_convenience_variable(name, value)
        except LmbError as error:
            SESSION.set_status(status_of_error(error, in_gdb=True))
            raise gdb.GdbError(f"{self.name}: {error}") from None
        finally:
            put_back()

    def complete(self, text: str, word: str | None) -> list[str]:
        # gdb calls this twice: first with None, to ask how words are split, which is left to gdb.
        if word is None:
            return []
        given = text.split()
        typed = given.pop() if given and not text.endswith(" ") else ""
        # gdb also splits words at "-", and wants only the part after the split.
        cut = len(typed) - len(word)
        return [c[cut:] for c in candidates(given, self.arguments) if c.startswith(typed)]


class LmbPrefix(gdb.Command):
    """Show and check the early-boot memory allocator (LMB, memblock) of a guest.

    Usage: lmb COMMAND [ARGUMENTS]

    Each command can be typed as one word or as two: lmb-dump is lmb dump. TAB
    completes commands and their options; "help lmb-dump" describes one.

    Example: lmb dump reserved
    """

    @classmethod
    def register(cls) -> None:
        # From version 13 on gdb removes the indentation itself.
        cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")
        cls("lmb", gdb.COMMAND_DATA, prefix=True)
        if gdb.convenience_variable(_VARIABLES[0]) is None:
            SESSION.set_status(ExitStatus.NOT_VERIFIED)

    def invoke(self, argument: str, from_tty: bool) -> None:
        # gdb calls this only if the words match no command.
        self.dont_repeat()
        if argument.strip():
            word = safe(argument.split()[0], 40)
            SESSION.set_status(ExitStatus.USAGE)
            raise gdb.GdbError(f"lmb: there is no command {word!r}: lmb alone lists the commands")
        gdb.execute("help lmb", from_tty)


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


def take_whole_snapshot(*, with_log: bool = False) -> Snapshot:
    """Do the same where nothing can be said with a list missing. Raises: `LmbError`."""
    snapshot = take_snapshot(with_log=with_log)
    for regions in snapshot.lists:
        if regions.name in snapshot.refused:
            raise StateError(f"no answer without the {regions.name} list: {snapshot.refused[regions.name]}")
        if not len(regions) and not (regions.walk.complete if regions.walk else not regions.cnt):
            why = "; ".join(defect.what for defect in snapshot.defects) or f"{regions.name}.cnt is {regions.cnt}"
            raise StateError(f"no answer without the {regions.name} list, which cannot be read: {safe(why, 500)}")
    return snapshot


def json_text(value: dict[str, Any], options: Options) -> str:
    """Return JSON on one line, without the rest of long lists where --all could be given and is not."""
    return dumps(value if getattr(options, "all", True) else bounded(value))


def write(text: str) -> None:
    """Write a command's output to gdb's standard output."""
    gdb.write(text if text.endswith("\n") else text + "\n")


def announce(text: str) -> None:
    """Write a message outside of any command; a DAP client, which sees only its own commands' output, gets it too."""
    write(text)
    tell_client(text)


# -- what this gdb keeps ------------------------------------------------------------------------------------

_VARIABLES = ("lmb_status", "lmb_findings")


@dataclass
class Session:
    """The checks made since gdb started, or since the last reset, what they `found`, and the trace that is kept.

    The same finding of two commands, such as lmb-dump and lmb-check, counts once. `forgotten` counts the checks that
    a reset took away, `times_set` how often `$lmb_status` was set.
    """

    checks: list[dict[str, Any]] = field(default_factory=list)
    found: Counter[Finding] = field(default_factory=Counter)
    trace: TraceSession | None = None
    forgotten: int = 0
    times_set: int = 0

    def set_status(self, status: ExitStatus, findings: int | None = None) -> None:
        """Set `$lmb_status` and `$lmb_findings`; None makes the latter void."""
        self.times_set += 1
        for name, value in zip(_VARIABLES, (int(status), findings), strict=True):
            gdb.set_convenience_variable(name, value)

    def require_trace(self) -> TraceSession:
        """Return the trace. Raises: `NotReadyError` where there is none."""
        if self.trace is None:
            raise NotReadyError("nothing was traced yet: begin with `lmb-trace start`")
        return self.trace

    def record(self, command: str, findings: Sequence[Finding], not_verified: Sequence[str]) -> None:
        """Add the outcome of one command, and set `$lmb_status` and `$lmb_findings`."""
        faults = [finding for finding in findings if finding.severity == FINDING]
        self.found |= Counter(faults)
        self.checks.append(
            {
                "command": command,
                "findings": len(faults),
                "notes": len(findings) - len(faults),
                "not_verified": list(not_verified),
            }
        )
        self.set_status(status_of_outcome(len(faults), not_verified), len(faults))


SESSION = Session()


# -- the terminal -------------------------------------------------------------------------------------------

_STDERR = 2


def terminal(options: Options | None = None) -> Terminal:
    """Return the terminal of the command that runs now; without its option --all a table has few rows."""
    rows = None if getattr(options, "all", True) else MAX_ROWS
    words = None if TERMINAL_VARIABLE not in os.environ else os.environ[TERMINAL_VARIABLE].split()
    # gdb refuses to print what its character set lacks.
    unicode = is_utf8(gdb.host_charset()) and (words is None or "unicode" in words)
    if _captured() or (words is None and _piped()):
        return Terminal(unicode=unicode, rows=rows)
    redirected = gdb.parameter("logging enabled") and gdb.parameter("logging redirect")
    shown = not redirected and os.isatty(1) if words is None else "tty" in words
    color = shown and may_color() if words is None else "color" in words
    width = gdb.parameter("width") if shown else None
    return Terminal(width or None, color and bool(gdb.parameter("style enabled")), unicode, rows)


def _captured() -> bool:
    # Other Python code runs the command with `gdb.execute()`.
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return not str(frame.f_globals.get("__name__")).startswith("gdb_lmb.")


def _piped() -> bool:
    # gdb's `pipe` command writes to a pipe that another process reads.
    inodes: dict[int, set[str]] = {os.O_RDONLY: set(), os.O_WRONLY: set()}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not files
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is closed by now
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            if int(name) > _STDERR and target.startswith("pipe:"):
                mode = fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE
                inodes.setdefault(mode, set()).add(target)
    return bool(inodes[os.O_WRONLY] - inodes[os.O_RDONLY])

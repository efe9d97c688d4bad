# SPDX-License-Identifier: GPL-2.0-or-later
"""Following the allocator's calls with breakpoints: one stop at a call's first instruction, one at its return.

The breakpoints are gdb's internal ones: `info breakpoints` does not list them, and the user's own at the same
places work as ever. Calls that a traced call makes are parts of it; where they are known their breakpoints are
off meanwhile, else they are passed over. Nothing is symbolised during a stop.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import gdb

from gdb_lmb.arches.convention import Convention
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.machine.clients import hide_internal
from gdb_lmb.tracing.calls import described, newest_call, program_counters
from gdb_lmb.tracing.points import Point

SETTINGS: Mapping[str, str] = {"dcache line-size": "4096", "breakpoint always-inserted": "on"}
"""gdb's settings while tracing: the stack comes in one request, and nothing is inserted anew for each stop."""


@dataclass(frozen=True)
class Call:
    """A traced call: arguments by parameter name, the callers' program counters, the stack pointer after it."""

    point: Point
    arguments: Mapping[str, int]
    callers: tuple[int, ...]
    sp: int


@dataclass(frozen=True)
class Place:
    """A place that is only passed: what it is called, where it is, and what it is to the listener."""

    name: str
    address: int
    kind: str


class Listener(Protocol):
    """Whoever is told of calls; what returns True stops the guest there."""

    def entered(self, call: Call) -> bool:
        """Take a call that begins."""

    def returned(self, call: Call, result: int | None) -> bool:
        """Take a call that is over, and its result: None where the function has none."""

    def reached(self, place: Place) -> bool:
        """Take a place that is passed."""


class _Breakpoint(gdb.Breakpoint):
    """An internal breakpoint whose stop does one piece of work, which Ctrl-C does not tear in two."""

    def __init__(self, tracer: Tracer, address: int, work: Callable[[], bool]) -> None:
        super().__init__(f"*{address:#x}", internal=True)
        self.silent = True
        self.address = address
        self._tracer = tracer
        self._work = work

    def stop(self) -> bool:
        """Do the work; True leaves the guest stopped here."""
        interrupted = not _hold_ctrl_c()
        try:
            wanted = self.do()
            if signal.SIGINT in signal.sigpending():
                # Taken here, as gdb may lose one that comes while it lets the guest run again.
                signal.sigwait({signal.SIGINT})
                interrupted = True
        finally:
            # A gdb that does not hear SIGINT could not be stopped any more.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if interrupted:
            self._tracer.interrupted = True
        return wanted or interrupted

    def do(self) -> bool:
        """Do the work, and remember that it is done."""
        self._tracer.last = self
        return self._work()


def _hold_ctrl_c() -> bool:
    """Block SIGINT; tell whether none had come before that Python had yet to take."""
    quiet = True
    while True:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        except KeyboardInterrupt:
            # SIGINT may be blocked by now or not.
            quiet = False
        else:
            return quiet


class Tracer:
    """The breakpoints of one trace, from `start` to `stop`."""

    def __init__(
        self, points: Iterable[Point], places: Iterable[Place], convention: Convention, order: ByteOrder,
        listener: Listener,
    ) -> None:  # fmt: skip
        """Trace calls of `points`, and passing `places`."""
        self._points = list(points)
        self._places = list(places)
        self._convention = convention
        self._order = order
        self._listener = listener
        self._entries: list[tuple[Point, _Breakpoint]] = []
        self._passing: list[_Breakpoint] = []
        self._returns: dict[int, _Breakpoint] = {}
        self._before: dict[str, object] = {}
        self.current: Call | None = None
        self.last: gdb.Breakpoint | None = None
        self.interrupted = False
        self.stops = self.passed = self.nested = self.strays = 0

    def start(self) -> None:
        """Set the breakpoints and gdb's settings. Raises: `gdb.error`."""
        hide_internal()
        for name, value in SETTINGS.items():
            self._before[name] = gdb.parameter(name)
            gdb.execute(f"set {name} {value}", to_string=True)
        for point in self._points:
            self._entries.append((point, _Breakpoint(self, point.address, self._entry(point))))
        for place in self._places:
            self._passing.append(_Breakpoint(self, place.address, self._passage(place)))

    def stop(self) -> None:
        """Take every breakpoint away and put gdb's settings back; not while a breakpoint's stop is at work."""
        for breakpoint in [*(b for _, b in self._entries), *self._passing, *self._returns.values()]:
            if breakpoint.is_valid():
                breakpoint.delete()
        self._entries.clear()
        self._passing.clear()
        self._returns.clear()
        for name, value in self._before.items():
            text = "on" if value is True else "off" if value is False else "auto" if value is None else str(value)
            gdb.execute(f"set {name} {text}", to_string=True)
        self._before.clear()

    def catch_up(self) -> None:
        """Do what the stop that the guest is at has left undone.

        Ctrl-C can keep Python from even beginning, and one that stops the guest right before a breakpoint makes
        gdb step over that breakpoint later, unseen.
        """
        pc = gdb.newest_frame().pc()
        for breakpoint in [*(b for _, b in self._entries), *self._returns.values(), *self._passing]:
            if breakpoint.address == pc and breakpoint is not self.last and breakpoint.enabled:
                breakpoint.do()

    def take_call_here(self) -> None:
        """Take the call at whose first instruction the selected CPU is: gdb will step over that breakpoint, unseen."""
        pc = gdb.newest_frame().pc()
        for _, breakpoint in self._entries:
            if breakpoint.address == pc:
                breakpoint.do()

    def forget(self, low: int, high: int) -> None:
        """Turn off what lies in [low, high): that code is about to be freed."""
        for point, breakpoint in self._entries:
            if low <= point.address < high:
                breakpoint.enabled = False
        for address, breakpoint in self._returns.items():
            if low <= address < high:
                breakpoint.enabled = False

    def _entry(self, point: Point) -> Callable[[], bool]:
        def work() -> bool:
            self.stops += 1
            if self.current is not None:
                self.nested += 1
                return False
            frame = newest_call(self._convention, self._order)
            read = described if point.copied else frame.arguments
            return_address, sp = frame.caller()
            call = Call(point, read(point.parameters), program_counters(return_address), sp)
            self._await(return_address)
            self.current = call
            self._switch(point, False)
            return self._listener.entered(call)

        return work

    def _await(self, address: int) -> None:
        """See that the return to `address` is noticed; each place of return keeps its breakpoint.

        It is on only while a return is due: other code may jump there, and a stop costs far more than a switch.
        """
        if address not in self._returns:
            self._returns[address] = _Breakpoint(self, address, self._return(address))
        else:
            self._returns[address].enabled = True

    def _return(self, address: int) -> Callable[[], bool]:
        def work() -> bool:
            self.stops += 1
            call = self.current
            frame = newest_call(self._convention, self._order)
            if call is None or call.callers[0] != address or call.sp != frame.sp:
                self._stray(address)
                return False
            self.current = None
            self._returns[address].enabled = False
            self._switch(call.point, True)
            returns = call.point.returns
            return self._listener.returned(call, None if returns is None else frame.result(returns))

        return work

    def _stray(self, address: int) -> None:
        """Take a stop that was no return: other code comes by there too."""
        self.strays += 1
        if self.current is None or self.current.callers[0] != address:
            self._returns[address].enabled = False

    def _switch(self, outer: Point, on: bool) -> None:
        """Turn the breakpoints of the calls that `outer` may make off, or on again."""
        for point, breakpoint in self._entries:
            if point.op in outer.role.within and breakpoint.enabled != on:
                breakpoint.enabled = on

    def _passage(self, place: Place) -> Callable[[], bool]:
        def work() -> bool:
            self.passed += 1
            return self._listener.reached(place)

        return work

# SPDX-License-Identifier: GPL-2.0-or-later
"""Trace the allocator's calls with breakpoints: one at each function's first instruction, one at each return address.

The breakpoints are internal to gdb: `info breakpoints` does not list them, and user breakpoints at the same addresses
still work. Calls made by a traced call belong to it: their breakpoints are disabled until it returns where it is known
to make them, and their stops are ignored otherwise.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial

import gdb

from gdb_lmb.arches.base import CallFrame, Convention
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.machine.run_control import hide_internal
from gdb_lmb.tracing.points import Point, described, newest_call, program_counters
from gdb_lmb.tracing.recording import Call, Place, Purpose, Recording

# gdb's settings while tracing: read the stack in one request, and leave breakpoints inserted between stops.
_SETTINGS = {"dcache line-size": 4096, "breakpoint always-inserted": True}


# Not gdb.with_parameter(): gdb 12's cannot set the booleans that it reads.
def _set(name: str, value: object) -> None:
    word = value if not isinstance(value, bool) else "on" if value else "off"
    gdb.execute(f"set {name} {word}", to_string=True)


class _Breakpoint(gdb.Breakpoint):
    """An internal breakpoint that calls `work` at each stop, with SIGINT blocked."""

    def __init__(self, tracer: Tracer, address: int, work: Callable[[], bool]) -> None:
        super().__init__(f"*{address:#x}", internal=True)
        self.silent = True
        self.address = address
        self._tracer = tracer
        self._work = work

    def stop(self) -> bool:
        """Handle a stop. Return True to leave the guest stopped."""
        interrupted = not _block_sigint()
        try:
            wanted = self.do()
            if signal.SIGINT in signal.sigpending():
                # gdb may lose a SIGINT that arrives while it resumes the guest: take it here.
                signal.sigwait({signal.SIGINT})
                interrupted = True
        finally:
            # With SIGINT blocked, gdb could not be interrupted any more.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._tracer.interrupted |= interrupted
        return wanted or interrupted

    def do(self) -> bool:
        """Call `work`, and remember that it was called at this stop."""
        self._tracer.last = self
        return self._work()


def _block_sigint() -> bool:
    # Block SIGINT. Return False if Python had a KeyboardInterrupt pending.
    quiet = True
    while True:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            return quiet
        except KeyboardInterrupt:
            # It is not known whether SIGINT got blocked: try again.
            quiet = False


class Tracer:
    """The breakpoints of one trace, from `start` to `stop`.

    `stops` counts stops at calls and their returns; `interrupted` tells that the user's Ctrl-C came in one.
    """

    def __init__(
        self, points: Iterable[Point], places: Iterable[Place], convention: Convention, order: ByteOrder,
        recording: Recording, init_code: range, begun: Callable[[], bool],
    ) -> None:  # fmt: skip
        """Trace calls of `points` and passing `places`; code in `init_code` goes away at `INIT_FREED`.

        `begun` tells whether a stopped guest is past the places of `BEGIN`.
        """
        self._points = list(points)
        self._places = list(places)
        self._frame: Callable[[], CallFrame] = partial(newest_call, convention, order)
        self._recording = recording
        self._init_code = init_code
        self._begun = begun
        self._begins: list[Place] = []  # whose breakpoints are still to come
        self._entries: list[tuple[Point, _Breakpoint]] = []
        self._passing: list[_Breakpoint] = []
        self._returns: dict[int, _Breakpoint] = {}
        self._settings = ExitStack()
        self._current: tuple[Point, Call] | None = None
        self.last: gdb.Breakpoint | None = None
        self.interrupted = False
        self.stops = 0

    @property
    def _breakpoints(self) -> list[_Breakpoint]:
        return [*(breakpoint for _, breakpoint in self._entries), *self._returns.values(), *self._passing]

    def start(self) -> None:
        """Set the breakpoints and gdb's settings. Raises: `gdb.error`."""
        hide_internal()
        for name, value in _SETTINGS.items():
            self._settings.callback(_set, name, gdb.parameter(name))
            _set(name, value)
        for point in self._points:
            self._entries.append((point, _Breakpoint(self, point.address, partial(self._enter, point))))
        self._recording.begun = self._begun()
        for place in self._places:
            # QEMU runs the page of a breakpoint instruction by instruction, and one of them clears the BSS in the page
            # where Linux begins: a quarter of a second. Until the first call nothing is lost by a reset; of some kinds
            # of calls only, the first one may come too late to tell.
            early = place.purpose is Purpose.BEGIN and not self._recording.begun and not self._recording.options.only
            if early:
                self._begins.append(place)
            else:
                self._watch(place)

    def _watch(self, place: Place) -> None:
        self._passing.append(_Breakpoint(self, place.address, partial(self._pass, place)))

    def stop(self) -> None:
        """Delete every breakpoint and restore gdb's settings; not while a breakpoint's `stop()` runs."""
        for breakpoint in self._breakpoints:
            if breakpoint.is_valid():
                breakpoint.delete()
        self._settings.close()

    def catch_up(self) -> None:
        """Handle the breakpoint at the current program counter if gdb has not called it.

        Ctrl-C can keep gdb from calling it; and if it stops the guest right before a breakpoint, gdb later steps over
        that breakpoint silently.
        """
        self._do_here(one for one in self._breakpoints if one is not self.last and one.enabled)

    def take_call_here(self) -> None:
        """Handle the call at whose first instruction the guest is stopped: gdb steps over that breakpoint silently."""
        self._do_here(breakpoint for _, breakpoint in self._entries)

    def _do_here(self, breakpoints: Iterable[_Breakpoint]) -> None:
        pc = gdb.newest_frame().pc()
        for breakpoint in breakpoints:
            if breakpoint.address == pc:
                breakpoint.do()

    def _enter(self, point: Point) -> bool:
        self.stops += 1
        if self._current is not None:
            return False
        if self._begins:
            self._recording.begun = self._begun()
            while self._begins:
                self._watch(self._begins.pop())
        frame = self._frame()
        read = described if point.copied else frame.arguments
        return_address, sp = frame.caller()
        call = Call(point.role, point.address, read(point.parameters), program_counters(return_address), sp)
        # Each place of return keeps its breakpoint. It is on only while a return is due: other code may jump there,
        # and a stop costs far more than a switch.
        if return_address in self._returns:
            self._returns[return_address].enabled = True
        else:
            back = partial(self._return, return_address)
            self._returns[return_address] = _Breakpoint(self, return_address, back)
        self._current = point, call
        self._enable_within(point, False)
        return self._recording.entered(call)

    def _return(self, address: int) -> bool:
        # Other code may come by a return address too.
        self.stops += 1
        if self._current is None or self._current[1].callers[0] != address:
            self._returns[address].enabled = False
            return False
        point, call = self._current
        frame = self._frame()
        if call.sp != frame.sp:
            return False
        self._current = None
        self._returns[address].enabled = False
        self._enable_within(point, True)
        return self._recording.returned(call, None if point.returns is None else frame.result(point.returns))

    def _enable_within(self, outer: Point, on: bool) -> None:
        # Enable or disable the breakpoints of the calls that `outer` may make.
        for point, breakpoint in self._entries:
            if point.role.op in outer.role.within and breakpoint.enabled != on:
                breakpoint.enabled = on

    def _pass(self, place: Place) -> bool:
        if place.purpose is Purpose.INIT_FREED:
            for breakpoint in self._breakpoints:
                if breakpoint.address in self._init_code:
                    breakpoint.enabled = False
            return False
        return self._recording.reached(
            place, program_counters(place.address) if place.purpose is Purpose.SETTING else ()
        )

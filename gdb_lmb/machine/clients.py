# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that drive gdb by DAP (gdb 14 and later): what is internal stays so, and what is for the user reaches them.

gdb tells a DAP client of every breakpoint that Python makes, turns on or off and deletes, also of internal ones; and
what is printed while the guest runs goes to its log only. Both are mended where gdb's own modules are as is known.
Source: gdb/python/lib/gdb/dap/breakpoint.py and server.py.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator

import gdb

_EVENTS = ("created", "modified", "deleted")


class _Ours:
    """Breakpoints with numbers as the user's have, but internal all the same; whether one is just being made."""

    numbers: set[int] = set()
    making = False


@contextlib.contextmanager
def making_internal() -> Iterator[set[int]]:
    """Hide the breakpoints that are made meanwhile from a DAP client; their numbers are to be put into the set."""
    hide_internal()
    _Ours.making = True
    try:
        yield _Ours.numbers
    finally:
        _Ours.making = False


@functools.cache
def hide_internal() -> None:
    """Have a DAP client told of the user's breakpoints only, from now on."""
    module = sys.modules.get("gdb.dap.breakpoint")
    for event in _EVENTS if module is not None else ():
        handler = getattr(module, f"_bp_{event}", None)
        registry = getattr(gdb.events, f"breakpoint_{event}")
        if handler is not None:
            with contextlib.suppress(ValueError, RuntimeError):  # it is not connected: there is nothing to filter
                registry.disconnect(handler)
                registry.connect(_of_user(handler))


def _of_user(handler: Callable[[gdb.Breakpoint], None]) -> Callable[[gdb.Breakpoint], None]:
    def pass_on(breakpoint: gdb.Breakpoint) -> None:
        if breakpoint.number > 0 and breakpoint.number not in _Ours.numbers and not _Ours.making:
            handler(breakpoint)

    return pass_on


def tell_client(text: str) -> None:
    """Show a DAP client what no command of its own has printed; nothing without one."""
    if "gdb.dap.server" not in sys.modules:
        return
    send = getattr(importlib.import_module("gdb.dap.server"), "send_event", None)
    if send is not None:
        send("output", {"category": "console", "output": text if text.endswith("\n") else f"{text}\n"})

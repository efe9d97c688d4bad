# SPDX-License-Identifier: GPL-2.0-or-later
"""DAP clients of gdb (gdb 14 and later): hide internal breakpoints from them, show them what is printed for the user.

gdb reports to a DAP client every breakpoint that Python creates, changes and deletes, internal ones too; and output
while the guest runs goes to its log only. Both are corrected if gdb's own modules have the functions that we know.
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
    """Numbers of our breakpoints that are numbered like the user's; whether one is being created."""

    numbers: set[int] = set()
    making = False


@contextlib.contextmanager
def making_internal() -> Iterator[set[int]]:
    """Hide breakpoints created in the `with` block from a DAP client; add their numbers to the set."""
    hide_internal()
    _Ours.making = True
    try:
        yield _Ours.numbers
    finally:
        _Ours.making = False


@functools.cache
def hide_internal() -> None:
    """Report only the user's breakpoints to a DAP client from now on."""
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
    """Show `text` to a DAP client, if there is one: it sees only what its own commands print."""
    if "gdb.dap.server" not in sys.modules:
        return
    send = getattr(importlib.import_module("gdb.dap.server"), "send_event", None)
    if send is not None:
        send("output", {"category": "console", "output": text if text.endswith("\n") else f"{text}\n"})

# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of the fixture kernel for tests: started, followed to their end, and read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gdb_lmb.core.operation import Record
from gdb_lmb.report.trace_file import TraceReader
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

BUSY = "lmb.scenario=random lmb.static=8 lmb.ops=200"
BOOT_OPERATIONS = 20
"""Calls of the allocator before the scenario begins: lmb_init() and those of main.c, as its log counts them."""


def guest_of(kernel: Path, append: str = BUSY) -> GuestSession:
    return GuestSession(kernel, QemuOptions(append=append))


def json_of(guest: GuestSession, command: str) -> dict[str, Any]:
    """Return a command's JSON; what was said when the trace ended may come before it."""
    output = guest.command(f"{command} --json")
    data: dict[str, Any] = json.loads(output[output.index('{"schema"') :])
    return data


def dump_in(console: str) -> str:
    """Return the lines of `lmb_dump_all()` in the guest's console output."""
    lines = console.splitlines(keepends=True)
    start = lines.index("LMB configuration:\n")
    end = start + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    return "".join(lines[start:end])


def status_of(guest: GuestSession) -> dict[str, Any]:
    """Return what `lmb-trace status` tells."""
    return json_of(guest, "lmb-trace status")


def traced(guest: GuestSession, options: str = "--lockstep") -> dict[str, Any]:
    """Trace to the end; return the status."""
    guest.command(f"lmb-trace start {options}")
    guest.run_on("the end")
    return status_of(guest)


def no_breakpoint_is_left(guest: GuestSession) -> bool:
    """Tell whether gdb lists no breakpoint of anybody's, internal ones included: each begins with its number."""
    listed = guest.command("maint info breakpoints").strip()
    assert listed
    return re.search(r"^-?\d", listed, re.M) is None


def settings(guest: GuestSession) -> list[str]:
    return [guest.command(f"show {name}") for name in ("breakpoint always-inserted", "dcache line-size")]


def read(path: Path) -> tuple[TraceReader, list[Record]]:
    with path.open("rb") as file:
        reader = TraceReader(file)
        return reader, list(reader)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Sourced in gdb by a test: interrupts lmb-dump at each of its packets, and looks at QEMU's mode afterwards."""

import json
import os
import signal

import gdb

from gdb_lmb.machine import memory

STATE = {"count": 0, "at": 0, "real": False}


def strike():
    """Count one moment, and interrupt at the chosen one."""
    STATE["count"] += 1
    if STATE["count"] == STATE["at"]:
        if not STATE["real"]:
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGINT)


def struck(work):
    """Return `work` with a moment before and after it."""

    def wrapped(*arguments):
        strike()
        result = work(*arguments)
        strike()
        return result

    return wrapped


def sweep():
    """Interrupt at each moment in turn until there is none left; print what was seen as JSON."""
    memory.packet = struck(memory.packet)
    memory.GdbMemory.read = struck(memory.GdbMemory.read)
    interrupted, left_on = 0, []
    for real in (False, True):
        at = 0
        while STATE["count"] >= at:
            at += 1
            STATE.update(count=0, at=at, real=real)
            try:
                gdb.execute("lmb-dump --json", to_string=True)
            except KeyboardInterrupt:
                interrupted += 1
            STATE["at"] = 0
            moments = STATE["count"]
            if gdb.selected_inferior().connection.send_packet("qqemu.PhyMemMode") != b"0":
                left_on.append([real, at])
            STATE["count"] = moments
        STATE["count"] = 0
    print(json.dumps({"interrupted": interrupted, "left_on": left_on}))

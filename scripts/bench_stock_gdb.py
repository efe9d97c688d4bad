# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of scripts/bench_stock.py that runs inside gdb: what our commands wait for in gdb and the guest."""

import json
import time

import gdb

SPENT = {"boot": 0.0, "symbols": 0.0}
# With the first frame gdb reads how to unwind, from .debug_frame: megabytes.
LOOK_UPS = ("lookup_global_symbol", "lookup_static_symbol", "lookup_type", "parse_and_eval", "decode_line",
            "block_for_pc", "find_pc_line", "newest_frame")  # fmt: skip
BOOT_COMMANDS = ("continue",)
SYMBOL_COMMANDS = ("symbol-file", "info symbol")


def timed(part, work):
    """Return `work` with its seconds added to a part."""

    def wrapped(*words, **named):
        start = time.perf_counter()
        try:
            return work(*words, **named)
        finally:
            SPENT[part] += time.perf_counter() - start

    return wrapped


def sorted_by_command(execute):
    """Return `gdb.execute` with the seconds of some commands added to a part."""
    boot, symbols = timed("boot", execute), timed("symbols", execute)

    def wrapped(command, *words, **named):
        if command.startswith(BOOT_COMMANDS):
            return boot(command, *words, **named)
        return (symbols if command.startswith(SYMBOL_COMMANDS) else execute)(command, *words, **named)

    return wrapped


class MeasuredObjfile:
    """An objfile of gdb's whose debug information, where it is read again for moved symbols, is counted."""

    def __init__(self, objfile):
        self.objfile = objfile

    def __getattr__(self, name):
        found = getattr(self.objfile, name)
        return timed("symbols", found) if name == "add_separate_debug_file" else found


def print_spent():
    """Print the seconds of each part as one line of JSON."""
    print(json.dumps(SPENT))


for name in LOOK_UPS:
    setattr(gdb, name, timed("symbols", getattr(gdb, name)))
own_objfiles = gdb.objfiles
gdb.objfiles = lambda: [MeasuredObjfile(objfile) for objfile in own_objfiles()]
gdb.execute = sorted_by_command(gdb.execute)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps a copy of all JSON that gdb_lmb writes, in whatever process of a test: gdb's Python or this one's.

Run at the start of every Python (`JsonLog` in json_log.py sees to that), so it imports nothing but what gdb_lmb
does itself, and has to work in gdb's Python, which is the system's.
"""

import json
import os
import sys

VARIABLE = "GDB_LMB_TESTS_JSON_FOLDER"


def record(folder):  # type: ignore[no-untyped-def]
    """Wrap json.dumps() and json.dump(): what a module of gdb_lmb writes is appended to this process's file."""
    real_dumps, real_dump = json.dumps, json.dump

    def keep(module, text):  # type: ignore[no-untyped-def]
        # One file a process and one write a document: a process that is killed leaves at worst the last one cut.
        line = f"{module}\t{text}\n".encode("ascii")
        with open(os.path.join(folder, str(os.getpid())), "ab", buffering=0) as file:  # noqa: PTH118, PTH123
            file.write(line)

    def dumps(value, **settings):  # type: ignore[no-untyped-def]
        text = real_dumps(value, **settings)
        module = sys._getframe(1).f_globals.get("__name__", "")
        if module.startswith("gdb_lmb."):
            keep(module, text.replace("\n", " "))
        return text

    def dump(value, stream, **settings):  # type: ignore[no-untyped-def]
        real_dump(value, stream, **settings)
        module = sys._getframe(1).f_globals.get("__name__", "")
        if module.startswith("gdb_lmb."):
            keep(module, real_dumps(value))

    json.dumps, json.dump = dumps, dump


if os.environ.get(VARIABLE):
    record(os.environ[VARIABLE])

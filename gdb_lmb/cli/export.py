# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb export`: write a saved trace as a test for the kernel's own memblock simulator."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from gdb_lmb.cli.common import CommandLine, Either, argument
from gdb_lmb.cli.trace_file import open_lines
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.report.output import require_apart, whole_file

_EPILOG = """\
The file has one test function, which makes the same calls as the traced boot, and asserts every result and the
whole state in the end. It says at its top how to build it in tools/testing/memblock.

example: gdb-lmb export boot.trace --c -o linux/tools/testing/memblock/tests/boot.c
"""


def run(arguments: argparse.Namespace) -> int:
    """Write the file; return the exit status."""
    if arguments.trace == "-":
        raise UsageError("a trace is read twice for this, so it must be a file: stdin is not")
    name = arguments.name or _name_of(arguments.output or arguments.trace)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,40}", name):
        raise UsageError(f"--name {name[:60]!r} is no name of a C function of at most 41 characters")
    if arguments.output is None:
        for line in _lines(arguments.trace, name):
            sys.stdout.write(line + "\n")
        return 0
    require_apart(Path(arguments.output), Path(arguments.trace))
    with whole_file(Path(arguments.output)) as file:
        file.writelines(line.encode("ascii") + b"\n" for line in _lines(arguments.trace, name))
    return 0


def _name_of(file: str) -> str:
    """Return a C name made of a file's: "boot-6.1.trace" gives "boot_6_1"."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", Path(file).stem).strip("_")[:40] or "trace"
    return f"boot_{stem}"[:41] if stem[0].isdigit() else stem


def _lines(trace: str, name: str) -> Iterator[str]:
    from gdb_lmb.report.export_c import source, survey
    from gdb_lmb.report.trace_file import TraceReader

    try:
        with open_lines(trace) as lines:
            seen = survey(TraceReader(lines))
        with open_lines(trace) as lines:
            yield from source(seen, TraceReader(lines), name)
    except InputError as error:
        raise InputError(f"{trace}: {error}") from None


COMMANDS = (
    CommandLine(
        "export",
        run,
        "write a saved trace as a test for the kernel's memblock simulator",
        "Write a saved trace of a memblock in another form; no guest is needed.",
        _EPILOG,
        (
            argument("trace", metavar="TRACE", help="the trace (gdb-lmb/trace/1), a file"),
            Either(True, [argument("--c", action="store_true", help="a test in C for tools/testing/memblock")]),
            argument("-o", "--output", metavar="FILE", help="where to write (default: stdout)"),
            argument("--name", metavar="NAME", help="the test function's name (default: that of the file)"),
        ),
    ),
)

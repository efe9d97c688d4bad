# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb replay` and `gdb-lmb export`: files of JSON lines, which are a saved trace or plain operations.

The first line tells which. Operations of either run on the reference model alone; a trace also becomes a test for the
kernel's own memblock simulator.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gdb_lmb.cli.common import COLOR_OPTION, CommandLine, Either, Once, argument, stdout_terminal, typed
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.numbers import whole_number
from gdb_lmb.core.words import plural
from gdb_lmb.report.output import require_apart, whole_file
from gdb_lmb.report.progress import PROGRESS
from gdb_lmb.report.statuses import status_of_outcome

if TYPE_CHECKING:
    from gdb_lmb.allocators.lmb.state import LmbConfig
    from gdb_lmb.report.trace_file import TraceReader

# After so many lines it is asked whether to show how far it is.
_LINES_A_LOOK = 256
# Of a line that is longer no more is read than shows that it is.
_MAX_LINE_BYTES = (32 << 20) + 1
_MODEL_OPTIONS = ("static", "klimit", "block_size", "entry_size", "block_header", "bits", "revision", "bottom_up")
_REPLAY = """\
A saved trace (schema gdb-lmb/trace/1) says itself what model it is for. Each result and the final state are
compared, and what was reserved twice is told. Exit status: 0 all as on the model, 1 findings, 5 not verified,
since the trace is cut off or has lost its beginning.

Otherwise each line is one operation of a list-based LMB, and the results and the final state are printed:

  {"op": "reserve", "base": "0x100000", "size": 4096, "flags": 0}

op is add, remove, reserve, free, mark, clear, alloc, allow_growth, enforce_limit, set_limit, set_bottom_up,
free_all or init (a second one); base, size, flags, align, min and max are numbers or "0x..." strings,
missing ones 0. mark and clear take one flag in flags, set_limit its limit in base, enforce_limit its
in size, set_bottom_up 0 or 1 in flags. The result of each is 0, a negative errno, the base that alloc
returned as "0x...", or the number of pages of free_all. The rules are those of revision 2 of the
design (help design); --revision 1 gives those of before.

example: gdb-lmb replay boot.trace
         gdb-lmb replay ops.jsonl --static 8 --block-size 4096
"""
_EXPORT = """\
The file has one test function, which makes the same calls as the traced boot, and asserts every result and the
whole state in the end. It says at its top how to build it in tools/testing/memblock.

example: gdb-lmb export boot.trace --c -o linux/tools/testing/memblock/tests/boot.c
"""


class Lines(Iterator[bytes]):
    """A file's lines, the first of which has been looked at."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Read the first line; `name` is for messages. Raises: `UsageError`."""
        self._file, self._name = file, name
        self._number = self._bytes = self._size = 0
        with contextlib.suppress(OSError):  # it may have no size, as a pipe
            self._size = os.fstat(file.fileno()).st_size
        first = self._read()
        self.is_trace = b'"schema"' in first[:4096]
        self.is_empty = not first
        self._lines = itertools.chain([first] if first else [], iter(self._read, b""))

    def __next__(self) -> bytes:
        line = next(self._lines, None)
        if line is None:
            PROGRESS.clear()
            raise StopIteration
        self._number += 1
        self._bytes += len(line)
        if not self._number % _LINES_A_LOOK and PROGRESS.wanted():
            share = f", {100 * self._bytes // self._size} %" if self._size else ""
            PROGRESS.show(f"{self._name}: {plural(self._number, 'line')}{share}")
        return line

    def _read(self) -> bytes:
        try:
            return self._file.readline(_MAX_LINE_BYTES)
        except OSError as error:
            raise UsageError(f"cannot read {self._name}: {error.strerror}") from None


@contextlib.contextmanager
def open_lines(name: str) -> Iterator[Lines]:
    """Open a file of JSON lines; "-" is stdin. Raises: `UsageError`."""
    if name == "-" and sys.stdin is None:
        raise UsageError("cannot read stdin: it is closed")
    try:
        opened = contextlib.nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    with opened as file:
        yield Lines(file, name)


@contextlib.contextmanager
def open_trace(name: str, lines: Iterator[bytes]) -> Iterator[TraceReader]:
    """Read a trace; what is damaged in it is told with the file's name. Raises: `InputError` naming file and line."""
    from gdb_lmb.report.trace_file import TraceReader

    try:
        yield TraceReader(lines)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


# -- replay -----------------------------------------------------------------------------------------


def _replay(arguments: argparse.Namespace) -> int:
    given = {name: getattr(arguments, name) for name in _MODEL_OPTIONS if name in arguments}
    with open_lines(arguments.ops) as lines:
        if not lines.is_trace:
            return _replay_operations(arguments.ops, lines, given)
        for name in given:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{arguments.ops} is a trace, which says itself what {option} is")
        return _replay_trace(arguments, lines)


def _replay_trace(arguments: argparse.Namespace, lines: Lines) -> int:
    from gdb_lmb.analysis.replay import Replay
    from gdb_lmb.report.trace_text import replay_json, replay_text

    with open_trace(arguments.ops, lines) as reader:
        replay = Replay(reader.header)
        for record in reader:
            replay.follow(record)
    findings, unjudged = replay.owners.findings(reader.symbols.get)
    findings += replay.failures.notes(reader.symbols.get)
    why = replay.finish(None if reader.end is None else reader.end.final, reader.cut_off)
    why = "; ".join(filter(None, (why, unjudged))) or None
    report = replay_json(reader, replay, findings, why)
    terminal = stdout_terminal(arguments.color)
    sys.stdout.write(json.dumps(report) if arguments.json else replay_text(reader, replay, findings, why, terminal))
    sys.stdout.write("\n")
    faults = sum(finding["severity"] == "finding" for finding in report["findings"])
    return int(status_of_outcome(faults, () if why is None else (why,)))


def _replay_operations(name: str, lines: Lines, given: dict[str, int]) -> int:
    from gdb_lmb.allocators.base import allocator
    from gdb_lmb.allocators.lmb.model import LmbModel
    from gdb_lmb.core.operation import parse_operations
    from gdb_lmb.report.jsonio import snapshot_json

    bottom_up = given.pop("bottom_up", False)
    config = _config(given)
    if lines.is_empty:
        raise UsageError(f"{name} is empty: it holds neither a trace nor operations")
    model, lmb = LmbModel(config), allocator(LmbModel.layout)
    model.set_bottom_up(bool(bottom_up))
    results: list[int | str | None] = []
    try:
        for operation in parse_operations(lines, config.bits, {**lmb.operations, **lmb.init}):
            result = lmb.apply(model, operation)
            address = lmb.allocates(operation.op) and result is not None and result >= 0
            results.append(f"{result:#x}" if address else result)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if not results:
        raise UsageError(f"{name} holds no operation: there is nothing to replay")
    json.dump({"results": results, "snapshot": snapshot_json(model.snapshot())}, sys.stdout)
    sys.stdout.write("\n")
    return 0


def _config(given: dict[str, int]) -> LmbConfig:
    from gdb_lmb.allocators.lmb.model import MAX_FIRST_ENTRIES
    from gdb_lmb.allocators.lmb.state import LmbConfig

    natural = 20 if given.get("bits") == 32 else 40
    header_size = given.pop("block_header", natural)
    config = LmbConfig(**{"entry_size": natural, "header_size": header_size, **given})
    if not config.entry_size:
        raise UsageError("--entry-size must be more than 0")
    if config.klimit is not None and (
        config.klimit % config.page_size or config.klimit + config.page_size >= 1 << config.bits
    ):
        raise UsageError(f"--klimit {config.klimit:#x} is no page of a {config.bits}-bit address space")
    why = config.refusal()
    if why:
        raise UsageError(f"lmb_init() refuses these options: {why}")
    if config.first_entries > MAX_FIRST_ENTRIES:
        raise UsageError(f"--static {config.static} is more than {MAX_FIRST_ENTRIES} entries")
    return config


# -- export -----------------------------------------------------------------------------------------


def _export(arguments: argparse.Namespace) -> int:
    if arguments.trace == "-":
        raise UsageError("a trace is read twice for this, so it must be a file: stdin is not")
    name = arguments.name or _c_name(arguments.output or arguments.trace)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,40}", name):
        raise UsageError(f"--name {name[:60]!r} is no name of a C function of at most 41 characters")
    if arguments.output is None:
        for line in _c_lines(arguments.trace, name):
            sys.stdout.write(line + "\n")
        return 0
    require_apart(Path(arguments.output), Path(arguments.trace))
    with whole_file(Path(arguments.output)) as file:
        file.writelines(line.encode("ascii") + b"\n" for line in _c_lines(arguments.trace, name))
    return 0


def _c_name(file: str) -> str:
    # "boot-6.1.trace" gives "boot_6_1".
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", Path(file).stem).strip("_")[:40] or "trace"
    return f"boot_{stem}"[:41] if stem[0].isdigit() else stem


def _c_lines(trace: str, name: str) -> Iterator[str]:
    from gdb_lmb.report.trace_text import survey

    with open_lines(trace) as lines, open_trace(trace, lines) as reader:
        seen = survey(reader)
    with open_lines(trace) as lines, open_trace(trace, lines) as reader:
        yield from seen.lines(name, reader)


# Not given is not there: 0 is a value, and a trace refuses all of them.
_NUMBER: dict[str, Any] = {"type": typed(whole_number, most=(1 << 64) - 1), "default": argparse.SUPPRESS}

COMMANDS = (
    CommandLine(
        "replay",
        _replay,
        "run a saved trace, or operations, on the reference model",
        "Run operations on the reference model alone; no guest is needed.",
        _REPLAY,
        (
            argument("ops", metavar="FILE", help="the trace or the operations, one JSON object a line; - is stdin"),
            argument("--json", action="store_true", help="print JSON for a trace too (operations always give it)"),
            Either(False, [
                argument("--static", **_NUMBER, metavar="N", help="entries of the static array (default 64)"),
                argument("--klimit", **_NUMBER, metavar="BASE", help="the initial storage is the page at BASE"),
            ]),
            argument("--block-size", **_NUMBER, metavar="N", help="bytes (default 4096)"),
            argument("--entry-size", **_NUMBER, metavar="N", help="bytes of an entry (default 40, or 20)"),
            argument("--block-header", **_NUMBER, metavar="N", help="bytes of a header (default 40, or 20)"),
            argument("--bits", **_NUMBER, choices=(64, 32), help="width of phys_addr_t (default 64)"),
            argument("--revision", **_NUMBER, choices=(1, 2), help="of the design: whose rules hold (default 2)"),
            argument(
                "--bottom-up", action="store_true", default=argparse.SUPPRESS, help="search upwards from the start"
            ),
            COLOR_OPTION,
        ),
    ),
    CommandLine(
        "export",
        _export,
        "write a saved trace as a test for the kernel's memblock simulator",
        "Write a saved trace of a memblock in another form; no guest is needed.",
        _EXPORT,
        (
            argument("trace", metavar="TRACE", help="the trace (gdb-lmb/trace/1), a file"),
            Either(True, [argument("--c", action="store_true", help="a test in C for tools/testing/memblock")]),
            argument("-o", "--output", metavar="FILE", action=Once, help="where to write (default: stdout)"),
            argument("--name", metavar="NAME", help="the test function's name (default: that of the file)"),
        ),
    ),
)  # fmt: skip

# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb replay`: run operations from a file of JSON lines on the reference model alone."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gdb_lmb.errors import InputError, UsageError

_EPILOG = """\
Each line of OPS.jsonl is one operation:

  {"op": "reserve", "base": "0x100000", "size": 4096, "flags": 0}

op is add, remove, reserve, free, alloc, allow_growth, set_limit, set_bottom_up or free_all; base, size,
flags, align, min and max are numbers or "0x…" strings, missing ones 0. set_limit takes its limit in
base, set_bottom_up 0 or 1 in flags. The result of each is 0, a negative errno, the base that alloc
returned as "0x…", or the number of pages of free_all.

example: gdb-lmb replay ops.jsonl --static 8 --block-size 4096
"""


def _size(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of bytes (decimal or 0x…)")
    return value


def add_parser(subparsers: Any) -> None:
    """Add `replay` to the command line's sub-commands."""
    parser = subparsers.add_parser(
        "replay",
        help="run operations on the reference model and print results and snapshot",
        description="Run operations on the reference model of the list-based LMB alone; no guest is needed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ops", metavar="OPS.jsonl", help="the operations, one JSON object a line; - reads stdin")
    storage = parser.add_mutually_exclusive_group()
    storage.add_argument("--static", type=_size, metavar="N", help="entries of the static array (default 64)")
    storage.add_argument("--klimit", type=_size, metavar="BASE", help="the initial storage is the page at BASE")
    parser.add_argument("--block-size", type=_size, default=4096, metavar="N", help="bytes (default 4096)")
    parser.add_argument("--entry-size", type=_size, metavar="N", help="bytes of an entry (default 40, or 20)")
    parser.add_argument("--block-header", type=_size, metavar="N", help="bytes of a header (default 40, or 20)")
    parser.add_argument("--bits", type=int, choices=(64, 32), default=64, help="width of phys_addr_t")
    parser.add_argument("--bottom-up", action="store_true", help="search upwards from the start")
    parser.set_defaults(run=run)


@contextlib.contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None


def _lines(file: IO[bytes], limit: int) -> Iterator[bytes]:
    """Yield lines without ever holding more than a little over `limit` bytes of one."""
    while line := file.readline(limit + 1):
        yield line


def run(arguments: argparse.Namespace) -> int:
    """Replay the file and print `{"results": [...], "snapshot": {...}}`; return the exit status."""
    from gdb_lmb.model.lmb import LmbConfig, LmbModel
    from gdb_lmb.report.jsonio import snapshot_json
    from gdb_lmb.trace import MAX_LINE_BYTES, apply, parse_operations

    natural = 40 if arguments.bits == 64 else 20
    entry_size = natural if arguments.entry_size is None else arguments.entry_size
    header_size = natural if arguments.block_header is None else arguments.block_header
    if not entry_size:
        raise UsageError("--entry-size must be more than 0")
    config = LmbConfig(
        static=64 if arguments.static is None else arguments.static,
        klimit=arguments.klimit,
        block_size=arguments.block_size,
        entry_size=entry_size,
        header_size=header_size,
        bits=arguments.bits,
    )
    if config.klimit is not None and (
        config.klimit % config.page_size or not config.klimit
        or config.klimit + config.page_size >= 1 << config.bits
    ):  # fmt: skip
        raise UsageError(f"--klimit {config.klimit:#x} is no page of a {config.bits}-bit address space but page 0")
    why = config.refusal()
    if why:
        raise UsageError(f"lmb_init() refuses these options: {why}")
    if config.first_entries > 1 << 24:
        raise UsageError(f"--static {config.static} is more than {1 << 24} entries")
    model = LmbModel(config)
    if arguments.bottom_up:
        model.set_bottom_up(True)
    results: list[int | str | None] = []
    with _open(arguments.ops) as file:
        try:
            for operation in parse_operations(_lines(file, MAX_LINE_BYTES), config.bits):
                result = apply(model, operation)
                results.append(
                    hex(result) if operation.op == "alloc" and result is not None and result >= 0 else result
                )
        except InputError as error:
            raise InputError(f"{arguments.ops}: {error}") from None
    json.dump({"results": results, "snapshot": snapshot_json(model.snapshot())}, sys.stdout)
    sys.stdout.write("\n")
    return 0

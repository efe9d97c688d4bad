# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb replay`: run operations from a file on the reference model alone: a saved trace, or plain JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from gdb_lmb.cli.common import COLOR_OPTION, CommandLine, Either, argument, number_of, stdout_terminal
from gdb_lmb.cli.trace_file import Lines, open_lines, replay_trace
from gdb_lmb.core.errors import InputError, UsageError

if TYPE_CHECKING:
    from gdb_lmb.allocators.lmb.state import LmbConfig

_MODEL_OPTIONS = ("static", "klimit", "block_size", "entry_size", "block_header", "bits", "bottom_up")

_EPILOG = """\
A saved trace (schema gdb-lmb/trace/1) says itself what model it is for. Each result and the final state are
compared, and what was reserved twice is told. Exit status: 0 all as on the model, 1 findings, 5 not verified,
since the trace is cut off or has lost its beginning.

Otherwise each line is one operation of a list-based LMB, and the results and the final state are printed:

  {"op": "reserve", "base": "0x100000", "size": 4096, "flags": 0}

op is add, remove, reserve, free, alloc, allow_growth, set_limit, set_bottom_up or free_all; base, size,
flags, align, min and max are numbers or "0x..." strings, missing ones 0. set_limit takes its limit in
base, set_bottom_up 0 or 1 in flags. The result of each is 0, a negative errno, the base that alloc
returned as "0x...", or the number of pages of free_all.

example: gdb-lmb replay boot.trace
         gdb-lmb replay ops.jsonl --static 8 --block-size 4096
"""


def run(arguments: argparse.Namespace) -> int:
    """Replay the file and print what came of it; return the exit status."""
    with open_lines(arguments.ops) as lines:
        if lines.is_trace:
            given = [name for name in _MODEL_OPTIONS if _is_given(getattr(arguments, name))]
            if given:
                option = "--" + given[0].replace("_", "-")
                raise UsageError(f"{arguments.ops} is a trace, which says itself what {option} is")
            return replay_trace(arguments.ops, lines, as_json=arguments.json, terminal=stdout_terminal(arguments.color))
        return _replay_operations(arguments, lines)


def _is_given(value: int | bool | None) -> bool:
    """Tell whether an option was given; the value 0 is one too."""
    return value is not None and value is not False


def _replay_operations(arguments: argparse.Namespace, lines: Lines) -> int:
    """Run plain operations and print `{"results": [...], "snapshot": {...}}`."""
    from gdb_lmb.allocators.lmb.model import LmbModel
    from gdb_lmb.allocators.lmb.operations import OPERATIONS
    from gdb_lmb.core.operation import parse_operations
    from gdb_lmb.report.jsonio import snapshot_json

    config = _config(arguments)
    if lines.is_empty:
        raise UsageError(f"{arguments.ops} is empty: it holds neither a trace nor operations")
    model = LmbModel(config)
    if arguments.bottom_up:
        model.set_bottom_up(True)
    results: list[int | str | None] = []
    try:
        for operation in parse_operations(lines, config.bits, OPERATIONS):
            result = OPERATIONS[operation.op].run(model, operation)
            results.append(hex(result) if operation.op == "alloc" and result is not None and result >= 0 else result)
    except InputError as error:
        raise InputError(f"{arguments.ops}: {error}") from None
    if not results:
        raise UsageError(f"{arguments.ops} holds no operation: there is nothing to replay")
    json.dump({"results": results, "snapshot": snapshot_json(model.snapshot())}, sys.stdout)
    sys.stdout.write("\n")
    return 0


def _config(arguments: argparse.Namespace) -> LmbConfig:
    """Return the model's configuration. Raises: `UsageError`."""
    from gdb_lmb.allocators.lmb.state import LmbConfig

    bits = arguments.bits or 64
    natural = 40 if bits == 64 else 20
    entry_size = natural if arguments.entry_size is None else arguments.entry_size
    header_size = natural if arguments.block_header is None else arguments.block_header
    if not entry_size:
        raise UsageError("--entry-size must be more than 0")
    config = LmbConfig(
        static=64 if arguments.static is None else arguments.static,
        klimit=arguments.klimit,
        block_size=4096 if arguments.block_size is None else arguments.block_size,
        entry_size=entry_size,
        header_size=header_size,
        bits=bits,
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
    return config


COMMANDS = (
    CommandLine(
        "replay",
        run,
        "run a saved trace, or operations, on the reference model",
        "Run operations on the reference model alone; no guest is needed.",
        _EPILOG,
        (
            argument("ops", metavar="FILE", help="the trace or the operations, one JSON object a line; - is stdin"),
            argument("--json", action="store_true", help="print JSON for a trace too (operations always give it)"),
            Either(False, [
                argument("--static", type=number_of(), metavar="N", help="entries of the static array (default 64)"),
                argument("--klimit", type=number_of(), metavar="BASE", help="the initial storage is the page at BASE"),
            ]),
            argument("--block-size", type=number_of(), metavar="N", help="bytes (default 4096)"),
            argument("--entry-size", type=number_of(), metavar="N", help="bytes of an entry (default 40, or 20)"),
            argument("--block-header", type=number_of(), metavar="N", help="bytes of a header (default 40, or 20)"),
            argument("--bits", type=number_of(), choices=(64, 32), help="width of phys_addr_t (default 64)"),
            argument("--bottom-up", action="store_true", help="search upwards from the start"),
            COLOR_OPTION,
        ),
    ),
)  # fmt: skip

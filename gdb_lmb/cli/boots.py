# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of `gdb-lmb check` for many boots."""

from __future__ import annotations

import argparse

from gdb_lmb.cli.common import argument, typed
from gdb_lmb.core.numbers import whole_number
from gdb_lmb.core.words import printable

VARIED = ("kaslr", "memory", "nodes", "cpus")
"""What `--vary` takes."""


def _varied(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    wrong = [name for name in names if name not in VARIED]
    if wrong:
        raise argparse.ArgumentTypeError(f"{printable(wrong[0], 40)!r}: give a list of {', '.join(VARIED)}")
    return names


BOOTS_OPTIONS = (
    argument(
        "--boots", metavar="N", type=typed(whole_number, least=1, most=10_000), default=1,
        help="boot so often, and say which boots fail, what stands still and what moves (default: 1)",
    ),
    argument(
        "--vary", metavar="WHAT,...", type=_varied, default=(),
        help=f"what is different from boot to boot: {', '.join(VARIED)}",
    ),
    argument(
        "--jobs", metavar="N", type=typed(whole_number, least=1, most=1024), default=None,
        help="how many boots run side by side (default: one for each processor)",
    ),
)  # fmt: skip

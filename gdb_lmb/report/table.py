# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables for people, drawn by the package tabulate, which is imported at the first table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from gdb_lmb.core.errors import LmbError
from gdb_lmb.report.fit import fitted
from gdb_lmb.report.terminal import HEADING, PLAIN, Terminal

_INDENT = "  "


def table(
    rows: Sequence[Sequence[Any]],
    headers: Sequence[str],
    right: Sequence[str],
    terminal: Terminal = PLAIN,
    *,
    cut: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a table, indented by two; columns named in `right` are aligned to the right.

    On a `terminal` with a width the columns named in `cut` are cut, and at last those in `spare` left out, to fit.
    """
    try:
        from tabulate import tabulate  # imported late: gdb starts faster, and JSON works without it
    except ImportError:
        raise LmbError(
            "the Python package tabulate is not found: start gdb with `gdb-lmb gdb`, use the lines that "
            "`gdb-lmb gdbinit` prints, or ask for --json"
        ) from None
    below: Sequence[Sequence[str]] = ()
    if terminal.width is not None:
        rows, headers, below = fitted(rows, headers, terminal.columns - len(_INDENT), terminal, cut, spare)
    align = ["right" if header in right else "left" for header in headers]
    text = tabulate(rows, headers=headers, tablefmt="simple", colalign=align, disable_numparse=True)
    head, rule, *lines = (f"{_INDENT}{line}".rstrip() for line in text.splitlines())
    out = [terminal.paint(head, HEADING), rule]
    for line, more in zip_longest(lines, below, fillvalue=()):
        out += [str(line), *(f"{_INDENT}{_INDENT}{text}" for text in more)]
    return out

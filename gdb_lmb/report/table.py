# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables for people, by way of the package tabulate, which need not be there before one is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gdb_lmb.errors import LmbError


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str], right: Sequence[str]) -> list[str]:
    """Return the lines of a table, indented by two; columns named in `right` are aligned to the right."""
    try:
        from tabulate import tabulate  # not at the top: gdb starts faster, and JSON works without it
    except ImportError:
        raise LmbError(
            "the Python package tabulate is not found: start gdb with `gdb-lmb gdb`, use the lines that "
            "`gdb-lmb gdbinit` prints, or ask for --json"
        ) from None
    align = ["right" if header in right else "left" for header in headers]
    text = tabulate(rows, headers=headers, tablefmt="simple", colalign=align, disable_numparse=True)
    return [f"  {line}".rstrip() for line in text.splitlines()]

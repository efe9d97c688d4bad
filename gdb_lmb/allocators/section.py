# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables without a form: what an allocator has to show, for `report` to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ADDRESS, POINTER, SIZE, BYTES, NUMBER, TEXT, FLAGS = "address", "pointer", "size", "bytes", "number", "text", "flags"
"""Kinds of cells. An address is physical and shown with all its digits, a pointer is hexadecimal without leading
zeros; a size is shown in binary units, bytes with thousands separators, a number plainly; flags are a region's.

A cell's value is an int, or a str for text; None stands for what is not known or not there."""


@dataclass(frozen=True)
class Column:
    """One column: its heading, the kind of its cells, whether it may be `cut` or left out (`spare`) to fit."""

    title: str
    kind: str
    cut: bool = False
    spare: bool = False


@dataclass(frozen=True)
class Section:
    """A title, and rows of cells after `columns`; `shown` False tells that the title says why there are none."""

    title: str
    columns: tuple[Column, ...] = ()
    rows: Sequence[Sequence[int | str | None]] = ()
    shown: bool = True

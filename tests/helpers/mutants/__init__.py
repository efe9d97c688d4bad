# SPDX-License-Identifier: GPL-2.0-or-later
"""The C allocator with one rule broken at a time; `ALL` is the table, one module for each part of lmb.c.

What a row expects was worked out from the design (`Rules` and `What always holds between two operations`),
not copied from what `lmb-check` happened to say.
"""

from __future__ import annotations

from tests.helpers.mutants import blocks, find, handover, lists, operations
from tests.helpers.mutants.mutant import Boot, Mutant, mutate

__all__ = ["ALL", "Boot", "Mutant", "mutate"]

ALL: tuple[Mutant, ...] = operations.MUTANTS + lists.MUTANTS + find.MUTANTS + blocks.MUTANTS + handover.MUTANTS

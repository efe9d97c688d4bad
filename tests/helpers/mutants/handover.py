# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the hand-over: which pages go to the page allocator, and that the allocator is closed then."""

from __future__ import annotations

from tests.helpers.mutants.mutant import BOTTOM_UP, PAGE_0, TOP_DOWN, WIDE, Mutant

_SOURCE = "lmb.c"
# The pages are wrong in the table, and their number in what lmb_free_all() returned.
_PAGES = ("handover-mismatch", "log-divergence")

MUTANTS = (
    Mutant(
        "first-page-in-part", 9, "a page is given of which the start is not free", _SOURCE,
        (("(lo >> PAGE_SHIFT) + ((lo & (PAGE_SIZE - 1)) != 0);", "lo >> PAGE_SHIFT;"),),
        codes=_PAGES,
    ),
    Mutant(
        "last-page-in-part", 9, "a page is given of which the end is not free", _SOURCE,
        (("end = hi >> PAGE_SHIFT;", "end = (hi + PAGE_SIZE - 1) >> PAGE_SHIFT;"),),
        codes=_PAGES,
    ),
    Mutant(
        "page-0-given", 9, "page 0 is given", _SOURCE,
        (("\tif (first == 0)\n\t\tfirst = 1;\t/* page 0 is never handed out */\n", ""),),
        equivalent=PAGE_0,
        boots=(TOP_DOWN, BOTTOM_UP),
    ),
    Mutant(
        "nomap-given", 9, "LMB_NOMAP memory is given", _SOURCE,
        (("if (memory->flags & LMB_NOMAP || lo >= lmb_end(memory)) {", "if (lo >= lmb_end(memory)) {"),),
        codes=_PAGES,
        boots=(WIDE, TOP_DOWN),
    ),
    Mutant(
        "runs-not-joined", 9, "memory that touches, with other flags, is given in two ranges", _SOURCE,
        (("\t\tif (range.base != hi) {", "\t\tif (range.base != hi || hi) {"),),
        codes=("handover-mismatch",),
        boots=(WIDE, BOTTOM_UP),
    ),
    Mutant(
        "table-misses-a-page", 9, "the table has each range without its last page", _SOURCE,
        (("(end - first) << PAGE_SHIFT);", "(end - first - 1) << PAGE_SHIFT);"),),
        codes=("handover-mismatch",),
    ),
    Mutant(
        "returns-the-ranges", 9, "lmb_free_all() returns the number of ranges, not of pages", _SOURCE,
        (("return end - first;", "return 1;"),),
    ),
    Mutant(
        "not-closed", 9, "the allocator stays open after the hand-over", _SOURCE,
        (("\t\tlmb.closed = true;\n", ""),),
    ),
)  # fmt: skip

# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of lmb_find.c: where an allocation may lie, and which of the places is chosen."""

from __future__ import annotations

from tests.helpers.mutants.mutant import BOTTOM_UP, TOP_DOWN, WIDE, Mutant

_SOURCE = "lmb_find.c"

MUTANTS = (
    Mutant(
        "direction-swapped", 4, "bottom_up searches from the top, and its absence from the bottom", _SOURCE,
        (("return lmb.bottom_up ?", "return !lmb.bottom_up ?"),),
    ),
    # -- downwards
    Mutant(
        "exact-fit-refused-down", 4, "a hole of exactly the size is too small (top-down)", _SOURCE,
        (("if (hi <= lo || hi - lo < req->size)", "if (hi <= lo || hi - lo <= req->size)"),),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "aligned-up", 4, "the highest base is rounded up to the alignment, past the end of the hole", _SOURCE,
        (("(hi - req->size) & ~(req->align - 1);", "(hi - req->size + req->align - 1) & ~(req->align - 1);"),),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "nomap-allocated-down", 4, "LMB_NOMAP memory is handed out (top-down)", _SOURCE,
        (("\t\tif (mem->flags & LMB_NOMAP)\n\t\t\tcontinue;\n\t\tif (lmb_find_in_down", "\t\tif (lmb_find_in_down"),),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "nomap-ends-the-search-down", 4, "nothing below LMB_NOMAP memory is found (top-down)", _SOURCE,
        (("\t\t\tcontinue;\n\t\tif (lmb_find_in_down", "\t\t\treturn false;\n\t\tif (lmb_find_in_down"),),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "floor-ignored-down", 4, "top-down goes below min within a region", _SOURCE,
        (
            (
                "*mem = lmb_entry(node);\n\t\tphys_addr_t lo = lmb_max(mem->base, req->floor);",
                "*mem = lmb_entry(node);\n\t\tphys_addr_t lo = mem->base;",
            ),
        ),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "walks-on-below-the-floor", 4, "top-down looks at the regions below min too", _SOURCE,
        (("\t\tif (lmb_end(mem) <= req->floor)\n\t\t\treturn false;\n", ""),),
        equivalent="such a region has nothing at or above the floor: lo >= hi, so there is no place in it",
    ),
    # -- upwards
    Mutant(
        "floor-ignored-up", 4, "bottom-up goes below min", _SOURCE,
        (
            (
                "&lmb.memory.regions, link) {\n\t\tphys_addr_t lo = lmb_max(mem->base, req->floor);",
                "&lmb.memory.regions, link) {\n\t\tphys_addr_t lo = mem->base;",
            ),
        ),
        boots=(BOTTOM_UP,),
    ),
    Mutant(
        "aligned-wrongly-up", 4, "bottom-up skips as many bytes as lie above the last multiple, not up to the next",
        _SOURCE,
        (("skip = -lo & (req->align - 1);", "skip = lo & (req->align - 1);"),),
        boots=(BOTTOM_UP,),
    ),
    Mutant(
        "skip-costs-no-room-up", 4, "bytes skipped for the alignment are not missed at the hole's end", _SOURCE,
        (("hi - lo - skip < req->size)", "hi - lo < req->size)"),),
        boots=(BOTTOM_UP,),
    ),
    Mutant(
        "nomap-allocated-up", 4, "LMB_NOMAP memory is handed out (bottom-up)", _SOURCE,
        (("\t\tif (mem->flags & LMB_NOMAP)\n\t\t\tcontinue;\n\t\tif (lmb_find_in_up", "\t\tif (lmb_find_in_up"),),
        boots=(BOTTOM_UP,),
    ),
)  # fmt: skip

# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the search: where an allocation may lie, and which of the places is chosen."""

from __future__ import annotations

from tests.helpers.mutants.mutant import BOTTOM_UP, TOP_DOWN, WIDE, Boot, Mutant

_SOURCE = "lmb.c"
# All memory from the image on is hot-pluggable.
_HOTPLUG = Boot("lmb.seed=2 lmb.mark=0x1000000,0x10000000,1")

MUTANTS = (
    Mutant(
        "direction-swapped", 4, "bottom_up searches from the top, and its absence from the bottom", _SOURCE,
        (("if (!(lmb.bottom_up ?", "if (!(!lmb.bottom_up ?"),),
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
        (("if (memory->flags & LMB_NOMAP || hi <= memory->base) {", "if (hi <= memory->base) {"),),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "nomap-ends-the-search-down", 4, "nothing below LMB_NOMAP memory is found (top-down)", _SOURCE,
        (("\t\tif (memory->flags & LMB_NOMAP || hi <= memory->base) {",
          "\t\tif (memory->flags & LMB_NOMAP)\n\t\t\treturn false;\n\t\tif (hi <= memory->base) {"),),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "floor-ignored-down", 4, "top-down goes below min within a region", _SOURCE,
        (
            (
                "lo = lmb_max(range.base, req->floor);\n\t\thi = lmb_min(range.end, req->ceiling);\n"
                "\t\tif (lmb_fit_down",
                "lo = range.base;\n\t\thi = lmb_min(range.end, req->ceiling);\n\t\tif (lmb_fit_down",
            ),
        ),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "walks-on-below-the-floor", 4, "top-down looks at what is free below min too", _SOURCE,
        (("\t\tif (range.end <= req->floor)\n\t\t\treturn false;\n", ""),),
        equivalent="such a piece has nothing at or above the floor: lo >= hi, so there is no place in it",
    ),
    # -- upwards
    Mutant(
        "floor-ignored-up", 4, "bottom-up goes below min", _SOURCE,
        (
            (
                "lo = lmb_max(range.base, req->floor);\n\t\thi = lmb_min(range.end, req->ceiling);\n\t\tif (lmb_fit_up",
                "lo = range.base;\n\t\thi = lmb_min(range.end, req->ceiling);\n\t\tif (lmb_fit_up",
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
        (("if (memory->flags & LMB_NOMAP || lo >= lmb_end(memory)) {", "if (lo >= lmb_end(memory)) {"),),
        boots=(BOTTOM_UP,),
    ),
    # -- hot-pluggable memory
    Mutant(
        "hotplug-first", 4, "LMB_HOTPLUG memory is searched before other memory", _SOURCE,
        (
            (
                "!lmb_find(req, 0, &change.base, &change.at) &&\n\t    !lmb_find(req, LMB_HOTPLUG, ",
                "!lmb_find(req, LMB_HOTPLUG, &change.base, &change.at) &&\n\t    !lmb_find(req, 0, ",
            ),
        ),
    ),
    Mutant(
        "hotplug-never", 4, "LMB_HOTPLUG memory is never searched", _SOURCE,
        ((" &&\n\t    !lmb_find(req, LMB_HOTPLUG, &change.base, &change.at))", ")"),),
        boots=(_HOTPLUG,),
    ),
    Mutant(
        "hotplug-as-any-down", 4, "LMB_HOTPLUG memory is searched with the other (top-down)", _SOURCE,
        (
            (
                "\t\tif ((range.flags & LMB_HOTPLUG) != hotplug)\n\t\t\tcontinue;\n"
                "\t\tlo = lmb_max(range.base, req->floor);\n\t\thi = lmb_min(range.end, req->ceiling);\n"
                "\t\tif (lmb_fit_down",
                "\t\t(void)hotplug;\n"
                "\t\tlo = lmb_max(range.base, req->floor);\n\t\thi = lmb_min(range.end, req->ceiling);\n"
                "\t\tif (lmb_fit_down",
            ),
        ),
        boots=(TOP_DOWN, WIDE),
    ),
    Mutant(
        "hotplug-as-any-up", 4, "LMB_HOTPLUG memory is searched with the other (bottom-up)", _SOURCE,
        (
            (
                "\t\tif ((range.flags & LMB_HOTPLUG) != hotplug)\n\t\t\tcontinue;\n"
                "\t\tlo = lmb_max(range.base, req->floor);\n\t\thi = lmb_min(range.end, req->ceiling);\n"
                "\t\tif (lmb_fit_up",
                "\t\t(void)hotplug;\n"
                "\t\tlo = lmb_max(range.base, req->floor);\n\t\thi = lmb_min(range.end, req->ceiling);\n"
                "\t\tif (lmb_fit_up",
            ),
        ),
        boots=(BOTTOM_UP,),
    ),
)  # fmt: skip

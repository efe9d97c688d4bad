# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of lmb.c: what is refused, when the allocator grows, what the search is asked for."""

from __future__ import annotations

from tests.helpers.mutants.mutant import BOTTOM_UP, FIRST_RESERVE, FIRST_SPLIT, HUGE, PAGE_0, WIDE, Boot, Mutant

_SOURCE = "lmb.c"
# The early page tables map 1 GiB, and until there are others the current limit is there.
_ABOVE_1G = Boot("lmb.seed=1", memory="2G")

MUTANTS = (
    Mutant(
        "size-0-accepted", 3, "a size of 0 is not refused", _SOURCE,
        (("return size == 0 || size > PHYS_ADDR_MAX - base", "return size > PHYS_ADDR_MAX - base"),),
        panics="bad arguments gave 0",
    ),
    Mutant(
        "wrapping-range-accepted", 3, "base + size may be one more than PHYS_ADDR_MAX", _SOURCE,
        (("size > PHYS_ADDR_MAX - base", "size - 1 > PHYS_ADDR_MAX - base"),),
        panics="bad arguments gave 0",
    ),
    Mutant(
        "bad-align-accepted", 3, "a multiple of a page passes for a power of two", _SOURCE,
        (("return align == 0 || lmb", "return align % PAGE_SIZE == 0 || lmb"),),
        panics="bad arguments gave 0",
    ),
    Mutant(
        "align-0-means-0", 3, "an align of 0 does not mean 1, and no place is found", _SOURCE,
        ((".align = align ? align : 1,", ".align = align,"),),
    ),
    Mutant(
        "free-takes-a-block", 8, "lmb_free() of a block's memory is not refused", _SOURCE,
        (("int error = lmb_check_removal(base, size);\n\n\t/*", "int error = lmb_check_range(base, size);\n\n\t/*"),),
        codes=("block-unreserved", "log-divergence"),
        boots=(HUGE,),
    ),
    Mutant(
        "remove-takes-a-block", 8, "lmb_remove() of a block's memory is not refused", _SOURCE,
        (("{ base, size };\n\tint error = lmb_check_removal", "{ base, size };\n\tint error = lmb_check_range"),),
        boots=(HUGE,),
    ),
    Mutant(
        "last-entry-handed-out", 6, "an operation may take the last free entry", _SOURCE,
        (("return lmb.nr_free > need;", "return lmb.nr_free >= need;"),),
        codes=("freelist-exhausted", "log-divergence"),
        boots=(FIRST_SPLIT,),
    ),
    Mutant(
        "two-entries-kept", 6, "grows while a second entry is still free", _SOURCE,
        (("return lmb.nr_free > need;", "return lmb.nr_free > need + 1;"),),
        boots=(WIDE,),
    ),
    Mutant(
        "alloc-keeps-its-choice", 6, "lmb_alloc() does not choose again after a growth, which may have taken the place",
        _SOURCE,
        (
            (
                "\tfor (;;) {\n\t\tif (!lmb_find(req, base))\n\t\t\treturn -ENOMEM;\n",
                "\tif (!lmb_find(req, base))\n\t\treturn -ENOMEM;\n\tfor (;;) {\n",
            ),
        ),
        boots=(HUGE,),
    ),
    Mutant(
        "reserve-grows-into-its-range", 6, "lmb_reserve()'s growth does not avoid the range", _SOURCE,
        (("{ base, size };\n\tint error = lmb_check_range", "{ base, 0 };\n\tint error = lmb_check_range"),),
        boots=(FIRST_RESERVE,),
    ),
    Mutant(
        "remove-grows-into-its-range", 6, "lmb_remove()'s growth does not avoid the range", _SOURCE,
        (("{ base, size };\n\tint error = lmb_check_removal", "{ base, 0 };\n\tint error = lmb_check_removal"),),
        boots=(FIRST_SPLIT,),
    ),
    Mutant(
        "free-avoids-its-range", 6, "lmb_free()'s growth avoids the range", _SOURCE,
        (
            (
                "error = lmb_do_remove(&lmb.reserved, base, size, &lmb_nowhere);",
                "error = lmb_do_remove(&lmb.reserved, base, size, &(const struct lmb_range){ base, size });",
            ),
        ),
        equivalent="lmb_free() needs an entry only to split a region: then all of the range is reserved already, "
        "and the search stays clear of it anyway",
    ),
    Mutant(
        "failed-alloc-grows", 7, "an allocation that finds no place gains a block all the same", _SOURCE,
        (
            (
                "\t\tif (!lmb_find(req, base))\n\t\t\treturn -ENOMEM;\n",
                "\t\tif (!lmb_find(req, base)) {\n\t\t\tlmb_grow(&lmb_nowhere);\n\t\t\treturn -ENOMEM;\n\t\t}\n",
            ),
        ),
    ),
    Mutant(
        "max-ignored", 4, "lmb_alloc() goes above max", _SOURCE,
        ((".ceiling = max ? lmb_min(max, lmb.current_limit) : lmb.current_limit,", ".ceiling = lmb.current_limit,"),),
    ),
    Mutant(
        "min-ignored", 4, "lmb_alloc() goes below min", _SOURCE,
        ((".floor = lmb_max(min, PAGE_SIZE),", ".floor = PAGE_SIZE,"),),
    ),
    Mutant(
        "first-page-allocated", 4, "lmb_alloc() without a min hands out page 0", _SOURCE,
        ((".floor = lmb_max(min, PAGE_SIZE),", ".floor = min,"),),
        equivalent=f"without a min: {PAGE_0}",
        boots=(BOTTOM_UP,),
    ),
    Mutant(
        "limit-ignored", 4, "lmb_alloc() without a max goes above the current limit", _SOURCE,
        ((": lmb.current_limit,", ": PHYS_ADDR_MAX,"),),
        boots=(_ABOVE_1G,),
        panics="page fault",  # the boot writes to what it was given, which is not mapped
    ),
    Mutant(
        "limit-only-sinks", 4, "lmb_set_current_limit() does not raise the limit", _SOURCE,
        (("lmb.current_limit = limit;", "lmb.current_limit = lmb_min(limit, lmb.current_limit);"),),
        boots=(_ABOVE_1G,),
    ),
)  # fmt: skip

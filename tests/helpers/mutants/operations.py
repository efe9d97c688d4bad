# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the operations: what is refused, when the allocator grows, what the search is asked for."""

from __future__ import annotations

from tests.helpers.mutants.mutant import (
    BOTTOM_UP,
    FIRST_ALLOC,
    FIRST_SPLIT,
    HUGE,
    PAGE_0,
    WIDE,
    Boot,
    Mutant,
)

_SOURCE = "lmb.c"
# The early page tables map 1 GiB, and until there are others the current limit is there.
_ABOVE_1G = Boot("lmb.seed=1", memory="2G")
# Marks of all flags meet the block.
_HUGE_LONG = Boot("lmb.seed=1 lmb.block_size=4194304")
# The last operation of all is a mark that needs as many entries as are free.
_LAST_MARK = Boot("lmb.seed=1 lmb.ops=22 lmb.block_size=256")
# Less memory than there is: the initrd lies above the limit.
_LIMIT = Boot("lmb.seed=1 lmb.static=64 lmb.limit=0x3001234", memory="128M", initrd=True)

MUTANTS = (
    Mutant(
        "size-0-accepted", 3, "a size of 0 is not refused", _SOURCE,
        (("if (!size || base == PHYS_ADDR_MAX ||", "if (base == PHYS_ADDR_MAX ||"),),
        panics="bad arguments gave 0",
    ),
    Mutant(
        "last-address-accepted", 3, "base may be PHYS_ADDR_MAX", _SOURCE,
        (("if (!size || base == PHYS_ADDR_MAX ||", "if (!size ||"),),
        panics="bad arguments gave 0",
    ),
    Mutant(
        "block-flag-accepted", 3, "a caller may pass LMB_BLOCK", _SOURCE,
        (("base == PHYS_ADDR_MAX || change->flags & LMB_BLOCK)", "base == PHYS_ADDR_MAX)"),),
        panics="bad arguments gave 0",
    ),
    Mutant(
        "bad-align-accepted", 3, "a multiple of a page passes for a power of two", _SOURCE,
        (("return !align || lmb", "return align % PAGE_SIZE == 0 || lmb"),),
        panics="bad arguments gave 0",
    ),
    Mutant(
        "align-0-means-0", 3, "an align of 0 does not mean 1, and no place is found", _SOURCE,
        ((".align = align ? align : 1,", ".align = align,"),),
    ),
    Mutant(
        "free-takes-a-block", 8, "lmb_free() of a block's memory is not refused", _SOURCE,
        (("\ttrace_lmb(FREE, error,", "\tif (error == -EBUSY && !lmb_check_range(&change, base, size))\n"
          "\t\terror = lmb_apply(&change, lmb_remove_need, lmb_remove_apply);\n\ttrace_lmb(FREE, error,"),),
        codes=("block-unreserved", "log-divergence"),
        boots=(HUGE,),
    ),
    Mutant(
        "remove-takes-a-block", 8, "lmb_remove() of a block's memory is not refused", _SOURCE,
        (("&lmb.memory };\n\tint error = lmb_check_blocks", "&lmb.memory };\n\tint error = lmb_check_range"),),
        boots=(HUGE,),
    ),
    Mutant(
        "reserve-takes-a-block", 8, "lmb_reserve() of a block's memory is not refused", _SOURCE,
        (
            (
                "{ .type = &lmb.reserved, .flags = flags };\n\tint error = lmb_check_blocks",
                "{ .type = &lmb.reserved, .flags = flags };\n\tint error = lmb_check_range",
            ),
        ),
        boots=(HUGE,),
    ),
    Mutant(
        "mark-takes-a-block", 8, "lmb_mark() of a block's memory is not refused", _SOURCE,
        (("if (!error && flag != LMB_MIRROR && lmb_hits_block(", "if (!error && !flag && lmb_hits_block("),),
        boots=(_HUGE_LONG,),
    ),
    Mutant(
        "mark-mirror-refused", 8, "lmb_mark() of a block's memory is refused with LMB_MIRROR too", _SOURCE,
        (("if (!error && flag != LMB_MIRROR && lmb_hits_block(", "if (!error && lmb_hits_block("),),
        boots=(_HUGE_LONG,),
    ),
    # -- lmb_mark(), lmb_clear()
    Mutant(
        "mark-replaces-flags", 3, "lmb_mark() sets a flag and clears the others", _SOURCE,
        (("\t\t\t      flags | change->flags;", "\t\t\t      change->flags;"),),
    ),
    Mutant(
        "clear-clears-all", 3, "lmb_clear() clears all flags", _SOURCE,
        (("change->clear ? flags & ~change->flags :", "change->clear ? 0 :"),),
    ),
    Mutant(
        "mark-not-merged", 2, "a region that a mark makes equal to its neighbour stays beside it", _SOURCE,
        (("run->end != piece->base ||\n\t    run->flags != piece->flags) {", "piece->entry) {"),),
    ),
    Mutant(
        "mark-not-merged-below", 2, "lmb_mark() does not merge with the region below its range", _SOURCE,
        (("\tif (lmb_is_inside(change, node) && node->prev != head &&", "\tif (!node && node->prev != head &&"),),
        codes=("unmerged", "log-divergence"),
    ),
    Mutant(
        "mark-not-merged-above", 2, "lmb_mark() does not merge with the region above its range", _SOURCE,
        (("; node != head && lmb_entry(node)->base <= change->end;",
          "; node != head && lmb_entry(node)->base < change->end;"),),
        codes=("unmerged", "log-divergence"),
    ),
    Mutant(
        "mark-not-counted", 2, "cnt does not grow with a region that lmb_mark() makes", _SOURCE,
        (("\t\tchange->type->cnt++;\n", ""),),
        codes=("count-mismatch",),
    ),
    Mutant(
        "mark-pops", 5, "a region that lmb_mark() makes pops although an entry was dropped", _SOURCE,
        (("\t\tentry = lmb_take(&dropped);\n", "\t\tentry = lmb_pop();\n"),),
    ),
    Mutant(
        "mark-is-free", 6, "no entry is counted for a mark", _SOURCE,
        (("return walk.after > walk.before ? walk.after - walk.before : 0;", "return 0;"),),
        codes=("freelist-exhausted", "log-divergence"),
        boots=(_LAST_MARK,),
    ),
    # -- lmb_enforce_memory_limit()
    Mutant(
        "limit-counts-nomap", 3, "lmb_enforce_memory_limit() counts LMB_NOMAP memory", _SOURCE,
        (("\t\tif (region->flags & LMB_NOMAP)\n\t\t\tcontinue;\n\t\t/* only", "\t\t/* only"),),
        equivalent="the fixture has no LMB_NOMAP memory when it limits its memory; test_differential draws it",
        boots=(_LIMIT,),
    ),
    Mutant(
        "limit-leaves-reserved", 3, "lmb_enforce_memory_limit() cuts the memory list alone", _SOURCE,
        (("\tlmb_remove_apply(&reserved);\n", "\t(void)reserved;\n"),),
        boots=(_LIMIT,),
    ),
    Mutant(
        "limit-off-by-one", 3, "lmb_enforce_memory_limit() leaves a byte more", _SOURCE,
        (("return region->base + size;", "return region->base + size + 1;"),),
        boots=(_LIMIT,),
    ),
    Mutant(
        "last-entry-handed-out", 6, "an operation may take the last free entry", _SOURCE,
        (("while (lmb.nr_free <= need(change)) {", "while (lmb.nr_free < need(change)) {"),),
        codes=("freelist-exhausted", "log-divergence"),
        boots=(FIRST_SPLIT,),
    ),
    Mutant(
        "two-entries-kept", 6, "grows while a second entry is still free", _SOURCE,
        (("while (lmb.nr_free <= need(change)) {", "while (lmb.nr_free <= need(change) + 1) {"),),
        boots=(WIDE,),
    ),
    Mutant(
        "alloc-chooses-again", 6, "lmb_alloc()'s growth takes the place found, and it chooses again",
        _SOURCE,
        (
            (
                "\treturn lmb_apply(&change, lmb_add_need, lmb_add_apply);\n}",
                "\tif (lmb.nr_free <= lmb_add_need(&change) && !lmb_grow(0, 0))\n"
                "\t\treturn lmb_do_alloc(req, flags, base);\n"
                "\treturn lmb_apply(&change, lmb_add_need, lmb_add_apply);\n}",
            ),
        ),
        boots=(Boot("lmb.seed=3 lmb.ops=300 lmb.block_size=4194304"),),
    ),
    Mutant(
        "grows-into-the-range", 6, "growth does not avoid the operation's range", _SOURCE,
        (("error = lmb_grow(change->base, change->end);", "error = lmb_grow(0, 0);"),),
        boots=(FIRST_ALLOC, FIRST_SPLIT),
    ),
    Mutant(
        "failed-alloc-grows", 7, "an allocation that finds no place gains a block all the same", _SOURCE,
        (
            (
                "LMB_HOTPLUG, &change.base, &change.at))\n\t\treturn -ENOMEM;\n",
                "LMB_HOTPLUG, &change.base, &change.at)) {\n\t\tlmb_grow(0, 0);\n\t\treturn -ENOMEM;\n\t}\n",
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

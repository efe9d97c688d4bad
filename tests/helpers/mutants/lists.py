# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the lists: how ranges merge, split and leave, and which entry stores what afterwards."""

from __future__ import annotations

from tests.helpers.mutants.mutant import FIRST_SPLIT, Boot, Mutant

_SOURCE = "lmb.c"
# Enough entries for the boot, where each is counted twice.
_SPARE = Boot("lmb.seed=1 lmb.static=64")
# One free entry is left when the boot makes its first allocations, which touch what is reserved below them.
_SCARCE = Boot("lmb.seed=1 lmb.ops=1 lmb.static=5 lmb.bottom_up")

MUTANTS = (
    # -- the freelist
    Mutant(
        "pushed-at-the-tail", 5, "a dropped entry goes to the freelist's tail", _SOURCE,
        (("list_add(&entry->link, &lmb.freelist);", "list_add_tail(&entry->link, &lmb.freelist);"),),
    ),
    Mutant(
        "popped-from-the-tail", 5, "an operation takes the freelist's last entry", _SOURCE,
        (("lmb_entry(lmb.freelist.next);", "lmb_entry(lmb.freelist.prev);"),),
    ),
    Mutant(
        "push-not-counted", 0, "nr_free does not grow with the freelist", _SOURCE,
        (("list_add(&entry->link, &lmb.freelist);\n\tlmb.nr_free++;", "list_add(&entry->link, &lmb.freelist);"),),
        codes=("free-count-mismatch",),
    ),
    Mutant(
        "pop-counted-twice", 0, "nr_free sinks by two for each entry taken", _SOURCE,
        (("\tlmb.nr_free--;", "\tlmb.nr_free -= 2;"),),
        codes=("free-count-mismatch",),
        boots=(_SPARE,),
    ),
    Mutant(
        "highest-dropped-first", 5, "a new region takes the dropped entry of the highest base", _SOURCE,
        (("entry = lmb_entry(dropped->next);", "entry = lmb_entry(dropped->prev);"),),
    ),
    Mutant(
        "dropped-pushed-in-reverse", 5, "dropped entries are pushed in descending order of base", _SOURCE,
        (
            (
                "\twhile (!list_empty(dropped))\n\t\tlmb_push(lmb_take(dropped));",
                "\twhile (!list_empty(dropped)) {\n\t\tstruct lmb_region *entry = lmb_entry(dropped->prev);\n\n"
                "\t\tlist_del(&entry->link);\n\t\tlmb_push(entry);\n\t}",
            ),
        ),
    ),
    Mutant(
        "dropped-not-taken", 5, "a new region pops although its operation dropped an entry", _SOURCE,
        (("change->flags, lmb_take(&dropped));", "change->flags, lmb_pop());"),),
    ),
    # -- merging
    Mutant(
        "touch-below-not-merged", 2, "a range merges below with what overlaps, not with what touches", _SOURCE,
        (
            ("\tunsigned long fresh = 0, dropped = 0;\n",
             "\tunsigned long fresh = 0, dropped = 0;\n\n\tgap.next = lmb_first_inside(change);\n"),
            ("\tstruct lmb_gap gap = { .end = change->base, .next = change->at };\n\tstruct list_head dropped;\n",
             "\tstruct lmb_gap gap = { .end = change->base, .next = lmb_first_inside(change) };\n"
             "\tstruct list_head dropped, *start = gap.next;\n"),
            ("gap = (struct lmb_gap){ .end = change->base, .next = change->at };",
             "gap = (struct lmb_gap){ .end = change->base, .next = start };"),
            ("struct list_head *at;\n};\n",
             "struct list_head *at;\n};\n\n"
             "static struct list_head *lmb_first_inside(const struct lmb_change *change);\n"),
        ),
        codes=("unmerged", "log-divergence"),
    ),
    Mutant(
        "touch-below-needs-an-entry", 5, "an entry is counted for a range that touches below, and will merge", _SOURCE,
        (
            ("\tunsigned long fresh = 0, dropped = 0;\n",
             "\tunsigned long fresh = 0, dropped = 0;\n\n\tgap.next = lmb_first_inside(change);\n"),
            ("struct list_head *at;\n};\n",
             "struct list_head *at;\n};\n\n"
             "static struct list_head *lmb_first_inside(const struct lmb_change *change);\n"),
        ),
        boots=(_SCARCE,),
    ),
    Mutant(
        "touch-above-not-merged", 2, "a range does not merge with a region that starts where it ends", _SOURCE,
        (("right->base == gap->end &&", "right->base < gap->end &&"),),
        codes=("unmerged", "log-divergence"),
    ),
    Mutant(
        "merges-any-flags-below", 2, "a range merges with the region below whatever its flags", _SOURCE,
        (("lmb_end(left) == pos && left->flags == change->flags ?", "lmb_end(left) == pos ?"),),
    ),
    Mutant(
        "merges-any-flags-above", 2, "a range merges with the region above whatever its flags", _SOURCE,
        (("right->base == gap->end && right->flags == change->flags ?", "right->base == gap->end ?"),),
    ),
    Mutant(
        "merge-keeps-the-higher-entry", 5, "of two regions that become one the higher keeps its entry", _SOURCE,
        (
            (
                "\tleft->size += right->size;\n\tlmb_unlink(type, right);\n\tlist_add_tail(&right->link, dropped);\n",
                "\tright->base = left->base;\n\tright->size += left->size;\n\tlmb_unlink(type, left);\n"
                "\tlist_add_tail(&left->link, dropped);\n\tleft = right;\n",
            ),
            # The original relies on the first region never being dropped.
            ("gap = (struct lmb_gap){ .end = change->base, .next = change->at };",
             "gap = (struct lmb_gap){ .end = change->base, .next = lmb_seek(change->type, change->base) };"),
        ),
    ),
    Mutant(
        "merge-not-counted", 2, "cnt does not sink when two regions become one", _SOURCE,
        (("\tlmb_unlink(type, right);\n", "\tlmb_unlink(type, right);\n\ttype->cnt++;\n"),),
        codes=("count-mismatch",),
    ),
    Mutant(
        "merge-not-summed", 2, "total_size does not grow with a region that a range merges into", _SOURCE,
        (("\ttype->total_size += size;\n\tif (!left) {", "\tif (!left) {"),),
        codes=("size-mismatch",),
    ),
    # -- new regions
    Mutant(
        "insert-not-counted", 2, "cnt does not grow with a new region", _SOURCE,
        (("\ttype->cnt++;\n\ttype->total_size += entry", "\ttype->total_size += entry"),),
        codes=("count-mismatch",),
    ),
    Mutant(
        "insert-takes-neighbours-flags", 3, "a new region has the flags of the one above it", _SOURCE,
        (
            (
                "\tentry->flags = flags;\n",
                "\tentry->flags = gap->next == &type->regions ? flags : lmb_entry(gap->next)->flags;\n",
            ),
        ),
    ),
    Mutant(
        "covered-takes-new-flags", 3, "adding over a region changes its flags", _SOURCE,
        (
            (
                "\t\tpos = lmb_max(pos, lmb_end(left));",
                "\t\tif (pos < change->end && lmb_end(left) > pos)\n\t\t\tleft->flags = change->flags;\n"
                "\t\tpos = lmb_max(pos, lmb_end(left));",
            ),
        ),
    ),
    # -- removal
    Mutant(
        "split-is-free", 6, "no entry is counted for a split", _SOURCE,
        (("lmb_entry(node)->base < change->base &&\n", "lmb_entry(node)->base > change->base &&\n"),),
        codes=("freelist-exhausted", "log-divergence"),
        boots=(FIRST_SPLIT,),
    ),
    Mutant(
        "split-keeps-the-upper-entry", 5, "a split region's entry stores its upper part", _SOURCE,
        (
            (
                "\tupper->base = end;\n\tupper->size = lmb_end(region) - end;\n\tupper->flags = region->flags;\n"
                "\tlist_add(&upper->link, &region->link);\n\tregion->size = base - region->base;\n",
                "\tupper->base = region->base;\n\tupper->size = base - region->base;\n\tupper->flags = region->flags;\n"
                "\tlist_add_tail(&upper->link, &region->link);\n\tregion->size = lmb_end(region) - end;\n"
                "\tregion->base = end;\n",
            ),
        ),
    ),
    Mutant(
        # Here and below few operations: with such lists a guest soon walks in circles.
        "split-puts-the-upper-part-first", 2, "the upper part of a split region comes before the lower one", _SOURCE,
        (("list_add(&upper->link, &region->link);", "list_add_tail(&upper->link, &region->link);"),),
        codes=("unsorted", "log-divergence"),
        boots=(FIRST_SPLIT,),
    ),
    Mutant(
        "split-links-one-way", 0, "the region above a split one keeps its prev", _SOURCE,
        (
            (
                "\tlist_add(&upper->link, &region->link);\n",
                "\tlist_add(&upper->link, &region->link);\n\tupper->link.next->prev = &region->link;\n",
            ),
        ),
        codes=("link-broken",),
        boots=(FIRST_SPLIT,),
    ),
    Mutant(
        "split-loses-flags", 3, "the upper part of a split region has no flags", _SOURCE,
        (("upper->flags = region->flags;", "upper->flags = 0;"),),
    ),
    Mutant(
        "split-loses-the-upper-part", 0, "the upper part of a split region is on no list", _SOURCE,
        (("\tlist_add(&upper->link, &region->link);\n", ""),),
        codes=("entry-lost", "count-mismatch", "size-mismatch"),
    ),
    Mutant(
        "split-not-counted", 2, "cnt does not grow when a region is split", _SOURCE,
        (("\ttype->cnt++;\n\ttype->total_size -= end - base;", "\ttype->total_size -= end - base;"),),
        codes=("count-mismatch",),
    ),
    Mutant(
        "split-not-summed", 2, "total_size does not sink when a region is split", _SOURCE,
        (("\ttype->cnt++;\n\ttype->total_size -= end - base;", "\ttype->cnt++;"),),
        codes=("size-mismatch",),
    ),
    Mutant(
        "trim-not-summed", 2, "total_size does not sink when a region is trimmed or dropped", _SOURCE,
        (("\ttype->total_size -= hi - lo;\n", ""),),
        codes=("size-mismatch",),
    ),
    Mutant(
        "drop-not-counted", 2, "cnt does not sink when a region is dropped", _SOURCE,
        (("\t\tlmb_unlink(type, region);\n", "\t\tlmb_unlink(type, region);\n\t\ttype->cnt++;\n"),),
        codes=("count-mismatch",),
    ),
    Mutant(
        "drop-loses-the-entry", 5, "the entry of a region that is dropped goes nowhere", _SOURCE,
        (("\t\tlmb_push(region);\n", ""),),
        codes=("entry-lost",),
    ),
    Mutant(
        "drop-leaves-it-empty", 2, "a region that is removed whole stays, with no bytes", _SOURCE,
        (("if (lo == region->base && hi == lmb_end(region)) {", "if (lo > region->base && hi == lmb_end(region)) {"),),
        codes=("empty-region",),
    ),
    Mutant(
        "trim-loses-flags", 3, "a trimmed region has no flags", _SOURCE,
        (("\tif (lo == region->base)\n", "\tregion->flags = 0;\n\tif (lo == region->base)\n"),),
    ),
    Mutant(
        "trims-the-wrong-end", 3, "a region whose start is removed loses as much at its end instead", _SOURCE,
        (("\tif (lo == region->base)\n\t\tregion->base = hi;\n", ""),),
    ),
    Mutant(
        "last-byte-stays", 3, "the last byte of a region is never removed", _SOURCE,
        (("lmb_min(end, lmb_end(region));", "lmb_min(end, lmb_end(region) - 1);"),),
    ),
    Mutant(
        "removes-from-what-touches-below", 3, "a removal also visits the region that ends where it begins", _SOURCE,
        (
            (
                "\tstruct list_head *node = lmb_first_inside(change);\n\tstruct list_head *next;",
                "\tstruct list_head *node = change->at;\n\tstruct list_head *next;",
            ),
        ),
        equivalent="what only touches has no byte in the range: the cut finds hi == lo, and takes 0 bytes away",
    ),
    Mutant(
        "removes-from-what-touches-above", 3, "a removal also visits the region that begins where it ends", _SOURCE,
        (
            ("for (; lmb_is_inside(change, node); node = next) {",
             "for (; node != &change->type->regions && lmb_entry(node)->base <= change->end;\n\t     node = next) {"),
        ),
        equivalent="what only touches has no byte in the range: the cut finds hi == lo, and takes 0 bytes away",
    ),
)  # fmt: skip

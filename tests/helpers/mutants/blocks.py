# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of blocks: the initial storage, growth, and the refusal to give a block back."""

from __future__ import annotations

from tests.helpers.mutants.mutant import BOTTOM_UP, FIRST_SPLIT, HUGE, HUGE_ALONE, PAGE_0, Boot, Mutant

_SOURCE = "lmb.c"

# One growth, in the random part.
_ONE_GROWTH = Boot("lmb.seed=1 lmb.static=64 lmb.block_size=65536", memory="64M")
# Too few entries for the boot's memory: a sound kernel stops with -ENOMEM before growth is allowed.
_TOO_SMALL = Boot("lmb.seed=1 lmb.static=4 lmb.limit=0x1400000")
# All memory that the early page tables map is hot-pluggable before the first growth: a sound kernel cannot grow.
_HOTPLUG = Boot("lmb.seed=1 lmb.static=8 lmb.mark=0x0,0x40000000,1", memory="64M")
# Many small blocks between the regions of the random operations.
_SCATTERED = Boot("lmb.seed=3 lmb.ops=4000 lmb.block_size=256", memory="128M")
# An operation's range ends where a block starts.
_AT_STARTS = Boot("lmb.seed=10 lmb.ops=4000", memory="128M")

MUTANTS = (
    # -- the initial storage
    Mutant(
        "klimit-unreserved", 1, "the klimit page is not reserved", _SOURCE,
        (("\tchange.at = &lmb.reserved.regions;\n\tlmb_add_apply(&change);\n", "\t(void)change;\n"),),
        codes=("block-unreserved", "log-divergence"),
        klimit=True,
    ),
    Mutant(
        "klimit-block-of-block-size", 1, "the klimit page is formatted as a block of block_size bytes", _SOURCE,
        (("lmb_format_memory(header, base, PAGE_SIZE);", "lmb_format_memory(header, base, lmb.block_size);"),),
        klimit=True,
    ),
    # -- growth
    Mutant(
        "entries-in-reverse", 6, "a block's entries are queued from the last to the first", _SOURCE,
        (("list_add_tail(&entries[i].link,", "list_add_tail(&entries[nr - 1 - i].link,"),),
    ),
    Mutant(
        "entries-at-the-head", 6, "a new block's entries come before those still free", _SOURCE,
        # in order, so that block 0 is as it should be
        (("list_add_tail(&entries[i].link,", "list_add(&entries[nr - 1 - i].link,"),),
    ),
    Mutant(
        "one-entry-less", 1, "a grown block has one entry less than fits", _SOURCE,
        (("/ sizeof(struct lmb_region));", "/ sizeof(struct lmb_region) - 1);"),),
        codes=("storage-corrupt", "log-divergence"),
    ),
    Mutant(
        "one-entry-more", 1, "a grown block's last entry reaches past its end", _SOURCE,
        (("/ sizeof(struct lmb_region));", "/ sizeof(struct lmb_region) + 1);"),),
        codes=("storage-corrupt",),
        boots=(_ONE_GROWTH,),
    ),
    Mutant(
        "growth-miscounted", 0, "nr_free grows by one entry less than a block has", _SOURCE,
        (("lmb.nr_free += nr;", "lmb.nr_free += nr - 1;"),),
        codes=("free-count-mismatch",),
    ),
    Mutant(
        "block-chained-first", 6, "a new block comes first in the chain", _SOURCE,
        (("list_add_tail(&block->link, &lmb.blocks);", "list_add(&block->link, &lmb.blocks);"),),
        codes=("storage-corrupt", "log-divergence"),
    ),
    Mutant(
        "blocks-not-counted", 0, "nr_blocks stays 1", _SOURCE,
        (("lmb.nr_blocks++;", "lmb.nr_blocks = 1;"),),
        codes=("storage-corrupt",),
    ),
    Mutant(
        "growth-unreserved", 6, "a new block is not reserved", _SOURCE,
        (("\tchange.end = change.base + req.size;\n\tlmb_add_apply(&change);\n", ""),),
        codes=("block-unreserved", "log-divergence"),
        boots=(FIRST_SPLIT,),
    ),
    Mutant(
        "growth-reserved-but-a-byte", 6, "the last byte of a new block is not reserved", _SOURCE,
        (("change.end = change.base + req.size;\n\tlmb_add", "change.end = change.base + req.size - 1;\n\tlmb_add"),),
        codes=("block-unreserved", "log-divergence"),
    ),
    Mutant(
        "growth-reserved-with-flags", 6, "a new block is reserved with another flag too", _SOURCE,
        (("change = { .type = &lmb.reserved, .flags = LMB_BLOCK };\n\tvoid *header;\n\n\t/* a block",
          "change = { .type = &lmb.reserved, .flags = LMB_BLOCK | 2 };\n\tvoid *header;\n\n\t/* a block"),),
    ),
    Mutant(
        "growth-unflagged", 8, "a new block is reserved without LMB_BLOCK", _SOURCE,
        (("change = { .type = &lmb.reserved, .flags = LMB_BLOCK };\n\tvoid *header;\n\n\t/* a block",
          "change = { .type = &lmb.reserved };\n\tvoid *header;\n\n\t/* a block"),),
        codes=("block-unflagged", "log-divergence"),
    ),
    Mutant(
        "klimit-unflagged", 8, "the klimit page is reserved without LMB_BLOCK", _SOURCE,
        (("\tstruct lmb_change change = { .type = &lmb.reserved, .flags = LMB_BLOCK };\n\tvoid *header;\n\n\t(void)nr",
          "\tstruct lmb_change change = { .type = &lmb.reserved };\n\tvoid *header;\n\n\t(void)nr"),),
        codes=("block-unflagged", "log-divergence"),
        klimit=True,
    ),
    Mutant(
        "grows-in-hotplug", 6, "a new block may lie in LMB_HOTPLUG memory", _SOURCE,
        (("\tif (!lmb_find(&req, 0, &change.base, &change.at))\n",
          "\tif (!lmb_find(&req, 0, &change.base, &change.at) &&\n"
          "\t    !lmb_find(&req, LMB_HOTPLUG, &change.base, &change.at))\n"),),
        boots=(_HOTPLUG,),
    ),
    Mutant(
        "growth-unaligned", 6, "a new block is aligned to 16 bytes only", _SOURCE,
        ((".align = lmb.block_size,", ".align = 16,"),),
        codes=("storage-corrupt", "log-divergence"),
        boots=(HUGE,),
    ),
    Mutant(
        "growth-takes-page-0", 4, "a new block may lie in page 0", _SOURCE,
        ((".floor = PAGE_SIZE,", ".floor = 0,"),),
        equivalent=PAGE_0,
        boots=(BOTTOM_UP,),
    ),
    Mutant(
        "grows-before-allowed", 6, "growth does not wait for lmb_allow_growth()", _SOURCE,
        (("if (!lmb.may_grow || ", "if ("),),
        boots=(_TOO_SMALL,),
    ),
    # -- rule 8
    Mutant(
        "end-of-a-block-refused", 8, "what starts at a block's end cannot be given back", _SOURCE,
        (("node = lmb_seek_byte(&lmb.reserved, base);", "node = lmb_seek(&lmb.reserved, base);"),),
        boots=(_SCATTERED,),
    ),
    Mutant(
        "start-of-a-block-refused", 8, "what ends at a block's start cannot be given back", _SOURCE,
        (("if (lmb_entry(node)->base >= end)\n\t\t\treturn false;\n\t\tif (lmb_entry(node)->flags",
          "if (lmb_entry(node)->base > end)\n\t\t\treturn false;\n\t\tif (lmb_entry(node)->flags"),),
        boots=(_AT_STARTS,),
    ),
    Mutant(
        "lone-block-given-back", 8, "a block that is a reserved region of its own can be given back", _SOURCE,
        (("if (lmb_entry(node)->flags & LMB_BLOCK)\n\t\t\treturn true;",
          "if (lmb_entry(node)->flags & LMB_BLOCK &&\n"
          "\t\t    lmb_entry(node)->size > lmb.block_size)\n\t\t\treturn true;"),),
        boots=(HUGE_ALONE,),
    ),
)  # fmt: skip

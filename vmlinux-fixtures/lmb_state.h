/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LMB's state: the regions, the entries that store them and the blocks that
 * the entries lie in. All other files of the allocator work on it.
 */
#ifndef FIXTURE_LMB_STATE_H
#define FIXTURE_LMB_STATE_H

#include "list.h"
#include "types.h"

/* The values are memblock's; other bits are carried unread. */
#define LMB_HOTPLUG	1U
#define LMB_MIRROR	2U
#define LMB_NOMAP	4U

/**
 * struct lmb_region - one entry, which stores one region or lies on the freelist
 * @link: in lmb.memory.regions, lmb.reserved.regions or lmb.freelist
 * @base: first byte
 * @size: bytes, never 0 on a region list
 * @flags: LMB_HOTPLUG and so on
 */
struct lmb_region {
	struct list_head link;
	phys_addr_t base, size;
	unsigned int flags;
};

/**
 * struct lmb_block - a run of entries that lie together in memory
 * @link: in lmb.blocks, in the order of gain
 * @base: physical address of this header, 0 for the static block
 * @nr: number of entries
 * @entries: the first entry
 */
struct lmb_block {
	struct list_head link;
	phys_addr_t base;
	unsigned long nr;
	struct lmb_region *entries;
};

/**
 * struct lmb_type - a list of regions: sorted, disjoint, merged
 * @regions: head of the list
 * @cnt: number of regions
 * @total_size: sum of their sizes in bytes
 * @name: "memory" or "reserved"
 */
struct lmb_type {
	struct list_head regions;
	unsigned long cnt;
	phys_addr_t total_size;
	const char *name;
};

/**
 * struct lmb - the allocator's state; all zero before lmb_init()
 * @memory: the RAM that exists
 * @reserved: what is taken
 * @freelist: the entries that store nothing now
 * @nr_free: their number, at least 1 between two operations
 * @blocks: where the entries lie
 * @nr_blocks: number of blocks, 0 before lmb_init()
 * @block_size: bytes of a grown block
 * @current_limit: no allocation ends above this address
 * @bottom_up: search from low addresses
 * @may_grow: lmb_allow_growth() has been called
 * @closed: lmb_free_all() has been called
 */
struct lmb {
	struct lmb_type memory, reserved;
	struct list_head freelist;
	unsigned long nr_free;
	struct list_head blocks;
	unsigned long nr_blocks, block_size;
	phys_addr_t current_limit;
	bool bottom_up, may_grow, closed;
};

extern struct lmb lmb;

struct lmb_range {
	phys_addr_t base, size;
};

static inline struct lmb_region *lmb_entry(struct list_head *node)
{
	return list_entry(node, struct lmb_region, link);
}

/* The first byte after a region; never wraps, as no region ends above PHYS_ADDR_MAX. */
static inline phys_addr_t lmb_end(const struct lmb_region *region)
{
	return region->base + region->size;
}

static inline phys_addr_t lmb_min(phys_addr_t a, phys_addr_t b)
{
	return a < b ? a : b;
}

static inline phys_addr_t lmb_max(phys_addr_t a, phys_addr_t b)
{
	return a > b ? a : b;
}

static inline bool lmb_is_init(void)
{
	return lmb.nr_blocks != 0;
}

/* 0, or why no operation is possible now. */
static inline int lmb_refusal(void)
{
	if (!lmb_is_init())
		return -EINVAL;
	return lmb.closed ? -EBUSY : 0;
}

#endif

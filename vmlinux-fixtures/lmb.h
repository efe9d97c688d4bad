/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LMB: logical memory blocks, the allocator that hands out physical memory
 * before the page allocator exists.
 *
 * A region is a half-open physical range [base, base + size) with flags. Two
 * sorted lists hold the regions: what RAM exists, and what of the address
 * space is taken. A list node (entry) comes from a freelist; the freelist is
 * filled from an initial block and, once allowed, from blocks that the
 * allocator takes from the very memory it manages.
 *
 * One CPU calls it, with interrupts off, and never from an NMI or a fault
 * handler: there is no lock.
 */
#ifndef FIXTURE_LMB_H
#define FIXTURE_LMB_H

#include "list.h"
#include "types.h"

/* The rules that this allocator follows, for debuggers. */
#define LMB_REVISION	2U

/* The values are memblock's; other bits are carried unread. */
#define LMB_HOTPLUG	1U
#define LMB_MIRROR	2U
#define LMB_NOMAP	4U
/* On the reserved list: a block of entries. No caller may pass it. */
#define LMB_BLOCK	0x80000000U

#ifndef CONFIG_LMB_STATIC_ENTRIES
#define CONFIG_LMB_STATIC_ENTRIES	64
#endif

#if CONFIG_LMB_STATIC_ENTRIES < 2
#error "CONFIG_LMB_STATIC_ENTRIES must be at least 2"
#endif

#ifndef CONFIG_LMB_LOG
#define CONFIG_LMB_LOG	16384
#endif

#ifndef CONFIG_LMB_HANDOVER_RANGES
#define CONFIG_LMB_HANDOVER_RANGES	16384
#endif

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

/* A grown block's header, so that the entries after it are aligned. */
#define LMB_HEADER_SIZE							\
	((sizeof(struct lmb_block) + __alignof__(struct lmb_region) - 1) &	\
	 ~(__alignof__(struct lmb_region) - 1))

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
 * struct lmb - the allocator's state; zero before lmb_init() but for @revision
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
 * @revision: LMB_REVISION, from the kernel's first instruction on
 */
struct lmb {
	struct lmb_type memory, reserved;
	struct list_head freelist;
	unsigned long nr_free;
	struct list_head blocks;
	unsigned long nr_blocks, block_size;
	phys_addr_t current_limit;
	bool bottom_up, may_grow, closed;
	unsigned int revision;
};

extern struct lmb lmb;
extern const unsigned long lmb_page_size;

/**
 * struct lmb_range - a half-open physical range
 * @base: first byte
 * @size: bytes
 */
struct lmb_range {
	phys_addr_t base, size;
};

/* -- operations ------------------------------------------------------------- */

int lmb_init(unsigned long nr_static, unsigned long block_size);
int lmb_add(phys_addr_t base, phys_addr_t size, unsigned int flags);
int lmb_remove(phys_addr_t base, phys_addr_t size);
int lmb_mark(phys_addr_t base, phys_addr_t size, unsigned int flag);
int lmb_clear(phys_addr_t base, phys_addr_t size, unsigned int flag);
int lmb_enforce_memory_limit(phys_addr_t size);
int lmb_reserve(phys_addr_t base, phys_addr_t size, unsigned int flags);
int lmb_free(phys_addr_t base, phys_addr_t size);
int lmb_alloc(phys_addr_t size, phys_addr_t align, phys_addr_t min,
	      phys_addr_t max, unsigned int flags, phys_addr_t *base);
int lmb_allow_growth(void);
int lmb_set_current_limit(phys_addr_t limit);
int lmb_set_bottom_up(bool enable);
long lmb_free_all(void);

/* -- questions -------------------------------------------------------------- */

bool lmb_is_memory(phys_addr_t address);
bool lmb_is_reserved(phys_addr_t address);
bool lmb_is_region_reserved(phys_addr_t base, phys_addr_t size);
phys_addr_t lmb_phys_mem_size(void);
phys_addr_t lmb_start_of_DRAM(void);
phys_addr_t lmb_end_of_DRAM(void);
void lmb_dump_all(void);

/* -- iterators --------------------------------------------------------------- */

const struct lmb_region *lmb_next_region(const struct lmb_type *type,
					 const struct lmb_region *region);

/**
 * for_each_lmb_memory - walk the regions of memory, ascending
 * @region: const struct lmb_region *
 *
 * The lists must not change meanwhile.
 */
#define for_each_lmb_memory(region)					\
	for ((region) = lmb_next_region(&lmb.memory, NULL); (region);	\
	     (region) = lmb_next_region(&lmb.memory, region))

/**
 * for_each_lmb_reserved - walk the reserved regions, ascending
 * @region: const struct lmb_region *
 *
 * The lists must not change meanwhile.
 */
#define for_each_lmb_reserved(region)					\
	for ((region) = lmb_next_region(&lmb.reserved, NULL); (region);	\
	     (region) = lmb_next_region(&lmb.reserved, region))

/**
 * struct lmb_free_range - a piece of memory that is not reserved
 * @base: first byte
 * @end: the first byte after it
 * @flags: of the memory region that it lies in, without LMB_NOMAP
 * @memory: that region's node; the iterator's own
 * @reserved: where the iterator is in the reserved list; its own
 */
struct lmb_free_range {
	phys_addr_t base, end;
	unsigned int flags;
	struct list_head *memory, *reserved;
};

void lmb_free_first(struct lmb_free_range *range);
void lmb_free_last(struct lmb_free_range *range);
bool lmb_free_next(struct lmb_free_range *range);
bool lmb_free_prev(struct lmb_free_range *range);

/**
 * for_each_lmb_free - walk memory less what is reserved, ascending
 * @range: struct lmb_free_range *
 *
 * Each piece lies in one region of memory without LMB_NOMAP, and what touches
 * it is reserved, another region of memory, or none. The lists must not change
 * meanwhile.
 */
#define for_each_lmb_free(range)					\
	for (lmb_free_first(range); lmb_free_next(range);)

/**
 * for_each_lmb_free_reverse - as for_each_lmb_free(), descending
 * @range: struct lmb_free_range *
 */
#define for_each_lmb_free_reverse(range)				\
	for (lmb_free_last(range); lmb_free_prev(range);)

/* The first byte after a region; never wraps, as none ends above PHYS_ADDR_MAX. */
static inline phys_addr_t lmb_end(const struct lmb_region *region)
{
	return region->base + region->size;
}

/* -- hand-over ---------------------------------------------------------------- */

/**
 * struct lmb_handover - what lmb_free_all() gave to the page allocator
 * @nr: ranges given, counted even past the capacity
 * @ranges: maximal runs of whole pages, ascending
 */
struct lmb_handover {
	unsigned long nr;
	struct lmb_range ranges[CONFIG_LMB_HANDOVER_RANGES];
};

extern struct lmb_handover lmb_handover;

/* -- the log of operations ------------------------------------------------------ */

/* New operations come last: a debugger may know the numbers. */
enum lmb_op {
	LMB_OP_INIT,
	LMB_OP_ADD,
	LMB_OP_REMOVE,
	LMB_OP_RESERVE,
	LMB_OP_FREE,
	LMB_OP_ALLOC,
	LMB_OP_ALLOW_GROWTH,
	LMB_OP_SET_LIMIT,
	LMB_OP_SET_BOTTOM_UP,
	LMB_OP_FREE_ALL,
	LMB_OP_MARK,
	LMB_OP_CLEAR,
	LMB_OP_ENFORCE_LIMIT,
};

/**
 * struct lmb_log_record - one operation, written when it is over
 * @op: which
 * @flags: as given; INIT: the bits of phys_addr_t; SET_BOTTOM_UP: 0 or 1
 * @error: 0 or a negative errno
 * @base: as given; INIT: the klimit page, or 0; SET_LIMIT: the limit
 * @size: as given; INIT: block_size
 * @align: as given; INIT: bytes of a block's header
 * @min: as given; INIT: sizeof(struct lmb_region)
 * @max: as given; INIT: entries in block 0
 * @result: ALLOC: the base; FREE_ALL: pages; else 0
 * @caller: return address of the API function's caller, virtual
 */
struct lmb_log_record {
	enum lmb_op op;
	unsigned int flags;
	int error;
	phys_addr_t base, size, align, min, max;
	phys_addr_t result;
	unsigned long caller;
};

#if CONFIG_LMB_LOG
/**
 * struct lmb_log - the operation log
 * @nr: records ever written; above the capacity: the ring has wrapped
 * @ring: the next record goes to ring[nr % capacity]
 */
struct lmb_log {
	unsigned long nr;
	struct lmb_log_record ring[CONFIG_LMB_LOG];
};

extern struct lmb_log lmb_log;
#endif

#endif

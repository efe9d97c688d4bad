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
 */
#ifndef FIXTURE_LMB_H
#define FIXTURE_LMB_H

#include "list.h"
#include "types.h"

#ifndef CONFIG_LMB_STATIC_ENTRIES
#define CONFIG_LMB_STATIC_ENTRIES	64
#endif
#ifndef CONFIG_LMB_LOG
#define CONFIG_LMB_LOG			16384
#endif
#ifndef CONFIG_LMB_HANDOVER_RANGES
#define CONFIG_LMB_HANDOVER_RANGES	16384
#endif

#if CONFIG_LMB_STATIC_ENTRIES < 2
#error "CONFIG_LMB_STATIC_ENTRIES must be at least 2"
#endif

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
extern const unsigned long lmb_page_size;

/* A grown block's header, so that the entries after it are aligned. */
#define LMB_HEADER_SIZE							\
	((sizeof(struct lmb_block) + _Alignof(struct lmb_region) - 1) &	\
	 ~(_Alignof(struct lmb_region) - 1))

#ifndef CONFIG_LMB_KLIMIT
extern struct lmb_block lmb_static_block;
extern struct lmb_region lmb_static_entries[CONFIG_LMB_STATIC_ENTRIES];
#endif

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

struct lmb_range {
	phys_addr_t base, size;
};

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

int lmb_init(unsigned long nr_static, unsigned long block_size);
int lmb_add(phys_addr_t base, phys_addr_t size, unsigned int flags);
int lmb_remove(phys_addr_t base, phys_addr_t size);
int lmb_reserve(phys_addr_t base, phys_addr_t size, unsigned int flags);
int lmb_free(phys_addr_t base, phys_addr_t size);
int lmb_alloc(phys_addr_t size, phys_addr_t align, phys_addr_t min,
	      phys_addr_t max, unsigned int flags, phys_addr_t *base);
int lmb_allow_growth(void);
int lmb_set_current_limit(phys_addr_t limit);
int lmb_set_bottom_up(bool enable);
long lmb_free_all(void);
void lmb_dump_all(void);

/*
 * The platform provides these.
 * lmb_arch_map(): the virtual address of [base, base + size), a block of
 *	entries that is about to be written; NULL: cannot be reached.
 * lmb_arch_klimit(): the physical address of the page right after the BSS.
 * printk(): text output for lmb_dump_all().
 */
void *lmb_arch_map(phys_addr_t base, phys_addr_t size);
phys_addr_t lmb_arch_klimit(void);
int printk(const char *fmt, ...) __printf(1, 2);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the allocator's own files share, and nobody else includes. */
#ifndef FIXTURE_LMB_INTERNAL_H
#define FIXTURE_LMB_INTERNAL_H

#include "lmb.h"

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

/*
 * Where an allocation may lie: size bytes, aligned, in [floor, ceiling), and
 * clear of the range avoid (size 0: nothing to avoid) and of what is reserved.
 */
struct lmb_request {
	phys_addr_t size, align, floor, ceiling;
	struct lmb_range avoid;
};

struct list_head *lmb_seek(struct lmb_type *type, phys_addr_t address);
unsigned long lmb_add_need(struct lmb_type *type, phys_addr_t base,
			   phys_addr_t size, unsigned int flags);
void lmb_add_apply(struct lmb_type *type, phys_addr_t base, phys_addr_t size,
		   unsigned int flags);
unsigned long lmb_remove_need(struct lmb_type *type, phys_addr_t base,
			      phys_addr_t size);
void lmb_remove_apply(struct lmb_type *type, phys_addr_t base, phys_addr_t size);
int lmb_grow(const struct lmb_range *avoid);
bool lmb_hits_block(phys_addr_t base, phys_addr_t size);
void lmb_init_storage(unsigned long nr_static);
bool lmb_find(const struct lmb_request *req, phys_addr_t *base);

#if CONFIG_LMB_LOG
void lmb_log_write(const struct lmb_log_record *record);
#else
static inline void lmb_log_write(const struct lmb_log_record *record)
{
	(void)record;
}
#endif

/* The caller of the public function that this stands in. */
#define LMB_CALLER	((unsigned long)__builtin_return_address(0))

#endif

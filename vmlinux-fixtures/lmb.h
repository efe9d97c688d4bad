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

#include "lmb_state.h"

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

#endif

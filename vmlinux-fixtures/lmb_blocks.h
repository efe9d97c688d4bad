/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LMB's blocks: the memory that the entries lie in. */
#ifndef FIXTURE_LMB_BLOCKS_H
#define FIXTURE_LMB_BLOCKS_H

#include "lmb_state.h"

#ifndef CONFIG_LMB_STATIC_ENTRIES
#define CONFIG_LMB_STATIC_ENTRIES	64
#endif

#if CONFIG_LMB_STATIC_ENTRIES < 2
#error "CONFIG_LMB_STATIC_ENTRIES must be at least 2"
#endif

/* A grown block's header, so that the entries after it are aligned. */
#define LMB_HEADER_SIZE							\
	((sizeof(struct lmb_block) + _Alignof(struct lmb_region) - 1) &	\
	 ~(_Alignof(struct lmb_region) - 1))

extern const unsigned long lmb_page_size;

#ifndef CONFIG_LMB_KLIMIT
extern struct lmb_block lmb_static_block;
extern struct lmb_region lmb_static_entries[CONFIG_LMB_STATIC_ENTRIES];
#endif

int lmb_grow(const struct lmb_range *avoid);
bool lmb_hits_block(phys_addr_t base, phys_addr_t size);
void lmb_init_storage(unsigned long nr_static);

#endif

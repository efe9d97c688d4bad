/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LMB's region lists: how a range enters or leaves one. */
#ifndef FIXTURE_LMB_LISTS_H
#define FIXTURE_LMB_LISTS_H

#include "lmb_state.h"

struct list_head *lmb_seek(struct lmb_type *type, phys_addr_t address);
unsigned long lmb_add_need(struct lmb_type *type, phys_addr_t base,
			   phys_addr_t size, unsigned int flags);
void lmb_add_apply(struct lmb_type *type, phys_addr_t base, phys_addr_t size,
		   unsigned int flags);
unsigned long lmb_remove_need(struct lmb_type *type, phys_addr_t base,
			      phys_addr_t size);
void lmb_remove_apply(struct lmb_type *type, phys_addr_t base, phys_addr_t size);

#endif

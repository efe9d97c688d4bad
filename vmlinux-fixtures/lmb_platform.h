/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What LMB asks of the platform it runs on, besides printk().
 *
 * lmb_arch_map(): the virtual address of [base, base + size), a block of
 *	entries that is about to be written; NULL: cannot be reached.
 * lmb_arch_klimit(): the physical address of the page right after the BSS.
 */
#ifndef FIXTURE_LMB_PLATFORM_H
#define FIXTURE_LMB_PLATFORM_H

#include "types.h"

void *lmb_arch_map(phys_addr_t base, phys_addr_t size);
phys_addr_t lmb_arch_klimit(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LMB's hand-over to the page allocator, and its printout. */
#ifndef FIXTURE_LMB_HANDOVER_H
#define FIXTURE_LMB_HANDOVER_H

#include "lmb_state.h"

#ifndef CONFIG_LMB_HANDOVER_RANGES
#define CONFIG_LMB_HANDOVER_RANGES	16384
#endif

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

long lmb_free_all(void);
void lmb_dump_all(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LMB's search for a place that is free. */
#ifndef FIXTURE_LMB_FIND_H
#define FIXTURE_LMB_FIND_H

#include "lmb_state.h"

/*
 * Where an allocation may lie: size bytes, aligned, in [floor, ceiling), and
 * clear of the range avoid (size 0: nothing to avoid) and of what is reserved.
 */
struct lmb_request {
	phys_addr_t size, align, floor, ceiling;
	struct lmb_range avoid;
};

bool lmb_find(const struct lmb_request *req, phys_addr_t *base);

#endif

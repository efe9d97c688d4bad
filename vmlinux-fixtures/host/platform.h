/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The platform of the host libraries, as their own code sees it. */
#ifndef FIXTURE_PLATFORM_H
#define FIXTURE_PLATFORM_H

#include "../types.h"

/* Where the next lmb_init() finds the klimit page, physical. */
extern phys_addr_t host_klimit;

/* Nothing at or above this can be mapped; ~0: everything can. */
extern u64 host_reach;

/* What printk() wrote since host_text_len was set to 0; lost when memory is short. */
extern char *host_text;
extern size_t host_text_len;

void host_platform_reset(void);

#endif

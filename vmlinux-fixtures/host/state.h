/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator's state as numbers. */
#ifndef FIXTURE_STATE_H
#define FIXTURE_STATE_H

#include "../types.h"

#define LMB_HOST_BROKEN	(-1L)	/* a list is damaged */

long lmb_host_state(u64 *out, long max_words);

#endif

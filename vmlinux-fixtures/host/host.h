/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allocator in a host process: what the shared libraries export.
 *
 * All addresses and sizes are u64, so that one set of prototypes serves both
 * widths of phys_addr_t; a value that phys_addr_t cannot hold is refused with
 * LMB_HOST_ERANGE, which no operation of the allocator returns.
 */
#ifndef FIXTURE_HOST_H
#define FIXTURE_HOST_H

#include "../types.h"

#define LMB_HOST_ERANGE	(-34)	/* a value does not fit phys_addr_t */
#define LMB_HOST_ETOUCHED (-35)	/* an allocation failed, but wrote its base */

/* Words of one lmb_host_log() record. */
#define LMB_HOST_LOG_WORDS	10

void lmb_host_reset(void);
void lmb_host_set_klimit(u64 base);
void lmb_host_set_reach(u64 end);
int lmb_host_init(u64 nr_static, u64 block_size);
int lmb_host_op(unsigned int op, u64 base, u64 size, u32 flags, u64 align,
		u64 min, u64 max, u64 *result);
void lmb_host_sizes(u64 out[4]);
long lmb_host_log(u64 index, u64 out[LMB_HOST_LOG_WORDS]);
long lmb_host_dump(char *out, long max_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LMB's log: a record of each operation, for debuggers. */
#ifndef FIXTURE_LMB_LOG_H
#define FIXTURE_LMB_LOG_H

#include "types.h"

#ifndef CONFIG_LMB_LOG
#define CONFIG_LMB_LOG	16384
#endif

enum lmb_op {
	LMB_OP_INIT,
	LMB_OP_ADD,
	LMB_OP_REMOVE,
	LMB_OP_RESERVE,
	LMB_OP_FREE,
	LMB_OP_ALLOC,
	LMB_OP_ALLOW_GROWTH,
	LMB_OP_SET_LIMIT,
	LMB_OP_SET_BOTTOM_UP,
	LMB_OP_FREE_ALL,
};

/**
 * struct lmb_log_record - one operation, written when it is over
 * @op: which
 * @flags: as given; INIT: the bits of phys_addr_t; SET_BOTTOM_UP: 0 or 1
 * @error: 0 or a negative errno
 * @base: as given; INIT: the klimit page, or 0; SET_LIMIT: the limit
 * @size: as given; INIT: block_size
 * @align: as given; INIT: bytes of a block's header
 * @min: as given; INIT: sizeof(struct lmb_region)
 * @max: as given; INIT: entries in block 0
 * @result: ALLOC: the base; FREE_ALL: pages; else 0
 * @caller: return address of the API function's caller, virtual
 */
struct lmb_log_record {
	enum lmb_op op;
	unsigned int flags;
	int error;
	phys_addr_t base, size, align, min, max;
	phys_addr_t result;
	unsigned long caller;
};

#if CONFIG_LMB_LOG
/**
 * struct lmb_log - the operation log
 * @nr: records ever written; above the capacity: the ring has wrapped
 * @ring: the next record goes to ring[nr % capacity]
 */
struct lmb_log {
	unsigned long nr;
	struct lmb_log_record ring[CONFIG_LMB_LOG];
};

extern struct lmb_log lmb_log;
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

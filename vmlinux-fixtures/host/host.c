// SPDX-License-Identifier: GPL-2.0-or-later
/* The allocator in a host process: operations come in as numbers. */
#include <string.h>

#include "../lmb.h"
#include "host.h"
#include "platform.h"

/**
 * lmb_host_reset - back to before lmb_init(): forget everything, free the blocks
 *
 * The klimit page's address stays; lmb_arch_map() reaches everything.
 */
void lmb_host_reset(void)
{
	host_platform_reset();
	memset(&lmb, 0, sizeof(lmb));
	lmb.revision = LMB_REVISION;
	/* lmb_init() writes the static storage; what lies beyond nr cannot be seen */
#if CONFIG_LMB_LOG
	lmb_log.nr = 0;
#endif
	lmb_handover.nr = 0;
}

/**
 * lmb_host_set_klimit - choose where the next lmb_init() finds the klimit page
 * @base: its physical address
 */
void lmb_host_set_klimit(u64 base)
{
	host_klimit = (phys_addr_t)base;
}

/**
 * lmb_host_set_reach - choose what lmb_arch_map() reaches until lmb_host_reset()
 * @end: nothing at or above this; ~0: everything
 */
void lmb_host_set_reach(u64 end)
{
	host_reach = end;
}

/**
 * lmb_host_init - lmb_init()
 * @nr_static: entries of the static array
 * @block_size: bytes
 *
 * Return: lmb_init()'s result, or LMB_HOST_ERANGE.
 */
int lmb_host_init(u64 nr_static, u64 block_size)
{
	if ((unsigned long)nr_static != nr_static ||
	    (unsigned long)block_size != block_size)
		return LMB_HOST_ERANGE;
	return lmb_init(nr_static, block_size);
}

static bool fits(u64 value)
{
	return (phys_addr_t)value == value;
}

static int host_alloc(u64 size, u64 align, u64 min, u64 max, u32 flags,
		      u64 *result)
{
	const phys_addr_t untouched = (phys_addr_t)0x5a5a5a5a5a5a5a5aULL;
	phys_addr_t base = untouched;
	int error = lmb_alloc(size, align, min, max, flags, &base);

	if (error)
		return base == untouched ? error : LMB_HOST_ETOUCHED;
	*result = base;
	return 0;
}

static int host_free_all(u64 *result)
{
	long pages = lmb_free_all();

	if (pages < 0)
		return pages;
	*result = pages;
	return 0;
}

/**
 * lmb_host_op - one operation
 * @op: an enum lmb_op, but not LMB_OP_INIT
 * @base: ADD, REMOVE, MARK, CLEAR, RESERVE, FREE; SET_LIMIT: the limit
 * @size: ADD, REMOVE, MARK, CLEAR, RESERVE, FREE, ALLOC, ENFORCE_LIMIT
 * @flags: ADD, MARK, CLEAR, RESERVE, ALLOC; SET_BOTTOM_UP: 0 or not
 * @align: ALLOC
 * @min: ALLOC
 * @max: ALLOC
 * @result: ALLOC: the base; FREE_ALL: pages; else 0
 *
 * Return: 0, the operation's error, LMB_HOST_ERANGE or LMB_HOST_ETOUCHED.
 */
int lmb_host_op(unsigned int op, u64 base, u64 size, u32 flags, u64 align,
		u64 min, u64 max, u64 *result)
{
	*result = 0;
	if (!fits(base) || !fits(size) || !fits(align) || !fits(min) || !fits(max))
		return LMB_HOST_ERANGE;

	switch ((enum lmb_op)op) {
	case LMB_OP_ADD:
		return lmb_add(base, size, flags);
	case LMB_OP_REMOVE:
		return lmb_remove(base, size);
	case LMB_OP_MARK:
		return lmb_mark(base, size, flags);
	case LMB_OP_CLEAR:
		return lmb_clear(base, size, flags);
	case LMB_OP_ENFORCE_LIMIT:
		return lmb_enforce_memory_limit(size);
	case LMB_OP_RESERVE:
		return lmb_reserve(base, size, flags);
	case LMB_OP_FREE:
		return lmb_free(base, size);
	case LMB_OP_ALLOC:
		return host_alloc(size, align, min, max, flags, result);
	case LMB_OP_ALLOW_GROWTH:
		return lmb_allow_growth();
	case LMB_OP_SET_LIMIT:
		return lmb_set_current_limit(base);
	case LMB_OP_SET_BOTTOM_UP:
		return lmb_set_bottom_up(flags != 0);
	case LMB_OP_FREE_ALL:
		return host_free_all(result);
	case LMB_OP_INIT:
		break;
	}
	return LMB_HOST_ERANGE;
}

/**
 * lmb_host_sizes - the sizes that the layout depends on
 * @out: sizeof(struct lmb_region), a block's header, bits of phys_addr_t,
 *	PAGE_SIZE
 */
void lmb_host_sizes(u64 out[4])
{
	out[0] = sizeof(struct lmb_region);
	out[1] = LMB_HEADER_SIZE;
	out[2] = 8 * sizeof(phys_addr_t);
	out[3] = PAGE_SIZE;
}

/**
 * lmb_host_log - read one record of the operation log
 * @index: counted from the first record ever written
 * @out: op, flags, error (as s64), base, size, align, min, max, result, caller
 *
 * Return: the number of records ever written; @out is only written where the
 * record is still in the ring.
 */
long lmb_host_log(u64 index, u64 out[LMB_HOST_LOG_WORDS])
{
#if CONFIG_LMB_LOG
	const struct lmb_log_record *record;

	if (index >= lmb_log.nr || lmb_log.nr - index > CONFIG_LMB_LOG)
		return lmb_log.nr;
	record = &lmb_log.ring[index % CONFIG_LMB_LOG];
	out[0] = record->op;
	out[1] = record->flags;
	out[2] = (u64)(long long)record->error;
	out[3] = record->base;
	out[4] = record->size;
	out[5] = record->align;
	out[6] = record->min;
	out[7] = record->max;
	out[8] = record->result;
	out[9] = record->caller;
	return lmb_log.nr;
#else
	(void)index;
	(void)out;
	return 0;
#endif
}

/**
 * lmb_host_dump - what lmb_dump_all() prints now
 * @out: the text, without a terminating zero
 * @max_bytes: room in @out
 *
 * Return: bytes written, or -needed bytes.
 */
long lmb_host_dump(char *out, long max_bytes)
{
	long len;

	host_text_len = 0;
	lmb_dump_all();
	len = host_text_len;
	if (len > max_bytes)
		return -len;
	memcpy(out, host_text, len);
	return len;
}

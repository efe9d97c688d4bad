// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LMB: the region lists, their entries, and the operations on them.
 *
 * Each operation first works out how many entries it needs, then makes sure
 * that one more than that is free (growing by a block where that is allowed),
 * and only then changes a list. So a failure leaves nothing half done.
 */
#include "lmb.h"
#include "lmb_blocks.h"
#include "lmb_find.h"
#include "lmb_lists.h"
#include "lmb_log.h"

/* The last free entry is never handed to a caller: the next growth needs it. */
static bool lmb_has_room(unsigned long need)
{
	return lmb.nr_free > need;
}

/* For a growth that need not avoid anything. */
static const struct lmb_range lmb_nowhere;

static int lmb_do_add(struct lmb_type *type, phys_addr_t base, phys_addr_t size,
		      unsigned int flags, const struct lmb_range *avoid)
{
	int error;

	while (!lmb_has_room(lmb_add_need(type, base, size, flags))) {
		error = lmb_grow(avoid);
		if (error)
			return error;
	}
	lmb_add_apply(type, base, size, flags);
	return 0;
}

static int lmb_do_remove(struct lmb_type *type, phys_addr_t base,
			 phys_addr_t size, const struct lmb_range *avoid)
{
	int error;

	while (!lmb_has_room(lmb_remove_need(type, base, size))) {
		error = lmb_grow(avoid);
		if (error)
			return error;
	}
	lmb_remove_apply(type, base, size);
	return 0;
}

static int lmb_do_alloc(const struct lmb_request *req, unsigned int flags,
			phys_addr_t *base)
{
	int error;

	for (;;) {
		if (!lmb_find(req, base))
			return -ENOMEM;
		if (lmb_has_room(lmb_add_need(&lmb.reserved, *base, req->size, flags)))
			break;
		error = lmb_grow(&lmb_nowhere);
		if (error)
			return error;
	}
	lmb_add_apply(&lmb.reserved, *base, req->size, flags);
	return 0;
}

/* 0, or why an operation on [base, base + size) is refused. */
static int lmb_check_range(phys_addr_t base, phys_addr_t size)
{
	int error = lmb_refusal();

	if (error)
		return error;
	return size == 0 || size > PHYS_ADDR_MAX - base ? -EINVAL : 0;
}

static bool lmb_is_power_of_2(unsigned long long x)
{
	return x && !(x & (x - 1));
}

/* As lmb_check_range(), for what must not take a block's memory away. */
static int lmb_check_removal(phys_addr_t base, phys_addr_t size)
{
	int error = lmb_check_range(base, size);

	if (error)
		return error;
	return lmb_hits_block(base, size) ? -EBUSY : 0;
}

static void lmb_init_type(struct lmb_type *type, const char *name)
{
	INIT_LIST_HEAD(&type->regions);
	type->name = name;
}

static bool lmb_init_args_ok(unsigned long nr_static, unsigned long block_size)
{
#ifndef CONFIG_LMB_KLIMIT
	if (nr_static < 2 || nr_static > CONFIG_LMB_STATIC_ENTRIES)
		return false;
#else
	(void)nr_static;
#endif
	return lmb_is_power_of_2(block_size) &&
	       block_size >= LMB_HEADER_SIZE + 2 * sizeof(struct lmb_region);
}

/**
 * lmb_init - set up empty lists and the initial storage
 * @nr_static: entries of the static array to use, 2 at least; unused with
 *	CONFIG_LMB_KLIMIT
 * @block_size: bytes of a block to grow by: a power of two that holds a header
 *	and two entries
 *
 * Afterwards all entries of block 0 are free, in address order, but for the
 * one that reserves a klimit page. Growth is off.
 *
 * Return: 0, -EBUSY on a second call, -EINVAL on a bad argument.
 */
noinline int lmb_init(unsigned long nr_static, unsigned long block_size)
{
	const struct lmb_block *block;

	if (lmb_is_init())
		return -EBUSY;
	if (!lmb_init_args_ok(nr_static, block_size))
		return -EINVAL;

	lmb_init_type(&lmb.memory, "memory");
	lmb_init_type(&lmb.reserved, "reserved");
	INIT_LIST_HEAD(&lmb.freelist);
	INIT_LIST_HEAD(&lmb.blocks);
	lmb.block_size = block_size;
	lmb.current_limit = PHYS_ADDR_MAX;
	lmb_init_storage(nr_static);

	block = list_entry(lmb.blocks.next, struct lmb_block, link);
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_INIT, .flags = 8 * sizeof(phys_addr_t),
		.base = block->base, .size = block_size,
		.align = LMB_HEADER_SIZE, .min = sizeof(struct lmb_region),
		.max = block->nr, .caller = LMB_CALLER });
	return 0;
}

/**
 * lmb_add - register memory
 * @base: first byte of the range
 * @size: bytes
 * @flags: of what was not memory yet
 *
 * [base, base + size) is memory afterwards. What was memory keeps its flags.
 *
 * Return: 0, -EINVAL, -EBUSY after hand-over, -ENOMEM.
 */
noinline int lmb_add(phys_addr_t base, phys_addr_t size, unsigned int flags)
{
	int error = lmb_check_range(base, size);

	if (!error)
		error = lmb_do_add(&lmb.memory, base, size, flags, &lmb_nowhere);
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_ADD, .base = base, .size = size, .flags = flags,
		.error = error, .caller = LMB_CALLER });
	return error;
}

/**
 * lmb_remove - forget memory
 * @base: first byte of the range
 * @size: bytes
 *
 * Nothing of [base, base + size) is memory afterwards; what is reserved stays.
 *
 * Return: 0 (also when it was none), -EINVAL, -EBUSY after hand-over or on a
 * block of entries, -ENOMEM.
 */
noinline int lmb_remove(phys_addr_t base, phys_addr_t size)
{
	const struct lmb_range range = { base, size };
	int error = lmb_check_removal(base, size);

	if (!error)
		error = lmb_do_remove(&lmb.memory, base, size, &range);
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_REMOVE, .base = base, .size = size,
		.error = error, .caller = LMB_CALLER });
	return error;
}

/**
 * lmb_reserve - take a range, whether it is memory or not
 * @base: first byte of the range
 * @size: bytes
 * @flags: of what was not reserved yet
 *
 * [base, base + size) is reserved afterwards, and no block of entries was
 * gained in it. What was reserved keeps its flags.
 *
 * Return: 0, -EINVAL, -EBUSY after hand-over, -ENOMEM.
 */
noinline int lmb_reserve(phys_addr_t base, phys_addr_t size, unsigned int flags)
{
	const struct lmb_range range = { base, size };
	int error = lmb_check_range(base, size);

	if (!error)
		error = lmb_do_add(&lmb.reserved, base, size, flags, &range);
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_RESERVE, .base = base, .size = size, .flags = flags,
		.error = error, .caller = LMB_CALLER });
	return error;
}

/**
 * lmb_free - give a range back
 * @base: first byte of the range
 * @size: bytes
 *
 * Nothing of [base, base + size) is reserved afterwards.
 *
 * Return: 0 (also when it was not reserved), -EINVAL, -EBUSY after hand-over
 * or on a block of entries, -ENOMEM.
 */
noinline int lmb_free(phys_addr_t base, phys_addr_t size)
{
	int error = lmb_check_removal(base, size);

	/*
	 * Nothing to avoid: only a split needs an entry, and then all of the
	 * range is reserved, so that no block can come to lie in it.
	 */
	if (!error)
		error = lmb_do_remove(&lmb.reserved, base, size, &lmb_nowhere);
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_FREE, .base = base, .size = size,
		.error = error, .caller = LMB_CALLER });
	return error;
}

/* 0, or why lmb_alloc() is refused. */
static int lmb_check_alloc(phys_addr_t size, phys_addr_t align)
{
	int error = lmb_check_range(0, size);

	if (error)
		return error;
	return align == 0 || lmb_is_power_of_2(align) ? 0 : -EINVAL;
}

/**
 * lmb_alloc - find memory and reserve it
 * @size: bytes
 * @align: a power of two that the base is a multiple of; 0 means 1
 * @min: lowest address; page 0 is never handed out
 * @max: no byte lies at or above this; 0: only the current limit counts
 * @flags: of the reservation
 * @base: the range found, unchanged on failure
 *
 * [*base, *base + size) was memory without LMB_NOMAP and is reserved now. It
 * is the highest such range, or the lowest with bottom_up.
 *
 * Return: 0, -EINVAL, -EBUSY after hand-over, -ENOMEM.
 */
noinline int lmb_alloc(phys_addr_t size, phys_addr_t align, phys_addr_t min,
		       phys_addr_t max, unsigned int flags, phys_addr_t *base)
{
	const struct lmb_request req = {
		.size = size, .align = align ? align : 1,
		.floor = lmb_max(min, PAGE_SIZE),
		.ceiling = max ? lmb_min(max, lmb.current_limit) : lmb.current_limit,
	};
	phys_addr_t found = 0;
	int error = lmb_check_alloc(size, align);

	if (!error)
		error = lmb_do_alloc(&req, flags, &found);
	if (error)
		found = 0;
	else
		*base = found;
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_ALLOC, .size = size, .align = align, .min = min,
		.max = max, .flags = flags, .result = found, .error = error,
		.caller = LMB_CALLER });
	return error;
}

/**
 * lmb_allow_growth - let the allocator take blocks of entries from memory
 *
 * For when all that must not be overwritten is reserved.
 *
 * Return: 0, -EINVAL before lmb_init(), -EBUSY after hand-over.
 */
noinline int lmb_allow_growth(void)
{
	int error = lmb_refusal();

	if (!error)
		lmb.may_grow = true;
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_ALLOW_GROWTH, .error = error, .caller = LMB_CALLER });
	return error;
}

/**
 * lmb_set_current_limit - keep allocations and blocks below an address
 * @limit: no byte of them lies at or above it
 *
 * Return: 0, -EINVAL before lmb_init(), -EBUSY after hand-over.
 */
noinline int lmb_set_current_limit(phys_addr_t limit)
{
	int error = lmb_refusal();

	if (!error)
		lmb.current_limit = limit;
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_SET_LIMIT, .base = limit, .error = error,
		.caller = LMB_CALLER });
	return error;
}

/**
 * lmb_set_bottom_up - choose the direction of the search
 * @enable: true: lowest address first
 *
 * Return: 0, -EINVAL before lmb_init(), -EBUSY after hand-over.
 */
noinline int lmb_set_bottom_up(bool enable)
{
	int error = lmb_refusal();

	if (!error)
		lmb.bottom_up = enable;
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_SET_BOTTOM_UP, .flags = enable, .error = error,
		.caller = LMB_CALLER });
	return error;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Faults in the numbers that the allocator keeps, and in the blocks' headers. */
#include "fault_counts.h"

void fault_count_mismatch(const struct fault *fault)
{
	fault->type->cnt++;
}

void fault_count_zero(const struct fault *fault)
{
	fault->type->cnt = 0;
}

void fault_count_huge(const struct fault *fault)
{
	fault->type->cnt = ~0UL;
}

void fault_size_mismatch(const struct fault *fault)
{
	fault->type->total_size -= PAGE_SIZE;
}

void fault_free_count_mismatch(const struct fault *fault)
{
	(void)fault;
	lmb.nr_free += 3;
}

void fault_free_count_huge(const struct fault *fault)
{
	(void)fault;
	lmb.nr_free = ~0UL;
}

static struct lmb_block *last_block(void)
{
	return list_entry(lmb.blocks.prev, struct lmb_block, link);
}

void fault_nr_blocks(const struct fault *fault)
{
	(void)fault;
	lmb.nr_blocks++;
}

void fault_block_size_twice(const struct fault *fault)
{
	(void)fault;
	lmb.block_size *= 2;
}

void fault_block_size_odd(const struct fault *fault)
{
	(void)fault;
	lmb.block_size += 24;
}

void fault_block_size_huge(const struct fault *fault)
{
	(void)fault;
	lmb.block_size = ~0UL / 2 + 1;
}

void fault_block_nr(const struct fault *fault)
{
	(void)fault;
	last_block()->nr = ~0UL / 16;
}

void fault_block_entries(const struct fault *fault)
{
	(void)fault;
	last_block()->entries++;
}

void fault_block_base(const struct fault *fault)
{
	(void)fault;
	last_block()->base += PAGE_SIZE;
}

void fault_name(const struct fault *fault)
{
	(void)fault;
	lmb.memory.name = lmb.reserved.name;
}

/* A limit below all memory. */
void fault_limit(const struct fault *fault)
{
	(void)fault;
	lmb.current_limit = 0;
}

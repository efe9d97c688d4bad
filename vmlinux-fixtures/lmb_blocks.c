// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LMB: blocks, the memory that the entries lie in. Block 0 is there from the
 * start; the others are taken from the memory that is managed. No block is
 * ever given back.
 */
#include "lmb_blocks.h"
#include "lmb_find.h"
#include "lmb_lists.h"
#include "lmb_platform.h"

/* PAGE_SIZE is a macro, which a debugger does not see. */
const unsigned long lmb_page_size = PAGE_SIZE;

#ifndef CONFIG_LMB_KLIMIT
struct lmb_block lmb_static_block;
struct lmb_region lmb_static_entries[CONFIG_LMB_STATIC_ENTRIES];
#endif

/* Make @block the newest block and queue its entries, in address order. */
static void lmb_format_block(struct lmb_block *block, phys_addr_t base,
			     struct lmb_region *entries, unsigned long nr)
{
	unsigned long i;

	block->base = base;
	block->nr = nr;
	block->entries = entries;
	for (i = 0; i < nr; i++) {
		entries[i].base = 0;
		entries[i].size = 0;
		entries[i].flags = 0;
		list_add_tail(&entries[i].link, &lmb.freelist);
	}
	lmb.nr_free += nr;
	list_add_tail(&block->link, &lmb.blocks);
	lmb.nr_blocks++;
}

/* Format @size bytes at @header, whose physical address is @base, as a block. */
static void lmb_format_memory(void *header, phys_addr_t base, unsigned long size)
{
	lmb_format_block(header, base,
			 (struct lmb_region *)((char *)header + LMB_HEADER_SIZE),
			 (size - LMB_HEADER_SIZE) / sizeof(struct lmb_region));
}

/**
 * lmb_grow - gain a block of entries from the memory that is managed
 * @avoid: a range that it must not overlap; size 0: none
 *
 * The block lies in the reserved list afterwards, with flags 0, and its entries
 * at the freelist's tail. Reserving it takes one entry at most, and one is
 * always free.
 *
 * Return: 0, or -ENOMEM when growth is not allowed yet or there is no room;
 * then nothing has changed.
 */
noinline int lmb_grow(const struct lmb_range *avoid)
{
	struct lmb_request req = {
		.size = lmb.block_size, .align = lmb.block_size,
		.floor = PAGE_SIZE, .ceiling = lmb.current_limit,
		.avoid = *avoid,
	};
	phys_addr_t base;
	void *header;

	/* a block that phys_addr_t cannot even count fits nowhere */
	if (!lmb.may_grow || (phys_addr_t)lmb.block_size != lmb.block_size)
		return -ENOMEM;
	if (!lmb_find(&req, &base))
		return -ENOMEM;
	header = lmb_arch_map(base, req.size);
	if (!header)
		return -ENOMEM;
	lmb_add_apply(&lmb.reserved, base, req.size, 0);
	lmb_format_memory(header, base, lmb.block_size);
	return 0;
}

/* Bytes of memory that @block owns: a static block 0 lies in the image's. */
static phys_addr_t lmb_block_bytes(const struct lmb_block *block)
{
	if (block->link.prev != &lmb.blocks)
		return lmb.block_size;
#ifdef CONFIG_LMB_KLIMIT
	return PAGE_SIZE;
#else
	return 0;
#endif
}

/*
 * Can a block overlap [base, base + size)? A block is reserved in one piece and
 * never given back, so it lies in one region that is no smaller. There may be
 * very many blocks, and mostly this spares us the walk over them.
 */
static bool lmb_may_hit_block(phys_addr_t base, phys_addr_t size)
{
	struct list_head *node = lmb_seek(&lmb.reserved, base + 1);
	unsigned long least = lmb.block_size;

#ifdef CONFIG_LMB_KLIMIT
	if (least > PAGE_SIZE)
		least = PAGE_SIZE;
#endif
	for (; node != &lmb.reserved.regions; node = node->next) {
		if (lmb_entry(node)->base >= base + size)
			return false;
		if (lmb_entry(node)->size >= least)
			return true;
	}
	return false;
}

/**
 * lmb_hits_block - does a range overlap the memory of any block?
 * @base: first byte
 * @size: bytes
 */
bool lmb_hits_block(phys_addr_t base, phys_addr_t size)
{
	const struct lmb_block *block;

	if (!lmb_may_hit_block(base, size))
		return false;
	list_for_each_entry(block, &lmb.blocks, link) {
		if (block->base < base + size &&
		    block->base + lmb_block_bytes(block) > base)
			return true;
	}
	return false;
}

/**
 * lmb_init_storage - gain block 0
 * @nr_static: entries of the static array to use; unused with CONFIG_LMB_KLIMIT
 *
 * All its entries are free afterwards, in address order, but for the first one
 * of a klimit page, which reserves that page.
 */
void lmb_init_storage(unsigned long nr_static)
{
#ifdef CONFIG_LMB_KLIMIT
	phys_addr_t base = lmb_arch_klimit();

	(void)nr_static;
	lmb_format_memory(lmb_arch_map(base, PAGE_SIZE), base, PAGE_SIZE);
	lmb_add_apply(&lmb.reserved, base, PAGE_SIZE, 0);
#else
	lmb_format_block(&lmb_static_block, 0, lmb_static_entries, nr_static);
#endif
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The allocator's state as a flat array of words, walked here and not by the
 * allocator, so that a damaged list is found and not followed.
 */
#include <stdlib.h>

#include "../lmb.h"
#include "state.h"

/* The entries of one block, to find the block of an entry by bisection. */
struct host_run {
	const struct lmb_region *entries;
	unsigned long nr, block;
};

static struct host_run *runs;
static unsigned long nr_runs;

/* Where the words go; nr counts past max, so that the caller learns its need. */
struct host_words {
	u64 *out;
	long nr, max;
};

static void put(struct host_words *words, u64 word)
{
	if (words->nr < words->max)
		words->out[words->nr] = word;
	words->nr++;
}

static int by_address(const void *a, const void *b)
{
	const struct host_run *x = a, *y = b;

	return x->entries < y->entries ? -1 : x->entries > y->entries;
}

static bool collect_runs(void)
{
	const struct list_head *node;
	unsigned long n = 0;

	free(runs);
	runs = calloc(lmb.nr_blocks + 1, sizeof(*runs));
	nr_runs = 0;
	if (!runs)
		return false;
	for (node = lmb.blocks.next; node && node != &lmb.blocks; node = node->next) {
		const struct lmb_block *block = list_entry(node, struct lmb_block, link);

		if (n == lmb.nr_blocks || node->next->prev != node)
			return false;
		runs[n] = (struct host_run){ block->entries, block->nr, n };
		n++;
	}
	nr_runs = n;
	qsort(runs, nr_runs, sizeof(*runs), by_address);
	return n == lmb.nr_blocks;
}

/* Find the block and slot of @entry; false: it is no entry of any block. */
static bool find_slot(const struct lmb_region *entry, u64 *block, u64 *slot)
{
	unsigned long lo = 0, hi = nr_runs, mid;
	size_t offset;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (runs[mid].entries <= entry)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return false;
	offset = (const char *)entry - (const char *)runs[lo - 1].entries;
	*block = runs[lo - 1].block;
	*slot = offset / sizeof(*entry);
	return offset % sizeof(*entry) == 0 && *slot < runs[lo - 1].nr;
}

/*
 * Walk a list of entries: its length, two words about it, and then each entry.
 * False on a one-way link or on a node that is no entry; so the walk ends,
 * since with mutual links it can only come back to the head.
 */
static bool put_list(struct host_words *words, const struct list_head *head,
		     const struct lmb_type *type)
{
	const struct list_head *node;
	long at = words->nr;
	u64 walked = 0, block, slot;

	put(words, 0);
	put(words, type ? type->cnt : lmb.nr_free);
	if (type)
		put(words, type->total_size);
	if (!head->next)
		return true;	/* before lmb_init() */
	if (head->next->prev != head)
		return false;
	for (node = head->next; node != head; node = node->next) {
		const struct lmb_region *entry = list_entry(node, struct lmb_region, link);

		if (!find_slot(entry, &block, &slot) || node->next->prev != node)
			return false;
		if (type) {
			put(words, entry->base);
			put(words, entry->size);
			put(words, entry->flags);
		}
		put(words, block);
		put(words, slot);
		walked++;
	}
	if (at < words->max)
		words->out[at] = walked;
	return true;
}

static void put_blocks(struct host_words *words)
{
	const struct lmb_block *block;

	put(words, nr_runs);
	put(words, lmb.nr_blocks);
	if (lmb.nr_blocks) {
		list_for_each_entry(block, &lmb.blocks, link) {
			put(words, block->base);
			put(words, block->nr);
		}
	}
	put(words, lmb.block_size);
	put(words, lmb.current_limit);
	put(words, lmb.bottom_up);
	put(words, lmb.may_grow);
	put(words, lmb.closed);
}

static void put_handover(struct host_words *words)
{
	const unsigned long room = CONFIG_LMB_HANDOVER_RANGES;
	unsigned long i, nr = lmb_handover.nr;

	put(words, nr);
	if (nr > room)
		nr = room;
	for (i = 0; i < nr; i++) {
		put(words, lmb_handover.ranges[i].base);
		put(words, lmb_handover.ranges[i].size);
	}
}

/**
 * lmb_host_state - write the whole state
 * @out: words, in this order:
 *	memory: walked, cnt, total_size, and (base, size, flags, block, slot) each;
 *	reserved: likewise;
 *	free: walked, nr_free, and (block, slot) each, in the freelist's order;
 *	blocks: walked, nr_blocks, and (base, nr) each;
 *	block_size, current_limit, bottom_up, may_grow, closed;
 *	hand-over: nr, and (base, size) of each range in the table
 * @max_words: room in @out
 *
 * Return: words written; -needed words (never above -16) if there is too little
 * room; LMB_HOST_BROKEN (-1) on a one-way link or a node outside all blocks.
 */
long lmb_host_state(u64 *out, long max_words)
{
	struct host_words words = { out, 0, max_words };

	if (!collect_runs())
		return LMB_HOST_BROKEN;
	if (!put_list(&words, &lmb.memory.regions, &lmb.memory) ||
	    !put_list(&words, &lmb.reserved.regions, &lmb.reserved) ||
	    !put_list(&words, &lmb.freelist, NULL))
		return LMB_HOST_BROKEN;
	put_blocks(&words);
	put_handover(&words);
	return words.nr <= max_words ? words.nr : -words.nr;
}

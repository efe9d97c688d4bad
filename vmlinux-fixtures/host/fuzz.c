// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random histories, compared after each operation with a map that has one cell
 * for each byte of a small address space: no lists, no merging, no cursor.
 * It knows what must be covered; which entry stores it is not its business.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "../lmb.h"
#include "../lmb_platform.h"
#include "host.h"
#include "state.h"

#define SPACE	0x8000u
#define ABSENT	0xff		/* else the cell holds the flags */
#define BLOCK	0x80		/* those of a block of entries */

static u8 memory[SPACE], reserved[SPACE];
static u64 words[SPACE * 6];
static u64 seed;

/* What a fuzzer chose, instead of random numbers; zeros once it is used up. */
static const u8 *input;
static size_t input_left;

static u32 input_number(void)
{
	u32 number = 0;
	unsigned int i;

	for (i = 0; i < 3 && input_left; i++, input_left--)
		number = number << 8 | *input++;
	return number;
}

static u32 rnd(u32 below)
{
	if (input)
		return input_number() % below;
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(seed >> 33) % below;
}

static int fail(const char *why)
{
	printf("fuzz: %s\n", why);
	return 1;
}

/* Compare one list with its map, and check that it is sorted and merged. */
static const char *compare(const u64 *at, const u8 *map)
{
	u64 i, n = at[0], total = 0, pos = 0, last_flags = ABSENT;
	u64 j;

	if (n != at[1])
		return "cnt";
	for (i = 0; i < n; i++) {
		const u64 *r = at + 3 + 5 * i;

		if (!r[1] || r[0] < pos || r[0] + r[1] > SPACE)
			return "order";
		if (i && r[0] == pos && r[2] == last_flags)
			return "not merged";
		for (j = pos; j < r[0]; j++)
			if (map[j] != ABSENT)
				return "not covered";
		for (j = r[0]; j < r[0] + r[1]; j++)
			if (map[j] != (r[2] == LMB_BLOCK ? BLOCK : r[2]))
				return "covered, or wrong flags";
		pos = r[0] + r[1];
		last_flags = r[2];
		total += r[1];
	}
	for (j = pos; j < SPACE; j++)
		if (map[j] != ABSENT)
			return "tail not covered";
	return total == at[2] ? NULL : "total_size";
}

static void fill(u8 *map, u64 base, u64 size, u8 flags)
{
	u64 i;

	for (i = base; i < base + size; i++)
		if (map[i] == ABSENT)
			map[i] = flags;
}

static bool is_free(u64 i)
{
	return memory[i] != ABSENT && !(memory[i] & LMB_NOMAP) && reserved[i] == ABSENT;
}

/* Find where lmb_alloc() must allocate in hot-pluggable memory, or else in other. */
static u64 search_in(u8 hotplug, u64 size, u64 align, u64 min, u64 max)
{
	u64 lo = min > PAGE_SIZE ? min : PAGE_SIZE, hi = SPACE, best = SPACE;
	u64 base, run = 0;	/* free bytes of one flag value from base on */

	if (max && max < hi)
		hi = max;
	if (lmb.current_limit < hi)
		hi = lmb.current_limit;
	for (base = SPACE; base-- > lo;) {
		if (!is_free(base) || (memory[base] & LMB_HOTPLUG) != hotplug)
			run = 0;
		else if (run && memory[base] == memory[base + 1])
			run++;
		else
			run = 1;
		if (run < size || base + size > hi || base % (align ? align : 1))
			continue;
		best = base;
		if (!lmb.bottom_up)
			break;
	}
	return best;
}

/* Find where lmb_alloc() must allocate; SPACE: nowhere. */
static u64 search(u64 size, u64 align, u64 min, u64 max)
{
	u64 found = search_in(0, size, align, min, max);

	return found == SPACE ? search_in(LMB_HOTPLUG, size, align, min, max) : found;
}

/*
 * Put the blocks from number @first on into the map. Do they overlap [base, base
 * + size), or lie in hot-pluggable memory?
 */
static bool new_blocks(unsigned long first, u64 base, u64 size)
{
	const struct lmb_block *block;
	unsigned long i = 0;
	bool overlap = false;

	list_for_each_entry(block, &lmb.blocks, link) {
		if (i++ < first)
			continue;
		if (block->base < base + size && base < block->base + lmb.block_size)
			overlap = true;
		if (memory[block->base] & LMB_HOTPLUG)
			overlap = true;
		fill(reserved, block->base, lmb.block_size, BLOCK);
	}
	return overlap;
}

static bool hits_block(u64 base, u64 size)
{
	const struct lmb_block *block;

	list_for_each_entry(block, &lmb.blocks, link) {
		u64 bytes = lmb.block_size;

		if (block == list_entry(lmb.blocks.next, struct lmb_block, link)) {
#ifdef CONFIG_LMB_KLIMIT
			bytes = PAGE_SIZE;
#else
			bytes = 0;
#endif
		}
		if (block->base < base + size && base < block->base + bytes)
			return true;
	}
	return false;
}

static const char *step_alloc(u64 size, u32 flags)
{
	u64 align = rnd(3) ? 1u << rnd(10) : 0;
	u64 min = rnd(2) ? rnd(SPACE) : 0, max = rnd(2) ? rnd(SPACE) : 0;
	unsigned long blocks = lmb.nr_blocks;
	phys_addr_t base = 0;
	u64 want = search(size, align, min, max);
	int error = lmb_alloc(size, align, min, max, flags, &base);

	if (new_blocks(blocks, want, want == SPACE ? 0 : size))
		return "block in the place";
	if (want == SPACE)
		return error == -ENOMEM && lmb.nr_blocks == blocks ? NULL : "alloc nothing";
	if (error)
		return error == -ENOMEM && lmb.nr_free == 1 ? NULL : "alloc failed";
	if (base != want)
		return "alloc base";
	fill(reserved, base, size, flags);
	return NULL;
}

static const char *step_add(bool is_reserve, u64 base, u64 size, u32 flags)
{
	unsigned long blocks = lmb.nr_blocks;
	bool hit = is_reserve && hits_block(base, size);
	int error = is_reserve ? lmb_reserve(base, size, flags) :
		    lmb_add(base, size, flags);

	if (new_blocks(blocks, base, size))
		return "block in the range";
	if (hit)
		return error == -EBUSY ? NULL : "reserved a block";
	if (error)
		return error == -ENOMEM ? NULL : "add failed";
	fill(is_reserve ? reserved : memory, base, size, flags);
	return NULL;
}

static const char *step_remove(bool is_lmb_free, u64 base, u64 size)
{
	unsigned long blocks = lmb.nr_blocks;
	bool hit = hits_block(base, size);
	int error = is_lmb_free ? lmb_free(base, size) : lmb_remove(base, size);

	if (new_blocks(blocks, base, size))
		return "block in the range";
	if (hit)
		return error == -EBUSY ? NULL : "took a block";
	if (error)
		return error == -ENOMEM ? NULL : "remove failed";
	memset((is_lmb_free ? reserved : memory) + base, ABSENT, size);
	return NULL;
}

static const char *step_flag(bool is_mark, u64 base, u64 size)
{
	unsigned long blocks = lmb.nr_blocks;
	u32 flag = 1u << rnd(3);
	bool hit = is_mark && flag != LMB_MIRROR && hits_block(base, size);
	int error = is_mark ? lmb_mark(base, size, flag) : lmb_clear(base, size, flag);
	u64 i;

	if (new_blocks(blocks, base, size))
		return "block in the range";
	if (hit)
		return error == -EBUSY ? NULL : "marked a block";
	if (error)
		return error == -ENOMEM ? NULL : "flag failed";
	for (i = base; i < base + size; i++)
		if (memory[i] != ABSENT)
			memory[i] = is_mark ? memory[i] | flag : memory[i] & ~flag;
	return NULL;
}

/* The limit comes before growth: there is no block but a klimit page. */
static const char *step_limit(void)
{
	u64 size = 1 + rnd(SPACE), rest = size, cut, i, more = 0;
	int error = lmb_enforce_memory_limit(size);

	for (i = 0; i < SPACE; i++)
		more += memory[i] != ABSENT && !(memory[i] & LMB_NOMAP);
	if (lmb.may_grow)
		return error == -EBUSY ? NULL : "limit after growth";
	if (more <= size)
		return error ? "limit that covers all" : NULL;
	for (cut = 0; rest; cut++)
		rest -= memory[cut] != ABSENT && !(memory[cut] & LMB_NOMAP);
	if (hits_block(cut, SPACE - cut))
		return error == -EBUSY ? NULL : "limit cut a block";
	memset(memory + cut, ABSENT, SPACE - cut);
	memset(reserved + cut, ABSENT, SPACE - cut);
	return error ? "limit failed" : NULL;
}

static const char *step(void)
{
	u64 size = 1 + rnd(rnd(4) ? 0x40 : 0x1000), base = rnd(SPACE - size + 1);
	u32 flags = rnd(3) ? 0 : rnd(8);

	if (rnd(2)) {
		base &= ~0x3fULL;
		size = (size + 0x3f) & ~0x3fULL;
		if (base + size > SPACE)
			base = SPACE - size;
	}
	switch (rnd(10)) {
	case 8:
		return rnd(8) ? step_flag(true, base, size) : step_limit();
	case 9:
		return step_flag(false, base, size);
	case 0:
		return step_add(false, base, size, flags);
	case 1:
		return step_remove(false, base, size);
	case 2: case 3: case 4:
		return step_add(true, base, size, flags);
	case 5:
		return step_remove(true, base, size);
	default:
		return step_alloc(size, flags);
	}
}

static const char *check_all(void)
{
	const char *why;
	u64 *at = words;
	u64 entries = 0, used;
	const struct lmb_block *block;

	if (lmb_host_state(words, ARRAY_SIZE(words)) < 0)
		return "broken";
	used = at[0];
	why = compare(at, memory);
	if (why)
		return why;
	at += 3 + 5 * at[0];
	used += at[0];
	why = compare(at, reserved);
	if (why)
		return why;
	at += 3 + 5 * at[0];
	if (at[0] != at[1] || at[1] < 1)
		return "nr_free";
	used += at[0];
	list_for_each_entry(block, &lmb.blocks, link)
		entries += block->nr;
	return used == entries ? NULL : "entries lost";
}

/* What the hand-over must give: page by page, from the maps. */
static const char *check_free_all(void)
{
	unsigned long page, pages = 0, runs = 0;
	bool last = false;
	u64 i;

	for (page = 1; page < SPACE / PAGE_SIZE; page++) {
		bool good = true;

		for (i = page * PAGE_SIZE; i < (page + 1) * PAGE_SIZE; i++)
			good = good && memory[i] != ABSENT &&
			       !(memory[i] & LMB_NOMAP) && reserved[i] == ABSENT;
		pages += good;
		runs += good && !last;
		last = good;
	}
	if (lmb_free_all() != (long)pages)
		return "pages";
	return lmb_handover.nr == runs ? NULL : "runs";
}

static const char *history(void)
{
	const char *why = NULL;
	unsigned int i, steps = 1 + rnd(150);

	lmb_host_reset();
	memset(memory, ABSENT, SPACE);
	memset(reserved, ABSENT, SPACE);
	lmb_host_set_klimit(rnd(8) << PAGE_SHIFT);
	if (lmb_init(2 + rnd(60), 128 << rnd(4)))
		return "init";
#ifdef CONFIG_LMB_KLIMIT
	fill(reserved, lmb_arch_klimit(), PAGE_SIZE, BLOCK);
#endif
	lmb_set_bottom_up(rnd(2));
	if (rnd(2))
		lmb_set_current_limit(rnd(2 * SPACE));
	why = step_add(false, 0, SPACE / 2 + rnd(SPACE / 2), 0);
	if (rnd(8))
		lmb_allow_growth();
	for (i = 0; !why && i < steps && (!input || input_left); i++) {
		why = step();
		if (!why)
			why = check_all();
	}
	return why ? why : check_free_all();
}

/**
 * fuzz_input - one history that bytes choose
 * @data: three bytes a choice
 * @size: how many
 *
 * Return: what went wrong, or NULL.
 */
const char *fuzz_input(const u8 *data, size_t size)
{
	const char *why;

	input = data;
	input_left = size;
	why = history();
	input = NULL;
	return why;
}

int fuzz(unsigned long rounds)
{
	unsigned long round;
	const char *why;

	for (round = 0; round < rounds; round++) {
		seed = round * 7919 + 1;
		why = history();
		if (why) {
			printf("fuzz: round %lu: ", round);
			return fail(why);
		}
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Work for the allocator beyond a boot's own: random operations, and lists as
 * long as one likes. All of it inside an arena, a large hole of memory with no
 * reservation in it, so that what the boot reserved stays untouched.
 */
#include "fault.h"
#include "lmb.h"
#include "printk.h"
#include "scenario.h"

#define ARENA_MAX	(64UL << 20)	/* random: crowded enough to merge and split */
#define GUARD		(4 * PAGE_SIZE)	/* keeps the arena from touching what is around it */
#define ALIGN		(1UL << 16)	/* of its ends: operations see the same one on all machines */
#define MANY		4096UL	/* fill: so many regions that they need not be whole pages */
#define WINDOW		1024UL		/* fill: regions that are shuffled together */

static u64 random_state;

/* xorshift64*: the same numbers everywhere, from the seed alone. */
static u32 random_u32(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 0x2545f4914f6cdd1dULL) >> 32;
}

static u32 random_below(u32 bound)
{
	return random_u32() % bound;
}

static void random_seed(unsigned long seed)
{
	/* the state must not be 0, and near seeds must not give near numbers */
	random_state = (seed + 1) * 0x9e3779b97f4a7c15ULL | 1;
	random_u32();
	random_u32();
}

/* Find the largest hole, less a guard at either end. */
static struct lmb_range find_arena(void)
{
	struct lmb_range arena = { 0, 0 };
	struct lmb_free_range range;
	phys_addr_t end;

	for_each_lmb_free(&range) {
		/* what lies above is not mapped, and not allocated */
		end = range.end < lmb.current_limit ? range.end : lmb.current_limit;
		if (range.base < end && end - range.base > arena.size)
			arena = (struct lmb_range){ range.base, end - range.base };
	}
	if (arena.size < (4UL << 20))
		panic("scenario: no hole of 4 MiB in memory");
	end = (arena.base + arena.size - GUARD) & ~(phys_addr_t)(ALIGN - 1);
	arena.base = (arena.base + GUARD + ALIGN - 1) & ~(phys_addr_t)(ALIGN - 1);
	arena.size = end - arena.base;
	return arena;
}

/* Cut @arena down to @size bytes, at the end where allocations come first. */
static void trim_arena(struct lmb_range *arena, phys_addr_t size)
{
	if (arena->size <= size)
		return;
	if (!lmb.bottom_up)
		arena->base += arena->size - size;
	arena->size = size;
}

/* What a random operation is about; the kinds' counts are printed at the end. */
struct random_run {
	struct lmb_range arena;
	u32 last;		/* end of the last range, as an offset in the arena */
	struct lmb_range marked;	/* the last one, with flag */
	unsigned int flag;
	unsigned long refused, busy, no_memory;
};

static unsigned int random_flags(bool memory)
{
	if (random_below(4))
		return 0;
	if (memory)
		return 1U << random_below(3);
	return random_below(2) ? 1U << random_below(3) : random_u32() & ~LMB_BLOCK;
}

/* Mostly a few pages; sometimes any number of bytes, sometimes many pages. */
static u32 random_size(void)
{
	switch (random_below(16)) {
	case 0: case 1:
		return 1 + random_below(3 * PAGE_SIZE);
	case 2:
		return (1 + random_below(64)) << PAGE_SHIFT;
	default:
		return (1 + random_below(4)) << PAGE_SHIFT;
	}
}

/* A range in the arena; often it touches the last one. */
static struct lmb_range random_range(struct random_run *run)
{
	u32 size = random_size();
	u32 offset = random_below(run->arena.size - size + 1);

	if (random_below(8))
		offset &= ~(PAGE_SIZE - 1);
	if (!random_below(8) && run->last <= run->arena.size - size)
		offset = run->last;
	run->last = offset + size;
	return (struct lmb_range){ run->arena.base + offset, size };
}

/* One operation with arguments that must be refused. */
static int random_invalid(struct random_run *run)
{
	phys_addr_t base = run->arena.base;

	switch (random_below(6)) {
	case 0:
		return lmb_add(base, 0, 0);
	case 1:
		return lmb_remove(PHYS_ADDR_MAX, PAGE_SIZE);
	case 2:
		return lmb_reserve(base, PAGE_SIZE, LMB_BLOCK);
	case 3:
		return lmb_free(base, 0);
	case 4:
		return lmb_alloc(0, 0, 0, 0, 0, &base);
	default:
		return lmb_alloc(PAGE_SIZE, 3 * PAGE_SIZE, 0, 0, 0, &base);
	}
}

/* Allocate inside the arena, or in a part of it, which may be full. */
static int random_alloc(struct random_run *run)
{
	phys_addr_t min = run->arena.base, max = min + run->arena.size, base;
	unsigned int flags;
	u32 size;
	int error;
	phys_addr_t align = random_below(4) ? PAGE_SIZE << random_below(4) :
			    random_below(2) ? 1UL << random_below(12) : 0;

	if (random_below(2)) {
		min += random_below(run->arena.size);
		if (random_below(2))
			max = min + 1 + random_below(max - min);
	}
	/* one after the other: compilers differ in the order of arguments */
	flags = random_flags(false);
	size = random_size();
	error = lmb_alloc(size, align, min, max, flags, &base);
	if (error != -ENOMEM)
		return error;
	run->no_memory++;
	return 0;
}

/* What an operation returned; it may be refused where a block of entries lies. */
static int random_busy(struct random_run *run, int error)
{
	if (error != -EBUSY)
		return error;
	run->busy++;
	return 0;
}

/* Change a flag of memory, more often back than not; or beside the last one. */
static int random_mark(struct random_run *run, const struct lmb_range *range)
{
	phys_addr_t end = run->arena.base + run->arena.size;
	unsigned int flag = 1U << random_below(3);

	switch (random_below(4)) {
	case 0:
		run->marked = *range;
		run->flag = flag;
		break;
	case 1:
		/* it may end behind the arena, where it is not marked */
		if (run->marked.base + run->marked.size + range->size <= end)
			run->marked.base += run->marked.size;
		run->marked.size = range->size;
		break;
	case 2:
		if (range->size <= run->marked.base - run->arena.base)
			run->marked.base -= range->size;
		run->marked.size = range->size;
		break;
	default:
		return lmb_clear(range->base, range->size, flag);
	}
	if (!run->flag || run->marked.base < run->arena.base ||
	    run->marked.size > end - run->marked.base)
		return lmb_clear(range->base, range->size, flag);
	return random_busy(run, lmb_mark(run->marked.base, run->marked.size, run->flag));
}

/* One operation of any kind. */
static int random_operation(struct random_run *run)
{
	struct lmb_range range = random_range(run);

	switch (random_below(16)) {
	case 0: case 1: case 2: case 3: case 4:
		return random_busy(run, lmb_reserve(range.base, range.size,
						    random_flags(false)));
	case 5: case 6:
		return random_busy(run, lmb_free(range.base, range.size));
	case 7: case 8: case 9:
		return random_busy(run, lmb_remove(range.base, range.size));
	case 10: case 11:
		return lmb_add(range.base, range.size, random_flags(true));
	case 12:
		return random_mark(run, &range);
	default:
		return random_alloc(run);
	}
}

/**
 * scenario_random - run operations of all seven kinds
 * @ops: how many
 * @seed: of the numbers that choose them
 *
 * A few have bad arguments. A range that overlaps a block of entries cannot be
 * taken, nor taken away, and a narrow part of the arena may be full; all else must succeed.
 */
noinline void scenario_random(unsigned long ops, unsigned long seed)
{
	struct random_run run = { .arena = find_arena() };
	unsigned long i;
	int error;

	random_seed(seed);
	trim_arena(&run.arena, ARENA_MAX);
	for (i = 0; i < ops; i++) {
		if (!random_below(64)) {
			error = random_invalid(&run);
			if (error != -EINVAL)
				panic("%s: operation %lu: bad arguments gave %d",
				      __func__, i, error);
			run.refused++;
		} else {
			error = random_operation(&run);
			if (error)
				panic("%s: operation %lu failed: %d", __func__, i, error);
		}
		fault_operation(true);
	}
	printk("lmb: random: %lu operations, seed %lu: %lu refused, %lu busy, %lu without memory\n",
	       ops, seed, run.refused, run.busy, run.no_memory);
}

/* Regions i of a comb: [base + i * stride, + size), which do not touch. */
struct comb {
	phys_addr_t base, stride, size;
	bool memory;		/* gaps in the memory list; else reservations */
};

/* Make region @i of the comb on its list. */
static void comb_make(const struct comb *comb, unsigned long i)
{
	if (comb->memory)
		must(lmb_remove, comb->base + i * comb->stride, comb->size);
	else
		must(lmb_reserve, comb->base + i * comb->stride, comb->size, 0);
}

/* Undo comb_make(): an entry goes to the freelist's head. */
static void comb_undo(const struct comb *comb, unsigned long i)
{
	if (comb->memory)
		must(lmb_add, comb->base + i * comb->stride, comb->size, 0);
	else
		must(lmb_free, comb->base + i * comb->stride, comb->size);
}

/*
 * Make regions [first, first + nr), from the highest down: so each belongs
 * right at the start of its list, however long that is. Then undo them in
 * random order, which shuffles the freelist, and make them again: neighbours
 * on the list are now far apart in memory.
 */
static void comb_window(const struct comb *comb, unsigned long first, unsigned long nr)
{
	static unsigned short order[WINDOW];
	unsigned long i, other;

	for (i = 0; i < nr; i++) {
		comb_make(comb, first + nr - 1 - i);
		other = random_below(i + 1);
		order[i] = order[other];
		order[other] = i;
	}
	for (i = 0; i < nr; i++)
		comb_undo(comb, first + order[i]);
	for (i = nr; i-- > 0;)
		comb_make(comb, first + i);
}

/* Spread the low bits, whose cycles are short, over all: still no number twice. */
static unsigned long comb_mix(unsigned long x, unsigned long size)
{
	unsigned int shift = 1;

	while (size >> 2 * shift)
		shift++;
	x ^= x >> shift;
	x = x * 0x9e3779b1 & (size - 1);
	return x ^ x >> shift;
}

/*
 * Make @nr regions in random order, each far from the one before: the numbers
 * of a power of two's full cycle, those below @nr.
 */
static void comb_shuffle(const struct comb *comb, unsigned long nr)
{
	unsigned long size = 1, i, at, region;

	while (size < nr)
		size *= 2;
	at = random_below(size);
	for (i = 0; i < size; i++) {
		/* odd, and one more than a multiple of 4: no number comes twice */
		at = (at * 1664525 + 1013904223) & (size - 1);
		region = comb_mix(at, size);
		if (region < nr)
			comb_make(comb, region);
	}
}

static void comb_fill(const struct comb *comb, unsigned long nr)
{
	unsigned long window;

	for (; nr; nr -= window) {
		window = nr < WINDOW ? nr : WINDOW;
		comb_window(comb, nr - window, window);
	}
}

/**
 * scenario_fill - make both lists long
 * @nr: regions that each list gains
 * @seed: of the order in which entries are used
 * @random_order: make the regions in random order, so that each is looked up anew;
 *	else each belongs where the last one did
 *
 * The lower half of the arena's part holds the reservations, the upper half
 * the gaps in memory. The rest is for the blocks of entries; it lies at the end
 * of the arena where they come first.
 */
noinline void scenario_fill(unsigned long nr, unsigned long seed, bool random_order)
{
	struct lmb_range arena = find_arena();
	phys_addr_t part = arena.size / 8 * 5;
	void (*make)(const struct comb *, unsigned long) =
		random_order ? comb_shuffle : comb_fill;
	struct comb comb;

	random_seed(seed);
	if (lmb.bottom_up)
		arena.base += arena.size - part;
	comb.base = (arena.base + PAGE_SIZE - 1) & ~(phys_addr_t)(PAGE_SIZE - 1);
	comb.stride = part / 2 / nr;
	comb.stride &= ~(phys_addr_t)(comb.stride < 2 * PAGE_SIZE ? 15 : PAGE_SIZE - 1);
	if (comb.stride < 32)
		panic("%s: %lu regions do not fit into this machine's memory",
		      __func__, nr);
	comb.size = comb.stride < 2 * PAGE_SIZE ? comb.stride / 2 : PAGE_SIZE;
	/* cheaper to free: what is less than a page holds no block of entries */
	if (nr > MANY && comb.size == PAGE_SIZE)
		comb.size = PAGE_SIZE / 2;

	comb.memory = false;
	make(&comb, nr);
	comb.base += comb.stride * nr;
	comb.memory = true;
	make(&comb, nr);
	printk("lmb: fill: %lu regions more on each list\n", nr);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults on purpose. lmb.fault=KIND[@N][,KIND[@N]...] writes into the
 * allocator's state what a stray pointer or a bug elsewhere would, so that
 * whoever looks into this kernel has something to find.
 *
 * All faults strike at one moment: after operation N, the smallest of those
 * given, or else when the scenario is over. N counts the operations of the
 * random scenario; in the others all calls of the allocator as its log does,
 * lmb_init() being number 0. No operation follows, as it might never end: the
 * kernel goes straight to lmb_ready(), without lmb_dump_all(), and stops there.
 * Only what leaves the lists sound goes on to the hand-over, and the fault in
 * the hand-over itself strikes before lmb_scenario_done().
 *
 * Several faults strike in the table's order: first those that need lists that
 * work, last those that break links. The latter only write to nodes that were
 * looked up before the first of them. Each fault, where it can, leaves all else
 * as it should be. A KIND begins with the code that a checker should give it;
 * for head-* and the links between blocks that is left to the checker.
 */
#include "kernel.h"

#define NODES	16		/* of each list, for the faults in links */
#define NEVER	(~0UL)

/*
 * Memory that is a device's. On a PC that is VGA's, which lies among the RAM
 * that the direct map holds; and a place where there is no RAM, so no mapping.
 */
#define DEVICE_BASE	0xa0000UL
#define HOLE_BASE	0xfec00000UL

enum { MEMORY, RESERVED, FREE, BLOCKS, LISTS };

/* What a fault needs, and so when it can strike: one stage after the other. */
enum stage { ON_SOUND_LISTS, ON_LINKS, ON_HANDOVER };

/**
 * struct fault - one KIND
 * @name: as in lmb.fault=
 * @stage: when it can strike
 * @inject: do it
 * @type: the region list it happens to, where it could be either
 * @list: the list it happens to, of a fault in links
 * @target: where the pointer shall lead, of a fault in links
 * @wanted: it was asked for
 */
struct fault {
	const char *name;
	enum stage stage;
	void (*inject)(const struct fault *fault);
	struct lmb_type *type;
	unsigned int list;
	struct list_head *(*target)(unsigned int list);
	bool wanted;
};

static unsigned long nr_operations;
static unsigned long first_after = NEVER;
static bool counts_random, any_wanted, any_corrupts;

/* -- contents: with lists that work ---------------------------------------- */

static struct lmb_region *region_of(struct list_head *node)
{
	return list_entry(node, struct lmb_region, link);
}

static phys_addr_t end_of(const struct lmb_region *region)
{
	return region->base + region->size;
}

/* The entry that is @n places after the head; there must be one. */
static struct lmb_region *nth(struct list_head *head, unsigned int n)
{
	struct list_head *node;

	for (node = head->next; node != head && n; n--)
		node = node->next;
	if (node == head)
		panic("lmb.fault: a list is too short for this fault");
	return region_of(node);
}

static struct lmb_region *largest(const struct lmb_type *type)
{
	struct lmb_region *region, *best = nth((struct list_head *)&type->regions, 0);

	list_for_each_entry(region, &type->regions, link)
		if (region->size > best->size)
			best = region;
	if (best->size < 4 * PAGE_SIZE)
		panic("lmb.fault: no region is large enough for this fault");
	return best;
}

/* As the allocator does it, but for the last one, which it would keep. */
static struct lmb_region *take_free(void)
{
	struct lmb_region *entry = nth(&lmb.freelist, 0);

	list_del(&entry->link);
	lmb.nr_free--;
	return entry;
}

static struct lmb_region *spare_free(void)
{
	if (lmb.nr_free < 2)
		panic("lmb.fault: the freelist is too short for this fault");
	return take_free();
}

/* Put @entry behind @prev and keep the books. */
static void put_behind(struct lmb_type *type, struct list_head *prev,
		       struct lmb_region *entry, phys_addr_t base,
		       phys_addr_t size, unsigned int flags)
{
	entry->base = base;
	entry->size = size;
	entry->flags = flags;
	list_add(&entry->link, prev);
	type->cnt++;
	type->total_size += size;
}

static void resize(struct lmb_type *type, struct lmb_region *region, phys_addr_t size)
{
	type->total_size += size - region->size;
	region->size = size;
}

/* Take @entry off its list and keep the list's books. */
static void unlink_entry(struct lmb_type *type, struct lmb_region *entry)
{
	list_del(&entry->link);
	type->cnt--;
	type->total_size -= entry->size;
}

/* Legal, unlike all the others: a device's range above all memory. */
static void reserved_outside_memory(const struct fault *fault)
{
	(void)fault;
	must(lmb_reserve, (PHYS_ADDR_MAX & ~(phys_addr_t)(PAGE_SIZE - 1)) - PAGE_SIZE,
	     PAGE_SIZE, 0);
}

static void unsorted(const struct fault *fault)
{
	struct lmb_region *low = nth(&fault->type->regions, 0);
	struct lmb_region *high = nth(&fault->type->regions, 1);
	struct lmb_region copy = *low;

	low->base = high->base;
	low->size = high->size;
	low->flags = high->flags;
	high->base = copy.base;
	high->size = copy.size;
	high->flags = copy.flags;
}

static void overlap(const struct fault *fault)
{
	struct lmb_region *region = largest(fault->type);

	put_behind(fault->type, &region->link, spare_free(),
		   region->base + PAGE_SIZE, PAGE_SIZE, region->flags);
}

static void unmerged(const struct fault *fault)
{
	struct lmb_region *region = largest(fault->type);

	resize(fault->type, region, region->size - PAGE_SIZE);
	put_behind(fault->type, &region->link, spare_free(), end_of(region),
		   PAGE_SIZE, region->flags);
}

static void empty_region(const struct fault *fault)
{
	struct lmb_region *region = largest(fault->type);

	put_behind(fault->type, &region->link, spare_free(), end_of(region), 0, 0);
}

static void region_wraps(const struct fault *fault)
{
	put_behind(fault->type, fault->type->regions.prev, spare_free(),
		   PHYS_ADDR_MAX - PAGE_SIZE + 1, 2 * PAGE_SIZE, 0);
}

static void outside_firmware(const struct fault *fault)
{
	struct lmb_region *last = region_of(lmb.memory.regions.prev);

	(void)fault;
	resize(&lmb.memory, last, last->size + PAGE_SIZE);
}

/* The last block's memory is given back, as lmb_free() would refuse to. */
static void block_unreserved(const struct fault *fault)
{
	const struct lmb_block *block = list_entry(lmb.blocks.prev, struct lmb_block, link);
	struct lmb_region *region;
	phys_addr_t base = block->base, end = base + lmb.block_size;
	phys_addr_t old_end;

	(void)fault;
	if (!base)
		panic("lmb.fault: no block lies in memory that LMB manages");
	if (lmb.nr_blocks == 1)		/* the klimit page */
		end = base + PAGE_SIZE;
	list_for_each_entry(region, &lmb.reserved.regions, link)
		if (base < end_of(region))
			break;
	old_end = end_of(region);
	if (old_end > end)
		put_behind(&lmb.reserved, &region->link, spare_free(), end,
			   old_end - end, region->flags);
	if (region->base < base) {
		resize(&lmb.reserved, region, base - region->base);
		return;
	}
	unlink_entry(&lmb.reserved, region);
	list_add(&region->link, &lmb.freelist);
	lmb.nr_free++;
}

/* All free entries are used up, for ranges above all memory. */
static void freelist_exhausted(const struct fault *fault)
{
	phys_addr_t base = PHYS_ADDR_MAX - PAGE_SIZE + 1 -
			   4 * PAGE_SIZE * (phys_addr_t)lmb.nr_free;

	(void)fault;
	for (; lmb.freelist.next != &lmb.freelist; base += 2 * PAGE_SIZE)
		put_behind(&lmb.reserved, lmb.reserved.regions.prev, take_free(),
			   base, PAGE_SIZE, 0);
}

/* The freelist's entries are forgotten. */
static void freelist_dropped(const struct fault *fault)
{
	(void)fault;
	INIT_LIST_HEAD(&lmb.freelist);
	lmb.nr_free = 0;
}

static void entry_lost(const struct fault *fault)
{
	if (fault->type)
		unlink_entry(fault->type, nth(&fault->type->regions, 0));
	else
		spare_free();
}

/* The entry of a region is freed, but the region stays. */
static void entry_shared(const struct fault *fault)
{
	struct lmb_region *entry = nth(&fault->type->regions, 1);

	list_add(&entry->link, &lmb.freelist);
	lmb.nr_free++;
}

/* A region changes, and no operation did it. */
static void log_divergence(const struct fault *fault)
{
	nth(&fault->type->regions, 0)->flags ^= 0x40;
}

static void set_may_grow(const struct fault *fault)
{
	(void)fault;
	lmb.may_grow = !lmb.may_grow;
}

#if CONFIG_LMB_LOG
/* An operation that succeeded is logged as one that did not. */
static void log_result(const struct fault *fault)
{
	(void)fault;
	lmb_log.ring[2].error = -ENOMEM;
}

static void log_op(const struct fault *fault)
{
	(void)fault;
	lmb_log.ring[3].op = 99;
}

static void log_init(const struct fault *fault)
{
	(void)fault;
	lmb_log.ring[0].max++;
}

/* The last operation is not in the log. */
static void log_shorter(const struct fault *fault)
{
	(void)fault;
	lmb_log.nr--;
}
#endif

static void count_mismatch(const struct fault *fault)
{
	fault->type->cnt++;
}

static void count_zero(const struct fault *fault)
{
	fault->type->cnt = 0;
}

static void count_huge(const struct fault *fault)
{
	fault->type->cnt = ~0UL;
}

static void size_mismatch(const struct fault *fault)
{
	fault->type->total_size -= PAGE_SIZE;
}

static void free_count_mismatch(const struct fault *fault)
{
	(void)fault;
	lmb.nr_free += 3;
}

static void free_count_huge(const struct fault *fault)
{
	(void)fault;
	lmb.nr_free = ~0UL;
}

static struct lmb_block *last_block(void)
{
	return list_entry(lmb.blocks.prev, struct lmb_block, link);
}

static void nr_blocks(const struct fault *fault)
{
	(void)fault;
	lmb.nr_blocks++;
}

static void block_size_twice(const struct fault *fault)
{
	(void)fault;
	lmb.block_size *= 2;
}

static void block_size_odd(const struct fault *fault)
{
	(void)fault;
	lmb.block_size += 24;
}

static void block_size_huge(const struct fault *fault)
{
	(void)fault;
	lmb.block_size = ~0UL / 2 + 1;
}

static void block_nr(const struct fault *fault)
{
	(void)fault;
	last_block()->nr = ~0UL / 16;
}

static void block_entries(const struct fault *fault)
{
	(void)fault;
	last_block()->entries++;
}

static void block_base(const struct fault *fault)
{
	(void)fault;
	last_block()->base += PAGE_SIZE;
}

/* -- links: single pointers, on nodes that were looked up before ------------ */

static struct list_head *const heads[LISTS] = {
	&lmb.memory.regions, &lmb.reserved.regions, &lmb.freelist, &lmb.blocks,
};

/* Each list's first nodes. */
static struct list_head *nodes[LISTS][NODES];
static unsigned int nr_nodes[LISTS];

static void look_up_nodes(void)
{
	struct list_head *node;
	unsigned int i, list;

	for (list = 0; list < LISTS; list++) {
		node = heads[list]->next;
		for (i = 0; i < NODES && node != heads[list]; node = node->next)
			nodes[list][i++] = node;
		nr_nodes[list] = i;
	}
}

/* One in the middle, if there is a middle. */
static struct list_head *victim(unsigned int list)
{
	if (!nr_nodes[list])
		panic("lmb.fault: a list is too short for this fault");
	return nodes[list][nr_nodes[list] / 2];
}

static struct list_head *to_null(unsigned int list)
{
	(void)list;
	return NULL;
}

/* What a freed and poisoned list_head holds in Linux. */
static struct list_head *to_poison(unsigned int list)
{
	(void)list;
	return (struct list_head *)(~0UL / 0xff * 0x6b);
}

static struct list_head *to_unmapped(unsigned int list)
{
	(void)list;
	return arch_va(HOLE_BASE);
}

static struct list_head *to_device(unsigned int list)
{
	(void)list;
	return arch_va(DEVICE_BASE);
}

static struct list_head *to_misaligned(unsigned int list)
{
	return (struct list_head *)((char *)victim(list) + 4);
}

/* A node of another list, which is a node all the same. */
static struct list_head *to_foreign(unsigned int list)
{
	return victim((list + 1) % LISTS);
}

static struct list_head *to_foreign_head(unsigned int list)
{
	return heads[(list + 1) % LISTS];
}

/* Two nodes of one list that do not agree on which comes first. */
static struct list_head *to_itself(unsigned int list)
{
	return victim(list);
}

static struct list_head *to_first(unsigned int list)
{
	return nodes[list][0];
}

static void set_next(const struct fault *fault)
{
	victim(fault->list)->next = fault->target(fault->list);
}

static void set_prev(const struct fault *fault)
{
	victim(fault->list)->prev = fault->target(fault->list);
}

static void set_head_next(const struct fault *fault)
{
	heads[fault->list]->next = fault->target(fault->list);
}

static void set_head_prev(const struct fault *fault)
{
	heads[fault->list]->prev = fault->target(fault->list);
}

/* -- the hand-over's ---------------------------------------------------------- */

/* The lowest range lacks a page that was handed over. */
static void handover_mismatch(const struct fault *fault)
{
	(void)fault;
	lmb_handover.ranges[0].size -= PAGE_SIZE;
}

/* A page of the kernel image was handed over. */
static void handover_reserved(const struct fault *fault)
{
	(void)fault;
	lmb_handover.ranges[0] = (struct lmb_range){ boot_info.image.base, PAGE_SIZE };
}

static void handover_count(const struct fault *fault)
{
	(void)fault;
	lmb_handover.nr = ~0UL;
}

/* -- all of them, in the order in which they strike ------------------------- */

#define EITHER(kind, function)						\
	{ .name = kind, .inject = function, .type = &lmb.reserved },	\
	{ .name = kind "-memory", .inject = function, .type = &lmb.memory }

/* Each is a KIND of its own for each list; without a suffix it is the reserved list. */
#define LINK(kind, suffix, number, function, to)			\
	{ .name = kind suffix, .stage = ON_LINKS, .inject = function,	\
	  .list = number, .target = to }
#define LINKS(suffix, list)						\
	LINK("link-null", suffix, list, set_next, to_null),		\
	LINK("link-wild", suffix, list, set_next, to_poison),		\
	LINK("link-wild-prev", suffix, list, set_prev, to_poison),	\
	LINK("link-unmapped", suffix, list, set_next, to_unmapped),	\
	LINK("link-device", suffix, list, set_next, to_device),		\
	LINK("link-misaligned", suffix, list, set_next, to_misaligned),	\
	LINK("link-foreign", suffix, list, set_next, to_foreign),	\
	LINK("link-foreign-head", suffix, list, set_next, to_foreign_head), \
	LINK("head-unmapped", suffix, list, set_head_next, to_unmapped), \
	LINK("head-device", suffix, list, set_head_next, to_device),	\
	LINK("head-foreign", suffix, list, set_head_next, to_foreign),	\
	LINK("head-prev", suffix, list, set_head_prev, to_poison),	\
	LINK("link-broken", suffix, list, set_prev, to_itself),		\
	LINK("list-cycle", suffix, list, set_next, to_first)

static struct fault faults[] = {
	{ .name = "reserved-outside-memory", .inject = reserved_outside_memory },
	{ .name = "block-unreserved", .inject = block_unreserved },
	EITHER("log-divergence", log_divergence),
	{ .name = "log-divergence-switch", .inject = set_may_grow },
#if CONFIG_LMB_LOG
	{ .name = "log-divergence-result", .inject = log_result },
	{ .name = "log-divergence-op", .inject = log_op },
	{ .name = "log-divergence-init", .inject = log_init },
	{ .name = "log-divergence-shorter", .inject = log_shorter },
#endif
	EITHER("overlap", overlap),
	EITHER("unmerged", unmerged),
	EITHER("empty-region", empty_region),
	{ .name = "outside-firmware", .inject = outside_firmware },
	EITHER("region-wraps", region_wraps),
	{ .name = "entry-lost", .inject = entry_lost },
	{ .name = "entry-lost-reserved", .inject = entry_lost, .type = &lmb.reserved },
	{ .name = "entry-lost-memory", .inject = entry_lost, .type = &lmb.memory },
	EITHER("unsorted", unsorted),
	{ .name = "freelist-exhausted", .inject = freelist_exhausted },
	{ .name = "freelist-exhausted-lost", .inject = freelist_dropped },
	EITHER("count-mismatch", count_mismatch),
	EITHER("count-mismatch-zero", count_zero),
	EITHER("count-mismatch-huge", count_huge),
	EITHER("size-mismatch", size_mismatch),
	{ .name = "free-count-mismatch", .inject = free_count_mismatch },
	{ .name = "free-count-mismatch-huge", .inject = free_count_huge },
	{ .name = "storage-corrupt", .inject = nr_blocks },
	{ .name = "storage-corrupt-size", .inject = block_size_twice },
	{ .name = "storage-corrupt-size-odd", .inject = block_size_odd },
	{ .name = "storage-corrupt-size-huge", .inject = block_size_huge },
	{ .name = "storage-corrupt-nr", .inject = block_nr },
	{ .name = "storage-corrupt-entries", .inject = block_entries },
	{ .name = "storage-corrupt-base", .inject = block_base },
	/* its list can no longer be walked from front to back */
	{ .name = "entry-shared", .stage = ON_LINKS, .inject = entry_shared,
	  .type = &lmb.reserved },
	{ .name = "entry-shared-memory", .stage = ON_LINKS, .inject = entry_shared,
	  .type = &lmb.memory },

	LINKS("", RESERVED),
	LINKS("-memory", MEMORY),
	LINKS("-free", FREE),
	LINKS("-blocks", BLOCKS),

	{ .name = "handover-mismatch", .stage = ON_HANDOVER,
	  .inject = handover_mismatch },
	{ .name = "handover-mismatch-reserved", .stage = ON_HANDOVER,
	  .inject = handover_reserved },
	{ .name = "handover-mismatch-count", .stage = ON_HANDOVER,
	  .inject = handover_count },
};

#define NR_FAULTS	(sizeof(faults) / sizeof(faults[0]))

/* -- when ------------------------------------------------------------------- */

static noinline void strike(enum stage stage)
{
	struct fault *fault;

	for (fault = faults; fault < faults + NR_FAULTS; fault++) {
		if (!fault->wanted || fault->stage != stage)
			continue;
		printk("lmb.fault: %s\n", fault->name);
		fault->inject(fault);
	}
}

static void strike_at_lists(void)
{
	strike(ON_SOUND_LISTS);
	look_up_nodes();
	strike(ON_LINKS);
}

/* There is nothing behind this that a corrupt list would survive. */
static __noreturn void stop_here(void)
{
	lmb_ready();
	panic("lmb.fault: no hand-over with corrupt lists");
}

/**
 * fault_operation - an operation of the allocator is over
 * @random: one of the random scenario's, else one of the boot's own
 *
 * Does not return where it is the one to strike after.
 */
void fault_operation(bool random)
{
	if (random != counts_random || nr_operations++ != first_after)
		return;
	strike_at_lists();
	stop_here();
}

/**
 * fault_scenario_over - strike, if not yet done; does not return if that
 * leaves lists that cannot be used
 */
void fault_scenario_over(void)
{
	if (!any_wanted)
		return;
	if (first_after != NEVER)
		panic("bad boot option lmb.fault: operation %lu never came", first_after);
	strike_at_lists();
	if (any_corrupts)
		stop_here();
}

/* fault_handed_over - strike at what lmb_free_all() left */
void fault_handed_over(void)
{
	strike(ON_HANDOVER);
}

/* -- the option --------------------------------------------------------------- */

static __init struct fault *find(const char *name)
{
	struct fault *fault;

	for (fault = faults; fault < faults + NR_FAULTS; fault++)
		if (!strcmp(fault->name, name))
			return fault;
	panic("bad boot option lmb.fault=%s: no such fault", name);
}

/* Take one KIND[@N]. */
static __init void parse_one(char *word)
{
	unsigned long after = NEVER;
	struct fault *fault;
	char *at = word;

	while (*at && *at != '@')
		at++;
	if (*at) {
		*at++ = '\0';
		if (!parse_number(at, &after) || after < 1 || after == NEVER)
			panic("bad boot option lmb.fault=%s@%s: not a number from 1 up",
			      word, at);
	}
	fault = find(word);
	if (fault->stage == ON_HANDOVER && after != NEVER)
		panic("bad boot option lmb.fault=%s@%lu: the hand-over comes last",
		      word, after);
	fault->wanted = true;
	any_wanted = true;
	any_corrupts |= fault->stage != ON_HANDOVER &&
			fault->inject != reserved_outside_memory;
	if (after < first_after)
		first_after = after;
}

/**
 * fault_parse - read the option's value
 * @value: KIND[@N] words with commas between them
 *
 * Panics on an unknown KIND or a bad N.
 */
noinline __init void fault_parse(const char *value)
{
	static char word[COMMAND_LINE_SIZE] __initdata;
	size_t len;

	for (;;) {
		for (len = 0; value[len] && value[len] != ','; len++)
			word[len] = value[len];
		word[len] = '\0';
		parse_one(word);
		if (!value[len])
			return;
		value += len + 1;
	}
}

/**
 * fault_count - from now on operations are counted
 * @random: those of the random scenario, from 1 up; else the boot's own, the
 *	first of which, lmb_init(), is number 0
 */
noinline __init void fault_count(bool random)
{
	counts_random = random;
	nr_operations = random;
}

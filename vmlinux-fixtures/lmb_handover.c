// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LMB: the hand-over to the page allocator, and the printout.
 */
#include "lmb_handover.h"
#include "lmb_log.h"
#include "printk.h"

struct lmb_handover lmb_handover;

/*
 * Give the whole pages of [lo, hi), which is free memory, to the page
 * allocator. Page numbers, since rounding an address up may wrap.
 *
 * Two calls never give pages that touch: at least one byte lies between their
 * ranges, and its page is in neither. So what the table holds is maximal.
 */
static unsigned long lmb_give(phys_addr_t lo, phys_addr_t hi)
{
	phys_addr_t first = (lo >> PAGE_SHIFT) + ((lo & (PAGE_SIZE - 1)) != 0);
	phys_addr_t end = hi >> PAGE_SHIFT;
	struct lmb_range *range;

	if (first == 0)
		first = 1;	/* page 0 is never handed out */
	if (first >= end)
		return 0;
	if (lmb_handover.nr < CONFIG_LMB_HANDOVER_RANGES) {
		range = &lmb_handover.ranges[lmb_handover.nr];
		range->base = first << PAGE_SHIFT;
		range->size = (end - first) << PAGE_SHIFT;
	}
	lmb_handover.nr++;
	return end - first;
}

/* The end of the run of touching memory regions that starts at *@mem. */
static phys_addr_t lmb_run_end(struct lmb_region **mem)
{
	struct list_head *node = (*mem)->link.next;

	while (node != &lmb.memory.regions &&
	       !(lmb_entry(node)->flags & LMB_NOMAP) &&
	       lmb_entry(node)->base == lmb_end(*mem)) {
		*mem = lmb_entry(node);
		node = node->next;
	}
	return lmb_end(*mem);
}

/*
 * Give what of the memory [lo, hi) is not reserved. *cursor is the lowest
 * reserved region that may still overlap it.
 */
static unsigned long lmb_give_run(phys_addr_t lo, phys_addr_t hi,
				  struct list_head **cursor)
{
	struct list_head *head = &lmb.reserved.regions;
	unsigned long pages = 0;
	phys_addr_t gap;

	while (lo < hi) {
		while (*cursor != head && lmb_end(lmb_entry(*cursor)) <= lo)
			*cursor = (*cursor)->next;
		gap = *cursor == head ? hi : lmb_min(hi, lmb_entry(*cursor)->base);
		if (gap > lo)
			pages += lmb_give(lo, gap);
		if (*cursor == head)
			break;
		lo = lmb_end(lmb_entry(*cursor));
	}
	return pages;
}

static unsigned long lmb_give_all(void)
{
	struct list_head *cursor = lmb.reserved.regions.next;
	struct lmb_region *mem;
	unsigned long pages = 0;
	phys_addr_t base;

	list_for_each_entry(mem, &lmb.memory.regions, link) {
		if (mem->flags & LMB_NOMAP)
			continue;
		base = mem->base;
		pages += lmb_give_run(base, lmb_run_end(&mem), &cursor);
	}
	return pages;
}

/**
 * lmb_free_all - give all free memory to the page allocator, and close
 *
 * Each whole page that lies in memory (without LMB_NOMAP), overlaps no
 * reserved region and is not page 0 is in lmb_handover afterwards, and every
 * further operation is refused. The lists stay as they are.
 *
 * Return: the number of pages, -EINVAL before lmb_init(), -EBUSY the second
 * time.
 */
noinline long lmb_free_all(void)
{
	unsigned long pages = 0;
	int error = lmb_refusal();

	if (!error) {
		pages = lmb_give_all();
		lmb.closed = true;
	}
	lmb_log_write(&(struct lmb_log_record){
		.op = LMB_OP_FREE_ALL, .result = pages, .error = error,
		.caller = LMB_CALLER });
	return error ? error : (long)pages;
}

/* An address in the printout: all its digits. */
#ifdef CONFIG_PHYS_ADDR_T_32BIT
#define P "0x%08llx"
#else
#define P "0x%016llx"
#endif

static void lmb_dump_type(const struct lmb_type *type, const char *name)
{
	const struct lmb_region *region;
	unsigned long i = 0;

	printk(" %s.cnt  = 0x%lx\n", name, type->cnt);
	if (!lmb_is_init())
		return;
	list_for_each_entry(region, &type->regions, link) {
		printk(" %s[0x%lx]\t[" P "-" P "], " P " bytes flags: 0x%x\n",
		       name, i++, (u64)region->base, (u64)lmb_end(region) - 1,
		       (u64)region->size, region->flags);
	}
}

/**
 * lmb_dump_all - print both lists
 *
 * A range's end is its last byte. Works at any time, and changes nothing.
 */
noinline void lmb_dump_all(void)
{
	printk("LMB configuration:\n");
	printk(" memory size = " P " reserved size = " P "\n",
	       (u64)lmb.memory.total_size, (u64)lmb.reserved.total_size);
	lmb_dump_type(&lmb.memory, "memory");
	lmb_dump_type(&lmb.reserved, "reserved");
}

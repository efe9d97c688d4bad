// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults in the regions, the entries and the switches: what the lists say is
 * wrong, but they can still be walked; after entry-shared from one end only.
 */
#include "boot_info.h"
#include "fault_regions.h"
#include "lmb.h"
#include "printk.h"

/* The entry that is @n places after the head; there must be one. */
static struct lmb_region *nth(struct list_head *head, unsigned int n)
{
	struct list_head *node;

	for (node = head->next; node != head && n; n--)
		node = node->next;
	if (node == head)
		panic("lmb.fault: a list is too short for this fault");
	return lmb_entry(node);
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

/* Put @entry behind @prev and keep the counts. */
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

/* Take @entry off its list and keep the list's counts. */
static void unlink_entry(struct lmb_type *type, struct lmb_region *entry)
{
	list_del(&entry->link);
	type->cnt--;
	type->total_size -= entry->size;
}

/* Legal, unlike all the others: a device's range above all memory. */
void fault_reserved_outside_memory(const struct fault *fault)
{
	int error = lmb_reserve((PHYS_ADDR_MAX & ~(phys_addr_t)(PAGE_SIZE - 1)) - PAGE_SIZE,
				PAGE_SIZE, 0);

	(void)fault;
	if (error)
		panic("reserved_outside_memory: lmb_reserve failed: %d", error);
}

/* The allocator does as it is told; the one who tells it is wrong. */
void fault_required_unreserved(const struct fault *fault)
{
	struct lmb_range range = boot_info.early_page_tables.size ?
				 boot_info.early_page_tables : boot_info.image;
	int error = lmb_free(range.base, PAGE_SIZE);

	(void)fault;
	if (error)
		panic("%s: lmb_free failed: %d", __func__, error);
}

void fault_required_not_memory(const struct fault *fault)
{
	int error = lmb_remove(boot_info.image.base, PAGE_SIZE);

	(void)fault;
	if (error)
		panic("%s: lmb_remove failed: %d", __func__, error);
}

/* As if the boot loader had put the initrd there. */
void fault_required_overlap(const struct fault *fault)
{
	(void)fault;
	boot_info.initrd = (struct lmb_range){ boot_info.image.base, PAGE_SIZE };
}

void fault_unsorted(const struct fault *fault)
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

void fault_overlap(const struct fault *fault)
{
	struct lmb_region *region = largest(fault->type);

	put_behind(fault->type, &region->link, spare_free(),
		   region->base + PAGE_SIZE, PAGE_SIZE, region->flags);
}

void fault_unmerged(const struct fault *fault)
{
	struct lmb_region *region = largest(fault->type);

	resize(fault->type, region, region->size - PAGE_SIZE);
	put_behind(fault->type, &region->link, spare_free(), lmb_end(region),
		   PAGE_SIZE, region->flags);
}

void fault_empty_region(const struct fault *fault)
{
	struct lmb_region *region = largest(fault->type);

	put_behind(fault->type, &region->link, spare_free(), lmb_end(region), 0, 0);
}

void fault_region_wraps(const struct fault *fault)
{
	put_behind(fault->type, fault->type->regions.prev, spare_free(),
		   PHYS_ADDR_MAX - PAGE_SIZE + 1, 2 * PAGE_SIZE, 0);
}

void fault_outside_firmware(const struct fault *fault)
{
	struct lmb_region *last = lmb_entry(lmb.memory.regions.prev);

	(void)fault;
	resize(&lmb.memory, last, last->size + PAGE_SIZE);
}

/* The last block's memory is given back, as lmb_free() would refuse to. */
void fault_block_unreserved(const struct fault *fault)
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
		if (base < lmb_end(region))
			break;
	old_end = lmb_end(region);
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

/* A flag that means nothing, so that no neighbour has the same ones. */
#define CARRIED_FLAG 0x40

/* The lowest block's region, which nothing but its flag protects, loses it. */
void fault_block_unflagged(const struct fault *fault)
{
	struct lmb_region *region;

	(void)fault;
	list_for_each_entry(region, &lmb.reserved.regions, link) {
		if (!(region->flags & LMB_BLOCK))
			continue;
		region->flags ^= LMB_BLOCK | CARRIED_FLAG;
		return;
	}
	panic("lmb.fault: no block lies in memory that LMB manages");
}

/* What is no block can never be freed any more. */
void fault_no_block(const struct fault *fault)
{
	(void)fault;
	largest(&lmb.reserved)->flags |= LMB_BLOCK | CARRIED_FLAG;
}

void fault_bad_flags(const struct fault *fault)
{
	(void)fault;
	largest(&lmb.memory)->flags |= LMB_BLOCK;
}

/* All free entries are used up, for ranges above all memory. */
void fault_freelist_exhausted(const struct fault *fault)
{
	phys_addr_t base = PHYS_ADDR_MAX - PAGE_SIZE + 1 -
			   4 * PAGE_SIZE * (phys_addr_t)lmb.nr_free;

	(void)fault;
	for (; lmb.freelist.next != &lmb.freelist; base += 2 * PAGE_SIZE)
		put_behind(&lmb.reserved, lmb.reserved.regions.prev, take_free(),
			   base, PAGE_SIZE, 0);
}

/* The freelist's entries are forgotten. */
void fault_freelist_dropped(const struct fault *fault)
{
	(void)fault;
	INIT_LIST_HEAD(&lmb.freelist);
	lmb.nr_free = 0;
}

void fault_entry_lost(const struct fault *fault)
{
	if (fault->type)
		unlink_entry(fault->type, nth(&fault->type->regions, fault->type->cnt / 2));
	else
		spare_free();
}

/* The entry of a region is freed, but the region stays. */
void fault_entry_shared(const struct fault *fault)
{
	struct lmb_region *entry = nth(&fault->type->regions, 1);

	list_add(&entry->link, &lmb.freelist);
	lmb.nr_free++;
}

/* A region changes, and no operation did it. */
void fault_log_divergence(const struct fault *fault)
{
	nth(&fault->type->regions, 0)->flags ^= CARRIED_FLAG;
}

void fault_set_may_grow(const struct fault *fault)
{
	(void)fault;
	lmb.may_grow = !lmb.may_grow;
}

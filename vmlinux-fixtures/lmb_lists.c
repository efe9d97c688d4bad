// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LMB: the region lists and their entries. How a range enters or leaves a
 * list, and which entry stores what afterwards.
 */
#include "lmb_lists.h"

/* Push @entry at the freelist's head: what was used last is taken first. */
static void lmb_push(struct lmb_region *entry)
{
	list_add(&entry->link, &lmb.freelist);
	lmb.nr_free++;
}

static struct lmb_region *lmb_pop(void)
{
	struct lmb_region *entry = lmb_entry(lmb.freelist.next);

	list_del(&entry->link);
	lmb.nr_free--;
	return entry;
}

/* Take the lowest entry that this operation dropped, or else pop one. */
static struct lmb_region *lmb_take(struct list_head *dropped)
{
	struct lmb_region *entry;

	if (list_empty(dropped))
		return lmb_pop();
	entry = lmb_entry(dropped->next);
	list_del(&entry->link);
	return entry;
}

/**
 * lmb_seek - find the first region that ends at or above an address
 * @type: the list
 * @address: one more than an address: the first region that holds it or lies
 *	above it
 *
 * From both ends at once: early boot registers near the ends of the lists, and
 * the cost is that of the nearer one.
 *
 * Return: its node, or the list's head if there is none.
 */
struct list_head *lmb_seek(struct lmb_type *type, phys_addr_t address)
{
	struct list_head *up = type->regions.next;
	struct list_head *down = type->regions.prev;

	while (up != &type->regions && lmb_end(lmb_entry(up)) < address) {
		if (lmb_end(lmb_entry(down)) < address)
			return down->next;
		up = up->next;
		down = down->prev;
	}
	return up;
}

/*
 * A piece [base, end) of a range to add that no region covers. left and right
 * are the regions that it merges with (touching, equal flags), or NULL; next
 * is the first node above the piece.
 */
struct lmb_gap {
	phys_addr_t base, end;
	struct lmb_region *left, *right;
	struct list_head *next;
};

/*
 * Advance @gap to the next uncovered piece of a range that ends at @end. On
 * entry gap->end is where to go on, and gap->next a node at or below it that
 * no touching region precedes. Returns false when nothing uncovered is left.
 */
static bool lmb_next_gap(struct lmb_type *type, phys_addr_t end,
			 unsigned int flags, struct lmb_gap *gap)
{
	struct list_head *node = gap->next;
	struct lmb_region *left = NULL, *right;
	phys_addr_t pos = gap->end;

	while (node != &type->regions && lmb_entry(node)->base <= pos) {
		left = lmb_entry(node);
		pos = lmb_max(pos, lmb_end(left));
		node = node->next;
	}
	if (pos >= end)
		return false;

	right = node == &type->regions ? NULL : lmb_entry(node);
	gap->base = pos;
	gap->end = right ? lmb_min(right->base, end) : end;
	gap->next = node;
	gap->left = left && left->flags == flags ? left : NULL;
	gap->right = right && right->base == gap->end && right->flags == flags ?
		     right : NULL;
	return true;
}

/**
 * lmb_add_need - return the entries that lmb_add_apply() takes off the freelist
 * @type: the list
 * @base: first byte of the range to add
 * @size: bytes
 * @flags: of what is not covered yet
 *
 * That is the net growth of the list, or 0 if it shrinks. Nothing is changed.
 */
unsigned long lmb_add_need(struct lmb_type *type, phys_addr_t base,
			   phys_addr_t size, unsigned int flags)
{
	struct lmb_gap gap = { .end = base, .next = lmb_seek(type, base) };
	unsigned long fresh = 0, dropped = 0;

	while (lmb_next_gap(type, base + size, flags, &gap)) {
		if (!gap.left && !gap.right)
			fresh++;
		else if (gap.left && gap.right)
			dropped++;
	}
	return fresh > dropped ? fresh - dropped : 0;
}

/*
 * Merge @gap into its neighbours, if it has one. The lowest region keeps its
 * entry; the other's goes to the tail of @dropped, so that these stay
 * ascending. Afterwards lmb_next_gap() can go on from @gap.
 */
static void lmb_merge_gap(struct lmb_type *type, struct lmb_gap *gap,
			  struct list_head *dropped)
{
	phys_addr_t size = gap->end - gap->base;
	struct lmb_region *left = gap->left, *right = gap->right;

	if (!left && !right)
		return;
	type->total_size += size;
	if (!left) {
		right->base -= size;
		right->size += size;
		return;
	}
	left->size += size;
	if (!right)
		return;
	left->size += right->size;
	list_del(&right->link);
	list_add_tail(&right->link, dropped);
	type->cnt--;
	/* the next piece may merge with left too */
	gap->end = lmb_end(left);
	gap->next = &left->link;
}

/* Store @gap, which merges with nothing, in @entry. */
static void lmb_insert_gap(struct lmb_type *type, const struct lmb_gap *gap,
			   unsigned int flags, struct lmb_region *entry)
{
	entry->base = gap->base;
	entry->size = gap->end - gap->base;
	entry->flags = flags;
	list_add_tail(&entry->link, gap->next);
	type->cnt++;
	type->total_size += entry->size;
}

/**
 * lmb_add_apply - add [base, base + size) to a list
 * @type: the list
 * @base: first byte of the range
 * @size: bytes
 * @flags: of what is not covered yet
 *
 * lmb_add_need() entries must be free. Afterwards the range is covered, what
 * was covered is as it was, flags included, and the list is merged.
 *
 * All merges come first: a new region takes what they drop, also from higher
 * addresses. They leave no piece that merges, so that the second walk meets
 * new regions only, ascending. The start is never dropped: whatever it could
 * merge into would end at or above base, and so would be the start itself.
 */
void lmb_add_apply(struct lmb_type *type, phys_addr_t base, phys_addr_t size,
		   unsigned int flags)
{
	struct list_head *start = lmb_seek(type, base);
	struct lmb_gap gap = { .end = base, .next = start };
	struct list_head dropped;

	INIT_LIST_HEAD(&dropped);
	while (lmb_next_gap(type, base + size, flags, &gap))
		lmb_merge_gap(type, &gap, &dropped);

	gap = (struct lmb_gap){ .end = base, .next = start };
	while (lmb_next_gap(type, base + size, flags, &gap))
		lmb_insert_gap(type, &gap, flags, lmb_take(&dropped));

	while (!list_empty(&dropped))
		lmb_push(lmb_take(&dropped));
}

/**
 * lmb_remove_need - return the entries that lmb_remove_apply() takes
 * @type: the list
 * @base: first byte of the range to remove
 * @size: bytes
 *
 * 1 where the range lies inside one region, with some left on either side: that
 * region is split, and no other overlaps the range. Otherwise 0.
 */
unsigned long lmb_remove_need(struct lmb_type *type, phys_addr_t base,
			      phys_addr_t size)
{
	struct list_head *node = lmb_seek(type, base + 1);
	struct lmb_region *region = lmb_entry(node);

	return node != &type->regions && region->base < base &&
	       lmb_end(region) > base + size;
}

/* Cut [base, end) out of the middle of @region, which keeps the lower part. */
static void lmb_split(struct lmb_type *type, struct lmb_region *region,
		      phys_addr_t base, phys_addr_t end)
{
	struct lmb_region *upper = lmb_pop();

	upper->base = end;
	upper->size = lmb_end(region) - end;
	upper->flags = region->flags;
	list_add(&upper->link, &region->link);
	region->size = base - region->base;
	type->cnt++;
	type->total_size -= end - base;
}

/* Take [base, end) from @region, which overlaps it: drop, trim or split. */
static void lmb_cut(struct lmb_type *type, struct lmb_region *region,
		    phys_addr_t base, phys_addr_t end)
{
	phys_addr_t lo = lmb_max(base, region->base);
	phys_addr_t hi = lmb_min(end, lmb_end(region));

	if (lo > region->base && hi < lmb_end(region)) {
		lmb_split(type, region, lo, hi);
		return;
	}
	type->total_size -= hi - lo;
	if (lo == region->base && hi == lmb_end(region)) {
		list_del(&region->link);
		type->cnt--;
		lmb_push(region);
		return;
	}
	if (lo == region->base)
		region->base = hi;
	region->size -= hi - lo;
}

/**
 * lmb_remove_apply - remove [base, base + size) from a list
 * @type: the list
 * @base: first byte of the range
 * @size: bytes
 *
 * lmb_remove_need() entries must be free. Afterwards no region overlaps the
 * range, and everything outside it is as it was.
 */
void lmb_remove_apply(struct lmb_type *type, phys_addr_t base, phys_addr_t size)
{
	struct list_head *node = lmb_seek(type, base + 1);
	struct list_head *next;

	for (; node != &type->regions && lmb_entry(node)->base < base + size;
	     node = next) {
		next = node->next;
		lmb_cut(type, lmb_entry(node), base, base + size);
	}
}

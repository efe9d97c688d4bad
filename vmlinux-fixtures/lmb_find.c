// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LMB's search: the highest (lowest) place in memory that is not reserved.
 *
 * One pass over both lists, from the tail (head) on: the cursor in the
 * reserved list only ever moves on, since the memory regions do too.
 */
#include "lmb_find.h"

/* Find the highest aligned base in [lo, hi) that leaves room for req->size. */
static bool lmb_fit_down(const struct lmb_request *req, phys_addr_t lo,
			 phys_addr_t hi, phys_addr_t *base)
{
	if (hi <= lo || hi - lo < req->size)
		return false;
	*base = (hi - req->size) & ~(req->align - 1);
	return *base >= lo;
}

/* Find the lowest aligned base in [lo, hi) that leaves room for req->size. */
static bool lmb_fit_up(const struct lmb_request *req, phys_addr_t lo,
		       phys_addr_t hi, phys_addr_t *base)
{
	/* bytes up to the next multiple, so that nothing wraps */
	phys_addr_t skip = -lo & (req->align - 1);

	if (hi <= lo || hi - lo < skip || hi - lo - skip < req->size)
		return false;
	*base = lo + skip;
	return true;
}

/* Find a place in the unreserved range [lo, hi), above the range to avoid first. */
static bool lmb_gap_down(const struct lmb_request *req, phys_addr_t lo,
			 phys_addr_t hi, phys_addr_t *base)
{
	const struct lmb_range *avoid = &req->avoid;

	if (!avoid->size)
		return lmb_fit_down(req, lo, hi, base);
	return lmb_fit_down(req, lmb_max(lo, avoid->base + avoid->size), hi, base) ||
	       lmb_fit_down(req, lo, lmb_min(hi, avoid->base), base);
}

/* Find a place in the unreserved range [lo, hi), below the range to avoid first. */
static bool lmb_gap_up(const struct lmb_request *req, phys_addr_t lo,
		       phys_addr_t hi, phys_addr_t *base)
{
	const struct lmb_range *avoid = &req->avoid;

	if (!avoid->size)
		return lmb_fit_up(req, lo, hi, base);
	return lmb_fit_up(req, lo, lmb_min(hi, avoid->base), base) ||
	       lmb_fit_up(req, lmb_max(lo, avoid->base + avoid->size), hi, base);
}

/*
 * Walk the gaps between the reserved regions in [lo, hi) downwards. *cursor is
 * the highest reserved region that may still overlap [0, hi).
 */
static bool lmb_find_in_down(const struct lmb_request *req, phys_addr_t lo,
			     phys_addr_t hi, struct list_head **cursor,
			     phys_addr_t *base)
{
	struct list_head *head = &lmb.reserved.regions;
	phys_addr_t gap;

	while (hi > lo) {
		while (*cursor != head && lmb_entry(*cursor)->base >= hi)
			*cursor = (*cursor)->prev;
		gap = *cursor == head ? lo : lmb_max(lo, lmb_end(lmb_entry(*cursor)));
		if (lmb_gap_down(req, gap, hi, base))
			return true;
		if (*cursor == head)
			return false;
		hi = lmb_entry(*cursor)->base;
	}
	return false;
}

/*
 * Walk the gaps between the reserved regions in [lo, hi) upwards. *cursor is
 * the lowest reserved region that may still overlap [lo, PHYS_ADDR_MAX).
 */
static bool lmb_find_in_up(const struct lmb_request *req, phys_addr_t lo,
			   phys_addr_t hi, struct list_head **cursor,
			   phys_addr_t *base)
{
	struct list_head *head = &lmb.reserved.regions;
	phys_addr_t gap;

	while (lo < hi) {
		while (*cursor != head && lmb_end(lmb_entry(*cursor)) <= lo)
			*cursor = (*cursor)->next;
		gap = *cursor == head ? hi : lmb_min(hi, lmb_entry(*cursor)->base);
		if (lmb_gap_up(req, lo, gap, base))
			return true;
		if (*cursor == head)
			return false;
		lo = lmb_end(lmb_entry(*cursor));
	}
	return false;
}

static bool lmb_find_down(const struct lmb_request *req, phys_addr_t *base)
{
	struct list_head *cursor = lmb.reserved.regions.prev;
	struct list_head *node;

	for (node = lmb.memory.regions.prev; node != &lmb.memory.regions;
	     node = node->prev) {
		struct lmb_region *mem = lmb_entry(node);
		phys_addr_t lo = lmb_max(mem->base, req->floor);
		phys_addr_t hi = lmb_min(lmb_end(mem), req->ceiling);

		if (lmb_end(mem) <= req->floor)
			return false;
		if (mem->flags & LMB_NOMAP)
			continue;
		if (lmb_find_in_down(req, lo, hi, &cursor, base))
			return true;
	}
	return false;
}

static bool lmb_find_up(const struct lmb_request *req, phys_addr_t *base)
{
	struct list_head *cursor = lmb.reserved.regions.next;
	struct lmb_region *mem;

	list_for_each_entry(mem, &lmb.memory.regions, link) {
		phys_addr_t lo = lmb_max(mem->base, req->floor);
		phys_addr_t hi = lmb_min(lmb_end(mem), req->ceiling);

		if (mem->base >= req->ceiling)
			return false;
		if (mem->flags & LMB_NOMAP)
			continue;
		if (lmb_find_in_up(req, lo, hi, &cursor, base))
			return true;
	}
	return false;
}

/**
 * lmb_find - find the highest (bottom_up: lowest) place for an allocation
 * @req: what is wanted; req->align is a power of two
 * @base: the place found
 *
 * Return: true when [*base, *base + size) lies in one memory region without
 * LMB_NOMAP, in [floor, ceiling), and overlaps no reserved region and not the
 * range to avoid. Nothing is changed. *base is undefined on false.
 */
bool lmb_find(const struct lmb_request *req, phys_addr_t *base)
{
	return lmb.bottom_up ? lmb_find_up(req, base) : lmb_find_down(req, base);
}

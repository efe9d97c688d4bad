// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LMB: the region lists, their entries, and the operations on them.
 *
 * Each operation first works out how many entries it needs, then makes sure
 * that one more than that is free (growing by a block where that is allowed),
 * and only then changes a list. So a failure leaves nothing half done.
 */
#include "init.h"
#include "lmb.h"
#include "lmb_platform.h"
#include "printk.h"

struct lmb lmb = { .revision = LMB_REVISION };
struct lmb_handover lmb_handover;

/* PAGE_SIZE is a macro, which a debugger does not see. */
const unsigned long lmb_page_size = PAGE_SIZE;

#ifndef CONFIG_LMB_KLIMIT
static struct lmb_block lmb_static_block;
static struct lmb_region lmb_static_entries[CONFIG_LMB_STATIC_ENTRIES];
#endif

#define LMB_PLACES	64	/* remembered of each list */
#define LMB_FAR		16	/* steps of a walk that is worth a place of its own */

/*
 * Where the last look-ups in a list ended: nodes of it, or its head, and the
 * addresses asked for. Operations on neighbours do not walk the list again, and
 * others begin at the nearest of these.
 */
struct lmb_places {
	phys_addr_t address[LMB_PLACES];
	struct list_head *node[LMB_PLACES];
	unsigned int oldest;
};

static struct lmb_places lmb_memory_places, lmb_reserved_places;

/* -- the log ---------------------------------------------------------------- */

#if CONFIG_LMB_LOG
struct lmb_log lmb_log;

static void lmb_log_write(const struct lmb_log_record *record)
{
	if (!lmb.nr_blocks)
		return;
	lmb_log.ring[lmb_log.nr % CONFIG_LMB_LOG] = *record;
	/* a debugger may stop us anywhere: a record that counts is complete */
	barrier();
	lmb_log.nr++;
}
#else
static void lmb_log_write(const struct lmb_log_record *record)
{
	(void)record;
}
#endif

/* An operation is over: write it down, with those of its arguments that matter. */
#define trace_lmb(_op, _error, ...)					\
	lmb_log_write(&(struct lmb_log_record) {			\
		.op = LMB_OP_##_op, .error = (_error),			\
		.caller = _RET_IP_, __VA_ARGS__ })

/* -- entries and nodes ------------------------------------------------------ */

static struct lmb_region *lmb_entry(const struct list_head *node)
{
	return list_entry(node, struct lmb_region, link);
}

static phys_addr_t lmb_min(phys_addr_t a, phys_addr_t b)
{
	return a < b ? a : b;
}

static phys_addr_t lmb_max(phys_addr_t a, phys_addr_t b)
{
	return a > b ? a : b;
}

static bool lmb_is_power_of_2(unsigned long long x)
{
	return x && !(x & (x - 1));
}

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

/* Push what nothing took, the lowest first. */
static void lmb_push_all(struct list_head *dropped)
{
	while (!list_empty(dropped))
		lmb_push(lmb_take(dropped));
}

static struct lmb_places *lmb_places(const struct lmb_type *type)
{
	return type == &lmb.memory ? &lmb_memory_places : &lmb_reserved_places;
}

static void lmb_set_place(struct lmb_places *places, unsigned int i,
			  phys_addr_t address, struct list_head *node)
{
	places->address[i] = address;
	places->node[i] = node;
}

/* The place nearest to an address, as far as addresses tell. */
static unsigned int lmb_nearest(const struct lmb_places *places, phys_addr_t address)
{
	phys_addr_t distance, least = PHYS_ADDR_MAX;
	unsigned int i, nearest = 0;

	for (i = 0; i < LMB_PLACES; i++) {
		distance = lmb_max(places->address[i], address) -
			   lmb_min(places->address[i], address);
		if (distance < least) {
			least = distance;
			nearest = i;
		}
	}
	return nearest;
}

/* Take @entry off its list; it keeps its bytes in total_size. */
static void lmb_unlink(struct lmb_type *type, struct lmb_region *entry)
{
	struct lmb_places *places = lmb_places(type);
	unsigned int i;

	for (i = 0; i < LMB_PLACES; i++)
		if (places->node[i] == &entry->link)
			places->node[i] = entry->link.next;
	list_del(&entry->link);
	type->cnt--;
}

/* Find the lowest node at or below @near, which ends at or above @address. */
static struct list_head *lmb_seek_down(const struct list_head *head,
				       struct list_head *near, phys_addr_t address,
				       unsigned long *steps)
{
	struct list_head *far = head->next;

	for (; near->prev != head && lmb_end(lmb_entry(near->prev)) >= address; ++*steps) {
		if (lmb_end(lmb_entry(far)) >= address)
			return far;
		far = far->next;
		near = near->prev;
	}
	return near;
}

/* Find the node above @near, which ends below @address: the first that does not. */
static struct list_head *lmb_seek_up(const struct list_head *head,
				     struct list_head *near, phys_addr_t address,
				     unsigned long *steps)
{
	struct list_head *far = head->prev;

	do {
		++*steps;
		near = near->next;
		if (lmb_end(lmb_entry(far)) < address)
			return far->next;
		far = far->prev;
	} while (lmb_end(lmb_entry(near)) < address);
	return near;
}

/*
 * Find the first region that ends at or above an address: its node, or the head
 * if there is none.
 *
 * From the nearest place known and from the end of the list behind the address
 * at once: neighbours are often asked for one after the other, and early boot
 * registers near the ends of the lists. The cost is that of the nearer one.
 */
static struct list_head *lmb_seek(const struct lmb_type *type, phys_addr_t address)
{
	struct lmb_places *places = lmb_places(type);
	unsigned int i = lmb_nearest(places, address);
	struct list_head *node = places->node[i];
	unsigned long steps = 0;

	if (node == &type->regions || lmb_end(lmb_entry(node)) >= address)
		node = lmb_seek_down(&type->regions, node, address, &steps);
	else
		node = lmb_seek_up(&type->regions, node, address, &steps);
	if (steps > LMB_FAR) {
		i = places->oldest;
		places->oldest = (i + 1) % LMB_PLACES;
	}
	lmb_set_place(places, i, address, node);
	return node;
}

/* As lmb_seek(), the first region that ends above @address. */
static struct list_head *lmb_seek_byte(const struct lmb_type *type, phys_addr_t address)
{
	struct list_head *node = lmb_seek(type, address);

	if (node != &type->regions && lmb_end(lmb_entry(node)) == address)
		node = node->next;
	return node;
}

/* -- a change of a list ------------------------------------------------------- */

/*
 * What an operation changes: [base, end) of a list. flags are what is added,
 * or what is set or, with clear, cleared. at is where its look-up ended.
 */
struct lmb_change {
	struct lmb_type *type;
	phys_addr_t base, end;
	unsigned int flags;
	bool clear;
	struct list_head *at;
};

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
 * Advance @gap to the next uncovered piece of the range to add. On entry
 * gap->end is where to go on, and gap->next a node at or below it that no
 * touching region precedes. Returns false when nothing uncovered is left.
 */
static bool lmb_next_gap(const struct lmb_change *change, struct lmb_gap *gap)
{
	struct list_head *head = &change->type->regions;
	struct list_head *node = gap->next;
	struct lmb_region *left = NULL, *right;
	phys_addr_t pos = gap->end;

	while (node != head && lmb_entry(node)->base <= pos) {
		left = lmb_entry(node);
		pos = lmb_max(pos, lmb_end(left));
		node = node->next;
	}
	if (pos >= change->end)
		return false;
	right = node == head ? NULL : lmb_entry(node);

	gap->base = pos;
	gap->end = right ? lmb_min(right->base, change->end) : change->end;
	gap->left = left && lmb_end(left) == pos && left->flags == change->flags ?
		    left : NULL;
	gap->right = right && right->base == gap->end && right->flags == change->flags ?
		     right : NULL;
	gap->next = node;
	return true;
}

/* The entries that lmb_add_apply() takes: net growth of the list. */
static unsigned long lmb_add_need(const struct lmb_change *change)
{
	struct lmb_gap gap = { .end = change->base, .next = change->at };
	unsigned long fresh = 0, dropped = 0;

	while (lmb_next_gap(change, &gap)) {
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
	lmb_unlink(type, right);
	list_add_tail(&right->link, dropped);
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

/*
 * Cover the range; lmb_add_need() entries must be free. What was covered is as
 * it was, flags included, and the list is merged.
 *
 * All merges come first: a new region takes what they drop, also from higher
 * addresses. They leave no piece that merges, so that the second walk meets
 * new regions only, ascending. The start is never dropped: whatever it could
 * merge into would end at or above base, and so would be the start itself.
 */
static void lmb_add_apply(const struct lmb_change *change)
{
	struct lmb_gap gap = { .end = change->base, .next = change->at };
	struct list_head dropped;

	INIT_LIST_HEAD(&dropped);
	while (lmb_next_gap(change, &gap))
		lmb_merge_gap(change->type, &gap, &dropped);

	gap = (struct lmb_gap){ .end = change->base, .next = change->at };
	while (lmb_next_gap(change, &gap))
		lmb_insert_gap(change->type, &gap, change->flags, lmb_take(&dropped));

	lmb_push_all(&dropped);
}

/* The first region that shares a byte with the range, or what lies behind it. */
static struct list_head *lmb_first_inside(const struct lmb_change *change)
{
	struct list_head *node = change->at;

	if (node != &change->type->regions && lmb_end(lmb_entry(node)) == change->base)
		node = node->next;
	return node;
}

static bool lmb_is_inside(const struct lmb_change *change, const struct list_head *node)
{
	return node != &change->type->regions && lmb_entry(node)->base < change->end;
}

/*
 * The entries that lmb_remove_apply() takes: 1 where the range lies inside one
 * region, with some left on either side. That region is split, and no other
 * overlaps the range.
 */
static unsigned long lmb_remove_need(const struct lmb_change *change)
{
	struct list_head *node = lmb_first_inside(change);

	return node != &change->type->regions &&
	       lmb_entry(node)->base < change->base &&
	       lmb_end(lmb_entry(node)) > change->end;
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
		lmb_unlink(type, region);
		lmb_push(region);
		return;
	}
	if (lo == region->base)
		region->base = hi;
	region->size -= hi - lo;
}

/* Empty the range; lmb_remove_need() entries must be free. */
static void lmb_remove_apply(const struct lmb_change *change)
{
	struct list_head *node = lmb_first_inside(change);
	struct list_head *next;

	for (; lmb_is_inside(change, node); node = next) {
		next = node->next;
		lmb_cut(change->type, lmb_entry(node), change->base, change->end);
	}
}

/* A region as it will be; entry is the one that keeps it, or NULL: a new one. */
struct lmb_run {
	phys_addr_t base, end;
	unsigned int flags;
	struct lmb_region *entry;
	struct list_head *behind;	/* of a new one: the node before it */
};

/*
 * How lmb_reflag() goes: run is the region that the next piece may still become
 * part of. A piece has no entry where the range cuts a region above its start,
 * so no more than two runs are new.
 */
struct lmb_reflag {
	struct lmb_run run, fresh[2];
	unsigned int nr_fresh;
	unsigned long before, after;
	struct list_head *behind;
	struct list_head *dropped;	/* NULL: count only */
};

/* The run is complete: its entry, if it has one, stores it. */
static void lmb_reflag_close(struct lmb_reflag *walk)
{
	struct lmb_run *run = &walk->run;

	if (run->end == run->base)
		return;
	walk->after++;
	if (!walk->dropped)
		return;
	if (!run->entry) {
		run->behind = walk->behind;
		walk->fresh[walk->nr_fresh++] = *run;
		return;
	}
	run->entry->base = run->base;
	run->entry->size = run->end - run->base;
	run->entry->flags = run->flags;
	walk->behind = &run->entry->link;
}

/* The next piece, ascending: part of the run, or the start of another. */
static void lmb_reflag_piece(struct lmb_reflag *walk, struct lmb_type *type,
			     const struct lmb_run *piece)
{
	struct lmb_run *run = &walk->run;

	if (piece->base == piece->end)
		return;
	if (run->end == run->base || run->end != piece->base ||
	    run->flags != piece->flags) {
		lmb_reflag_close(walk);
		*run = *piece;
		return;
	}
	run->end = piece->end;
	if (!piece->entry)
		return;
	if (!run->entry) {
		run->entry = piece->entry;
		return;
	}
	if (walk->dropped) {
		lmb_unlink(type, piece->entry);
		list_add_tail(&piece->entry->link, walk->dropped);
	}
}

/* A region of the walk: its pieces below, in and above the range. */
static void lmb_reflag_region(struct lmb_reflag *walk, const struct lmb_change *change,
			      struct lmb_region *region)
{
	phys_addr_t base = region->base, end = lmb_end(region);
	phys_addr_t lo = lmb_min(lmb_max(base, change->base), end);
	phys_addr_t hi = lmb_max(lmb_min(end, change->end), lo);
	unsigned int flags = region->flags;
	unsigned int inside = change->clear ? flags & ~change->flags :
			      flags | change->flags;
	struct lmb_run below = { .base = base, .end = lo, .flags = flags, .entry = region };
	struct lmb_run in = { .base = lo, .end = hi, .flags = inside,
			      .entry = lo == base ? region : NULL };
	struct lmb_run above = { .base = hi, .end = end, .flags = flags,
				 .entry = hi == base ? region : NULL };

	walk->before++;
	lmb_reflag_piece(walk, change->type, &below);
	lmb_reflag_piece(walk, change->type, &in);
	lmb_reflag_piece(walk, change->type, &above);
}

/*
 * Walk the regions of the range, and those beside it that a piece may merge
 * with. With @dropped they change, but for new regions: walk->fresh has those.
 */
static void lmb_reflag(struct lmb_reflag *walk, const struct lmb_change *change,
		       struct list_head *dropped)
{
	struct list_head *head = &change->type->regions;
	struct list_head *node = lmb_first_inside(change), *next;

	*walk = (struct lmb_reflag){ .dropped = dropped };
	if (lmb_is_inside(change, node) && node->prev != head &&
	    lmb_end(lmb_entry(node->prev)) == lmb_entry(node)->base)
		node = node->prev;
	walk->behind = node->prev;
	for (; node != head && lmb_entry(node)->base <= change->end; node = next) {
		next = node->next;
		lmb_reflag_region(walk, change, lmb_entry(node));
	}
	lmb_reflag_close(walk);
}

/* The entries that lmb_reflag_apply() takes: net growth of the list. */
static unsigned long lmb_reflag_need(const struct lmb_change *change)
{
	struct lmb_reflag walk;

	lmb_reflag(&walk, change, NULL);
	return walk.after > walk.before ? walk.after - walk.before : 0;
}

/*
 * Set or clear flags in the range; lmb_reflag_need() entries must be free. A
 * region that is new takes what was dropped, the lowest first.
 */
static void lmb_reflag_apply(const struct lmb_change *change)
{
	struct lmb_region *entry = NULL;
	struct list_head dropped, *behind;
	struct lmb_reflag walk;
	unsigned int i;

	INIT_LIST_HEAD(&dropped);
	lmb_reflag(&walk, change, &dropped);
	for (i = 0; i < walk.nr_fresh; i++) {
		behind = walk.fresh[i].behind;
		/* two that follow each other */
		if (i && behind == walk.fresh[0].behind)
			behind = &entry->link;
		entry = lmb_take(&dropped);
		entry->base = walk.fresh[i].base;
		entry->size = walk.fresh[i].end - walk.fresh[i].base;
		entry->flags = walk.fresh[i].flags;
		list_add(&entry->link, behind);
		change->type->cnt++;
	}
	lmb_push_all(&dropped);
}

/* -- what is free ----------------------------------------------------------- */

/**
 * lmb_next_region - the region after another
 * @type: the list
 * @region: one of its regions, or NULL
 *
 * Return: the region after @region, the first one for NULL; NULL at the end.
 */
const struct lmb_region *lmb_next_region(const struct lmb_type *type,
					 const struct lmb_region *region)
{
	const struct list_head *node = region ? region->link.next : type->regions.next;

	return node && node != &type->regions ? lmb_entry(node) : NULL;
}

/**
 * lmb_free_first - begin a walk of what is free, ascending
 * @range: lmb_free_next() goes on from it
 */
void lmb_free_first(struct lmb_free_range *range)
{
	*range = (struct lmb_free_range){
		.memory = lmb.memory.regions.next,
		.reserved = lmb.reserved.regions.next,
	};
}

/**
 * lmb_free_last - begin a walk of what is free, descending
 * @range: lmb_free_prev() goes on from it
 */
void lmb_free_last(struct lmb_free_range *range)
{
	*range = (struct lmb_free_range){
		.base = PHYS_ADDR_MAX,
		.memory = lmb.memory.regions.prev,
		.reserved = lmb.reserved.regions.prev,
	};
}

/**
 * lmb_free_next - the next higher piece of memory that is not reserved
 * @range: the last one; the next one afterwards
 *
 * range->reserved is then the first reserved region above it, or the head.
 *
 * Return: false when there is none.
 */
bool lmb_free_next(struct lmb_free_range *range)
{
	struct list_head *head = &lmb.reserved.regions;
	struct lmb_region *memory;
	phys_addr_t pos = range->end, lo;

	if (!lmb.nr_blocks)
		return false;
	while (range->memory != &lmb.memory.regions) {
		memory = lmb_entry(range->memory);
		lo = lmb_max(memory->base, pos);
		if (memory->flags & LMB_NOMAP || lo >= lmb_end(memory)) {
			range->memory = range->memory->next;
			continue;
		}
		while (range->reserved != head &&
		       lmb_end(lmb_entry(range->reserved)) <= lo)
			range->reserved = range->reserved->next;
		if (range->reserved != head && lmb_entry(range->reserved)->base <= lo) {
			pos = lmb_end(lmb_entry(range->reserved));
			continue;
		}
		range->base = lo;
		range->end = lmb_end(memory);
		if (range->reserved != head)
			range->end = lmb_min(range->end, lmb_entry(range->reserved)->base);
		range->flags = memory->flags;
		return true;
	}
	return false;
}

/**
 * lmb_free_prev - the next lower piece of memory that is not reserved
 * @range: the last one; the next one afterwards
 *
 * range->reserved is then the first reserved region below it, or the head.
 *
 * Return: false when there is none.
 */
bool lmb_free_prev(struct lmb_free_range *range)
{
	struct list_head *head = &lmb.reserved.regions;
	struct lmb_region *memory;
	phys_addr_t pos = range->base, hi;

	if (!lmb.nr_blocks)
		return false;
	while (range->memory != &lmb.memory.regions) {
		memory = lmb_entry(range->memory);
		hi = lmb_min(lmb_end(memory), pos);
		if (memory->flags & LMB_NOMAP || hi <= memory->base) {
			range->memory = range->memory->prev;
			continue;
		}
		while (range->reserved != head &&
		       lmb_entry(range->reserved)->base >= hi)
			range->reserved = range->reserved->prev;
		if (range->reserved != head &&
		    lmb_end(lmb_entry(range->reserved)) >= hi) {
			pos = lmb_entry(range->reserved)->base;
			continue;
		}
		range->end = hi;
		range->base = memory->base;
		if (range->reserved != head)
			range->base = lmb_max(range->base,
					      lmb_end(lmb_entry(range->reserved)));
		range->flags = memory->flags;
		return true;
	}
	return false;
}

/* -- the search --------------------------------------------------------------- */

/*
 * Where an allocation may lie: size bytes, aligned (a power of two), in
 * [floor, ceiling), and clear of [avoid, avoid_end) and of what is reserved.
 */
struct lmb_request {
	phys_addr_t size, align, floor, ceiling;
	phys_addr_t avoid, avoid_end;
};

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

/* Find the highest place, in regions with LMB_HOTPLUG or in those without. */
static bool lmb_find_down(const struct lmb_request *req, unsigned int hotplug,
			  phys_addr_t *base, struct list_head **at)
{
	struct lmb_free_range range;
	phys_addr_t lo, hi;

	for_each_lmb_free_reverse(&range) {
		if (range.end <= req->floor)
			return false;
		if ((range.flags & LMB_HOTPLUG) != hotplug)
			continue;
		lo = lmb_max(range.base, req->floor);
		hi = lmb_min(range.end, req->ceiling);
		if (lmb_fit_down(req, lmb_max(lo, req->avoid_end), hi, base) ||
		    lmb_fit_down(req, lo, lmb_min(hi, req->avoid), base)) {
			*at = range.reserved->next;
			return true;
		}
	}
	return false;
}

/* Find the lowest place, in regions with LMB_HOTPLUG or in those without. */
static bool lmb_find_up(const struct lmb_request *req, unsigned int hotplug,
			phys_addr_t *base, struct list_head **at)
{
	struct lmb_free_range range;
	phys_addr_t lo, hi;

	for_each_lmb_free(&range) {
		if (range.base >= req->ceiling)
			return false;
		if ((range.flags & LMB_HOTPLUG) != hotplug)
			continue;
		lo = lmb_max(range.base, req->floor);
		hi = lmb_min(range.end, req->ceiling);
		if (lmb_fit_up(req, lo, lmb_min(hi, req->avoid), base) ||
		    lmb_fit_up(req, lmb_max(lo, req->avoid_end), hi, base)) {
			*at = range.reserved;
			return true;
		}
	}
	return false;
}

/*
 * Find the highest (bottom_up: lowest) place in regions with LMB_HOTPLUG
 * (@hotplug), or else in those without: in one region, and never LMB_NOMAP.
 * @at is where lmb_seek(&lmb.reserved, *base) would end.
 */
static noinline bool lmb_find(const struct lmb_request *req, unsigned int hotplug,
			      phys_addr_t *base, struct list_head **at)
{
	struct list_head *below;

	if (!(lmb.bottom_up ? lmb_find_up : lmb_find_down)(req, hotplug, base, at))
		return false;
	below = (*at)->prev;
	if (below != &lmb.reserved.regions && lmb_end(lmb_entry(below)) == *base)
		*at = below;
	return true;
}

/* -- blocks, the memory that the entries lie in --------------------------------- */

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

/*
 * Gain a block of entries from the memory that is managed, clear of the range
 * that an operation is about. It is reserved with LMB_BLOCK afterwards, and its
 * entries are at the freelist's tail. Reserving it takes one entry at most, and
 * one is always free.
 *
 * Returns -ENOMEM when growth is not allowed yet, there is no room, or the
 * place cannot be reached; then nothing has changed.
 */
static noinline int lmb_grow(phys_addr_t avoid, phys_addr_t avoid_end)
{
	const struct lmb_request req = {
		.size = lmb.block_size, .align = lmb.block_size,
		.floor = PAGE_SIZE, .ceiling = lmb.current_limit,
		.avoid = avoid, .avoid_end = avoid_end,
	};
	struct lmb_change change = { .type = &lmb.reserved, .flags = LMB_BLOCK };
	void *header;

	/* a block that phys_addr_t cannot even count fits nowhere */
	if (!lmb.may_grow || req.size != lmb.block_size)
		return -ENOMEM;
	/* hot-pluggable memory could never be removed again */
	if (!lmb_find(&req, 0, &change.base, &change.at))
		return -ENOMEM;
	header = lmb_arch_map(change.base, req.size);
	if (!header)
		return -ENOMEM;
	change.end = change.base + req.size;
	lmb_add_apply(&change);
	lmb_format_memory(header, change.base, lmb.block_size);
	return 0;
}

/* Does a block of entries overlap [base, end)? The reserved list alone tells. */
static bool lmb_hits_block(phys_addr_t base, phys_addr_t end)
{
	struct list_head *node = lmb_seek_byte(&lmb.reserved, base);

	for (; node != &lmb.reserved.regions; node = node->next) {
		if (lmb_entry(node)->base >= end)
			return false;
		if (lmb_entry(node)->flags & LMB_BLOCK)
			return true;
	}
	return false;
}

/* -- what the operations have in common -------------------------------------- */

/*
 * Make a change, after as many growths as it takes. The last free entry is
 * never handed to a caller: the next growth needs it.
 */
static int lmb_apply(struct lmb_change *change,
		     unsigned long (*need)(const struct lmb_change *change),
		     void (*apply)(const struct lmb_change *change))
{
	int error;

	change->at = lmb_seek(change->type, change->base);
	while (lmb.nr_free <= need(change)) {
		error = lmb_grow(change->base, change->end);
		if (error)
			return error;
		/* the reserved list has changed */
		change->at = lmb_seek(change->type, change->base);
	}
	apply(change);
	return 0;
}

/* 0, or why no operation is possible now. */
static int lmb_refusal(void)
{
	if (!lmb.nr_blocks)
		return -EINVAL;
	return lmb.closed ? -EBUSY : 0;
}

/*
 * 0, or why a change is refused. What goes past the end of the address space is
 * cut, as memblock's.
 */
static int lmb_check_range(struct lmb_change *change, phys_addr_t base, phys_addr_t size)
{
	int error = lmb_refusal();

	if (error)
		return error;
	if (!size || base == PHYS_ADDR_MAX || change->flags & LMB_BLOCK)
		return -EINVAL;
	change->base = base;
	change->end = base + lmb_min(size, PHYS_ADDR_MAX - base);
	return 0;
}

/* As lmb_check_range(), for what must not touch a block of entries. */
static int lmb_check_blocks(struct lmb_change *change, phys_addr_t base, phys_addr_t size)
{
	int error = lmb_check_range(change, base, size);

	if (error)
		return error;
	return lmb_hits_block(change->base, change->end) ? -EBUSY : 0;
}

/* -- initialisation ------------------------------------------------------------ */

static __init void lmb_init_type(struct lmb_type *type, const char *name)
{
	unsigned int i;

	INIT_LIST_HEAD(&type->regions);
	type->name = name;
	for (i = 0; i < LMB_PLACES; i++)
		lmb_set_place(lmb_places(type), i, 0, &type->regions);
}

static __init void lmb_init_lists(unsigned long block_size)
{
	lmb_init_type(&lmb.memory, "memory");
	lmb_init_type(&lmb.reserved, "reserved");
	INIT_LIST_HEAD(&lmb.freelist);
	INIT_LIST_HEAD(&lmb.blocks);
	lmb.block_size = block_size;
	lmb.current_limit = PHYS_ADDR_MAX;
}

#ifdef CONFIG_LMB_KLIMIT
/* The page after the BSS: nothing has reserved it yet. */
static __init int lmb_init_storage(unsigned long nr_static, unsigned long block_size)
{
	phys_addr_t base = lmb_arch_klimit();
	struct lmb_change change = { .type = &lmb.reserved, .flags = LMB_BLOCK };
	void *header;

	(void)nr_static;
	if (base & (PAGE_SIZE - 1) || base > PHYS_ADDR_MAX - PAGE_SIZE)
		return -EINVAL;
	header = lmb_arch_map(base, PAGE_SIZE);
	if (!header)
		return -EINVAL;
	lmb_init_lists(block_size);
	lmb_format_memory(header, base, PAGE_SIZE);
	change.base = base;
	change.end = base + PAGE_SIZE;
	change.at = &lmb.reserved.regions;
	lmb_add_apply(&change);
	return 0;
}
#else
/* An array in the kernel image, which is reserved with the image. */
static __init int lmb_init_storage(unsigned long nr_static, unsigned long block_size)
{
	if (nr_static < 2 || nr_static > CONFIG_LMB_STATIC_ENTRIES)
		return -EINVAL;
	lmb_init_lists(block_size);
	lmb_format_block(&lmb_static_block, 0, lmb_static_entries, nr_static);
	return 0;
}
#endif

/**
 * lmb_init - set up empty lists and the initial storage
 * @nr_static: entries of the static array to use, 2 at least; unused with
 *	CONFIG_LMB_KLIMIT
 * @block_size: bytes of a block to grow by: a power of two that holds a header
 *	and two entries
 *
 * Afterwards all entries of block 0 are free, in address order, but for the
 * one that reserves a klimit page. Growth is off.
 *
 * Return: 0, -EBUSY on a second call, -EINVAL on a bad argument or a klimit
 * page that is not a page, cannot be reached or ends past PHYS_ADDR_MAX.
 */
noinline __init int lmb_init(unsigned long nr_static, unsigned long block_size)
{
	const struct lmb_block *block;
	int error;

	if (lmb.nr_blocks)
		return -EBUSY;
	if (!lmb_is_power_of_2(block_size) ||
	    block_size < LMB_HEADER_SIZE + 2 * sizeof(struct lmb_region))
		return -EINVAL;
	error = lmb_init_storage(nr_static, block_size);
	if (error)
		return error;

	block = list_entry(lmb.blocks.next, struct lmb_block, link);
	trace_lmb(INIT, 0, .flags = 8 * sizeof(phys_addr_t), .base = block->base,
		  .size = block_size, .align = LMB_HEADER_SIZE,
		  .min = sizeof(struct lmb_region), .max = block->nr);
	return 0;
}

/* -- the operations -------------------------------------------------------------- */

/**
 * lmb_add - register memory
 * @base: first byte of the range
 * @size: bytes; what goes past the end of the address space is cut
 * @flags: of what was not memory yet
 *
 * [base, base + size) is memory afterwards. What was memory keeps its flags:
 * lmb_mark() changes them.
 *
 * Return: 0, -EINVAL, -EBUSY after hand-over, -ENOMEM.
 */
noinline int lmb_add(phys_addr_t base, phys_addr_t size, unsigned int flags)
{
	struct lmb_change change = { .type = &lmb.memory, .flags = flags };
	int error = lmb_check_range(&change, base, size);

	if (!error)
		error = lmb_apply(&change, lmb_add_need, lmb_add_apply);
	trace_lmb(ADD, error, .base = base, .size = size, .flags = flags);
	return error;
}

/**
 * lmb_remove - forget memory
 * @base: first byte of the range
 * @size: bytes; what goes past the end of the address space is cut
 *
 * Nothing of [base, base + size) is memory afterwards; what is reserved stays.
 *
 * Return: 0 (also when it was none), -EINVAL, -EBUSY after hand-over or on a
 * block of entries, -ENOMEM.
 */
noinline int lmb_remove(phys_addr_t base, phys_addr_t size)
{
	struct lmb_change change = { .type = &lmb.memory };
	int error = lmb_check_blocks(&change, base, size);

	if (!error)
		error = lmb_apply(&change, lmb_remove_need, lmb_remove_apply);
	trace_lmb(REMOVE, error, .base = base, .size = size);
	return error;
}

static bool lmb_is_flag(unsigned int flag)
{
	return flag == LMB_HOTPLUG || flag == LMB_MIRROR || flag == LMB_NOMAP;
}

static int lmb_check_flag(struct lmb_change *change, phys_addr_t base, phys_addr_t size)
{
	int error = lmb_check_range(change, base, size);

	if (error)
		return error;
	return lmb_is_flag(change->flags) ? 0 : -EINVAL;
}

/**
 * lmb_mark - set a flag on memory
 * @base: first byte of the range
 * @size: bytes; what goes past the end of the address space is cut
 * @flag: LMB_HOTPLUG, LMB_MIRROR or LMB_NOMAP
 *
 * What is memory in [base, base + size) has the flag afterwards.
 *
 * Return: 0 (also when none is memory), -EINVAL, -EBUSY after hand-over or, for
 * LMB_HOTPLUG and LMB_NOMAP, on a block of entries, -ENOMEM.
 */
noinline int lmb_mark(phys_addr_t base, phys_addr_t size, unsigned int flag)
{
	struct lmb_change change = { .type = &lmb.memory, .flags = flag };
	int error = lmb_check_flag(&change, base, size);

	if (!error && flag != LMB_MIRROR && lmb_hits_block(change.base, change.end))
		error = -EBUSY;
	if (!error)
		error = lmb_apply(&change, lmb_reflag_need, lmb_reflag_apply);
	trace_lmb(MARK, error, .base = base, .size = size, .flags = flag);
	return error;
}

/**
 * lmb_clear - clear a flag on memory
 * @base: first byte of the range
 * @size: bytes; what goes past the end of the address space is cut
 * @flag: LMB_HOTPLUG, LMB_MIRROR or LMB_NOMAP
 *
 * Nothing that is memory in [base, base + size) has the flag afterwards.
 *
 * Return: 0 (also when none is memory), -EINVAL, -EBUSY after hand-over, -ENOMEM.
 */
noinline int lmb_clear(phys_addr_t base, phys_addr_t size, unsigned int flag)
{
	struct lmb_change change = { .type = &lmb.memory, .flags = flag, .clear = true };
	int error = lmb_check_flag(&change, base, size);

	if (!error)
		error = lmb_apply(&change, lmb_reflag_need, lmb_reflag_apply);
	trace_lmb(CLEAR, error, .base = base, .size = size, .flags = flag);
	return error;
}

/* The address after the first @size bytes of memory; PHYS_ADDR_MAX: that is all. */
static __init phys_addr_t lmb_limit_address(phys_addr_t size)
{
	const struct lmb_region *region;
	phys_addr_t cut = PHYS_ADDR_MAX;

	for_each_lmb_memory(region) {
		if (region->flags & LMB_NOMAP)
			continue;
		/* only what is followed by more memory is an end */
		if (!size)
			return cut;
		if (region->size > size)
			return region->base + size;
		size -= region->size;
		cut = lmb_end(region);
	}
	return PHYS_ADDR_MAX;
}

/* Cut both lists off at @cut; this takes no entry, as nothing is split. */
static __init int lmb_cut_off(phys_addr_t cut)
{
	struct lmb_change memory = { .type = &lmb.memory, .base = cut, .end = PHYS_ADDR_MAX };
	struct lmb_change reserved = { .type = &lmb.reserved, .base = cut, .end = PHYS_ADDR_MAX };

	if (lmb_hits_block(cut, PHYS_ADDR_MAX))
		return -EBUSY;
	memory.at = lmb_seek(&lmb.memory, cut);
	lmb_remove_apply(&memory);
	reserved.at = lmb_seek(&lmb.reserved, cut);
	lmb_remove_apply(&reserved);
	return 0;
}

/**
 * lmb_enforce_memory_limit - forget all but the first bytes of memory
 * @size: how many, not counting what has LMB_NOMAP
 *
 * Nothing past them is memory or reserved afterwards. Where there are no more
 * than that, nothing changes.
 *
 * Return: 0, -EINVAL, -EBUSY after hand-over, once growth is allowed, or where
 * a klimit page would go.
 */
noinline __init int lmb_enforce_memory_limit(phys_addr_t size)
{
	phys_addr_t cut;
	int error = lmb_refusal();

	if (!error && !size)
		error = -EINVAL;
	if (!error && lmb.may_grow)
		error = -EBUSY;
	if (!error) {
		cut = lmb_limit_address(size);
		if (cut != PHYS_ADDR_MAX)
			error = lmb_cut_off(cut);
	}
	trace_lmb(ENFORCE_LIMIT, error, .size = size);
	return error;
}

/**
 * lmb_reserve - take a range, whether it is memory or not
 * @base: first byte of the range
 * @size: bytes; what goes past the end of the address space is cut
 * @flags: of what was not reserved yet
 *
 * [base, base + size) is reserved afterwards, and no block of entries was
 * gained in it. What was reserved keeps its flags.
 *
 * Return: 0, -EINVAL, -EBUSY after hand-over or on a block of entries, -ENOMEM.
 */
noinline int lmb_reserve(phys_addr_t base, phys_addr_t size, unsigned int flags)
{
	struct lmb_change change = { .type = &lmb.reserved, .flags = flags };
	int error = lmb_check_blocks(&change, base, size);

	if (!error)
		error = lmb_apply(&change, lmb_add_need, lmb_add_apply);
	trace_lmb(RESERVE, error, .base = base, .size = size, .flags = flags);
	return error;
}

/**
 * lmb_free - give a range back
 * @base: first byte of the range
 * @size: bytes; what goes past the end of the address space is cut
 *
 * Nothing of [base, base + size) is reserved afterwards.
 *
 * Return: 0 (also when it was not reserved), -EINVAL, -EBUSY after hand-over
 * or on a block of entries, -ENOMEM.
 */
noinline int lmb_free(phys_addr_t base, phys_addr_t size)
{
	struct lmb_change change = { .type = &lmb.reserved };
	int error = lmb_check_blocks(&change, base, size);

	if (!error)
		error = lmb_apply(&change, lmb_remove_need, lmb_remove_apply);
	trace_lmb(FREE, error, .base = base, .size = size);
	return error;
}

/* 0, or why lmb_alloc() is refused. */
static int lmb_check_alloc(phys_addr_t size, phys_addr_t align, unsigned int flags)
{
	int error = lmb_refusal();

	if (error)
		return error;
	if (!size || flags & LMB_BLOCK)
		return -EINVAL;
	return !align || lmb_is_power_of_2(align) ? 0 : -EINVAL;
}

/* Find a place, in hot-pluggable memory only when there is no other, and take it. */
static int lmb_do_alloc(const struct lmb_request *req, unsigned int flags,
			phys_addr_t *base)
{
	struct lmb_change change = { .type = &lmb.reserved, .flags = flags };

	if (!lmb_find(req, 0, &change.base, &change.at) &&
	    !lmb_find(req, LMB_HOTPLUG, &change.base, &change.at))
		return -ENOMEM;
	*base = change.base;
	change.end = change.base + req->size;
	lmb_set_place(&lmb_reserved_places,
		      lmb_nearest(&lmb_reserved_places, change.base),
		      change.base, change.at);
	return lmb_apply(&change, lmb_add_need, lmb_add_apply);
}

/**
 * lmb_alloc - find memory and reserve it
 * @size: bytes
 * @align: a power of two that the base is a multiple of; 0 means 1
 * @min: lowest address; page 0 is never handed out
 * @max: no byte lies at or above this; 0: only the current limit counts
 * @flags: of the reservation
 * @base: the range found, unchanged on failure
 *
 * [*base, *base + size) was memory without LMB_NOMAP and is reserved now. It
 * is the highest such range, or the lowest with bottom_up; one with LMB_HOTPLUG
 * only where there is no other.
 *
 * Return: 0, -EINVAL, -EBUSY after hand-over, -ENOMEM.
 */
noinline int lmb_alloc(phys_addr_t size, phys_addr_t align, phys_addr_t min,
		       phys_addr_t max, unsigned int flags, phys_addr_t *base)
{
	const struct lmb_request req = {
		.size = size, .align = align ? align : 1,
		.floor = lmb_max(min, PAGE_SIZE),
		.ceiling = max ? lmb_min(max, lmb.current_limit) : lmb.current_limit,
	};
	phys_addr_t found = 0;
	int error = lmb_check_alloc(size, align, flags);

	if (!error)
		error = lmb_do_alloc(&req, flags, &found);
	if (error)
		found = 0;
	else
		*base = found;
	trace_lmb(ALLOC, error, .size = size, .align = align, .min = min,
		  .max = max, .flags = flags, .result = found);
	return error;
}

/**
 * lmb_allow_growth - let the allocator take blocks of entries from memory
 *
 * Description: For when all that must not be overwritten is reserved.
 *
 * Return: 0, -EINVAL before lmb_init(), -EBUSY after hand-over.
 */
noinline int lmb_allow_growth(void)
{
	int error = lmb_refusal();

	if (!error)
		lmb.may_grow = true;
	trace_lmb(ALLOW_GROWTH, error);
	return error;
}

/**
 * lmb_set_current_limit - keep allocations and blocks below an address
 * @limit: no byte of them lies at or above it
 *
 * Return: 0, -EINVAL before lmb_init(), -EBUSY after hand-over.
 */
noinline int lmb_set_current_limit(phys_addr_t limit)
{
	int error = lmb_refusal();

	if (!error)
		lmb.current_limit = limit;
	trace_lmb(SET_LIMIT, error, .base = limit);
	return error;
}

/**
 * lmb_set_bottom_up - choose the direction of the search
 * @enable: true: lowest address first
 *
 * Return: 0, -EINVAL before lmb_init(), -EBUSY after hand-over.
 */
noinline int lmb_set_bottom_up(bool enable)
{
	int error = lmb_refusal();

	if (!error)
		lmb.bottom_up = enable;
	trace_lmb(SET_BOTTOM_UP, error, .flags = enable);
	return error;
}

/* -- questions ---------------------------------------------------------------- */

/* Does a region of the list share a byte with [base, end)? */
static bool lmb_overlaps(const struct lmb_type *type, phys_addr_t base, phys_addr_t end)
{
	struct list_head *node;

	if (!lmb.nr_blocks)
		return false;
	node = lmb_seek_byte(type, base);
	return node != &type->regions && lmb_entry(node)->base < end;
}

/**
 * lmb_is_memory - is there RAM at an address?
 * @address: physical
 *
 * Return: true when a region of memory holds it, whatever its flags.
 */
bool lmb_is_memory(phys_addr_t address)
{
	return address != PHYS_ADDR_MAX && lmb_overlaps(&lmb.memory, address, address + 1);
}

/**
 * lmb_is_reserved - is an address taken?
 * @address: physical
 *
 * Return: true when a reserved region holds it, whether it is memory or not.
 */
bool lmb_is_reserved(phys_addr_t address)
{
	return address != PHYS_ADDR_MAX && lmb_overlaps(&lmb.reserved, address, address + 1);
}

/**
 * lmb_is_region_reserved - is anything of a range taken?
 * @base: first byte of the range
 * @size: bytes; what goes past the end of the address space is cut
 *
 * Return: true when the range shares a byte with a reserved region.
 */
bool lmb_is_region_reserved(phys_addr_t base, phys_addr_t size)
{
	return size && lmb_overlaps(&lmb.reserved, base,
				    base + lmb_min(size, PHYS_ADDR_MAX - base));
}

/**
 * lmb_phys_mem_size - how much RAM is there?
 *
 * Return: bytes of memory, whatever its flags.
 */
phys_addr_t lmb_phys_mem_size(void)
{
	return lmb.memory.total_size;
}

/**
 * lmb_start_of_DRAM - where does RAM begin?
 *
 * Return: the lowest address of memory; 0 where there is none.
 */
phys_addr_t lmb_start_of_DRAM(void)
{
	const struct lmb_region *first = lmb_next_region(&lmb.memory, NULL);

	return first ? first->base : 0;
}

/**
 * lmb_end_of_DRAM - where does RAM end?
 *
 * Return: the first address after all memory; 0 where there is none.
 */
phys_addr_t lmb_end_of_DRAM(void)
{
	return lmb_next_region(&lmb.memory, NULL) ?
	       lmb_end(lmb_entry(lmb.memory.regions.prev)) : 0;
}

/* -- hand-over ---------------------------------------------------------------- */

/* Put [base, base + size) into the table, as far as it goes. */
static void lmb_note_given(phys_addr_t base, phys_addr_t size)
{
#if CONFIG_LMB_HANDOVER_RANGES
	if (lmb_handover.nr < CONFIG_LMB_HANDOVER_RANGES)
		lmb_handover.ranges[lmb_handover.nr] = (struct lmb_range){ base, size };
#else
	(void)base;
	(void)size;
#endif
	lmb_handover.nr++;
}

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

	if (first == 0)
		first = 1;	/* page 0 is never handed out */
	if (first >= end)
		return 0;
	lmb_note_given(first << PAGE_SHIFT, (end - first) << PAGE_SHIFT);
	return end - first;
}

/* Give all that is free; pieces that touch are one, whatever their flags. */
static unsigned long lmb_give_all(void)
{
	struct lmb_free_range range;
	phys_addr_t lo = 0, hi = 0;
	unsigned long pages = 0;

	for_each_lmb_free(&range) {
		if (range.base != hi) {
			pages += lmb_give(lo, hi);
			lo = range.base;
		}
		hi = range.end;
	}
	return pages + lmb_give(lo, hi);
}

/**
 * lmb_free_all - give all free memory to the page allocator, and close
 *
 * Description: Each whole page that lies in memory (without LMB_NOMAP),
 * overlaps no reserved region and is not page 0 is in lmb_handover afterwards,
 * and every further operation is refused. The lists stay as they are.
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
	trace_lmb(FREE_ALL, error, .result = pages);
	return error ? error : (long)pages;
}

/* -- the printout ------------------------------------------------------------- */

/* An address in the printout: all its digits. */
#ifdef CONFIG_PHYS_ADDR_T_32BIT
#define P "0x%08llx"
#else
#define P "0x%016llx"
#endif

static void lmb_dump_type(const struct lmb_type *type, const char *name)
{
	const struct lmb_region *region = NULL;
	unsigned long i = 0;

	printk(" %s.cnt  = 0x%lx\n", name, type->cnt);
	while ((region = lmb_next_region(type, region)))
		printk(" %s[0x%lx]\t[" P "-" P "], " P " bytes flags: 0x%x\n",
		       name, i++, (u64)region->base, (u64)lmb_end(region) - 1,
		       (u64)region->size, region->flags);
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

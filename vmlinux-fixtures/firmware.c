// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What of the firmware's map is RAM that can be used: no entry of another type
 * covers it, and phys_addr_t can count it. What the map says is not trusted:
 * entries overlap, and end past the address space.
 */
#include "firmware.h"

/* The first byte after an entry, or as far as one can count. */
static u64 firmware_end(const struct firmware_range *range)
{
	return range->size > ~0ULL - range->base ? ~0ULL : range->base + range->size;
}

/*
 * Find the end of what begins at @pos and is all covered by entries of another
 * type than RAM, or all not covered, up to @end.
 */
static u64 firmware_run(const struct firmware_map *map, u64 pos, u64 end, bool *covered)
{
	const struct firmware_range *range;
	u64 next = end, until = pos;

	for (range = map->ranges; range < map->ranges + map->nr; range++) {
		if (range->type == FIRMWARE_RAM || !range->size)
			continue;
		if (range->base > pos)
			next = range->base < next ? range->base : next;
		else if (firmware_end(range) > until)
			until = firmware_end(range);
	}
	*covered = until > pos;
	return *covered ? until : next;
}

/* Make a piece of [pos, end): in whole pages, as one that is RAM in part cannot be used. */
static bool firmware_pages(u64 pos, u64 end, struct lmb_range *range)
{
	const u64 page = PAGE_SIZE, max = PHYS_ADDR_MAX;
	u64 base;

	if (pos > max - page + 1)
		return false;
	base = (pos + page - 1) & ~(page - 1);
	end = (end > max ? max : end) & ~(page - 1);
	if (base >= end)
		return false;
	*range = (struct lmb_range){ base, end - base };
	return true;
}

/**
 * firmware_next_ram - the next piece of RAM
 * @map: what the firmware said
 * @ram: all zero at first; ram->range is the piece
 *
 * In the map's order: pieces of entries that overlap may overlap.
 *
 * Return: false when there is none.
 */
bool firmware_next_ram(const struct firmware_map *map, struct firmware_ram *ram)
{
	const struct firmware_range *range;
	u64 pos, end;
	bool covered;

	for (; ram->entry < map->nr; ram->entry++, ram->pos = 0) {
		range = &map->ranges[ram->entry];
		end = firmware_end(range);
		if (range->type != FIRMWARE_RAM)
			continue;
		while (ram->pos < end) {
			pos = ram->pos > range->base ? ram->pos : range->base;
			if (pos >= end)
				break;
			ram->pos = firmware_run(map, pos, end, &covered);
			if (!covered && firmware_pages(pos, ram->pos, &ram->range))
				return true;
		}
	}
	return false;
}

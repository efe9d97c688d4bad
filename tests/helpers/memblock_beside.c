// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A memblock for a kernel that has the list-based LMB too, as include/linux/memblock.h declares it, filled in
 * by hand. As in Linux it is in use from the first instruction on.
 */

typedef unsigned long long phys_addr_t;
enum memblock_flags { MEMBLOCK_NONE = 0, MEMBLOCK_HOTPLUG = 1, MEMBLOCK_NOMAP = 4 };

struct memblock_region {
	phys_addr_t base;
	phys_addr_t size;
	enum memblock_flags flags;
	int nid;
};

struct memblock_type {
	unsigned long cnt;
	unsigned long max;
	phys_addr_t total_size;
	struct memblock_region *regions;
	char *name;
};

struct memblock {
	_Bool bottom_up;
	phys_addr_t current_limit;
	struct memblock_type memory;
	struct memblock_type reserved;
};

struct memblock_region memblock_memory_init_regions[128] = {
	{ .base = 0x1000, .size = 0x9e000 },
	{ .base = 0x100000, .size = 0x7f00000, .flags = MEMBLOCK_HOTPLUG, .nid = 1 },
};
struct memblock_region memblock_reserved_init_regions[128] = {
	{ .base = 0x200000, .size = 0x1234 },
};

struct memblock memblock = {
	.current_limit = ~0ULL,
	.memory = { 2, 128, 0x7f9e000, memblock_memory_init_regions, "memory" },
	.reserved = { 1, 128, 0x1234, memblock_reserved_init_regions, "reserved" },
};
struct memblock *memblock_memory = &memblock;
unsigned long _totalram_pages;
unsigned int system_state;
int memblock_can_resize = 1;

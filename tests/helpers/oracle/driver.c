// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Drives the kernel's own mm/memblock.c, as its simulator (tools/testing/memblock) builds it: reads one
 * operation a line, answers with one line that holds the result and the whole state.
 *
 * Usage: driver RAM_BASE RAM_END   (both hexadecimal, page aligned)
 *
 * The simulator's physical addresses are the process's own, so [RAM_BASE, RAM_END) is mapped: arrays that
 * memblock doubles lie there. Nothing else of physical memory is ever touched, since no operation zeroes.
 * Every number is hexadecimal, nodes are signed decimals. A run begins with the program's initial data;
 * nothing is ever reset.
 */
#include <limits.h>
#include <linux/kernel.h>
#include <linux/seq_file.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/slab.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef unsigned long long u64_io;

/* Bounds what memblock_free_all() walks, page block by page block. */
#define MAX_LOW_PFN 0x100000UL

/* What not every version has is weak: asked for without being there, the run ends. */
int __memblock_reserve(phys_addr_t base, phys_addr_t size, int nid, enum memblock_flags flags)
	__attribute__((weak));
int memblock_reserved_mark_noinit(phys_addr_t base, phys_addr_t size) __attribute__((weak));
int memblock_reserved_mark_kern(phys_addr_t base, phys_addr_t size) __attribute__((weak));
int memblock_mark_kho_scratch(phys_addr_t base, phys_addr_t size) __attribute__((weak));
int memblock_clear_kho_scratch(phys_addr_t base, phys_addr_t size) __attribute__((weak));
void memblock_set_kho_scratch_only(void) __attribute__((weak));
void memblock_free_all(void);

extern bool mirrored_kernelcore;
extern enum slab_state slab_state;
bool movable_node_enabled;

static FILE *out;
static u64_io ram_base, ram_end;
static const struct memblock_region *initial[2];

static void fail(const char *why)
{
	fprintf(stderr, "driver: %s\n", why);
	exit(2);
}

static struct memblock_type *list_of(char name)
{
	return name == 'm' ? &memblock.memory : &memblock.reserved;
}

static long long add(char list, u64_io base, u64_io size, int nid, unsigned int flags)
{
	if (list == 'm')
		return memblock_add_node(base, size, nid, flags);
	if (__memblock_reserve)
		return __memblock_reserve(base, size, nid, flags);
#ifdef CONFIG_NUMA
	if (nid != MAX_NUMNODES)
		fail("this version reserves for no node");
#endif
	if (flags)
		fail("this version reserves without flags");
	return memblock_reserve(base, size);
}

static long long setclr(char list, u64_io base, u64_io size, int set, unsigned int flag)
{
	switch (flag << 1 | !!set) {
	case 0x1 << 1 | 1: return memblock_mark_hotplug(base, size);
	case 0x1 << 1:     return memblock_clear_hotplug(base, size);
	case 0x2 << 1 | 1: return memblock_mark_mirror(base, size);
	case 0x4 << 1 | 1: return memblock_mark_nomap(base, size);
	case 0x4 << 1:     return memblock_clear_nomap(base, size);
	case 0x10 << 1 | 1: return memblock_reserved_mark_noinit(base, size);
	case 0x20 << 1 | 1: return memblock_reserved_mark_kern(base, size);
	case 0x40 << 1 | 1: return memblock_mark_kho_scratch(base, size);
	case 0x40 << 1:     return memblock_clear_kho_scratch(base, size);
	}
	fail("there is no function that changes this flag so");
	return 0;
}

/* What the buddy allocator is given, in pages: __free_memory_core() returns it to nobody we could ask. */
static long long free_all(void)
{
	phys_addr_t start, end;
	long long pages = 0;
	u64 i;

	memblock_free_all();
	for_each_free_mem_range(i, NUMA_NO_NODE, MEMBLOCK_NONE, &start, &end, NULL) {
		phys_addr_t first = (phys_addr_t)(start + PAGE_SIZE - 1) >> PAGE_SHIFT;
		phys_addr_t last = end >> PAGE_SHIFT;

		if (last > MAX_LOW_PFN)
			last = MAX_LOW_PFN;
		if (first < last)
			pages += last - first;
	}
	return pages;
}

static long long run(const char *line)
{
	u64_io a, b, c, d;
	unsigned int flags;
	int nid, flag;
	char list;

	if (sscanf(line, "add %c %llx %llx %d %x", &list, &a, &b, &nid, &flags) == 5)
		return add(list, a, b, nid, flags);
	if (sscanf(line, "remove %c %llx %llx", &list, &a, &b) == 3)
		return list == 'm' ? memblock_remove(a, b) : memblock_phys_free(a, b);
	if (sscanf(line, "setclr %c %llx %llx %d %x", &list, &a, &b, &flag, &flags) == 5)
		return setclr(list, a, b, flag, flags);
	if (sscanf(line, "node %c %llx %llx %d", &list, &a, &b, &nid) == 4)
		return memblock_set_node(a, b, list_of(list), nid);
	if (sscanf(line, "alloc %llx %llx %llx %llx %d %d", &a, &b, &c, &d, &nid, &flag) == 6)
		return memblock_alloc_range_nid(a, b, c, d, nid, flag);
	if (sscanf(line, "trim %llx", &a) == 1)
		memblock_trim_memory(a);
	else if (sscanf(line, "cap %llx %llx", &a, &b) == 2)
		memblock_cap_memory_range(a, b);
	else if (sscanf(line, "limit %llx", &a) == 1)
		memblock_set_current_limit(a);
	else if (sscanf(line, "up %d", &flag) == 1)
		memblock_set_bottom_up(flag);
	else if (!strcmp(line, "resize\n"))
		memblock_allow_resize();
	else if (!strcmp(line, "free_all\n"))
		return free_all();
	else if (!strcmp(line, "discard\n"))
		memblock_discard();
	else if (sscanf(line, "movable %d", &flag) == 1)
		movable_node_enabled = flag;
	else if (!strcmp(line, "slab\n"))
		slab_state = UP;
	else if (!strcmp(line, "scratch\n"))
		memblock_set_kho_scratch_only();
	else if (strcmp(line, "state\n"))
		fail("this is no operation");
	return 0;
}

static void show(const struct memblock_type *type, const struct memblock_region *first)
{
	u64_io array = (u64_io)(unsigned long)type->regions;

	fprintf(out, " | %s %lx %lx %llx ", type->name, type->cnt, type->max, (u64_io)type->total_size);
	if (type->regions == first)
		fprintf(out, "static");
	else if (array >= ram_base && array < ram_end)
		fprintf(out, "%llx", array);
	else
		fprintf(out, "slab");
	for (unsigned long i = 0; i < type->cnt; i++) {
		const struct memblock_region *r = &type->regions[i];

		fprintf(out, " %llx:%llx:%x", (u64_io)r->base, (u64_io)r->size, (unsigned int)r->flags);
#ifdef CONFIG_NUMA
		fprintf(out, ":%d", r->nid);
#endif
	}
}

int main(int argc, char **argv)
{
	char line[256];

	/* The simulator's printk() writes to stdout. */
	out = fdopen(dup(STDOUT_FILENO), "w");
	if (argc != 3 || !out || !freopen("/dev/null", "w", stdout))
		fail("Usage: driver RAM_BASE RAM_END");
	ram_base = strtoull(argv[1], NULL, 16);
	ram_end = strtoull(argv[2], NULL, 16);
	if (mmap((void *)(unsigned long)ram_base, ram_end - ram_base, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		fail("the addresses of the simulated memory are taken");
	max_low_pfn = MAX_LOW_PFN;
	mirrored_kernelcore = true;
	initial[0] = memblock.memory.regions;
	initial[1] = memblock.reserved.regions;
	while (fgets(line, sizeof(line), stdin)) {
		long long result = run(line);

		/* An allocation's result is an address, however high. */
		if (result < 0 && strncmp(line, "alloc", 5))
			fprintf(out, "-%llx", (u64_io)-result);
		else
			fprintf(out, "%llx", (u64_io)result);
		fprintf(out, " %llx %d", (u64_io)memblock.current_limit, memblock.bottom_up);
		show(&memblock.memory, initial[0]);
		show(&memblock.reserved, initial[1]);
		fputc('\n', out);
		/* What follows may end the process: what was answered must be out before. */
		fflush(out);
	}
	return 0;
}

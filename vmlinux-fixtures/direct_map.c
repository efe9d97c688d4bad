// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The direct map of all RAM. Its tables come from the allocator, as in Linux:
 * they must lie in what the early tables map, until the new ones are in use.
 */
#include "arch.h"
#include "direct_map.h"
#include "fault.h"
#include "init.h"
#include "lmb.h"
#include "mapped.h"
#include "page_table.h"
#include "printk.h"
#include "stacks.h"
#include "string.h"

static noinline __init phys_addr_t alloc_page_table(void)
{
	phys_addr_t base;

	must(lmb_alloc, PAGE_SIZE, PAGE_SIZE, 0, 0, 0, &base);
	memset(arch_va(base), 0, PAGE_SIZE);
	return base;
}

/* Map the 2 MiB page at @address in the tables below @pud. */
static __init void map_huge_page(u64 *pud, phys_addr_t address)
{
	u64 *entry = &pud[address / PUD_SIZE];
	u64 *pmd;

	if (!*entry)
		*entry = pte_table(alloc_page_table());
	pmd = arch_va(pte_address(*entry));
	pmd[address / PMD_SIZE % 512] = pte_page(address, true);
}

/* Map [base, end), rounded outward to 2 MiB. */
static __init void map_range(u64 *pud, phys_addr_t base, phys_addr_t end)
{
	if (end > direct_map_size)
		panic("%s: RAM at 0x%llx", __func__, end);
	for (base &= ~(phys_addr_t)(PMD_SIZE - 1); base < end; base += PMD_SIZE)
		map_huge_page(pud, base);
}

/* Make the 2 MiB page of @entry a table of small pages, at @table. */
static void split_huge_page(u64 *entry, phys_addr_t table)
{
	u64 *page = arch_va(table);
	unsigned int i;

	for (i = 0; i < 512; i++)
		page[i] = pte_page(pte_address(*entry) + i * PAGE_SIZE, false);
	*entry = pte_table(table);
}

/**
 * unmap_stack_guard - have nothing mapped below the stack
 * @pmd: early entries of the GiB that has the image
 * @map: the virtual address of physical 0, where the image is mapped
 */
void unmap_stack_guard(u64 *pmd, unsigned long map)
{
	static u64 table[512] __attribute__((__aligned__(PAGE_SIZE)));
	phys_addr_t guard = (unsigned long)boot_stack_guard - map;

	split_huge_page(&pmd[guard / PMD_SIZE % 512], (unsigned long)table - map);
	table[guard / PAGE_SIZE % 512] = 0;
	drop_tlb();
}

/* Take the pages of [base, end) out of what is mapped, rounded outward. */
static __init void unmap_range(u64 *pud, phys_addr_t base, phys_addr_t end)
{
	u64 *entry, *table;

	base &= ~(phys_addr_t)(PAGE_SIZE - 1);
	for (; base < end && base < direct_map_size; base += PAGE_SIZE) {
		if (!pud[base / PUD_SIZE])
			continue;
		table = arch_va(pte_address(pud[base / PUD_SIZE]));
		entry = &table[base / PMD_SIZE % 512];
		if (!*entry)
			continue;
		if (!pte_is_table(*entry))
			split_huge_page(entry, alloc_page_table());
		table = arch_va(pte_address(*entry));
		table[base / PAGE_SIZE % 512] = 0;
	}
}

/**
 * init_mem_mapping - map all memory, and let the allocator use all of it
 *
 * Afterwards the direct map holds what is memory without LMB_NOMAP and nothing
 * else, but for rounding to 2 MiB, by which no LMB_NOMAP comes in; and the
 * allocator's limit is the end of memory.
 */
noinline __init void init_mem_mapping(void)
{
	const struct lmb_region *region;
	phys_addr_t base = alloc_page_table();
	u64 *pud = arch_va(base);

	/* allocations change the other list */
	for_each_lmb_memory(region)
		if (!(region->flags & LMB_NOMAP))
			map_range(pud, region->base, lmb_end(region));
	for_each_lmb_memory(region)
		if (region->flags & LMB_NOMAP)
			unmap_range(pud, region->base, lmb_end(region));
	direct_map_install(base);
	mapped_end = direct_map_size;
	must(lmb_set_current_limit, lmb_end_of_DRAM());
}

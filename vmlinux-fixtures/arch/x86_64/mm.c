// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The direct map of all RAM. Its tables come from the allocator, as in Linux:
 * they must lie in what the early tables map, until the new ones are in use.
 */
#include "../../arch.h"
#include "../../fault.h"
#include "../../init.h"
#include "../../lmb.h"
#include "../../printk.h"
#include "../../string.h"
#include "address.h"
#include "page_tables.h"

#define PMD_SIZE	0x200000UL
#define PUD_SIZE	0x40000000UL
#define PML4_SIZE	(512 * PUD_SIZE)

static noinline __init u64 *alloc_page_table(void)
{
	phys_addr_t base;

	must(lmb_alloc, PAGE_SIZE, PAGE_SIZE, 0, 0, 0, &base);
	return memset(__va(base), 0, PAGE_SIZE);
}

/* Map the 2 MiB page at @address in the tables below @pud. */
static __init void map_huge_page(u64 *pud, phys_addr_t address)
{
	u64 *entry = &pud[address / PUD_SIZE];
	u64 *pmd;

	if (!*entry)
		*entry = __pa(alloc_page_table()) | PTE_TABLE;
	pmd = __va(*entry & ~(u64)(PAGE_SIZE - 1));
	pmd[address / PMD_SIZE % 512] = address | PTE_PAGE_2M;
}

/* Map [base, end), rounded outward to 2 MiB. */
static __init void map_range(u64 *pud, phys_addr_t base, phys_addr_t end)
{
	if (end > PML4_SIZE)
		panic("%s: RAM at 0x%llx", __func__, end);
	for (base &= ~(PMD_SIZE - 1); base < end; base += PMD_SIZE)
		map_huge_page(pud, base);
}

/* Make the 2 MiB page at @entry a table of small pages. */
static __init void split_huge_page(u64 *entry)
{
	u64 *table = alloc_page_table();
	unsigned int i;

	for (i = 0; i < 512; i++)
		table[i] = (*entry & ~PTE_HUGE) + i * PAGE_SIZE;
	*entry = __pa(table) | PTE_TABLE;
}

/* Take the pages of [base, end) out of what is mapped, rounded outward. */
static __init void unmap_range(u64 *pud, phys_addr_t base, phys_addr_t end)
{
	u64 *entry, *table;

	for (base &= ~(PAGE_SIZE - 1); base < end && base < PML4_SIZE; base += PAGE_SIZE) {
		if (!pud[base / PUD_SIZE])
			continue;
		table = __va(pud[base / PUD_SIZE] & ~(u64)(PAGE_SIZE - 1));
		entry = &table[base / PMD_SIZE % 512];
		if (!*entry)
			continue;
		if (*entry & PTE_HUGE)
			split_huge_page(entry);
		table = __va(*entry & ~(u64)(PAGE_SIZE - 1));
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
	u64 *pud = alloc_page_table();

	/* allocations change the other list */
	for_each_lmb_memory(region)
		if (!(region->flags & LMB_NOMAP))
			map_range(pud, region->base, lmb_end(region));
	for_each_lmb_memory(region)
		if (region->flags & LMB_NOMAP)
			unmap_range(pud, region->base, lmb_end(region));
	early_pml4[DIRECT_MAP_PML4] = __pa(pud) | PTE_TABLE;
	load_page_tables();
	arch_map_end = PML4_SIZE;
	must(lmb_set_current_limit, lmb_end_of_DRAM());
}

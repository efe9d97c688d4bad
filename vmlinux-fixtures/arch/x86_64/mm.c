// SPDX-License-Identifier: GPL-2.0-or-later
/* The page tables' format, and which of them is the direct map's. */
#include "../../page_table.h"
#include "address.h"
#include "page_tables.h"

const phys_addr_t direct_map_size = 512 * PUD_SIZE;

u64 pte_table(phys_addr_t table)
{
	return table | PTE_TABLE;
}

u64 pte_page(phys_addr_t address, bool huge)
{
	return address | (huge ? PTE_PAGE_2M : PTE_PAGE_4K);
}

bool pte_is_table(u64 entry)
{
	return !(entry & PTE_HUGE);
}

phys_addr_t pte_address(u64 entry)
{
	return entry & ~(u64)(PAGE_SIZE - 1);
}

/* As no page is global. */
void drop_tlb(void)
{
	unsigned long cr3;

	__asm__ __volatile__("mov %%cr3, %0; mov %0, %%cr3" : "=r" (cr3) : : "memory");
}

void direct_map_install(phys_addr_t pud)
{
	early_pml4[DIRECT_MAP_PML4] = pte_table(pud);
	drop_tlb();
}

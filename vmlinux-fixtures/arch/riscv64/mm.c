// SPDX-License-Identifier: GPL-2.0-or-later
/* The page tables' format, and where physical memory is mapped. */
#include "../../arch.h"
#include "../../page_table.h"
#include "../../stacks.h"
#include "address.h"
#include "page_tables.h"

#define PTE_PPN		0x003ffffffffffc00

const phys_addr_t direct_map_size = (512 - DIRECT_MAP_PUD) * PUD_SIZE;
const phys_addr_t arch_device_base = UART_BASE;
/* For PCI devices, of which there are none. */
const phys_addr_t arch_hole_base = 0x60000000;

void *arch_va(phys_addr_t address)
{
	return __va(address);
}

u64 pte_table(phys_addr_t table)
{
	return table >> 2 | PTE_TABLE;
}

u64 pte_page(phys_addr_t address, bool huge)
{
	(void)huge;		/* any level can have leaves */
	return address >> 2 | PTE_LEAF;
}

bool pte_is_table(u64 entry)
{
	return (entry & PTE_LEAF) == PTE_TABLE;
}

phys_addr_t pte_address(u64 entry)
{
	return (entry & PTE_PPN) << 2;
}

void drop_tlb(void)
{
	__asm__ __volatile__("sfence.vma" : : : "memory");
}

/* The entries go to the upper half of the table that is used. */
void direct_map_install(phys_addr_t base)
{
	phys_addr_t guard = __pa(boot_stack_guard);
	u64 *pud = __va(base), *pmd = __va(pte_address(pud[guard / PUD_SIZE]));
	unsigned int i;

	pmd[guard / PMD_SIZE % 512] = early_pmd[guard / PMD_SIZE % 512];
	for (i = 1; i < 512 - DIRECT_MAP_PUD; i++)	/* the first is the UART's */
		early_pgd[DIRECT_MAP_PUD + i] = pud[i];
	drop_tlb();
}

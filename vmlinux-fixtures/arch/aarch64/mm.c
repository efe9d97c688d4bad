// SPDX-License-Identifier: GPL-2.0-or-later
/* The page tables' format, and where physical memory is mapped. */
#include "../../arch.h"
#include "../../page_table.h"
#include "../../stacks.h"
#include "address.h"
#include "page_tables.h"

#define PTE_ADDRESS	0x0000fffffffff000

const phys_addr_t direct_map_size = 512 * PUD_SIZE;
const phys_addr_t arch_device_base = UART_BASE;
/* For PCI devices, of which there are none. */
const phys_addr_t arch_hole_base = 0x30000000;

void *arch_va(phys_addr_t address)
{
	return __va(address);
}

u64 pte_table(phys_addr_t table)
{
	return table | PTE_TABLE;
}

u64 pte_page(phys_addr_t address, bool huge)
{
	return address | PTE_NORMAL | (huge ? PTE_BLOCK : PTE_PAGE);
}

bool pte_is_table(u64 entry)
{
	return (entry & PTE_TABLE) == PTE_TABLE;
}

phys_addr_t pte_address(u64 entry)
{
	return entry & PTE_ADDRESS;
}

void drop_tlb(void)
{
	__asm__ __volatile__("dsb ishst; isb; tlbi vmalle1; dsb nsh; isb" : : : "memory");
}

void direct_map_install(phys_addr_t base)
{
	phys_addr_t guard = __pa(boot_stack_guard);
	u64 *pud = __va(base), *pmd = __va(pte_address(pud[guard / PUD_SIZE]));

	pud[0] = early_pud[0];	/* the UART */
	pmd[guard / PMD_SIZE % 512] = early_pmd[guard / PMD_SIZE % 512];
	__asm__ __volatile__("dsb ishst; msr ttbr1_el1, %0" : : "r" (base) : "memory");
	drop_tlb();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Every exception goes to entry.S, and has a stack of its own there. */
#include "../../direct_map.h"
#include "../../page_table.h"
#include "../../stacks.h"
#include "address.h"
#include "entry.h"
#include "page_tables.h"
#include "traps.h"

/* Nothing is mapped below the stack. */
static void unmap_stack_guard(void)
{
	static u64 table[512] __attribute__((__aligned__(4096)));
	phys_addr_t guard = __pa(boot_stack_guard);

	split_huge_page(&early_pmd[guard / PMD_SIZE % 512], __pa(table));
	table[guard / PAGE_SIZE % 512] = 0;
	drop_tlb();
}

/**
 * traps_init - catch every exception from here on
 */
void traps_init(void)
{
	__asm__ __volatile__("csrw stvec, %0" : : "r" (exception_entry));
	unmap_stack_guard();
}

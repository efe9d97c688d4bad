// SPDX-License-Identifier: GPL-2.0-or-later
/* From the assembly entry to start_kernel(). */
#include "../../boot_info.h"
#include "../../early_map.h"
#include "../../image.h"
#include "../../init.h"
#include "../../main.h"
#include "../../page_table.h"
#include "address.h"
#include "page_tables.h"
#include "traps.h"
#include "uart.h"

#define TCR_EPD0	(1UL << 7)

void aarch64_start(phys_addr_t fdt) __noreturn;

/* Null pointers fault from here on. */
static noinline __init void drop_identity_map(void)
{
	unsigned long tcr;

	__asm__ __volatile__("mrs %0, tcr_el1" : "=r" (tcr));
	__asm__ __volatile__("msr tcr_el1, %0" : : "r" (tcr | TCR_EPD0));
	drop_tlb();
}

/**
 * aarch64_start - the first C function
 * @fdt: physical address of the flattened device tree, 0: where RAM begins
 */
noinline __init void aarch64_start(phys_addr_t fdt)
{
	uart_init();
	traps_init();
	drop_identity_map();
	find_image(KERNEL_MAP);
	boot_info.early_limit = (phys_addr_t)RAM_BASE + EARLY_MAP_SIZE;
	read_device_tree(early_device_pmd, TREE_PMD, fdt ? fdt : RAM_BASE);
	start_kernel();
}

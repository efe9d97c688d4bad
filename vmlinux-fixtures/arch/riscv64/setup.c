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

void riscv64_start(phys_addr_t fdt) __noreturn;

/* Null pointers fault from here on. */
static noinline __init void drop_identity_map(void)
{
	early_pgd[RAM_BASE / PUD_SIZE] = 0;
	drop_tlb();
}

/**
 * riscv64_start - the first C function
 * @fdt: physical address of the flattened device tree
 */
noinline __init void riscv64_start(phys_addr_t fdt)
{
	uart_init();
	traps_init();
	drop_identity_map();
	find_image(KERNEL_MAP);
	boot_info.early_limit = (phys_addr_t)RAM_BASE + EARLY_MAP_SIZE;
	read_device_tree(early_device_pmd, TREE_PMD, fdt);
	start_kernel();
}

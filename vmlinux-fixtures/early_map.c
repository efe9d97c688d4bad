// SPDX-License-Identifier: GPL-2.0-or-later
/* The device tree, in the tables that the kernel starts with. */
#include "arch.h"
#include "devicetree.h"
#include "early_map.h"
#include "init.h"
#include "page_table.h"

/**
 * read_device_tree - map a device tree, wherever it lies, for as long as it is read
 * @pmd: the direct map's first GiB, in 2 MiB pages
 * @index: of two free entries in it, so that a tree that begins in the first page lies in them
 * @fdt: physical address of the flattened device tree
 */
noinline __init void read_device_tree(u64 *pmd, unsigned int index, phys_addr_t fdt)
{
	phys_addr_t base = fdt & ~(phys_addr_t)(PMD_SIZE - 1);

	pmd[index] = pte_page(base, true);
	pmd[index + 1] = pte_page(base + PMD_SIZE, true);
	drop_tlb();
	devicetree_parse(fdt, arch_va(index * PMD_SIZE + fdt - base), DEVICE_TREE_MAX);
	pmd[index] = pmd[index + 1] = 0;
	drop_tlb();
}

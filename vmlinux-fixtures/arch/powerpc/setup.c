// SPDX-License-Identifier: GPL-2.0-or-later
/* From the assembly entry to start_kernel(). */
#include "../../boot_info.h"
#include "../../devicetree.h"
#include "../../image.h"
#include "../../init.h"
#include "../../main.h"
#include "address.h"
#include "entry.h"
#include "machine.h"
#include "serial.h"

void powerpc_start(unsigned long fdt) __noreturn;

#define TREE_SHIFT	24
#define TREE_PAGE	(1UL << TREE_SHIFT)

static __init void unmap(unsigned int entry)
{
	static const struct mapping none __initdata;

	tlb_set(entry, &none);
}

/* Null pointers fault from here on. */
static noinline __init void drop_boot_map(void)
{
	unmap(TLB_BOOT);
}

/* Two pages, so that a tree that begins in the first lies in them. */
static noinline __init void read_device_tree(unsigned long fdt)
{
	struct mapping mapping = { .shift = TREE_SHIFT };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		mapping.va = TREE_MAP + i * TREE_PAGE;
		mapping.pa = (fdt & ~(TREE_PAGE - 1)) + i * (u64)TREE_PAGE;
		tlb_set(TLB_TREE + i, &mapping);
	}
	devicetree_parse(fdt, (void *)(TREE_MAP + fdt % TREE_PAGE), DEVICE_TREE_MAX);
	unmap(TLB_TREE);
	unmap(TLB_TREE + 1);
}

/**
 * powerpc_start - the first C function
 * @fdt: physical address of the device tree
 */
noinline __init void powerpc_start(unsigned long fdt)
{
	serial_init();
	catch_exceptions();
	drop_boot_map();
	find_image(KERNEL_MAP);
	boot_info.early_limit = CHUNK_SIZE;
	read_device_tree(fdt);
	start_kernel();
}

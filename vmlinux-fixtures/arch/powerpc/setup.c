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

/* Null pointers fault from here on. */
static noinline __init void drop_boot_map(void)
{
	static const struct mapping none __initdata;

	tlb_set(TLB_BOOT, &none);
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
	devicetree_parse(fdt);
	start_kernel();
}

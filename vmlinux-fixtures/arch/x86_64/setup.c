// SPDX-License-Identifier: GPL-2.0-or-later
/* From the assembly entry to start_kernel(). */
#include "../../boot_info.h"
#include "../../image.h"
#include "../../init.h"
#include "../../main.h"
#include "../../page_table.h"
#include "address.h"
#include "page_tables.h"
#include "pvh.h"
#include "serial.h"
#include "traps.h"

void x86_64_start(u32 start_info) __noreturn;

/* Null pointers fault from here on. */
static noinline __init void drop_identity_map(void)
{
	early_pml4[0] = 0;
	drop_tlb();
}

/**
 * x86_64_start - the first C function
 * @start_info: physical address of the PVH start info
 */
noinline __init void x86_64_start(u32 start_info)
{
	serial_init();
	traps_init();
	drop_identity_map();
	find_image(KERNEL_MAP);
	boot_info.early_limit = EARLY_MAP_SIZE;
	pvh_parse(start_info);
	start_kernel();
}

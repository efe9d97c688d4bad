// SPDX-License-Identifier: GPL-2.0-or-later
/* From the assembly entry to start_kernel(). */
#include "../../boot_info.h"
#include "../../init.h"
#include "../../main.h"
#include "address.h"
#include "page_tables.h"
#include "pvh.h"
#include "serial.h"
#include "traps.h"

/* From the linker script. */
extern char _image_start[], _image_end[], __init_begin[], __init_end[];
extern char __early_page_tables_start[], __early_page_tables_end[];

void x86_64_start(u32 start_info) __noreturn;

static __init struct lmb_range symbol_range(const char *start, const char *end)
{
	return (struct lmb_range){ __pa_symbol(start), end - start };
}

static noinline __init void find_image(void)
{
	boot_info.image = symbol_range(_image_start, _image_end);
	boot_info.init = symbol_range(__init_begin, __init_end);
	boot_info.early_page_tables = symbol_range(__early_page_tables_start,
						   __early_page_tables_end);
	boot_info.early_limit = EARLY_MAP_SIZE;
}

/* Null pointers fault from here on. */
static noinline __init void drop_identity_map(void)
{
	early_pml4[0] = 0;
	load_page_tables();
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
	find_image();
	pvh_parse(start_info);
	start_kernel();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* From the assembly entry to start_kernel(). */
#include "../../boot_info.h"
#include "../../devicetree.h"
#include "../../init.h"
#include "../../main.h"
#include "address.h"
#include "entry.h"
#include "machine.h"
#include "serial.h"

/* From the linker script. */
extern char _image_start[], _image_end[], __init_begin[], __init_end[];

void powerpc_start(unsigned long fdt) __noreturn;

static __init struct lmb_range symbol_range(const char *start, const char *end)
{
	return (struct lmb_range){ __pa(start), end - start };
}

static noinline __init void find_image(void)
{
	boot_info.image = symbol_range(_image_start, _image_end);
	boot_info.init = symbol_range(__init_begin, __init_end);
	boot_info.early_limit = CHUNK_SIZE;
}

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
	find_image();
	devicetree_parse(fdt);
	start_kernel();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the linker put the kernel. */
#include "boot_info.h"
#include "image.h"
#include "init.h"

/* From the linker script. */
extern char _image_start[], _image_end[], __init_begin[], __init_end[];
extern char __early_page_tables_start[], __early_page_tables_end[];

static __init struct lmb_range symbol_range(const char *start, const char *end,
					    unsigned long map)
{
	return (struct lmb_range){ (unsigned long)start - map, end - start };
}

/**
 * find_image - fill boot_info with what the linker knows
 * @map: the virtual address of physical 0, where the image is mapped
 */
noinline __init void find_image(unsigned long map)
{
	boot_info.image = symbol_range(_image_start, _image_end, map);
	boot_info.init = symbol_range(__init_begin, __init_end, map);
	boot_info.early_page_tables = symbol_range(__early_page_tables_start,
						   __early_page_tables_end, map);
}

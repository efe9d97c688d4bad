// SPDX-License-Identifier: GPL-2.0-or-later
/* What the boot loader and the firmware said. */
#include "boot_info.h"
#include "init.h"
#include "printk.h"

struct boot_info boot_info;
struct firmware_map firmware_map;
char boot_command_line[COMMAND_LINE_SIZE];

/**
 * boot_pages - [base, base + size) in whole pages
 * @base: physical
 * @size: bytes, not 0
 *
 * Return: the range, as far as phys_addr_t can count; size 0 if it cannot.
 */
__init struct lmb_range boot_pages(u64 base, u64 size)
{
	const u64 mask = PAGE_SIZE - 1, max = PHYS_ADDR_MAX & ~mask;
	u64 first = base & ~mask, end = (base + size + mask) & ~mask;

	if (end <= first)
		panic("boot data of 0x%llx bytes at 0x%llx", size, base);
	if (end > max)
		end = max;
	return (struct lmb_range){ first, first < end ? end - first : 0 };
}

/**
 * boot_data_add - note that [base, base + size) is taken, in whole pages
 * @base: physical
 * @size: bytes
 */
__init void boot_data_add(u64 base, u64 size)
{
	struct lmb_range range = boot_pages(base, size);

	if (!range.size)
		return;
	if (boot_info.nr_boot_data == ARRAY_SIZE(boot_info.boot_data))
		panic("too much boot data");
	boot_info.boot_data[boot_info.nr_boot_data++] = range;
}

/**
 * firmware_map_add - note what the firmware says about [base, base + size)
 * @base: physical
 * @size: bytes
 * @type: FIRMWARE_RAM or another
 */
__init void firmware_map_add(u64 base, u64 size, u32 type)
{
	if (firmware_map.nr == ARRAY_SIZE(firmware_map.ranges))
		panic("a memory map of more than %u ranges", firmware_map.nr);
	firmware_map.ranges[firmware_map.nr++] = (struct firmware_range){ base, size, type };
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the boot loader and the firmware said. The architecture fills it in
 * before it calls start_kernel().
 */
#ifndef FIXTURE_BOOT_INFO_H
#define FIXTURE_BOOT_INFO_H

#include "lmb.h"
#include "types.h"

#define COMMAND_LINE_SIZE	2048

/**
 * struct boot_info - where the boot loader and the linker put things, physical
 * @image: the kernel image, its BSS included, but not a klimit page
 * @init: the part of the image that is only needed during boot, whole pages
 * @early_page_tables: those that the kernel started with
 * @initrd: size 0: none
 * @fdt: the flattened device tree; size 0: none
 * @boot_data: the loader's own tables, modules besides the initrd, and what the
 *	firmware wants reserved of its RAM
 * @nr_boot_data: number of those
 * @early_limit: no address at or above this is mapped before init_mem_mapping()
 */
struct boot_info {
	struct lmb_range image, init, early_page_tables, initrd, fdt;
	struct lmb_range boot_data[32];
	unsigned int nr_boot_data;
	phys_addr_t early_limit;
};

/*
 * What the firmware said about physical memory, kept as it was said: the
 * memory list must always be a subset of the RAM in it.
 */
#define FIRMWARE_RAM		1
#define FIRMWARE_RESERVED	2
#define FIRMWARE_ACPI		3
#define FIRMWARE_NVS		4
#define FIRMWARE_UNUSABLE	5

struct firmware_range {
	u64 base, size;
	u32 type;
};

struct firmware_map {
	unsigned int nr;
	struct firmware_range ranges[128];
};

extern struct boot_info boot_info;
extern struct firmware_map firmware_map;
extern char boot_command_line[COMMAND_LINE_SIZE];

/* For those who fill it in. */
struct lmb_range boot_pages(u64 base, u64 size);
void boot_data_add(u64 base, u64 size);
void firmware_map_add(u64 base, u64 size, u32 type);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a PVH boot loader hands over: Xen's public/arch-x86/hvm/start_info.h.
 * QEMU puts all of it low in RAM, where the allocator would take it for free:
 * each table's place is noted, to be reserved.
 */
#include "../../boot_info.h"
#include "../../init.h"
#include "../../printk.h"
#include "../../string.h"
#include "address.h"
#include "pvh.h"

#define HVM_START_MAGIC	0x336ec578

struct hvm_start_info {
	u32 magic, version, flags, nr_modules;
	u64 modlist_paddr, cmdline_paddr, rsdp_paddr;
	/* since version 1 */
	u64 memmap_paddr;
	u32 memmap_entries, reserved;
};

struct hvm_modlist_entry {
	u64 paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_entry {
	u64 addr, size;
	u32 type, reserved;
};

/* Note what will be read; returns where it is mapped. */
static __init void *pvh_data(u64 base, u64 size)
{
	if (base >= EARLY_MAP_SIZE || size > EARLY_MAP_SIZE - base)
		panic("PVH data at 0x%llx is not mapped yet", base);
	boot_data_add(base, size);
	return __va(base);
}

static __init void pvh_memmap(const struct hvm_start_info *info)
{
	const struct hvm_memmap_entry *entries;
	u32 i;

	if (info->version < 1 || !info->memmap_entries)
		panic("the boot loader gave no memory map");
	entries = pvh_data(info->memmap_paddr,
			   info->memmap_entries * sizeof(*entries));
	for (i = 0; i < info->memmap_entries; i++)
		firmware_map_add(entries[i].addr, entries[i].size, entries[i].type);
}

/* Note the text at @address; returns where it is mapped, NULL if there is none. */
static __init const char *pvh_text(u64 address)
{
	const char *text = __va(address);
	size_t len;

	if (!address)
		return NULL;
	if (address > EARLY_MAP_SIZE - COMMAND_LINE_SIZE)
		panic("PVH data at 0x%llx is not mapped yet", address);
	for (len = 0; text[len]; len++)
		if (len == COMMAND_LINE_SIZE - 1)
			panic("the command line is too long");
	boot_data_add(address, len + 1);
	return text;
}

/* All modules are reserved in whole pages; the first one is the initrd. */
static __init void pvh_modules(const struct hvm_start_info *info)
{
	const struct hvm_modlist_entry *modules;
	u32 i;

	if (!info->nr_modules)
		return;
	modules = pvh_data(info->modlist_paddr, info->nr_modules * sizeof(*modules));
	for (i = 0; i < info->nr_modules; i++) {
		pvh_text(modules[i].cmdline_paddr);
		if (!modules[i].size)
			continue;
		if (i == 0)
			boot_info.initrd = boot_pages(modules[i].paddr, modules[i].size);
		else
			boot_data_add(modules[i].paddr, modules[i].size);
	}
}

static __init void pvh_cmdline(const struct hvm_start_info *info)
{
	const char *cmdline = pvh_text(info->cmdline_paddr);

	if (cmdline)
		memcpy(boot_command_line, cmdline, strlen(cmdline));
}

/**
 * pvh_parse - fill boot_info, firmware_map and boot_command_line
 * @start_info: where the boot loader says that its tables begin
 */
__init void pvh_parse(phys_addr_t start_info)
{
	const struct hvm_start_info *info = pvh_data(start_info, sizeof(*info));

	if (info->magic != HVM_START_MAGIC)
		panic("no PVH start info at 0x%llx", start_info);
	pvh_memmap(info);
	pvh_modules(info);
	pvh_cmdline(info);
}

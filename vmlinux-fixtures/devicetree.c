// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a flattened device tree says: see the Devicetree Specification, and for
 * what counts Linux's drivers/of/fdt.c and drivers/of/of_reserved_mem.c. The
 * tree is checked as a whole before anything of it is read.
 */
#include "boot_info.h"
#include "devicetree.h"
#include "init.h"
#include "printk.h"
#include "string.h"

#include <libfdt.h>

static const void *tree __initdata;

/* @error is one of libfdt's, below 0. */
static __init void __noreturn bad_tree(const char *what, int error)
{
	panic("device tree: %s: %s", what, fdt_strerror(error));
}

/* Find the value of a property; NULL: @node has none of this name. */
static __init const void *property(int node, const char *name, int *len)
{
	const void *value = fdt_getprop(tree, node, name, len);

	if (!value && *len != -FDT_ERR_NOTFOUND)
		bad_tree(name, *len);
	return value;
}

static __init bool has_text(int node, const char *name, const char *text)
{
	int len;
	const char *value = property(node, name, &len);

	return value && len == (int)strlen(text) + 1 && !memcmp(value, text, len);
}

/* Disabled nodes say nothing. */
static __init bool enabled(int node)
{
	int len;

	return !property(node, "status", &len) || has_text(node, "status", "okay") ||
	       has_text(node, "status", "ok");
}

/* A number of one cell or two. */
static __init u64 read_cells(const fdt32_t *cell, int cells)
{
	return cells == 1 ? fdt32_ld(cell) : (u64)fdt32_ld(cell) << 32 | fdt32_ld(cell + 1);
}

static __init int cells_of(const char *what, int cells)
{
	if (cells < 0)
		bad_tree(what, cells);
	if (cells != 1 && cells != 2)
		panic("device tree: %s: %d cells", what, cells);
	return cells;
}

/* Call @add for each (base, size) of a property, which has the cells of @parent. */
static __init void each_range(int parent, int node, const char *name,
			      void (*add)(u64 base, u64 size))
{
	int base_cells = cells_of("#address-cells", fdt_address_cells(tree, parent));
	int size_cells = cells_of("#size-cells", fdt_size_cells(tree, parent));
	int len, cells;
	const fdt32_t *cell = property(node, name, &len);
	u64 size;

	if (!cell)
		return;
	for (cells = len / (int)sizeof(*cell); cells >= base_cells + size_cells;
	     cells -= base_cells + size_cells) {
		size = read_cells(cell + base_cells, size_cells);
		if (size)
			add(read_cells(cell, base_cells), size);
		cell += base_cells + size_cells;
	}
}

static __init void add_ram(u64 base, u64 size)
{
	firmware_map_add(base, size, FIRMWARE_RAM);
}

/* Nobody may map it: it is no memory. */
static __init void add_no_map(u64 base, u64 size)
{
	firmware_map_add(base, size, FIRMWARE_RESERVED);
}

static __init void scan_memory(void)
{
	int node, len;

	fdt_for_each_subnode(node, tree, 0) {
		if (!has_text(node, "device_type", "memory") || !enabled(node))
			continue;
		if (property(node, "linux,usable-memory", &len))
			each_range(0, node, "linux,usable-memory", add_ram);
		else
			each_range(0, node, "reg", add_ram);
	}
	if (!firmware_map.nr)
		panic("device tree: no memory in it");
}

/* Of nodes without "reg" the kernel may choose the place: nothing asks for theirs here. */
static __init void scan_reserved_memory(void)
{
	int parent = fdt_path_offset(tree, "/reserved-memory"), node, len;

	if (parent == -FDT_ERR_NOTFOUND)
		return;
	if (parent < 0)
		bad_tree("/reserved-memory", parent);
	fdt_for_each_subnode(node, tree, parent)
		if (enabled(node))
			each_range(parent, node, "reg",
				   property(node, "no-map", &len) ? add_no_map : boot_data_add);
}

static __init void scan_reservations(void)
{
	uint64_t base, size;
	int i, error;

	for (i = 0; i < fdt_num_mem_rsv(tree); i++) {
		error = fdt_get_mem_rsv(tree, i, &base, &size);
		if (error)
			bad_tree("memory reservation block", error);
		if (size)
			boot_data_add(base, size);
	}
}

/* Read an address that the boot loader wrote, in as many cells as it liked. */
static __init bool chosen_address(int chosen, const char *name, u64 *address)
{
	int len;
	const fdt32_t *cell = property(chosen, name, &len);

	if (cell)
		*address = read_cells(cell, cells_of(name, len / (int)sizeof(*cell)));
	return cell;
}

static __init void scan_chosen(void)
{
	int chosen = fdt_path_offset(tree, "/chosen"), len;
	const char *text;
	u64 start, end;

	if (chosen == -FDT_ERR_NOTFOUND)
		return;
	if (chosen < 0)
		bad_tree("/chosen", chosen);
	text = property(chosen, "bootargs", &len);
	if (text && len > COMMAND_LINE_SIZE)
		panic("the command line is too long");
	if (text && len) {
		memcpy(boot_command_line, text, len);
		boot_command_line[len - 1] = '\0';
	}
	if (chosen_address(chosen, "linux,initrd-start", &start) &&
	    chosen_address(chosen, "linux,initrd-end", &end) && start < end)
		boot_info.initrd = boot_pages(start, end - start);
}

/**
 * devicetree_parse - fill boot_info, firmware_map and boot_command_line
 * @address: where the boot loader put the tree, physical
 * @mapped: where that is mapped: a place of its own, as boot loaders put trees anywhere
 * @room: how many bytes of it are
 */
noinline __init void devicetree_parse(phys_addr_t address, const void *mapped, size_t room)
{
	int error = fdt_check_full(mapped, room);

	if (error)
		bad_tree(error == -FDT_ERR_TRUNCATED ? "cut off, or too large" : "damaged", error);
	tree = mapped;
	boot_info.fdt = boot_pages(address, fdt_totalsize(tree));
	scan_memory();
	scan_reserved_memory();
	scan_reservations();
	scan_chosen();
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel makes of device trees: devicetree-64 FILE... prints it for
 * each, and the last line of a panic where it would stop.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../boot_info.h"
#include "../devicetree.h"
#include "../printk.h"

#define TREE_AT	(16 * PAGE_SIZE)

static void *tree;
static size_t tree_size;
static jmp_buf panicked;

void panic(const char *fmt, ...)
{
	va_list args;

	printf("panic: ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	longjmp(panicked, 1);
}

static void print(const char *what, u64 base, u64 size)
{
	if (size)
		printf("%s 0x%llx 0x%llx\n", what, base, size);
}

static void print_boot_info(void)
{
	unsigned int i;

	for (i = 0; i < firmware_map.nr; i++)
		print(firmware_map.ranges[i].type == FIRMWARE_RAM ? "ram" : "no-map",
		      firmware_map.ranges[i].base, firmware_map.ranges[i].size);
	for (i = 0; i < boot_info.nr_boot_data; i++)
		print("reserved", boot_info.boot_data[i].base, boot_info.boot_data[i].size);
	print("initrd", boot_info.initrd.base, boot_info.initrd.size);
	print("fdt", boot_info.fdt.base, boot_info.fdt.size);
	printf("bootargs %s\n", boot_command_line);
}

static void read_tree(const char *path)
{
	FILE *file = fopen(path, "rb");
	long size;

	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0)
		exit(2);
	rewind(file);
	/* no byte more than there are, so that a read past them is noticed */
	tree = malloc(size);
	if (!tree || fread(tree, 1, size, file) != (size_t)size)
		exit(2);
	fclose(file);
	tree_size = size;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		memset(&boot_info, 0, sizeof(boot_info));
		memset(&firmware_map, 0, sizeof(firmware_map));
		memset(boot_command_line, 0, sizeof(boot_command_line));
		read_tree(argv[i]);
		printf("tree %s\n", argv[i]);
		if (!setjmp(panicked)) {
			devicetree_parse(TREE_AT, tree, tree_size);
			print_boot_info();
		}
		free(tree);
	}
	return 0;
}

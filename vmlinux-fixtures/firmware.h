/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the firmware said about physical memory, kept as it was said: the
 * memory list must always be a subset of the RAM in it.
 */
#ifndef FIXTURE_FIRMWARE_H
#define FIXTURE_FIRMWARE_H

#include "types.h"

/* The types are e820's; PVH uses the same numbers. */
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

extern struct firmware_map firmware_map;

#endif

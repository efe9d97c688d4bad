/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of the firmware's map is RAM that can be used. */
#ifndef FIXTURE_FIRMWARE_H
#define FIXTURE_FIRMWARE_H

#include "boot_info.h"

/**
 * struct firmware_ram - a walk of RAM in a firmware map
 * @range: the last piece, whole pages
 * @entry: of the map, where the walk is; its own
 * @pos: how far it has come there; its own
 */
struct firmware_ram {
	struct lmb_range range;
	unsigned int entry;
	u64 pos;
};

bool firmware_next_ram(const struct firmware_map *map, struct firmware_ram *ram);

#endif

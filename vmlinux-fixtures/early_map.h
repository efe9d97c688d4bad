/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device tree, in the tables that the kernel starts with, as page_table.h has them. */
#ifndef FIXTURE_EARLY_MAP_H
#define FIXTURE_EARLY_MAP_H

#include "types.h"

void read_device_tree(u64 *pmd, unsigned int index, phys_addr_t fdt);

#endif

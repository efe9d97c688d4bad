/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a flattened device tree says about memory and the command line. */
#ifndef FIXTURE_DEVICETREE_H
#define FIXTURE_DEVICETREE_H

#include "types.h"

/* What is mapped of a tree, wherever it begins; Linux's MAX_FDT_SIZE. */
#define DEVICE_TREE_MAX	(2 << 20)

void devicetree_parse(phys_addr_t address, const void *mapped, size_t room);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a flattened device tree says about memory and the command line. */
#ifndef FIXTURE_DEVICETREE_H
#define FIXTURE_DEVICETREE_H

#include "types.h"

void devicetree_parse(phys_addr_t address);

#endif

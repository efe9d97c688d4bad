/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work for the allocator beyond a boot's own. */
#ifndef FIXTURE_SCENARIO_H
#define FIXTURE_SCENARIO_H

#include "types.h"

void scenario_random(unsigned long ops, unsigned long seed);
void scenario_fill(unsigned long nr, unsigned long seed, bool random_order);

#endif

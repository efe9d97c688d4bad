/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The direct map of all RAM, as page_table.h has it. */
#ifndef FIXTURE_DIRECT_MAP_H
#define FIXTURE_DIRECT_MAP_H

#include "types.h"

void unmap_stack_guard(u64 *pmd, unsigned long map);

#endif

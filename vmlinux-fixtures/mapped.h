/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of physical memory the allocator can reach. */
#ifndef FIXTURE_MAPPED_H
#define FIXTURE_MAPPED_H

#include "types.h"

/* No address at or above this is mapped: all RAM below it is. */
extern phys_addr_t mapped_end;
/* The page right after the BSS. */
extern phys_addr_t mapped_klimit;

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Physical and virtual addresses, both ways. */
#ifndef FIXTURE_POWERPC_ADDRESS_H
#define FIXTURE_POWERPC_ADDRESS_H

#include "../../types.h"
#include "asm.h"

#define CHUNK_SIZE	(1UL << CHUNK_SHIFT)

/* No address of memory at or above this is mapped: all RAM below it is. */
extern phys_addr_t arch_map_end;

static inline void *__va(phys_addr_t address)
{
	return (void *)(unsigned long)(DIRECT_MAP + address);
}

static inline phys_addr_t __pa(const void *p)
{
	return (unsigned long)p - DIRECT_MAP;
}

#endif

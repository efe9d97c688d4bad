/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Physical and virtual addresses, both ways. */
#ifndef FIXTURE_POWERPC_ADDRESS_H
#define FIXTURE_POWERPC_ADDRESS_H

#include "../../types.h"
#include "asm.h"

#define CHUNK_SIZE	(1UL << CHUNK_SHIFT)

static inline void *__va(phys_addr_t address)
{
	return (void *)(unsigned long)(DIRECT_MAP + address);
}

#endif

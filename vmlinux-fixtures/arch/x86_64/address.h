/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Physical and virtual addresses, both ways. */
#ifndef FIXTURE_X86_64_ADDRESS_H
#define FIXTURE_X86_64_ADDRESS_H

#include "../../types.h"
#include "asm.h"

#define DIRECT_MAP_BASE	((unsigned long)DIRECT_MAP)

static inline void *__va(phys_addr_t address)
{
	return (void *)(DIRECT_MAP_BASE + address);
}

/* For symbols of the image, which lies in a map of its own. */
static inline phys_addr_t __pa_symbol(const void *p)
{
	return (unsigned long)p - KERNEL_MAP;
}

#endif

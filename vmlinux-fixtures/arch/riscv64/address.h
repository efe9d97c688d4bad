/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Physical and virtual addresses, both ways: the image lies in the direct map. */
#ifndef FIXTURE_RISCV64_ADDRESS_H
#define FIXTURE_RISCV64_ADDRESS_H

#include "../../types.h"
#include "asm.h"

static inline void *__va(phys_addr_t address)
{
	return (void *)((unsigned long)DIRECT_MAP + address);
}

static inline phys_addr_t __pa(const void *p)
{
	return (unsigned long)p - DIRECT_MAP;
}

#endif

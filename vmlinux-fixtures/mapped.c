// SPDX-License-Identifier: GPL-2.0-or-later
/* What of physical memory the allocator can reach. */
#include "arch.h"
#include "lmb_platform.h"
#include "mapped.h"

phys_addr_t mapped_end, mapped_klimit;

void *lmb_arch_map(phys_addr_t base, phys_addr_t size)
{
	if (base >= mapped_end || size > mapped_end - base)
		return NULL;
	return arch_va(base);
}

phys_addr_t lmb_arch_klimit(void)
{
	return mapped_klimit;
}

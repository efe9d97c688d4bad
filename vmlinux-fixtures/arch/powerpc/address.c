// SPDX-License-Identifier: GPL-2.0-or-later
/* Where physical memory is mapped, and where there is none. */
#include "../../arch.h"
#include "../../lmb_platform.h"
#include "address.h"

#ifdef CONFIG_LMB_KLIMIT
extern char __klimit[];		/* from the linker script */
#endif

/* The page with the console's registers, which lies where arch_va() of this does. */
const phys_addr_t arch_device_base = CONSOLE_MAP - DIRECT_MAP;
/* Above what is mapped of any memory. */
const phys_addr_t arch_hole_base = HOLE_MAP - DIRECT_MAP;

void *arch_va(phys_addr_t address)
{
	return __va(address);
}

phys_addr_t arch_map_end = CHUNK_SIZE;

void *lmb_arch_map(phys_addr_t base, phys_addr_t size)
{
	if (base >= arch_map_end || size > arch_map_end - base)
		return NULL;
	return __va(base);
}

phys_addr_t lmb_arch_klimit(void)
{
#ifdef CONFIG_LMB_KLIMIT
	return __pa(__klimit);
#else
	return 0;
#endif
}

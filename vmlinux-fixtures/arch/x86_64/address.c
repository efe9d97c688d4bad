// SPDX-License-Identifier: GPL-2.0-or-later
/* Where physical memory is mapped, and where there is none. */
#include "../../arch.h"
#include "../../lmb_platform.h"
#include "address.h"

#ifdef CONFIG_LMB_KLIMIT
extern char __klimit[];		/* from the linker script */
#endif

/* VGA's memory, which lies among the RAM that the direct map holds. */
const phys_addr_t arch_device_base = 0xa0000;
/* The I/O APIC's registers, above the RAM of these small machines. */
const phys_addr_t arch_hole_base = 0xfec00000;

void *arch_va(phys_addr_t address)
{
	return __va(address);
}

phys_addr_t arch_map_end = EARLY_MAP_SIZE;

void *lmb_arch_map(phys_addr_t base, phys_addr_t size)
{
	if (base >= arch_map_end || size > arch_map_end - base)
		return NULL;
	return __va(base);
}

phys_addr_t lmb_arch_klimit(void)
{
#ifdef CONFIG_LMB_KLIMIT
	return __pa_symbol(__klimit);
#else
	return 0;
#endif
}

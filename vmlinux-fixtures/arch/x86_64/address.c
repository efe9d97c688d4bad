// SPDX-License-Identifier: GPL-2.0-or-later
/* Where physical memory is mapped, and where there is none. */
#include "../../arch.h"
#include "address.h"

/* VGA's memory, which lies among the RAM that the direct map holds. */
const phys_addr_t arch_device_base = 0xa0000;
/* The I/O APIC's registers, above the RAM of these small machines. */
const phys_addr_t arch_hole_base = 0xfec00000;

void *arch_va(phys_addr_t address)
{
	return __va(address);
}

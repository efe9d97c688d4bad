// SPDX-License-Identifier: GPL-2.0-or-later
/* Where physical memory is mapped, and where there is none. */
#include "../../arch.h"
#include "address.h"

/* The page with the console's registers, which lies where arch_va() of this does. */
const phys_addr_t arch_device_base = CONSOLE_MAP - DIRECT_MAP;
/* Above what is mapped of any memory. */
const phys_addr_t arch_hole_base = HOLE_MAP - DIRECT_MAP;

void *arch_va(phys_addr_t address)
{
	return __va(address);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Machines with e5500, as ppce500. */
#include "../powerpc/machine.h"
#include "../powerpc/tlb_e500.h"

void tlb_set(unsigned int entry, const struct mapping *mapping)
{
	tlb_e500_set(entry, mapping);
}

u64 machine_console(void)
{
	return 0xfe0004500;
}

void machine_halt(void)
{
	for (;;)
		__asm__ __volatile__("wait");
}

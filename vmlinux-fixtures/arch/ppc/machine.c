// SPDX-License-Identifier: GPL-2.0-or-later
/* The two kinds of machines: with e500v2, as ppce500, and with 440, as bamboo. */
#include "../powerpc/machine.h"
#include "../powerpc/registers.h"
#include "../powerpc/tlb_e500.h"
#include "tlb_44x.h"

#define E500_CONSOLE	0xfe0004500ULL
#define BAMBOO_CONSOLE	0xef600300ULL

/* As in head.S. */
static bool is_e500(void)
{
	return mfspr(SPRN_PVR) >> 31;
}

void tlb_set(unsigned int entry, const struct mapping *mapping)
{
	if (is_e500())
		tlb_e500_set(entry, mapping);
	else
		tlb_44x_set(entry, mapping);
}

u64 machine_console(void)
{
	return is_e500() ? E500_CONSOLE : BAMBOO_CONSOLE;
}

void machine_halt(void)
{
	unsigned long msr;

	if (is_e500())
		mtspr(SPRN_HID0, mfspr(SPRN_HID0) | HID0_DOZE);
	__asm__ __volatile__("mfmsr %0" : "=r" (msr));
	__asm__ __volatile__("mtmsr %0; b ." : : "r" (msr | MSR_WE));
	__builtin_unreachable();
}

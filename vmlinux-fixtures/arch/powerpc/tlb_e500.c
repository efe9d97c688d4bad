// SPDX-License-Identifier: GPL-2.0-or-later
/* TLB1 of e500 and its successors: pages of any size, which software alone replaces. */
#include "registers.h"
#include "tlb_e500.h"

void tlb_e500_set(unsigned int entry, const struct mapping *mapping)
{
	mtspr(SPRN_MAS0, MAS0_TLB1(entry));
	mtspr(SPRN_MAS1, mapping->shift ? MAS1_VALID | MAS1_SIZE(mapping->shift) : 0);
	mtspr(SPRN_MAS2, mapping->va | (mapping->device ? MAS2_DEVICE : 0));
	mtspr(SPRN_MAS3, (u32)mapping->pa | MAS3_KERNEL);
	mtspr(SPRN_MAS7, mapping->pa >> 32);
	__asm__ __volatile__(".machine push; .machine e500\n\t"
			     "isync; tlbwe; isync\n\t"
			     ".machine pop" : : : "memory");
}

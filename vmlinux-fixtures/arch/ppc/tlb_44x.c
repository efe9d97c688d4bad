// SPDX-License-Identifier: GPL-2.0-or-later
/* The TLB of 440: 64 entries, which software alone replaces. */
#include "../powerpc/registers.h"
#include "tlb_44x.h"

/* Word @word of @entry. */
#define tlbwe(entry, word, value)					\
	__asm__ __volatile__(".machine push; .machine \"440\"\n\t"		\
			     "tlbwe %0, %1, %2; isync\n\t"		\
			     ".machine pop"				\
			     : : "r" (value), "r" (entry), "n" (word) : "memory")

void tlb_44x_set(unsigned int entry, const struct mapping *mapping)
{
	u32 place = mapping->shift ? PPC440_VALID | PPC440_SIZE(mapping->shift) : 0;

	/* not valid before it is complete */
	tlbwe(entry, 0, 0);
	tlbwe(entry, 2, PPC440_KERNEL | (mapping->device ? PPC440_DEVICE : 0));
	tlbwe(entry, 1, (u32)mapping->pa | (u32)(mapping->pa >> 32));
	tlbwe(entry, 0, (u32)mapping->va | place);
}

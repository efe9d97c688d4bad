/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ppc and ppc64 provide, each for its machines. */
#ifndef FIXTURE_POWERPC_MACHINE_H
#define FIXTURE_POWERPC_MACHINE_H

#include "../../types.h"

/**
 * struct mapping - what an entry of the TLB maps
 * @va: virtual address, a multiple of the size
 * @pa: physical address, a multiple of the size; above 4 GiB too where
 *	phys_addr_t cannot tell
 * @shift: the size's logarithm, an even number; 0: the entry maps nothing
 * @device: not cached
 */
struct mapping {
	unsigned long va;
	u64 pa;
	unsigned int shift;
	bool device;
};

/**
 * tlb_set - set an entry that only this kernel replaces
 * @entry: its number
 * @mapping: what it maps from now on
 */
void tlb_set(unsigned int entry, const struct mapping *mapping);

/* Physical address of the console's registers, those of a 16550. */
u64 machine_console(void);

/* Wait for an interrupt, none of which is enabled. */
void machine_halt(void) __noreturn;

#endif

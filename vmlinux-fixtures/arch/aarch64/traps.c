// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every exception goes to its code in entry.S, and has a stack of its own there:
 * the kernel runs on that of EL0, of which exceptions at EL1 are independent.
 */
#include "../../direct_map.h"
#include "asm.h"
#include "entry.h"
#include "page_tables.h"
#include "traps.h"

/**
 * traps_init - catch every exception from here on
 */
void traps_init(void)
{
	__asm__ __volatile__("msr vbar_el1, %0; isb" : : "r" (exception_vectors));
	unmap_stack_guard(early_pmd, KERNEL_MAP);
}

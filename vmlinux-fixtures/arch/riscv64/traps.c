// SPDX-License-Identifier: GPL-2.0-or-later
/* Every exception goes to entry.S, and has a stack of its own there. */
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
	__asm__ __volatile__("csrw stvec, %0" : : "r" (exception_entry));
	unmap_stack_guard(early_pmd, KERNEL_MAP);
}

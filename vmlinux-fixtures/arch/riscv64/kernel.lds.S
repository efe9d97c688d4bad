/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "asm.h"

OUTPUT_ARCH(riscv)
ENTRY(start_physical)
start_physical = start - KERNEL_MAP;

/* Entries have the address shifted, which no relocation can do. */
#define ENTRY_OF(table) ((table - KERNEL_MAP) >> 2) + PTE_TABLE
early_pmd_entry = ENTRY_OF(early_pmd);
early_device_pmd_entry = ENTRY_OF(early_device_pmd);

SECTIONS
{
	.riscv.attributes 0 : { *(.riscv.attributes) }
}

#include "../../kernel.lds.h"

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first GiB, three times: where it is physically, until the jump to
 * startup_64 is made; in the direct map; and where the image is linked.
 */
#include "asm.h"

#define PA(symbol)	(symbol - KERNEL_MAP)

	.section .early_page_tables, "aw"
	.align	4096
	.globl	early_pml4
	.type	early_pml4, @object
early_pml4:
	.quad	PA(early_pud) + PTE_TABLE
	.fill	DIRECT_MAP_PML4 - 1, 8, 0
	.quad	PA(early_pud) + PTE_TABLE
	.fill	KERNEL_MAP_PML4 - DIRECT_MAP_PML4 - 1, 8, 0
	.quad	PA(early_kernel_pud) + PTE_TABLE
	.size	early_pml4, . - early_pml4
early_pud:
	.quad	PA(early_pmd) + PTE_TABLE
	.fill	511, 8, 0
early_kernel_pud:
	.fill	KERNEL_MAP_PUD, 8, 0
	.quad	PA(early_pmd) + PTE_TABLE
	.quad	0
	.globl	early_pmd
	.type	early_pmd, @object
early_pmd:
	.set	page, 0
	.rept	512
	.quad	page + PTE_PAGE_2M
	.set	page, page + 0x200000
	.endr
	.size	early_pmd, . - early_pmd

	.section .note.GNU-stack, "", @progbits

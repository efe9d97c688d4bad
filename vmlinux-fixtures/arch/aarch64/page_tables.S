/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first GiB of RAM and the UART, twice: where they are physically, until the
 * jump to startup is made, and in the direct map. Both halves have the same tables.
 */
#include "asm.h"

#define PA(symbol)	(symbol - KERNEL_MAP)
#define PMD_SIZE	0x200000

	.section .early_page_tables, "aw"
	.align	12
	.globl	early_pud
	.type	early_pud, @object
early_pud:
	.quad	PA(early_device_pmd) + PTE_TABLE
	.quad	PA(early_pmd) + PTE_TABLE
	.fill	510, 8, 0
	.size	early_pud, . - early_pud
	.globl	early_device_pmd
	.type	early_device_pmd, @object
early_device_pmd:
	.fill	UART_BASE / PMD_SIZE, 8, 0
	.quad	UART_BASE + PTE_DEVICE + PTE_BLOCK
	.fill	511 - UART_BASE / PMD_SIZE, 8, 0
	.size	early_device_pmd, . - early_device_pmd
	.globl	early_pmd
	.type	early_pmd, @object
early_pmd:
	.set	page, RAM_BASE
	.rept	512
	.quad	page + PTE_NORMAL + PTE_BLOCK
	.set	page, page + PMD_SIZE
	.endr
	.size	early_pmd, . - early_pmd

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first GiB of RAM and the UART in the direct map; RAM also where it is
 * physically, until the jump to startup is made.
 */
#include "asm.h"

#define PMD_SIZE	0x200000
#define PUD_SIZE	0x40000000

	.section .early_page_tables, "awx"
	.balign	4096
	.globl	early_pgd
	.type	early_pgd, @object
early_pgd:
	.fill	RAM_BASE / PUD_SIZE, 8, 0
	.quad	early_pmd_entry
	.fill	DIRECT_MAP_PUD - RAM_BASE / PUD_SIZE - 1, 8, 0
	.quad	early_device_pmd_entry
	.fill	RAM_BASE / PUD_SIZE - 1, 8, 0
	.quad	early_pmd_entry
	.fill	511 - DIRECT_MAP_PUD - RAM_BASE / PUD_SIZE, 8, 0
	.size	early_pgd, . - early_pgd
	.globl	early_device_pmd
	.type	early_device_pmd, @object
early_device_pmd:
	.fill	UART_BASE / PMD_SIZE, 8, 0
	.quad	(UART_BASE >> 2) + PTE_LEAF
	.fill	511 - UART_BASE / PMD_SIZE, 8, 0
	.size	early_device_pmd, . - early_device_pmd
	.globl	early_pmd
	.type	early_pmd, @object
early_pmd:
	.set	page, RAM_BASE
	.rept	512
	.quad	(page >> 2) + PTE_LEAF
	.set	page, page + PMD_SIZE
	.endr
	.size	early_pmd, . - early_pmd

	.section .note.GNU-stack, "", @progbits

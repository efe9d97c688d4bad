/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The segments. */
#include "asm.h"

#define PA(symbol)	(symbol - KERNEL_MAP)

	.data
	.align	8
	.globl	gdt
gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* KERNEL_CS: 64-bit code */
	.quad	0, 0			/* KERNEL_TSS: traps_init() */
gdt_end:
	.align	8
	.word	0, 0, 0
	.globl	gdt_pointer, gdt_pointer_low
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt
	.align	8
	.word	0, 0, 0
gdt_pointer_low:
	.word	gdt_end - gdt - 1
	.long	PA(gdt)

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions: save the registers as struct fault_regs on a stack of their own,
 * and call fault_handler(), which does not return. The .cfi lines let a debugger
 * walk from there back to the code that faulted, with its registers: a caller's
 * address is in x30 for it.
 */
#define FRAME	304		/* sizeof(struct fault_regs) */
#define SP_AT	248
#define PC_AT	256
#define ESR_AT	272
#define VECTOR_AT	288

	.cfi_sections .debug_frame
	.text

	.align	11
	.globl	exception_vectors
	.type	exception_vectors, @function
exception_vectors:
	.irp	number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	.align	7
	sub	sp, sp, #FRAME
	stp	x0, x1, [sp]
	mov	x1, #\number
	b	exception_common
	.endr
	.size	exception_vectors, . - exception_vectors

.macro save first, second, offset
	stp	\first, \second, [sp, #\offset]
	.cfi_rel_offset \first, \offset
	.cfi_rel_offset \second, \offset + 8
.endm

	.type	exception_common, @function
exception_common:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa sp, FRAME
	.cfi_rel_offset x0, 0
	.cfi_rel_offset x1, 8
	save	x2, x3, 16
	save	x4, x5, 32
	save	x6, x7, 48
	save	x8, x9, 64
	save	x10, x11, 80
	save	x12, x13, 96
	save	x14, x15, 112
	save	x16, x17, 128
	save	x18, x19, 144
	save	x20, x21, 160
	save	x22, x23, 176
	save	x24, x25, 192
	save	x26, x27, 208
	save	x28, x29, 224
	mrs	x2, sp_el0
	stp	x30, x2, [sp, #240]
	.cfi_rel_offset sp, SP_AT
	mrs	x2, elr_el1
	mrs	x3, spsr_el1
	stp	x2, x3, [sp, #PC_AT]
	.cfi_rel_offset x30, PC_AT
	mrs	x2, esr_el1
	mrs	x3, far_el1
	stp	x2, x3, [sp, #ESR_AT]
	str	x1, [sp, #VECTOR_AT]
	mov	x0, sp
	bl	fault_handler
1:	wfi
	b	1b
	.cfi_endproc
	.size	exception_common, . - exception_common

	.section .note.GNU-stack, "", @progbits

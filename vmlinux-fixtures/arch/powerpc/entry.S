/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions: save the registers as struct fault_regs, on a stack of their own, and
 * call fault_handler(), which does not return. The .cfi lines let a debugger walk
 * from there back to the code that faulted, with its registers.
 */
#include "asm.h"

#define REG(n)	(FRAME_HEADER + (n) * WORD_BYTES)(r1)

	.cfi_sections .debug_frame

.macro exception vector, from=SPRN_SRR0, state=SPRN_SRR1
	.org	exception_vectors + \vector * EXCEPTION_BYTES
	.type	exception_\vector, @function
exception_\vector:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_undefined lr
	mtspr	SPRN_SPRG0, r1
	LOAD_ADDRESS(r1, fault_stack_end - FRAME_BYTES)
	STORE	r3, REG(3)
	STORE	r4, REG(4)
	mfspr	r3, \from
	mfspr	r4, \state
	STORE	r3, REG(FRAME_NIP)
	STORE	r4, REG(FRAME_MSR)
	li	r3, \vector
	STORE	r3, REG(FRAME_VECTOR)
	b	exception_common
	.cfi_endproc
	.size	exception_\vector, . - exception_\vector
.endm

	/* IVPR has all bits of their addresses but the last 16 */
	.section .text.vectors, "ax"
	.balign	NR_EXCEPTIONS * EXCEPTION_BYTES
exception_vectors:
	exception 0, SPRN_CSRR0, SPRN_CSRR1
	exception 1, SPRN_MCSRR0, SPRN_MCSRR1
	.irp	vector, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	exception \vector
	.endr
	exception 12, SPRN_CSRR0, SPRN_CSRR1
	exception 13
	exception 14
	exception 15, SPRN_CSRR0, SPRN_CSRR1

	.text
	.type	exception_common, @function
exception_common:
	.cfi_startproc
	.cfi_signal_frame
	/* a column of its own, as the return address is not the link register */
	.cfi_return_column 67
	.cfi_def_cfa r1, FRAME_BYTES
	.cfi_rel_offset 67, FRAME_HEADER + FRAME_NIP * WORD_BYTES
	.cfi_rel_offset r1, FRAME_HEADER + WORD_BYTES
	.cfi_rel_offset r3, FRAME_HEADER + 3 * WORD_BYTES
	.cfi_rel_offset r4, FRAME_HEADER + 4 * WORD_BYTES
	.irp	number, 0, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	STORE	r\number, REG(\number)
	.cfi_rel_offset r\number, FRAME_HEADER + \number * WORD_BYTES
	.endr
	mfspr	r3, SPRN_SPRG0
	STORE	r3, REG(1)
	mflr	r3
	STORE	r3, REG(FRAME_LR)
	.cfi_rel_offset lr, FRAME_HEADER + FRAME_LR * WORD_BYTES
	mfctr	r3
	STORE	r3, REG(FRAME_CTR)
	mfxer	r3
	STORE	r3, REG(FRAME_XER)
	mfcr	r3
	STORE	r3, REG(FRAME_CR)
	mfspr	r3, SPRN_ESR
	STORE	r3, REG(FRAME_ESR)
	mfspr	r3, SPRN_DEAR
	STORE	r3, REG(FRAME_DEAR)
	li	STACK_LIMIT, 0
	addi	r3, r1, FRAME_HEADER
	CALL_C(fault_handler)
1:	b	1b
	.cfi_endproc
	.size	exception_common, . - exception_common

	.section .init.text, "ax"
	FUNCTION(catch_exceptions)
	.cfi_startproc
	LOAD_ADDRESS(r4, exception_vectors)
	mtspr	SPRN_IVPR, r4
	.set	vector, 0
	.rept	NR_EXCEPTIONS
	li	r4, (exception_vectors + vector * EXCEPTION_BYTES)@l
	mtspr	SPRN_IVOR0 + vector, r4
	.set	vector, vector + 1
	.endr
	mfmsr	r4
	ori	r4, r4, MSR_ME
	mtmsr	r4
	isync
	blr
	.cfi_endproc
	END_FUNCTION(catch_exceptions)

	.section .note.GNU-stack, "", @progbits

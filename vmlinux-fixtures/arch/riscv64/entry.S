/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions: save the registers as struct fault_regs on a stack of their own,
 * and call fault_handler(), which does not return. The .cfi lines let a debugger
 * walk from there back to the code that faulted, with its registers: a caller's
 * address is in ra for it.
 */
#define FRAME	288		/* sizeof(struct fault_regs) */
#define PC_AT	248
#define STATUS_AT	256
#define CAUSE_AT	264
#define VALUE_AT	272

	.cfi_sections .debug_frame
	.text

.macro save number
	sd	x\number, 8 * (\number - 1)(sp)
	.cfi_rel_offset x\number, 8 * (\number - 1)
.endm

	.balign	4
	.globl	exception_entry
	.type	exception_entry, @function
exception_entry:
	.cfi_startproc
	.cfi_signal_frame
	csrrw	sp, sscratch, sp
	addi	sp, sp, -FRAME
	.cfi_def_cfa sp, FRAME
	sd	ra, 0(sp)
	.irp	number, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	save	\number
	.endr
	csrr	a0, sscratch
	sd	a0, 8(sp)
	.cfi_rel_offset sp, 8
	csrr	a1, sepc
	sd	a1, PC_AT(sp)
	.cfi_rel_offset ra, PC_AT
	csrr	a0, sstatus
	sd	a0, STATUS_AT(sp)
	csrr	a0, scause
	sd	a0, CAUSE_AT(sp)
	csrr	a0, stval
	sd	a0, VALUE_AT(sp)
	/* another exception begins where this one did */
	addi	a0, sp, FRAME
	csrw	sscratch, a0
	mv	a0, sp
	call	fault_handler
1:	wfi
	j	1b
	.cfi_endproc
	.size	exception_entry, . - exception_entry

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions: save the registers as struct fault_regs, and call fault_handler(),
 * which does not return. The .cfi lines let a debugger walk from there back to
 * the code that faulted, with its registers.
 */
	.cfi_sections .debug_frame
	.text

/* The processor pushes an error code for some vectors only. */
.macro exception vector, has_error=0
	.type	exception_\vector, @function
exception_\vector:
	.cfi_startproc
	.cfi_signal_frame
	.if \has_error
	.cfi_def_cfa rsp, 48
	.else
	.cfi_def_cfa rsp, 40
	.endif
	.cfi_offset rip, -40
	.cfi_offset rsp, -16
	.if !\has_error
	pushq	$0
	.cfi_adjust_cfa_offset 8
	.endif
	pushq	$\vector
	.cfi_adjust_cfa_offset 8
	jmp	exception_common
	.cfi_endproc
	.size	exception_\vector, . - exception_\vector
	.pushsection .rodata.exception_table, "a"
	.quad	exception_\vector
	.popsection
.endm

.macro save register
	pushq	%\register
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset \register, 0
.endm

	.section .rodata.exception_table, "a"
	.align	8
	.globl	exception_table
exception_table:
	.text

	.irp	vector, 0, 1, 2, 3, 4, 5, 6, 7
	exception \vector
	.endr
	exception 8, 1
	exception 9
	.irp	vector, 10, 11, 12, 13, 14
	exception \vector, 1
	.endr
	exception 15
	exception 16
	exception 17, 1
	.irp	vector, 18, 19, 20
	exception \vector
	.endr
	exception 21, 1
	.irp	vector, 22, 23, 24, 25, 26, 27, 28
	exception \vector
	.endr
	exception 29, 1
	exception 30, 1
	exception 31

	.type	exception_common, @function
exception_common:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa rsp, 56
	.cfi_offset rip, -40
	.cfi_offset rsp, -16
	save	rdi
	save	rsi
	save	rdx
	save	rcx
	save	rax
	save	r8
	save	r9
	save	r10
	save	r11
	save	rbx
	save	rbp
	save	r12
	save	r13
	save	r14
	save	r15
	cld
	movq	%rsp, %rdi
	call	fault_handler
1:	hlt
	jmp	1b
	.cfi_endproc
	.size	exception_common, . - exception_common

	.section .note.GNU-stack, "", @progbits

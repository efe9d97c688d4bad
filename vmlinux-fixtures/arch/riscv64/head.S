/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entry, and the way from there to the kernel's own addresses: supervisor
 * mode, satp 0, interrupts off, the device tree's address in a1 (Linux's
 * Documentation/arch/riscv/boot.rst). QEMU has firmware jump to the lowest
 * address of an ELF file, so this is in front of all else.
 */
#include "asm.h"

	.cfi_sections .debug_frame

	.section .early_page_tables, "awx"
	.globl	start
	.type	start, @function
start:
	.cfi_startproc
	.cfi_undefined ra
	csrw	sie, zero
	csrci	sstatus, 2
	mv	s0, a1
	la	a0, early_pgd
	srli	a0, a0, 12
	li	a1, SATP_SV39
	or	a0, a0, a1
	sfence.vma
	csrw	satp, a0
	sfence.vma
	ld	a0, 1f
	jr	a0
	.cfi_endproc
	.size	start, . - start
	.balign	8
1:	.quad	startup

	.text
	.type	startup, @function
startup:
	.cfi_startproc
	.cfi_undefined ra		/* nobody called us: a backtrace ends here */
	la	sp, boot_stack_end
	/* exceptions have a stack of their own */
	la	a0, fault_stack_end
	csrw	sscratch, a0
	/* a loader should have done so, and the allocator relies on it */
	la	a0, __bss_start
	la	a1, __bss_end
2:	sd	zero, (a0)
	addi	a0, a0, 8
	bltu	a0, a1, 2b
	mv	a0, s0
	mv	s0, zero
	call	riscv64_start
3:	wfi
	j	3b
	.cfi_endproc
	.size	startup, . - startup

	.section .note.GNU-stack, "", @progbits

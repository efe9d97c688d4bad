/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entry, and the way from there to the kernel's own addresses: MMU off,
 * interrupts off, at EL1 or EL2. In x0 is the device tree's address, as
 * Linux's Documentation/arch/arm64/booting.rst has it, or 0: then it lies where
 * RAM begins, as QEMU leaves it for an ELF file.
 */
#include "asm.h"

#define PA(symbol)	(symbol - KERNEL_MAP)

#define EL2		(2 << 2)
#define HCR_RW		(1 << 31)
#define PSTATE_EL1	0x3c5		/* EL1 with its own stack, all interrupts off */
/* 39 bits and pages of 4 KiB in both halves, cached tables, 48 bits physical */
#define TCR		0x5b5193519
#define SCTLR_MMU	0x30d01805	/* MMU, caches, and what is always one */

	.cfi_sections .debug_frame

	/*
	 * The header by which boot loaders know an Image, of the same document: in
	 * front of the page tables, as this file is linked first, and reserved with them.
	 */
	.section .early_page_tables, "awx"
	.align	12
image_header:
	b	start
	nop
	.quad	0			/* from 2 MiB, as QEMU has code of its own where RAM begins */
	.quad	_end - image_header
	.quad	2			/* little-endian, pages of 4 KiB */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0
	.size	image_header, . - image_header

	.section .head.text, "ax"
	.globl	start
	.type	start, @function
start:
	.cfi_startproc
	.cfi_undefined x30
	msr	daifset, #0xf
	mov	x20, x0
	mrs	x1, CurrentEL
	cmp	x1, #EL2
	b.ne	1f
	mov	x1, #HCR_RW
	msr	hcr_el2, x1
	mov	x1, #PSTATE_EL1
	msr	spsr_el2, x1
	adr	x1, 1f
	msr	elr_el2, x1
	eret
1:	ldr	x1, =PA(early_pud)
	msr	ttbr0_el1, x1
	msr	ttbr1_el1, x1
	ldr	x1, =MAIR
	msr	mair_el1, x1
	ldr	x1, =TCR
	msr	tcr_el1, x1
	isb
	tlbi	vmalle1
	dsb	nsh
	ldr	x1, =SCTLR_MMU
	msr	sctlr_el1, x1
	isb
	ldr	x1, =startup
	br	x1
	.cfi_endproc
	.size	start, . - start
	.ltorg

	.text
	.type	startup, @function
startup:
	.cfi_startproc
	.cfi_undefined x30		/* nobody called us: a backtrace ends here */
	/* exceptions have a stack of their own, that of EL1 */
	ldr	x1, =fault_stack_end
	mov	sp, x1
	msr	spsel, #0
	ldr	x1, =boot_stack_end
	mov	sp, x1
	/* a loader should have done so, and the allocator relies on it */
	ldr	x1, =__bss_start
	ldr	x2, =__bss_end
2:	stp	xzr, xzr, [x1], #16
	cmp	x1, x2
	b.lo	2b
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x20
	bl	aarch64_start
3:	wfi
	b	3b
	.cfi_endproc
	.size	startup, . - startup
	.ltorg

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entry from a PVH boot loader, and the way from there to 64-bit code at
 * its link address. See Xen's docs/misc/pvh.pandoc: 32-bit protected mode,
 * flat segments, paging off, interrupts off, start info in ebx.
 */
#include "asm.h"

#define PA(symbol)	(symbol - KERNEL_MAP)

#define XEN_ELFNOTE_PHYS32_ENTRY	18

#define CR4_PAE		(1 << 5)
#define CR0_PG_WP	((1 << 31) | (1 << 16))
#define MSR_EFER	0xc0000080
#define EFER_LME	(1 << 8)

	.cfi_sections .debug_frame

	.section .note.boot, "a", @note
	.align	4
	.long	4			/* bytes of the name */
	.long	8			/* bytes of the value */
	.long	XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.quad	PA(pvh_start)

	.section .head.text, "ax"
	.code32
	.globl	pvh_start
	.type	pvh_start, @function
pvh_start:
	.cfi_startproc
	.cfi_undefined 16		/* rip, by number as this is 32-bit code */
	cli
	cld
	lgdt	PA(gdt_pointer_low)
	movl	$PA(early_pml4), %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$CR0_PG_WP, %eax
	movl	%eax, %cr0
	ljmpl	$KERNEL_CS, $PA(startup_64_low)
	.cfi_endproc
	.size	pvh_start, . - pvh_start

	.code64
	.type	startup_64_low, @function
startup_64_low:
	.cfi_startproc
	.cfi_undefined rip
	movq	$startup_64, %rax
	jmpq	*%rax
	.cfi_endproc
	.size	startup_64_low, . - startup_64_low

	.text
	.globl	startup_64
	.type	startup_64, @function
startup_64:
	.cfi_startproc
	.cfi_undefined rip		/* nobody called us: a backtrace ends here */
	lgdt	gdt_pointer
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	/* a loader should have done so, and the allocator relies on it */
	movq	$__bss_start, %rdi
	movq	$__bss_end, %rcx
	subq	%rdi, %rcx
	rep stosb
	movq	$boot_stack_end, %rsp
	xorl	%ebp, %ebp
	movl	%ebx, %edi
	call	x86_64_start
1:	hlt
	jmp	1b
	.cfi_endproc
	.size	startup_64, . - startup_64

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entry from QEMU as a boot loader: where the image lies physically, mapped
 * one to one by TLB1's entry 0, the device tree's address in r3, addresses of 32
 * bits. See ePAPR, "Boot Requirements".
 */
#include "../powerpc/asm.h"

	.cfi_sections .debug_frame

	.section .head.text, "ax"
	.globl	_start
	.type	_start, @function
_start:
	.cfi_startproc
	.cfi_undefined lr
	mfmsr	r4
	oris	r4, r4, MSR_CM@h
	mtmsr	r4
	isync
	mfspr	r4, SPRN_EPCR
	oris	r4, r4, EPCR_ICM@h
	mtspr	SPRN_EPCR, r4
	clrldi	r3, r3, 32
	lis	r4, MAS0_TLB1(TLB_IMAGE)@h
	mtspr	SPRN_MAS0, r4
	lis	r4, (MAS1_VALID | MAS1_SIZE(CHUNK_SHIFT))@h
	ori	r4, r4, (MAS1_VALID | MAS1_SIZE(CHUNK_SHIFT))@l
	mtspr	SPRN_MAS1, r4
	LOAD_ADDRESS(r4, DIRECT_MAP)
	mtspr	SPRN_MAS2, r4
	li	r4, MAS3_KERNEL
	mtspr	SPRN_MAS3, r4
	li	r4, 0
	mtspr	SPRN_MAS7, r4
	isync
	tlbwe
	isync
	LOAD_ADDRESS(r4, start_mapped)
	mtctr	r4
	bctr
	.cfi_endproc
	.size	_start, . - _start

	.text
	.type	start_mapped, @function
start_mapped:
	.cfi_startproc
	.cfi_undefined lr		/* nobody called us: a backtrace ends here */
	/* a loader should have done so, and the allocator relies on it */
	LOAD_ADDRESS(r4, __bss_start - 8)
	LOAD_ADDRESS(r5, __bss_end - 8)
	li	r6, 0
1:	stdu	r6, 8(r4)
	cmpld	r4, r5
	blt	1b
	LOAD_ADDRESS(r1, boot_stack_end - 128)
	std	r6, 0(r1)
	LOAD_ADDRESS(STACK_LIMIT, boot_stack_guard + 4096)
	CALL_C(powerpc_start)
1:	b	1b
	.cfi_endproc
	.size	start_mapped, . - start_mapped

	.section .note.GNU-stack, "", @progbits

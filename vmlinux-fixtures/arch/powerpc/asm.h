/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things are on PowerPC, and its registers; also for assembly and for the linker script. */
#ifndef FIXTURE_POWERPC_ASM_H
#define FIXTURE_POWERPC_ASM_H

/* Virtual address of physical 0. The image lies in the same map. */
#ifdef __powerpc64__
#define DIRECT_MAP	0xc000000000000000
#define CHUNK_SHIFT	30			/* what one TLB entry maps of memory */
#define NR_CHUNKS	60			/* so much of it is mapped, the rest is not */
#define TREE_MAP	0xc000000fc0000000	/* virtual address of the device tree's two pages */
#define CONSOLE_MAP	0xc000000fe0004000	/* virtual address of the console's page */
#define HOLE_MAP	0xc000000ff0000000	/* nothing is mapped there */
#else
#define DIRECT_MAP	0xc0000000
#define CHUNK_SHIFT	28
#define NR_CHUNKS	3
#define TREE_MAP	0xf0000000
#define CONSOLE_MAP	0xfe000000
#define HOLE_MAP	0xf8000000
#endif
#define KERNEL_MAP	DIRECT_MAP
#define KERNEL_LOAD	0x400000		/* physical address of the image */

/* Entries of the TLB, those of TLB1 on e500: the boot loader's map is entry 0. */
#define TLB_BOOT	0
#define TLB_IMAGE	1			/* the first chunk */
#define TLB_CONSOLE	(TLB_IMAGE + NR_CHUNKS)
#define TLB_TREE	(TLB_CONSOLE + 1)	/* and the next */

/* Special purpose registers. */
#define SPRN_SRR0	26
#define SPRN_SRR1	27
#define SPRN_CSRR0	58
#define SPRN_CSRR1	59
#define SPRN_DEAR	61
#define SPRN_ESR	62
#define SPRN_IVPR	63
#define SPRN_SPRG0	272
#define SPRN_PVR	287
#define SPRN_EPCR	307
#define SPRN_IVOR0	400
#define SPRN_MCSRR0	570
#define SPRN_MCSRR1	571
#define SPRN_MAS0	624
#define SPRN_MAS1	625
#define SPRN_MAS2	626
#define SPRN_MAS3	627
#define SPRN_MAS7	944
#define SPRN_MMUCR	946
#define SPRN_HID0	1008

#define MSR_CM		(1 << 31)		/* 64-bit addresses */
#define MSR_WE		0x00040000		/* wait for an interrupt */
#define MSR_ME		0x00001000		/* machine checks are exceptions */
#define EPCR_ICM	0x02000000		/* MSR_CM in exceptions */
#define HID0_DOZE	0x00800000		/* what MSR_WE does */
#define ESR_PTR		0x02000000		/* a trap instruction */

/* TLB entries of e500 */
#define MAS0_TLB1(n)	(0x10000000 | (n) << 16)
#define MAS1_VALID	0xc0000000		/* and none of the invalidations takes it out */
#define MAS1_SIZE(shift) (((shift) - 10) / 2 << 8)
#define MAS2_DEVICE	0x0a			/* not cached, guarded */
#define MAS3_KERNEL	0x15			/* read, write, execute */

/* and of 440, in three words */
#define PPC440_VALID	0x200
#define PPC440_SIZE(shift) (((shift) - 10) / 2 << 4)
#define PPC440_DEVICE	0x500
#define PPC440_KERNEL	0x007

#define NR_EXCEPTIONS	16
#define EXCEPTION_BYTES	128			/* of each one's code */

/* struct fault_regs, in words, above the frame of fault_handler()'s caller */
#ifdef __powerpc64__
#define WORD_BYTES	8
#else
#define WORD_BYTES	4
#endif
#define FRAME_HEADER	(16 * WORD_BYTES)
#define FRAME_NIP	32
#define FRAME_MSR	33
#define FRAME_LR	34
#define FRAME_CTR	35
#define FRAME_XER	36
#define FRAME_CR	37
#define FRAME_ESR	38
#define FRAME_DEAR	39
#define FRAME_VECTOR	40
#define FRAME_BYTES	(FRAME_HEADER + 48 * WORD_BYTES)

#ifdef __ASSEMBLER__
/* -fstack-limit-register: below its address a function traps */
#ifdef __powerpc64__
#define STACK_LIMIT	r13
#else
#define STACK_LIMIT	r2
#endif

/*
 * LOAD_ADDRESS: without the help of another register
 * CALL_C: a function that never returns
 * FUNCTION, END_FUNCTION: before the first instruction of one that C calls, and after the last
 */
#ifdef __powerpc64__
#define LOAD_ADDRESS(register, symbol)		\
	lis	register, (symbol)@highest;	\
	ori	register, register, (symbol)@higher; \
	sldi	register, register, 32;		\
	oris	register, register, (symbol)@high; \
	ori	register, register, (symbol)@l
#define STORE	std
#define CALL_C(function)			\
	LOAD_ADDRESS(r12, function);		\
	ld	r2, 8(r12);			\
	ld	r12, 0(r12);			\
	mtctr	r12;				\
	bctrl
#define FUNCTION(name)				\
	.pushsection .opd, "aw";		\
	.globl	name;				\
name:	.quad	.L##name, .TOC.@tocbase, 0;	\
	.popsection;				\
	.type	name, @function;		\
.L##name:
#define END_FUNCTION(name)			\
	.size	name, . - .L##name
#else
#define LOAD_ADDRESS(register, symbol)		\
	lis	register, (symbol)@h;		\
	ori	register, register, (symbol)@l
#define STORE	stw
#define CALL_C(function)			\
	bl	function
#define FUNCTION(name)				\
	.globl	name;				\
	.type	name, @function;		\
name:
#define END_FUNCTION(name)			\
	.size	name, . - name
#endif
#endif

#endif

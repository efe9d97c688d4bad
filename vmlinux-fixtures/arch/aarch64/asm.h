/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things are on AArch64; also for assembly and for the linker script. */
#ifndef FIXTURE_AARCH64_ASM_H
#define FIXTURE_AARCH64_ASM_H

#define DIRECT_MAP	0xffffff8000000000	/* virtual address of physical 0: of 39 bits, the upper half */
#define KERNEL_MAP	DIRECT_MAP		/* the image is mapped there only */
#define RAM_BASE	0x40000000		/* of QEMU's virt machine */
#define KERNEL_LOAD	0x40200000		/* physical address of the image */
#define EARLY_MAP_SIZE	0x40000000		/* what the page tables in the image map of RAM */
#define UART_BASE	0x09000000		/* PL011, physical */
#define TREE_PMD	510			/* the device tree's two slots among the devices' */

#define PTE_TABLE	0x003
#define PTE_BLOCK	0x001
#define PTE_PAGE	0x003
#define PTE_NORMAL	0x700			/* accessed, inner shareable, MAIR's attributes 0 */
#define PTE_DEVICE	0x404			/* accessed, MAIR's attributes 1 */
#define MAIR		0x00ff			/* 0: write-back, 1: device, in order */

#endif

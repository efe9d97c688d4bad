/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things are on RISC-V; also for assembly and for the linker script. */
#ifndef FIXTURE_RISCV64_ASM_H
#define FIXTURE_RISCV64_ASM_H

#define DIRECT_MAP	0xffffffc000000000	/* virtual address of physical 0: Sv39's upper half */
#define KERNEL_MAP	DIRECT_MAP		/* the image is mapped there only */
#define DIRECT_MAP_PUD	256			/* its first slot in the top-level table */
#define KERNEL_LOAD	0x80200000		/* physical address of the image, above the firmware */
#define RAM_BASE	(KERNEL_LOAD - 0x200000)	/* of QEMU's virt machine */
#define EARLY_MAP_SIZE	0x40000000		/* what the page tables in the image map of RAM */
#define UART_BASE	0x10000000		/* NS16550A, physical */
#define TREE_PMD	510			/* the device tree's two slots among the devices' */

#define PTE_TABLE	0x01			/* valid */
#define PTE_LEAF	0xcf			/* valid; read, write, execute; accessed, dirty */
#define SATP_SV39	(8 << 60)

#endif

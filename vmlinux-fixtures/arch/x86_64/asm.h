/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things are on x86-64; also for assembly and for the linker script. */
#ifndef FIXTURE_X86_64_ASM_H
#define FIXTURE_X86_64_ASM_H

#define KERNEL_MAP	0xffffffff80000000	/* virtual address of physical 0 in the image's map */
#define KERNEL_LOAD	0x1000000		/* physical address of the image */
#define DIRECT_MAP	0xffff888000000000	/* virtual address of physical 0 in the direct map */
#define EARLY_MAP_SIZE	0x40000000		/* what the page tables in the image map */

#define DIRECT_MAP_PML4	273			/* its slot in the top-level table */
#define KERNEL_MAP_PML4	511
#define KERNEL_MAP_PUD	510

#define KERNEL_CS	0x08
#define KERNEL_TSS	0x10
#define NR_EXCEPTIONS	32

#define PTE_PRESENT	0x001
#define PTE_WRITE	0x002
#define PTE_HUGE	0x080
#define PTE_TABLE	(PTE_PRESENT | PTE_WRITE)
#define PTE_PAGE_4K	(PTE_PRESENT | PTE_WRITE)
#define PTE_PAGE_2M	(PTE_PRESENT | PTE_WRITE | PTE_HUGE)

#endif

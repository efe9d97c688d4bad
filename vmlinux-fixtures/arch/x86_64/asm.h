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

#define PTE_PRESENT	0x001
#define PTE_WRITE	0x002
#define PTE_HUGE	0x080
#define PTE_TABLE	(PTE_PRESENT | PTE_WRITE)
#define PTE_PAGE_2M	(PTE_PRESENT | PTE_WRITE | PTE_HUGE)

#ifndef __ASSEMBLER__
#include "../../kernel.h"

#define DIRECT_MAP_BASE	((unsigned long)DIRECT_MAP)

static inline void *__va(phys_addr_t address)
{
	return (void *)(DIRECT_MAP_BASE + address);
}

static inline phys_addr_t __pa(const void *p)
{
	return (unsigned long)p - DIRECT_MAP_BASE;
}

/* For symbols of the image, which lies in a map of its own. */
static inline phys_addr_t __pa_symbol(const void *p)
{
	return (unsigned long)p - KERNEL_MAP;
}

static inline void outb(u16 port, u8 value)
{
	__asm__ __volatile__("outb %0, %1" : : "a" (value), "Nd" (port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	__asm__ __volatile__("inb %1, %0" : "=a" (value) : "Nd" (port));
	return value;
}

/* Also drops what the TLB holds, as no page is global. */
static inline void load_page_tables(void)
{
	unsigned long cr3;

	__asm__ __volatile__("mov %%cr3, %0; mov %0, %%cr3" : "=r" (cr3) : : "memory");
}

extern u64 early_pml4[512];

void traps_init(void);
void serial_init(void);
void pvh_parse(phys_addr_t start_info);
#endif

#endif

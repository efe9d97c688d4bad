/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an architecture provides: one folder, arch/$(ARCH), with
 *
 *	arch.mk		ARCH_SRC, ARCH_CFLAGS, ARCH_LDFLAGS, and CROSS_COMPILE for
 *			hosts of another architecture; ARCH_DIRS for folders that
 *			it shares with others, KERNEL_VARIANTS for more kernels;
 *			direct_map.c in ARCH_SRC, USES_DEVICE_TREE where they help
 *	kernel.lds.S	the linker script: KERNEL_MAP, KERNEL_LOAD and kernel.lds.h
 *	code that fills boot_info, firmware_map and boot_command_line (boot_info.h)
 *	and calls start_kernel() (main.h), with interrupts off and exceptions
 *	reported by panic() (printk.h); devicetree.h and boot_info.h help. A tree
 *	may lie where the early page tables do not reach, and across their pages
 *	init_mem_mapping(), or what page_table.h asks for
 *
 * and what else is declared here. Nothing outside of that folder knows its name.
 */
#ifndef FIXTURE_ARCH_H
#define FIXTURE_ARCH_H

#include "types.h"

/**
 * arch_putc - write a character to the console, which works from the start
 * @c: the character
 */
void arch_putc(char c);

/* arch_halt - stop this CPU, interrupts off */
void arch_halt(void) __noreturn;

/**
 * arch_va - where physical memory is mapped
 * @address: physical; no more than boot_info.early_limit before init_mem_mapping()
 *
 * Return: its virtual address, also where nothing is mapped.
 */
void *arch_va(phys_addr_t address);

/**
 * init_mem_mapping - map all memory, and let the allocator use all of it
 *
 * Page tables come from the allocator. Afterwards its limit is the end of memory,
 * and so is mapped_end (mapped.h).
 */
void init_mem_mapping(void);

/*
 * For faults on purpose, physical: a device's memory that arch_va() maps, and
 * a place where there is no RAM, so that nothing is mapped there.
 */
extern const phys_addr_t arch_device_base, arch_hole_base;

#endif

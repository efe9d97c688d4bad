// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interrupt descriptor table: every exception goes to its code in entry.S. A
 * stack that is full cannot take another one: that becomes a double fault, which
 * has a stack of its own.
 */
#include "../../direct_map.h"
#include "../../stacks.h"
#include "asm.h"
#include "entry.h"
#include "page_tables.h"
#include "segments.h"
#include "traps.h"

struct idt_gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_middle;
	u32 offset_high, reserved;
};

#define DOUBLE_FAULT		8
#define TSS_AVAILABLE		0x89	/* present, 64-bit TSS */
#define GATE_INTERRUPT		0x8e	/* present, ring 0, interrupts off */

struct idt_gate idt_table[NR_EXCEPTIONS] __attribute__((__aligned__(16)));

static void set_gate(struct idt_gate *gate, unsigned long handler)
{
	gate->offset_low = handler;
	gate->offset_middle = handler >> 16;
	gate->offset_high = handler >> 32;
	gate->selector = KERNEL_CS;
	gate->type = GATE_INTERRUPT;
}

struct tss {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, io_map;
} __attribute__((__packed__));

static struct tss tss;

/* The first of the interrupt stacks, for double faults. */
static void set_fault_stack(void)
{
	unsigned long base = (unsigned long)&tss;

	tss.ist[0] = (unsigned long)fault_stack_end;
	tss.io_map = sizeof(tss);
	gdt[KERNEL_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 |
			      (u64)TSS_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
	gdt[KERNEL_TSS / 8 + 1] = base >> 32;
	__asm__ __volatile__("ltr %w0" : : "r" (KERNEL_TSS));
	idt_table[DOUBLE_FAULT].ist = 1;
}

/**
 * traps_init - catch every exception from here on
 */
void traps_init(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((__packed__)) idtr = {
		sizeof(idt_table) - 1, (unsigned long)idt_table
	};
	unsigned int i;

	for (i = 0; i < NR_EXCEPTIONS; i++)
		set_gate(&idt_table[i], exception_table[i]);
	set_fault_stack();
	__asm__ __volatile__("lidt %0" : : "m" (idtr));
	unmap_stack_guard(early_pmd, KERNEL_MAP);
}

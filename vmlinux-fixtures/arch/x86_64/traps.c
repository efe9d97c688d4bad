// SPDX-License-Identifier: GPL-2.0-or-later
/* The interrupt descriptor table: every exception goes to its code in entry.S. */
#include "../../types.h"
#include "asm.h"
#include "entry.h"
#include "traps.h"

struct idt_gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_middle;
	u32 offset_high, reserved;
};

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
	__asm__ __volatile__("lidt %0" : : "m" (idtr));
}

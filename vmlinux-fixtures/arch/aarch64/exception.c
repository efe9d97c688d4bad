// SPDX-License-Identifier: GPL-2.0-or-later
/* Exceptions: say what happened, and stop. */
#include "../../printk.h"
#include "../../stacks.h"

/* As entry.S stores them. */
struct fault_regs {
	u64 x[31], sp;
	u64 pc, pstate, esr, far;
	u64 vector, unused;
};

/* By ESR_EL1's class; an interrupt is none of these. */
static const char *exception_name(const struct fault_regs *regs)
{
	if (regs->vector % 4)
		return "interrupt";
	switch (regs->esr >> 26) {
	case 0x00: return "undefined instruction";
	case 0x07: return "floating point";
	case 0x0e: return "illegal state";
	case 0x15: return "system call";
	case 0x21: return "instruction abort";
	case 0x22: return "misaligned pc";
	case 0x25: return "data abort";
	case 0x26: return "misaligned sp";
	case 0x3c: return "breakpoint";
	default: return "exception";
	}
}

void fault_handler(const struct fault_regs *regs) __noreturn;

noinline void fault_handler(const struct fault_regs *regs)
{
	const char *name = exception_name(regs);
	unsigned int i;

	printk("%s: vector %llu esr 0x%llx far 0x%016llx\n",
	       name, regs->vector, regs->esr, regs->far);
	printk("pc 0x%016llx sp 0x%016llx pstate 0x%llx\n",
	       regs->pc, regs->sp, regs->pstate);
	for (i = 0; i < 31; i++)
		printk("x%u 0x%016llx%c", i, regs->x[i], i % 4 == 3 || i == 30 ? '\n' : ' ');
	if (regs->far - (unsigned long)boot_stack_guard < PAGE_SIZE)
		panic("stack overflow at 0x%llx", regs->pc);
	panic("%s at 0x%llx", name, regs->pc);
}

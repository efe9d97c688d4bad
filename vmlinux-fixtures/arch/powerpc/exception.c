// SPDX-License-Identifier: GPL-2.0-or-later
/* Exceptions: say what happened, and stop. */
#include "../../printk.h"
#include "asm.h"

/* As entry.S stores them. */
struct fault_regs {
	unsigned long gpr[32];
	unsigned long nip, msr, link, count, xer, cr, esr, dear, vector;
};

static const char *const exception_names[NR_EXCEPTIONS] = {
	"critical input", "machine check", "data storage", "instruction storage",
	"external input", "alignment", "program", "floating point unavailable",
	"system call", "auxiliary processor unavailable", "decrementer",
	"interval timer", "watchdog", "data TLB miss", "instruction TLB miss", "debug",
};

void fault_handler(const struct fault_regs *regs) __noreturn;

noinline void fault_handler(const struct fault_regs *regs)
{
	const char *name = exception_names[regs->vector];
	unsigned int i;

	printk("%s: vector %lu esr 0x%lx\n", name, regs->vector, regs->esr);
	printk("nip 0x%lx dear 0x%lx msr 0x%lx lr 0x%lx\n",
	       regs->nip, regs->dear, regs->msr, regs->link);
	for (i = 0; i < 32; i += 4)
		printk("r%02u 0x%lx 0x%lx 0x%lx 0x%lx\n", i, regs->gpr[i],
		       regs->gpr[i + 1], regs->gpr[i + 2], regs->gpr[i + 3]);
	/* nothing else traps on purpose */
	if (regs->esr & ESR_PTR)
		panic("stack overflow at 0x%lx", regs->nip);
	panic("%s at 0x%lx", name, regs->nip);
}

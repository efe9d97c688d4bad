// SPDX-License-Identifier: GPL-2.0-or-later
/* Exceptions: say what happened, and stop. */
#include "../../printk.h"
#include "../../stacks.h"

/* As entry.S stores them: x1 to x31 first. */
struct fault_regs {
	u64 x[31];
	u64 pc, status, cause, value, unused;
};

static const char *const exception_names[] = {
	[0] = "misaligned pc", [1] = "instruction access fault",
	[2] = "illegal instruction", [3] = "breakpoint",
	[4] = "misaligned load", [5] = "load access fault",
	[6] = "misaligned store", [7] = "store access fault",
	[12] = "instruction page fault", [13] = "load page fault",
	[15] = "store page fault",
};

void fault_handler(const struct fault_regs *regs) __noreturn;

noinline void fault_handler(const struct fault_regs *regs)
{
	const char *name = NULL;
	unsigned int i;

	if (regs->cause < ARRAY_SIZE(exception_names))
		name = exception_names[regs->cause];
	if (!name)
		name = "exception";
	printk("%s: cause 0x%llx value 0x%016llx\n", name, regs->cause, regs->value);
	printk("pc 0x%016llx status 0x%llx\n", regs->pc, regs->status);
	for (i = 0; i < 31; i++)
		printk("x%u 0x%016llx%c", i + 1, regs->x[i], i % 4 == 3 || i == 30 ? '\n' : ' ');
	if (regs->value - (unsigned long)boot_stack_guard < PAGE_SIZE)
		panic("stack overflow at 0x%llx", regs->pc);
	panic("%s at 0x%llx", name, regs->pc);
}

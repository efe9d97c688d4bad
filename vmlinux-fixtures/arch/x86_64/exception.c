// SPDX-License-Identifier: GPL-2.0-or-later
/* Exceptions: say what happened, and stop. */
#include "../../printk.h"
#include "../../stacks.h"
#include "asm.h"

/* As entry.S and the processor push them, lowest address first. */
struct fault_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	u64 rax, rcx, rdx, rsi, rdi;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

static const char *const exception_names[NR_EXCEPTIONS] = {
	[0] = "divide error", [1] = "debug", [2] = "NMI", [3] = "int3",
	[4] = "overflow", [5] = "bounds", [6] = "invalid opcode",
	[7] = "device not available", [8] = "double fault",
	[10] = "invalid TSS", [11] = "segment not present",
	[12] = "stack segment", [13] = "general protection fault",
	[14] = "page fault", [16] = "x87 error", [17] = "alignment check",
	[18] = "machine check", [19] = "SIMD error", [21] = "control protection",
};

void fault_handler(const struct fault_regs *regs) __noreturn;

noinline void fault_handler(const struct fault_regs *regs)
{
	const char *name = exception_names[regs->vector];
	unsigned long cr2;

	__asm__ __volatile__("mov %%cr2, %0" : "=r" (cr2));
	if (!name)
		name = "reserved exception";
	printk("%s: vector %llu error 0x%llx\n", name, regs->vector, regs->error);
	printk("rip 0x%016llx cr2 0x%016lx rflags 0x%llx\n",
	       regs->rip, cr2, regs->rflags);
	printk("rsp 0x%016llx rbp 0x%016llx rax 0x%016llx\n",
	       regs->rsp, regs->rbp, regs->rax);
	printk("rbx 0x%016llx rcx 0x%016llx rdx 0x%016llx\n",
	       regs->rbx, regs->rcx, regs->rdx);
	printk("rsi 0x%016llx rdi 0x%016llx\n", regs->rsi, regs->rdi);
	if (cr2 - (unsigned long)boot_stack_guard < PAGE_SIZE)
		panic("stack overflow at 0x%llx", regs->rip);
	panic("%s at 0x%llx", name, regs->rip);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stacks: one to run on, and one for what it cannot take. */
	.section .bss
	.balign	4096
	.globl	boot_stack_guard, boot_stack_end, fault_stack_end
boot_stack_guard:
	.skip	4096			/* the architecture unmaps it */
boot_stack:
	.skip	16384
boot_stack_end:
	.skip	8192
fault_stack_end:

	.section .note.GNU-stack, "", %progbits

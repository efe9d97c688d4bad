/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One stack to run on, and one for exceptions: what cannot go on needs none of the old one. */
	.section .bss
	.balign	4096
	.globl	boot_stack, boot_stack_limit, boot_stack_end, fault_stack_end
boot_stack:
	.skip	1024			/* what functions without a check may use */
boot_stack_limit:
	.skip	16384
boot_stack_end:
	.skip	8192
fault_stack_end:

	.section .note.GNU-stack, "", @progbits

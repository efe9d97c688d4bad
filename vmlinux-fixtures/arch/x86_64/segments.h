/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The segments and the stacks. */
#ifndef FIXTURE_X86_64_SEGMENTS_H
#define FIXTURE_X86_64_SEGMENTS_H

#include "../../types.h"

extern u64 gdt[];
extern char boot_stack_guard[], boot_stack_end[], fault_stack_end[];

#endif

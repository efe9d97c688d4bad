/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_STACKS_H
#define FIXTURE_STACKS_H

extern char boot_stack_guard[], boot_stack_end[], fault_stack_end[];

#endif

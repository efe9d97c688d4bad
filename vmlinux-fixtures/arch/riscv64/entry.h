/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_RISCV64_ENTRY_H
#define FIXTURE_RISCV64_ENTRY_H

/* Where exceptions enter the kernel. */
extern const char exception_entry[];

#endif

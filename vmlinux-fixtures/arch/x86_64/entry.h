/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_X86_64_ENTRY_H
#define FIXTURE_X86_64_ENTRY_H

#include "asm.h"

/* Where each exception enters the kernel, by vector. */
extern const unsigned long exception_table[NR_EXCEPTIONS];

#endif

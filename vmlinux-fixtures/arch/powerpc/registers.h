/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Special purpose registers in C. */
#ifndef FIXTURE_POWERPC_REGISTERS_H
#define FIXTURE_POWERPC_REGISTERS_H

#include "asm.h"

#define mfspr(number) ({						\
	unsigned long value_;						\
									\
	__asm__ __volatile__("mfspr %0, %1" : "=r" (value_) : "n" (number)); \
	value_;								\
})

#define mtspr(number, value)						\
	__asm__ __volatile__("mtspr %0, %1" : : "n" (number),		\
			     "r" ((unsigned long)(value)) : "memory")

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_X86_64_IO_H
#define FIXTURE_X86_64_IO_H

#include "../../types.h"

static inline void outb(u16 port, u8 value)
{
	__asm__ __volatile__("outb %0, %1" : : "a" (value), "Nd" (port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	__asm__ __volatile__("inb %1, %0" : "=a" (value) : "Nd" (port));
	return value;
}

#endif

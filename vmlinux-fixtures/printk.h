/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text output, on the console and into a buffer. */
#ifndef FIXTURE_PRINTK_H
#define FIXTURE_PRINTK_H

#include <stdarg.h>

#include "types.h"

int printk(const char *fmt, ...) __printf(1, 2);
int vprintk(const char *fmt, va_list args);
void panic(const char *fmt, ...) __printf(1, 2) __noreturn;
void printk_move(char *buffer, size_t size);

#endif

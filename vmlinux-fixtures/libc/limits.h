/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libfdt needs of it: the compiler's own includes that of a C library. */
#ifndef FIXTURE_LIBC_LIMITS_H
#define FIXTURE_LIBC_LIMITS_H

#define INT_MAX	__INT_MAX__

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Divisions that the compiler leaves to a library, which would be libgcc's. */
#ifndef FIXTURE_PPC_DIV64_H
#define FIXTURE_PPC_DIV64_H

#include "../../types.h"

u64 __udivdi3(u64 number, u64 divisor);
u64 __umoddi3(u64 number, u64 divisor);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/* 64-bit division, bit by bit. */
#include "div64.h"

static u64 divide(u64 number, u64 divisor, u64 *rest)
{
	u64 quotient = 0;
	int bit;
	bool carry;

	*rest = 0;
	for (bit = 63; bit >= 0; bit--) {
		carry = *rest >> 63;
		*rest = *rest << 1 | (number >> bit & 1);
		if (!carry && *rest < divisor)
			continue;
		*rest -= divisor;
		quotient |= 1ULL << bit;
	}
	return quotient;
}

u64 __udivdi3(u64 number, u64 divisor)
{
	u64 rest;

	return divide(number, divisor, &rest);
}

u64 __umoddi3(u64 number, u64 divisor)
{
	u64 rest;

	divide(number, divisor, &rest);
	return rest;
}

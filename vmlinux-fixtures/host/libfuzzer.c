// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Histories of operations that a fuzzer makes up of bytes, guided by what they
 * cover: clang's libFuzzer calls this. What must come of each operation is
 * fuzz.c's business.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	const char *why = fuzz_input(data, size);

	if (why) {
		printf("libfuzzer: %s\n", why);
		fflush(stdout);
		abort();
	}
	return 0;
}

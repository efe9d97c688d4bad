/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_FUZZ_H
#define FIXTURE_FUZZ_H

#include "../types.h"

/* Run @rounds random histories against the byte map; returns failures. */
int fuzz(unsigned long rounds);
const char *fuzz_input(const u8 *data, size_t size);

#endif

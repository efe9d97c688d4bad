/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults on purpose, and the count of operations that says when. */
#ifndef FIXTURE_FAULT_H
#define FIXTURE_FAULT_H

#include "printk.h"
#include "types.h"

void fault_parse(const char *value);
void fault_count(bool random);
void fault_operation(bool random);
void fault_scenario_over(void);
void fault_handed_over(void);

/*
 * Call a function of the allocator in the caller's own name: it must succeed,
 * or else the kernel stops and says who wanted what.
 */
#define must(function, ...) do {					\
	int must_error = function(__VA_ARGS__);				\
									\
	if (must_error)							\
		panic("%s: %s failed: %d", __func__, #function, must_error); \
	fault_operation(false);						\
} while (0)

#endif

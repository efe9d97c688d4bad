/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lmb.* boot options. */
#ifndef FIXTURE_CMDLINE_H
#define FIXTURE_CMDLINE_H

#include "types.h"

enum scenario { SCENARIO_BOOT, SCENARIO_RANDOM, SCENARIO_FILL };

/**
 * struct options - the lmb.* boot options
 * @scenario: what to do once the kernel's own allocations are made
 * @ops: operations of SCENARIO_RANDOM, regions on each list of SCENARIO_FILL;
 *	0: the scenario's default
 * @seed: of the pseudo-random numbers
 * @nr_static: entries of the static array to use
 * @block_size: bytes of a grown block
 * @bottom_up: search from low addresses
 */
struct options {
	enum scenario scenario;
	unsigned long ops, seed, nr_static, block_size;
	bool bottom_up;
};

void parse_options(const char *cmdline, struct options *options);

#endif

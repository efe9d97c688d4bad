/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lmb.* boot options. */
#ifndef FIXTURE_CMDLINE_H
#define FIXTURE_CMDLINE_H

#include "lmb.h"
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
 * @limit: bytes of memory to use, 0: all
 * @mark: memory that gets @mark_flag; size 0: none
 * @mark_flag: LMB_HOTPLUG, LMB_MIRROR or LMB_NOMAP
 * @bottom_up: search from low addresses
 * @random_order: of the regions of SCENARIO_FILL
 */
struct options {
	enum scenario scenario;
	unsigned long ops, seed, nr_static, block_size;
	phys_addr_t limit;
	struct lmb_range mark;
	unsigned int mark_flag;
	bool bottom_up, random_order;
};

void parse_options(const char *cmdline, struct options *options);

#endif

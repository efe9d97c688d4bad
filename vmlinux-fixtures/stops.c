// SPDX-License-Identifier: GPL-2.0-or-later
/* Places to stop a debugger at. */
#include "stops.h"
#include "types.h"

/* The lists are as the scenario left them. */
__stop void lmb_ready(void)
{
	barrier();
}

/* With lmb.fault=each: this fault is there, and no other. */
__stop void fault_struck(const char *name)
{
	barrier();
	(void)name;
}

/* The allocator is closed. */
__stop void lmb_scenario_done(void)
{
	barrier();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places to stop a debugger at. They have pages of their own: QEMU runs a page
 * that has a breakpoint instruction by instruction.
 */
#ifndef FIXTURE_STOPS_H
#define FIXTURE_STOPS_H

#define __stop	__attribute__((__noinline__, __section__(".stops.text")))

void lmb_ready(void);
void fault_struck(const char *name);
void lmb_scenario_done(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Places to stop a debugger at. */
#ifndef FIXTURE_STOPS_H
#define FIXTURE_STOPS_H

void lmb_ready(void);
void fault_struck(const char *name);
void lmb_scenario_done(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_POWERPC_ENTRY_H
#define FIXTURE_POWERPC_ENTRY_H

/* Catch every exception from here on. */
void catch_exceptions(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_POWERPC_SERIAL_H
#define FIXTURE_POWERPC_SERIAL_H

void serial_init(void);

#endif

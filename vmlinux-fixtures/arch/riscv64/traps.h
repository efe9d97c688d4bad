/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_RISCV64_TRAPS_H
#define FIXTURE_RISCV64_TRAPS_H

void traps_init(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_POWERPC_TLB_E500_H
#define FIXTURE_POWERPC_TLB_E500_H

#include "machine.h"

void tlb_e500_set(unsigned int entry, const struct mapping *mapping);

#endif

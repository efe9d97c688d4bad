/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_PPC_TLB_44X_H
#define FIXTURE_PPC_TLB_44X_H

#include "../powerpc/machine.h"

void tlb_44x_set(unsigned int entry, const struct mapping *mapping);

#endif

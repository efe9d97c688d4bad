/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_X86_64_PVH_H
#define FIXTURE_X86_64_PVH_H

#include "../../types.h"

void pvh_parse(phys_addr_t start_info);

#endif

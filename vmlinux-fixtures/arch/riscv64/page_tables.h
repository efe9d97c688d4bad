/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page tables that the kernel starts with. */
#ifndef FIXTURE_RISCV64_PAGE_TABLES_H
#define FIXTURE_RISCV64_PAGE_TABLES_H

#include "../../types.h"

extern u64 early_pgd[512];
extern u64 early_pmd[512];	/* the first GiB of RAM, in 2 MiB pages */
/* The GiB of devices, and what else has a place of its own in it. */
extern u64 early_device_pmd[512];

#endif

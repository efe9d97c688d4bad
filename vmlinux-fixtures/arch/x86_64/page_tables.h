/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page tables that the kernel starts with. */
#ifndef FIXTURE_X86_64_PAGE_TABLES_H
#define FIXTURE_X86_64_PAGE_TABLES_H

#include "../../types.h"

extern u64 early_pml4[512];
extern u64 early_pmd[512];	/* the first GiB, in 2 MiB pages */

#endif

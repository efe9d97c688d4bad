/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "asm.h"

OUTPUT_ARCH(i386:x86-64)
ENTRY(pvh_start_physical)
pvh_start_physical = pvh_start - KERNEL_MAP;

#include "../../kernel.lds.h"

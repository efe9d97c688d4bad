/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "asm.h"

OUTPUT_ARCH(aarch64)
ENTRY(start_physical)
start_physical = start - KERNEL_MAP;

#include "../../kernel.lds.h"

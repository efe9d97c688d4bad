/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "asm.h"

ENTRY(start_physical)
start_physical = _start - KERNEL_MAP;

#include "../../kernel.lds.h"

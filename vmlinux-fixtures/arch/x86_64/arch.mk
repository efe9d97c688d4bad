# SPDX-License-Identifier: GPL-2.0-or-later
# What is particular to x86-64 kernels.

ARCH_SRC := head.S segments.S page_tables.S entry.S setup.c pvh.c direct_map.c mm.c address.c exception.c traps.c serial.c
ARCH_CFLAGS := -m64 -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fcf-protection=none
ARCH_LDFLAGS := -m64 -Wl,-z,max-page-size=4096
CROSS_COMPILE ?= $(if $(filter x86_64,$(HOST_ARCH)),,x86_64-linux-gnu-)

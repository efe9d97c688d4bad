# SPDX-License-Identifier: GPL-2.0-or-later
# What is particular to AArch64 kernels.

ARCH_SRC := head.S page_tables.S entry.S setup.c direct_map.c early_map.c mm.c exception.c traps.c uart.c
ARCH_CFLAGS := -mgeneral-regs-only -mbranch-protection=none -mno-outline-atomics
ARCH_LDFLAGS := -Wl,-z,max-page-size=4096
USES_DEVICE_TREE := y
HAS_IMAGE := y
CROSS_COMPILE ?= $(if $(filter aarch64,$(HOST_ARCH)),,aarch64-linux-gnu-)

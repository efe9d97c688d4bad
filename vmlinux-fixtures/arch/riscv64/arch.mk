# SPDX-License-Identifier: GPL-2.0-or-later
# What is particular to 64-bit RISC-V kernels.

ARCH_SRC := head.S page_tables.S entry.S setup.c direct_map.c early_map.c mm.c exception.c traps.c uart.c
ARCH_CFLAGS := -march=rv64imac_zicsr -mabi=lp64 -mcmodel=medany -mno-relax -msmall-data-limit=0
ARCH_LDFLAGS := -march=rv64imac_zicsr -mabi=lp64 -Wl,-z,max-page-size=4096
USES_DEVICE_TREE := y
CROSS_COMPILE ?= $(if $(filter riscv64,$(HOST_ARCH)),,riscv64-linux-gnu-)

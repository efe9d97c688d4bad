# SPDX-License-Identifier: GPL-2.0-or-later
# What is particular to 64-bit PowerPC kernels: for e5500, big-endian, ELFv1.

ARCH_DIRS := arch/powerpc
include arch/powerpc/powerpc.mk
# r13 is nobody's in programs without threads.
ARCH_CFLAGS += -m64 -mcpu=e5500 -mabi=elfv1 -mtraceback=no -fstack-limit-register=r13
ARCH_LDFLAGS += -m64
CROSS_COMPILE ?= $(if $(filter ppc64,$(HOST_ARCH)),,powerpc64-linux-gnu-)

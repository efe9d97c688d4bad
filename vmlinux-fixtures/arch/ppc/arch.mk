# SPDX-License-Identifier: GPL-2.0-or-later
# What is particular to 32-bit PowerPC kernels: one for e500v2 and for 440.

ARCH_DIRS := arch/powerpc
include arch/powerpc/powerpc.mk
ARCH_SRC += tlb_44x.c div64.c
# r2 is nobody's in programs without threads.
ARCH_CFLAGS += -m32 -mcpu=powerpc -msdata=none -fstack-limit-register=r2 -DCONFIG_PHYS_ADDR_T_32BIT
ARCH_LDFLAGS += -m32
# Without "phys64" the kernel sees no memory above 4 GiB.
KERNEL_VARIANTS := phys64 phys64-klimit
CONFIG_phys64 := -UCONFIG_PHYS_ADDR_T_32BIT
CROSS_COMPILE ?= $(if $(filter ppc,$(HOST_ARCH)),,powerpc-linux-gnu-)

# SPDX-License-Identifier: GPL-2.0-or-later
# What ppc and ppc64 kernels have in common: those for processors of Book E.

USES_DEVICE_TREE := y
ARCH_SRC := head.S stacks.S entry.S setup.c machine.c tlb_e500.c mm.c address.c exception.c serial.c
# The stack limit is checked on entry to each function with a frame (stacks.h).
ARCH_CFLAGS := -msoft-float -mno-altivec -Wa,-mregnames
ARCH_LDFLAGS := -Wl,-z,max-page-size=4096

# SPDX-License-Identifier: GPL-2.0-or-later
# What ppc and ppc64 kernels have in common: those for processors of Book E.

USES_DEVICE_TREE := y
ARCH_SRC := head.S entry.S setup.c machine.c tlb_e500.c mm.c address.c exception.c serial.c
# Each function with a frame compares it with the register STACK_LIMIT of asm.h.
ARCH_CFLAGS := -msoft-float -mno-altivec -Wa,-mregnames
ARCH_LDFLAGS := -Wl,-z,max-page-size=4096

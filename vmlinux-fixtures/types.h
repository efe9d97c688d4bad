/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integer types and compiler words shared by the fixture kernel and the host
 * libraries. Nothing here assumes a word size or a byte order.
 */
#ifndef FIXTURE_TYPES_H
#define FIXTURE_TYPES_H

#include <stdbool.h>
#include <stddef.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef CONFIG_PHYS_ADDR_T_32BIT
typedef u32 phys_addr_t;
#else
typedef u64 phys_addr_t;
#endif

#define PHYS_ADDR_MAX	((phys_addr_t)~(phys_addr_t)0)

#ifndef PAGE_SHIFT
#define PAGE_SHIFT	12
#endif
#define PAGE_SIZE	(1UL << PAGE_SHIFT)

#define EBUSY		16
#define ENOMEM		12
#define EINVAL		22

#define noinline	__attribute__((__noinline__))
#define __noreturn	__attribute__((__noreturn__))
#define __printf(a, b)	__attribute__((__format__(__printf__, a, b)))
#define _RET_IP_	((unsigned long)__builtin_return_address(0))
#define barrier()	__asm__ __volatile__("" : : : "memory")
#define ARRAY_SIZE(x)	(sizeof(x) / sizeof((x)[0]))

#endif

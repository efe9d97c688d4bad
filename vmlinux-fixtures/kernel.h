/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the fixture kernel offer one another. */
#ifndef FIXTURE_KERNEL_H
#define FIXTURE_KERNEL_H

#include <stdarg.h>

#include "lmb.h"
#include "types.h"

/* Given back by free_init_memory(), so only for what runs before it. */
#define __init		__attribute__((__section__(".init.text")))
#define __initdata	__attribute__((__section__(".init.data")))

#define __noreturn	__attribute__((__noreturn__))

/* printk.c */
int vprintk(const char *fmt, va_list args);
void panic(const char *fmt, ...) __printf(1, 2) __noreturn;
void printk_move(char *buffer, size_t size);

/* string.c */
void *memset(void *to, int byte, size_t size);
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
bool parse_number(const char *s, unsigned long *number);

/* cmdline.c */
enum scenario { SCENARIO_BOOT, SCENARIO_RANDOM, SCENARIO_FILL };

/**
 * struct options - the lmb.* boot options
 * @scenario: what to do once the kernel's own allocations are made
 * @ops: operations of SCENARIO_RANDOM, regions on each list of SCENARIO_FILL;
 *	0: the scenario's default
 * @seed: of the pseudo-random numbers
 * @nr_static: entries of the static array to use
 * @block_size: bytes of a grown block
 * @bottom_up: search from low addresses
 */
struct options {
	enum scenario scenario;
	unsigned long ops, seed, nr_static, block_size;
	bool bottom_up;
};

#define COMMAND_LINE_SIZE	2048
extern char boot_command_line[COMMAND_LINE_SIZE];
void parse_options(const char *cmdline, struct options *options);

/* scenario.c */
void scenario_random(unsigned long ops, unsigned long seed);
void scenario_fill(unsigned long nr, unsigned long seed);

/* fault.c */
void fault_parse(const char *value);
void fault_count(bool random);
void fault_operation(bool random);
void fault_scenario_over(void);
void fault_handed_over(void);

/* main.c */
void start_kernel(void) __noreturn;
void lmb_ready(void);
void lmb_scenario_done(void);

/*
 * Call a function of the allocator in the caller's own name: it must succeed,
 * or else the kernel stops and says who wanted what.
 */
#define must(function, ...) do {					\
	int must_error = function(__VA_ARGS__);				\
									\
	if (must_error)							\
		panic("%s: %s failed: %d", __func__, #function, must_error); \
	fault_operation(false);						\
} while (0)

/*
 * What an architecture provides, besides lmb_arch_map() and lmb_arch_klimit().
 */

/**
 * struct boot_info - where the boot loader and the linker put things, physical
 * @image: the kernel image, its BSS included, but not a klimit page
 * @init: the part of the image that is only needed during boot, whole pages
 * @early_page_tables: those that the kernel started with
 * @initrd: size 0: none
 * @boot_data: the loader's own tables
 * @nr_boot_data: number of those
 * @early_limit: no address at or above this is mapped before init_mem_mapping()
 */
struct boot_info {
	struct lmb_range image, init, early_page_tables, initrd;
	struct lmb_range boot_data[8];
	unsigned int nr_boot_data;
	phys_addr_t early_limit;
};

extern struct boot_info boot_info;
extern const char lmb_banner[];

void arch_putc(char c);
void arch_halt(void) __noreturn;
void *arch_va(phys_addr_t address);
void init_mem_mapping(void);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an operation costs, in a host process: the same operations on the list-
 * based LMB or, with BENCH_MEMBLOCK, on the kernel's own memblock, built from
 * its simulator. Prints a line of numbers for each size: seconds of a whole
 * build in random and in ascending order, and nanoseconds of one operation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef BENCH_MEMBLOCK
#include <linux/memblock.h>

_Bool movable_node_enabled;

#define RESERVE(base, size)	memblock_reserve(base, size)
#define FREE(base, size)	memblock_phys_free(base, size)
#define ALLOC(size)		(!memblock_phys_alloc(size, 4096))
/* the simulator starts anew with each process */
#define START()			memblock_add(0x1000, 1ULL << 40)
#else
#include "../lmb.h"
#include "host.h"

static int bench_alloc(phys_addr_t size)
{
	phys_addr_t base;

	return lmb_alloc(size, 4096, 0, 0, 0, &base);
}

#define RESERVE(base, size)	lmb_reserve(base, size, 0)
#define FREE(base, size)	lmb_free(base, size)
#define ALLOC(size)		bench_alloc(size)
#define START()								\
	(lmb_init(64, 4096) || lmb_add(0x1000, 1ULL << 40, 0) || lmb_allow_growth())
#endif

#define STRIDE	8192ULL
#define FIRST	0x100000ULL
#define MANY	1000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static unsigned long long seed = 1;

static unsigned long rnd(unsigned long below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % below;
}

static void must(int error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "bench: %s failed: %d\n", what, error);
	exit(1);
}

int main(int argc, char **argv)
{
	unsigned long nr = argc > 1 ? strtoul(argv[1], NULL, 0) : 100;
	int is_random = argc > 2 && argv[2][0] == 'r';
	unsigned long *order = malloc(nr * sizeof(*order)), i, other;
	double start, build, reserve, frees, alloc;

	for (i = 0; i < nr; i++) {
		other = is_random ? rnd(i + 1) : i;
		order[i] = order[other];
		order[other] = i;
	}
	must(START(), "start");
	start = now();
	for (i = 0; i < nr; i++)
		must(RESERVE(FIRST + order[i] * STRIDE, 4096), "build");
	build = now() - start;

	start = now();
	for (i = 0; i < MANY; i++)
		must(FREE(FIRST + order[i % nr] * STRIDE + 1024, 1024), "free");
	frees = now() - start;
	start = now();
	for (i = 0; i < MANY; i++)
		must(RESERVE(FIRST + order[i % nr] * STRIDE + 1024, 1024), "reserve");
	reserve = now() - start;
	start = now();
	for (i = 0; i < MANY; i++)
		must(ALLOC(4096), "alloc");
	alloc = now() - start;
	printf("%lu %s build_s %.6f free_ns %.0f reserve_ns %.0f alloc_ns %.0f\n", nr,
	       is_random ? "random" : "ascending", build, frees / MANY * 1e9,
	       reserve / MANY * 1e9, alloc / MANY * 1e9);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Cases whose expected values were worked out by hand from the design. A list
 * is written as base+size:flags@block.slot, the freelist as block.slot, hex
 * but for the slots. "..." at the end: whatever follows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "../firmware.h"
#include "../lmb.h"
#include "host.h"
#include "state.h"

static int failures;

#define CHECK(condition) do {						\
	if (!(condition)) {						\
		printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);	\
		failures++;						\
	}								\
} while (0)

static u64 words[20000];

/* Write one list of the state as text; returns the next list's first word. */
static const u64 *show(const u64 *at, bool regions, char *out)
{
	u64 i, n = at[0];

	*out = 0;
	at += regions ? 3 : 2;
	for (i = 0; i < n; i++) {
		if (i)
			out += sprintf(out, " ");
		if (regions) {
			out += sprintf(out, "%llx+%llx:%llx@", at[0], at[1], at[2]);
			at += 3;
		}
		out += sprintf(out, "%llu.%llu", at[0], at[1]);
		at += 2;
	}
	return at;
}

static void expect(int line, const char *what, const char *got, const char *want)
{
	size_t len = strlen(want);
	bool open = len >= 3 && !strcmp(want + len - 3, "...");

	if (open ? !strncmp(got, want, len - 3) : !strcmp(got, want))
		return;
	printf("selftest.c:%d: %s is  %s\n    and not  %s\n", line, what, got, want);
	failures++;
}

static void check_state(int line, const char *memory, const char *reserved,
			const char *freelist)
{
	static char text[400000];
	const u64 *at = words;

	if (lmb_host_state(words, ARRAY_SIZE(words)) < 0) {
		printf("selftest.c:%d: broken lists\n", line);
		failures++;
		return;
	}
	at = show(at, true, text);
	expect(line, "memory", text, memory);
	at = show(at, true, text);
	expect(line, "reserved", text, reserved);
	show(at, false, text);
	expect(line, "freelist", text, freelist);
}

#define STATE(memory, reserved, freelist) \
	check_state(__LINE__, memory, reserved, freelist)

static void start(u64 nr_static)
{
	lmb_host_reset();
	CHECK(lmb_host_init(nr_static, 4096) == 0);
}

static phys_addr_t alloc(phys_addr_t size, phys_addr_t align, phys_addr_t min,
			 phys_addr_t max, unsigned int flags)
{
	phys_addr_t base = 7;
	int error = lmb_alloc(size, align, min, max, flags, &base);

	CHECK(error ? base == 7 : base != 7);
	return error ? (phys_addr_t)error : base;
}

static void test_refusals(void)
{
	const phys_addr_t max = PHYS_ADDR_MAX;

	lmb_host_reset();
	CHECK(lmb_add(0, 0, 0) == -EINVAL);
	CHECK(lmb_free_all() == -EINVAL);
	CHECK(lmb_allow_growth() == -EINVAL);
	CHECK(lmb_mark(1, 1, 1) == -EINVAL && lmb_clear(1, 1, 1) == -EINVAL);
	CHECK(lmb_enforce_memory_limit(1) == -EINVAL);
	CHECK(lmb_set_current_limit(1) == -EINVAL && lmb.current_limit == 0);
	CHECK(lmb_init(8, 3000) == -EINVAL && lmb_init(8, 0) == -EINVAL);
	CHECK(lmb_init(8, 64) == -EINVAL && lmb.nr_blocks == 0);
	CHECK(lmb_init(8, 128) == 0);	/* 40 + 2 * 40, or 40 + 2 * 32 */
	CHECK(lmb_init(8, 3000) == -EBUSY);
	CHECK(lmb_add(0, 0, 0) == -EINVAL && lmb_reserve(max, 0, 0) == -EINVAL);
	CHECK(lmb_add(max, 1, 0) == -EINVAL && lmb_free(max, 1) == -EINVAL);
	CHECK(lmb_mark(max, 1, 1) == -EINVAL && lmb_clear(1, 0, 1) == -EINVAL);
	CHECK(lmb_mark(1, 1, 0) == -EINVAL && lmb_mark(1, 1, 3) == -EINVAL);
	CHECK(lmb_clear(1, 1, 8) == -EINVAL && lmb_mark(1, 1, LMB_BLOCK) == -EINVAL);
	CHECK(lmb_add(1, 1, LMB_BLOCK | 1) == -EINVAL);
	CHECK(lmb_reserve(1, 1, LMB_BLOCK) == -EINVAL);
	CHECK(alloc(1, 0, 0, 0, LMB_BLOCK) == (phys_addr_t)-EINVAL);
	CHECK(lmb_enforce_memory_limit(0) == -EINVAL);
	/* cut at the last end that is legal; a klimit page lies below */
	CHECK(lmb_add(0x400000, max, 0) == 0);
	CHECK(lmb.memory.total_size == max - 0x400000);
	CHECK(lmb_remove(0x400000, max - 1) == 0 && lmb.memory.cnt == 0);
	CHECK(alloc(0, 0, 0, 0, 0) == (phys_addr_t)-EINVAL);
	CHECK(alloc(1, 3, 0, 0, 0) == (phys_addr_t)-EINVAL);
	CHECK(alloc(1, 4, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	CHECK(lmb_free_all() == 0);
	CHECK(lmb_free_all() == -EBUSY && lmb_add(0, 0, 0) == -EBUSY);
	CHECK(alloc(0, 3, 0, 0, 0) == (phys_addr_t)-EBUSY);
	CHECK(lmb_set_bottom_up(true) == -EBUSY && !lmb.bottom_up);
	CHECK(lmb_mark(1, 1, 0) == -EBUSY && lmb_clear(1, 0, 1) == -EBUSY);
	CHECK(lmb_enforce_memory_limit(0) == -EBUSY);
}

#ifndef CONFIG_LMB_KLIMIT
static void test_init(void)
{
	lmb_host_reset();
	CHECK(lmb_init(1, 4096) == -EINVAL);
	CHECK(lmb_init(CONFIG_LMB_STATIC_ENTRIES + 1, 4096) == -EINVAL);
	start(3);
	STATE("", "", "0.0 0.1 0.2");
}

/* Rule 5: which entry a merged region keeps. */
static void test_merge(void)
{
	start(6);
	lmb_reserve(0x3000, 0x1000, 0);
	lmb_reserve(0x5000, 0x1000, 0);
	STATE("", "3000+1000:0@0.0 5000+1000:0@0.1", "0.2 0.3 0.4 0.5");
	lmb_reserve(0x4000, 0x1000, 0);
	STATE("", "3000+3000:0@0.0", "0.1 0.2 0.3 0.4 0.5");
	/* downwards: the region that was on the list keeps its entry */
	lmb_reserve(0x2000, 0x1000, 0);
	STATE("", "2000+4000:0@0.0", "0.1 0.2 0.3 0.4 0.5");
	/* other flags do not merge, and covered bytes keep theirs */
	lmb_reserve(0x1000, 0x3000, 4);
	STATE("", "1000+1000:4@0.1 2000+4000:0@0.0", "0.2 0.3 0.4 0.5");
	/* a piece on both sides of all */
	lmb_reserve(0, 0x8000, 4);
	STATE("", "0+2000:4@0.1 2000+4000:0@0.0 6000+2000:4@0.2", "0.3 0.4 0.5");
	CHECK(lmb.reserved.total_size == 0x8000 && lmb.reserved.cnt == 3);
	/* nothing new */
	lmb_reserve(0x1000, 0x6000, 1);
	STATE("", "0+2000:4@0.1 2000+4000:0@0.0 6000+2000:4@0.2", "0.3 0.4 0.5");
}

/* Rule 5: dropped entries serve new regions, before the freelist does. */
static void test_dropped_taken(void)
{
	start(8);
	lmb_add(0x1000, 0x1000, 0);
	lmb_add(0x3000, 0x1000, 0);
	lmb_add(0x5000, 0x1000, 1);
	lmb_add(0x7000, 0x1000, 1);
	lmb_add(0x1000, 0x7000, 0);
	STATE("1000+4000:0@0.0 5000+1000:1@0.2 6000+1000:0@0.1 7000+1000:1@0.3",
	      "", "0.4 0.5 0.6 0.7");

	/* the new region lies below the one that is dropped */
	start(8);
	lmb_add(0x2000, 0x1000, 1);
	lmb_add(0x4000, 0x1000, 1);
	lmb_add(0x6000, 0x1000, 0);
	lmb_add(0x8000, 0x1000, 0);
	lmb_add(0x3000, 0x5000, 0);
	STATE("2000+1000:1@0.0 3000+1000:0@0.3 4000+1000:1@0.1 5000+4000:0@0.2",
	      "", "0.4 0.5 0.6 0.7");

	/* two new, one dropped: the lower one takes it, the upper one pops */
	start(8);
	lmb_add(0x1000, 0x1000, 0);
	lmb_add(0x3000, 0x1000, 0);
	lmb_add(0x5000, 0x1000, 1);
	lmb_add(0x7000, 0x1000, 1);
	lmb_add(0x1000, 0x8000, 0);
	STATE("1000+4000:0@0.0 5000+1000:1@0.2 6000+1000:0@0.1 7000+1000:1@0.3 8000+1000:0@0.4",
	      "", "0.5 0.6 0.7");

	/* one new, one dropped: no entry is needed, so the last free one is enough */
	start(5);
	lmb_add(0x1000, 0x1000, 0);
	lmb_add(0x3000, 0x1000, 0);
	lmb_add(0x5000, 0x1000, 1);
	lmb_add(0x7000, 0x1000, 1);
	CHECK(lmb_add(0x1000, 0x7000, 0) == 0);
	STATE("1000+4000:0@0.0 5000+1000:1@0.2 6000+1000:0@0.1 7000+1000:1@0.3",
	      "", "0.4");
	/* one more would be needed, and nothing may have changed */
	CHECK(lmb_add(0, 0x10000, 1) == -ENOMEM);
	STATE("1000+4000:0@0.0 5000+1000:1@0.2 6000+1000:0@0.1 7000+1000:1@0.3",
	      "", "0.4");

	/* none new: pushed one after another, so the highest ends up first */
	start(8);
	lmb_reserve(0x1000, 0x1000, 0);
	lmb_reserve(0x3000, 0x1000, 0);
	lmb_reserve(0x5000, 0x1000, 0);
	lmb_reserve(0x7000, 0x1000, 0);
	lmb_reserve(0x800, 0x7000, 0);
	STATE("", "800+7800:0@0.0", "0.3 0.2 0.1 0.4 0.5 0.6 0.7");
}

static void test_remove(void)
{
	start(6);
	lmb_reserve(0x1000, 0x8000, 2);
	lmb_free(0x3000, 0x1000);
	STATE("", "1000+2000:2@0.0 4000+5000:2@0.1", "0.2 0.3 0.4 0.5");
	lmb_free(0x2fff, 0x1002);
	STATE("", "1000+1fff:2@0.0 4001+4fff:2@0.1", "0.2 0.3 0.4 0.5");
	lmb_free(0, 0x1000);
	lmb_free(0x9000, 0x1000);
	lmb_free(0x3000, 0x800);
	STATE("", "1000+1fff:2@0.0 4001+4fff:2@0.1", "0.2 0.3 0.4 0.5");
	lmb_reserve(0x3800, 0x10, 0);
	/* trim, drop, trim */
	lmb_free(0x1800, 0x3000);
	STATE("", "1000+800:2@0.0 4800+4800:2@0.1", "0.2 0.3 0.4 0.5");
	lmb_reserve(0x2000, 0x10, 0);
	STATE("", "1000+800:2@0.0 2000+10:0@0.2 4800+4800:2@0.1", "0.3 0.4 0.5");
	lmb_free(0, 0x10000);
	STATE("", "", "0.1 0.2 0.0 0.3 0.4 0.5");
	CHECK(lmb.reserved.total_size == 0 && lmb.reserved.cnt == 0);
}

/* Rule 6: before growth is allowed the last entry is kept. */
static void test_no_growth(void)
{
	start(2);
	CHECK(lmb_add(0x100000, 0x100000, 0) == 0);
	CHECK(lmb_reserve(0x1000, 0x1000, 0) == -ENOMEM);
	CHECK(alloc(0x1000, 0, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	CHECK(lmb_remove(0x180000, 1) == -ENOMEM);
	CHECK(lmb_add(0x200000, 0x1000, 0) == 0);
	CHECK(lmb_remove(0x1ff000, 0x10000) == 0);
	STATE("100000+ff000:0@0.0", "", "0.1");
}

static void grow_start(void)
{
	start(2);
	lmb_add(0x100000, 0x100000, 0);
	lmb_allow_growth();
}

static void test_growth(void)
{
	grow_start();
	CHECK(lmb_reserve(0x180000, 0x1000, 0) == 0);
	STATE("100000+100000:0@0.0", "180000+1000:0@1.0 1ff000+1000:80000000@0.1",
	      "1.1 1.2 1.3...");
	CHECK(lmb.nr_blocks == 2 && lmb.nr_free == (sizeof(phys_addr_t) == 8 ? 100 : 125));

	/* lmb_reserve: not in its own range, and it does not merge with the block */
	grow_start();
	CHECK(lmb_reserve(0x1ff000, 0x1000, 0) == 0);
	STATE("100000+100000:0@0.0", "1fe000+1000:80000000@0.1 1ff000+1000:0@1.0",
	      "1.1 1.2...");

	/* lmb_alloc: it keeps the place that it has found */
	grow_start();
	CHECK(alloc(0x1000, 0x1000, 0, 0, 0) == 0x1ff000);
	STATE("100000+100000:0@0.0", "1fe000+1000:80000000@0.1 1ff000+1000:0@1.0",
	      "1.1 1.2...");
	/* ... also the last place there is, while a block fits nowhere else */
	start(2);
	lmb_add(0x100000, 0x2000, 0);
	lmb_allow_growth();
	CHECK(alloc(0x2000, 0, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	STATE("100000+2000:0@0.0", "", "0.1");
	CHECK(alloc(0x1000, 0, 0, 0, 0) == 0x101000);
	STATE("100000+2000:0@0.0", "100000+1000:80000000@0.1 101000+1000:0@1.0", "1.1...");

	/* lmb_remove: the only room outside its range is at the bottom */
	grow_start();
	CHECK(lmb_remove(0x101000, 0xfe800) == 0);
	STATE("100000+1000:0@0.0 1ff800+800:0@1.0", "100000+1000:80000000@0.1",
	      "1.1 1.2...");
	/* and so of lmb_mark, lmb_clear */
	grow_start();
	CHECK(lmb_mark(0x101000, 0xfe800, LMB_MIRROR) == 0);
	STATE("100000+1000:0@0.0 101000+fe800:2@1.0 1ff800+800:0@1.1",
	      "100000+1000:80000000@0.1", "1.2 1.3...");

	/* never in hot-pluggable memory, nor where it cannot be reached */
	grow_start();
	CHECK(lmb_mark(0x100000, 0x100000, LMB_HOTPLUG) == 0);
	CHECK(alloc(0x1000, 0, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	STATE("100000+100000:1@0.0", "", "0.1");
	grow_start();
	lmb_host_set_reach(0x1fffff);
	CHECK(lmb_reserve(0x180000, 0x1000, 0) == -ENOMEM);
	STATE("100000+100000:0@0.0", "", "0.1");
	lmb_host_set_reach(0x200000);
	CHECK(lmb_reserve(0x180000, 0x1000, 0) == 0);

	/* bottom-up, and below the limit */
	grow_start();
	lmb_set_bottom_up(true);
	CHECK(lmb_add(0x10000000, 0x1000, 0) == 0);
	STATE("100000+100000:0@0.0 10000000+1000:0@1.0", "100000+1000:80000000@0.1", "1.1...");
	grow_start();
	lmb_set_current_limit(0x1c0fff);
	CHECK(lmb_add(0x10000000, 0x1000, 0) == 0);
	STATE("100000+100000:0@0.0 10000000+1000:0@1.0", "1bf000+1000:80000000@0.1", "1.1...");
}

/* Two growths in one operation; a block holds two entries of either width. */
static void test_growth_twice(void)
{
	lmb_host_reset();
	lmb_init(3, 128);
	lmb_add(0x100000, 0x100000, 0);
	lmb_reserve(0x180000, 0x1000, 1);
	lmb_allow_growth();
	CHECK(lmb_reserve(0x17f000, 0x3000, 0) == 0);
	STATE("100000+100000:0@0.0",
	      "17f000+1000:0@1.0 180000+1000:1@0.1 181000+1000:0@1.1 1fff00+100:80000000@0.2",
	      "2.0 2.1");
}

/* Rule 7: a failure leaves the growths that succeeded. */
static void test_growth_fails(void)
{
	lmb_host_reset();
	lmb_init(3, 128);	/* two entries of a block; the second fits nowhere */
	lmb_add(0x100000, 0x180, 0);
	lmb_reserve(0x100100, 0x80, 1);
	lmb_allow_growth();
	CHECK(lmb_reserve(0x1000ff, 0x82, 0) == -ENOMEM);
	STATE("100000+180:0@0.0", "100000+80:80000000@0.2 100100+80:1@0.1", "1.0 1.1");

	start(2);
	lmb_add(0x100000, 0x1000, 0);
	lmb_allow_growth();
	CHECK(lmb_reserve(0x100800, 1, 0) == -ENOMEM);
	CHECK(lmb_remove(0x100800, 1) == -ENOMEM);
	CHECK(alloc(0x1001, 0, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	STATE("100000+1000:0@0.0", "", "0.1");

	/* page 0 is no room for a block either */
	start(2);
	lmb_add(0, 0x1fff, 0);
	lmb_allow_growth();
	CHECK(lmb_add(0x8000, 1, 0) == -ENOMEM);
}

static void test_blocks_stay(void)
{
	grow_start();
	lmb_reserve(0x180000, 0x1000, 0);
	CHECK(lmb_free(0x1ff000, 1) == -EBUSY);
	CHECK(lmb_free(0x1fffff, 1) == -EBUSY);
	CHECK(lmb_remove(0x100000, 0xff001) == -EBUSY);
	CHECK(lmb_remove(0x200000, 0x1000) == 0);
	CHECK(lmb_free(0x100000, 0xff000) == 0);
	CHECK(lmb_reserve(0x1ff800, 1, 0) == -EBUSY);
	CHECK(lmb_reserve(0x1fe000, 0x1001, 0) == -EBUSY);
	CHECK(lmb_mark(0x100000, 0x100000, LMB_NOMAP) == -EBUSY);
	CHECK(lmb_mark(0x1fffff, 1, LMB_HOTPLUG) == -EBUSY);
	STATE("100000+100000:0@0.0", "1ff000+1000:80000000@0.1", "1.0 1.1...");
	CHECK(lmb_mark(0x1ff000, 1, LMB_MIRROR) == 0);
	CHECK(lmb_clear(0x1ff000, 0x1000, LMB_MIRROR) == 0);
	CHECK(lmb_clear(0x1ff000, 0x1000, LMB_NOMAP) == 0);
	/* beside a block nothing merges with it, and a range that touches is no overlap */
	CHECK(lmb_reserve(0x1fe000, 0x1000, 0) == 0);
	CHECK(lmb_mark(0x100000, 0xff000, LMB_NOMAP) == 0);
	STATE("100000+ff000:4@0.0 1ff000+1000:0@1.0", "1fe000+1000:0@1.1 1ff000+1000:80000000@0.1",
	      "1.2 1.3...");
}

static void test_search(void)
{
	start(16);
	lmb_add(0, 0x10000, 0);
	CHECK(alloc(0x1800, 0x1000, 0, 0, 0) == 0xe000);
	CHECK(alloc(0x800, 0x800, 0, 0, 0) == 0xf800);
	STATE("0+10000:0@0.0", "e000+2000:0@0.1", "0.2...");
	CHECK(alloc(0x1000, 0, 0, 0x8001, 0) == 0x7001);
	CHECK(alloc(0x10, 0x10, 0x7800, 0x8020, 0) == 0x8010);
	CHECK(alloc(0x10, 0x10, 0x7800, 0x8020, 0) == (phys_addr_t)-ENOMEM);
	lmb_set_bottom_up(true);
	CHECK(alloc(0x800, 1, 0, 0, 0) == 0x1000);
	CHECK(alloc(0x10, 0x1000, 0, 0, 0) == 0x2000);
	CHECK(alloc(0x7f0, 0, 0, 0, 0) == 0x1800);
	CHECK(alloc(0x11, 0, 0, 0, 0) == 0x2010);
	lmb_set_current_limit(0x3000);
	CHECK(alloc(0x1000, 0, 0, 0x8000, 0) == (phys_addr_t)-ENOMEM);
	CHECK(alloc(0xfdf, 0, 0, 0x8000, 0) == 0x2021);

	/* one region of memory, not two that touch; never NOMAP */
	start(16);
	lmb_add(0x1000, 0x1000, 0);
	lmb_add(0x2000, 0x1000, LMB_MIRROR);
	lmb_add(0x3000, 0x4000, 4);
	CHECK(alloc(0x1001, 0, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	CHECK(alloc(0x1000, 0, 0, 0, 0) == 0x2000);
	/* hot-pluggable memory where there is no other */
	start(16);
	lmb_add(0x1000, 0x4000, 0);
	lmb_add(0x5000, 0x4000, LMB_HOTPLUG);
	lmb_add(0x9000, 0x1000, LMB_HOTPLUG | LMB_NOMAP);
	CHECK(alloc(0x3000, 0, 0, 0, 0) == 0x2000);
	CHECK(alloc(0x2000, 0, 0, 0, 0) == 0x7000);
	CHECK(alloc(0x1000, 0, 0, 0, 0) == 0x1000);
	CHECK(alloc(0x10, 0, 0x2000, 0x6000, 0) == 0x5ff0);
	lmb_set_bottom_up(true);
	CHECK(alloc(0x10, 0, 0, 0, 0) == 0x5000);
	CHECK(alloc(0x3000, 0, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	start(16);

	/* up to the last address that is legal, and nothing wraps */
	lmb_add(PHYS_ADDR_MAX - 0x1fff, 0x1fff, 0);
	CHECK(alloc(1, 0, 0, 0, 0) == PHYS_ADDR_MAX - 1);
	CHECK(alloc(1, 0x1000, 0, 0, 0) == PHYS_ADDR_MAX - 0xfff);
	lmb_set_bottom_up(true);
	CHECK(alloc(1, 0x10000, 0, 0, 0) == (phys_addr_t)-ENOMEM);
	CHECK(alloc(1, 0, PHYS_ADDR_MAX - 1, 0, 0) == (phys_addr_t)-ENOMEM);
	CHECK(alloc(1, 0, PHYS_ADDR_MAX - 2, 0, 0) == PHYS_ADDR_MAX - 2);
}

/* Rules 3 and 5 of lmb_mark() and lmb_clear(): which entry stores what. */
static void test_mark(void)
{
	start(8);
	lmb_add(0x1000, 0x9000, 0);
	/* inside: the lower part keeps the entry, two are new, ascending */
	CHECK(lmb_mark(0x3000, 0x2000, LMB_NOMAP) == 0);
	STATE("1000+2000:0@0.0 3000+2000:4@0.1 5000+5000:0@0.2", "", "0.3 0.4 0.5 0.6 0.7");
	CHECK(lmb.memory.total_size == 0x9000 && lmb.memory.cnt == 3);
	/* nothing to do, and nothing there */
	CHECK(lmb_mark(0x3800, 0x800, LMB_NOMAP) == 0);
	CHECK(lmb_clear(0x1800, 0x800, LMB_NOMAP) == 0);
	CHECK(lmb_mark(0xa000, 0x1000, LMB_NOMAP) == 0);
	CHECK(lmb_mark(0, 0x1000, LMB_NOMAP) == 0);
	STATE("1000+2000:0@0.0 3000+2000:4@0.1 5000+5000:0@0.2", "", "0.3 0.4 0.5 0.6 0.7");
	/* into the region below, and out of it again */
	CHECK(lmb_mark(0x5000, 0x1000, LMB_NOMAP) == 0);
	STATE("1000+2000:0@0.0 3000+3000:4@0.1 6000+4000:0@0.2", "", "0.3 0.4 0.5 0.6 0.7");
	CHECK(lmb_clear(0x5000, 0x1000, LMB_NOMAP) == 0);
	STATE("1000+2000:0@0.0 3000+2000:4@0.1 5000+5000:0@0.2", "", "0.3 0.4 0.5 0.6 0.7");
	/* into the region above */
	CHECK(lmb_mark(0x2000, 0x1000, LMB_NOMAP) == 0);
	STATE("1000+1000:0@0.0 2000+3000:4@0.1 5000+5000:0@0.2", "", "0.3 0.4 0.5 0.6 0.7");
	/* another flag over all: from the middle of the first to that of the last */
	CHECK(lmb_mark(0x1800, 0x4000, LMB_HOTPLUG) == 0);
	STATE("1000+800:0@0.0 1800+800:1@0.3 2000+3000:5@0.1 5000+800:1@0.2 5800+4800:0@0.4",
	      "", "0.5 0.6 0.7");
	/* a drop serves what is new; the lowest part's entry stays */
	CHECK(lmb_clear(0x1800, 0x3800, LMB_HOTPLUG) == 0);
	STATE("1000+1000:0@0.0 2000+3000:4@0.1 5000+800:1@0.2 5800+4800:0@0.4",
	      "", "0.3 0.5 0.6 0.7");
	CHECK(lmb_clear(0x2000, 0x2000, LMB_NOMAP) == 0);
	STATE("1000+3000:0@0.0 4000+1000:4@0.1 5000+800:1@0.2 5800+4800:0@0.4",
	      "", "0.3 0.5 0.6 0.7");
	CHECK(lmb_clear(0x4000, 0x1400, LMB_NOMAP) == 0);
	CHECK(lmb_clear(0, 0x5400, LMB_HOTPLUG) == 0);
	STATE("1000+4400:0@0.0 5400+400:1@0.2 5800+4800:0@0.4", "", "0.1 0.3 0.5 0.6 0.7");
	/* all becomes one, and past the end of the address space is cut */
	CHECK(lmb_clear(0, PHYS_ADDR_MAX, LMB_HOTPLUG) == 0);
	STATE("1000+9000:0@0.0", "", "0.4 0.2 0.1 0.3 0.5 0.6 0.7");
	/* a hole between: it stays one */
	lmb_remove(0x4000, 0x1000);
	CHECK(lmb_mark(0x3000, 0x3000, LMB_MIRROR) == 0);
	STATE("1000+2000:0@0.0 3000+1000:2@0.2 5000+1000:2@0.4 6000+4000:0@0.1",
	      "", "0.3 0.5 0.6 0.7");

	/* no entry: nothing has changed */
	start(3);
	lmb_add(0x1000, 0x9000, 0);
	CHECK(lmb_mark(0x3000, 0x2000, LMB_NOMAP) == -ENOMEM);
	STATE("1000+9000:0@0.0", "", "0.1 0.2");
	CHECK(lmb_mark(0x3000, 0x7000, LMB_NOMAP) == 0);
	CHECK(lmb_mark(0x1000, 0x1000, LMB_NOMAP) == -ENOMEM);
	STATE("1000+2000:0@0.0 3000+7000:4@0.1", "", "0.2");
	CHECK(lmb_mark(0, 0x10000, LMB_NOMAP) == 0);
	STATE("1000+9000:4@0.0", "", "0.1 0.2");
}

/* Rule 3: the first bytes of memory stay. */
static void test_limit(void)
{
	start(8);
	lmb_add(0x1000, 0x1000, 0);
	lmb_add(0x2000, 0x1000, LMB_NOMAP);
	lmb_add(0x3000, 0x1000, LMB_HOTPLUG);
	lmb_add(0x8000, 0x1000, LMB_NOMAP);
	lmb_reserve(0x1800, 0x1000, 0);
	lmb_reserve(0x3800, 0x1000, 0);
	lmb_reserve(0x10000, 0x1000, 0);
	CHECK(lmb_enforce_memory_limit(0x2000) == 0);
	CHECK(lmb_enforce_memory_limit(PHYS_ADDR_MAX) == 0);
	STATE("1000+1000:0@0.0 2000+1000:4@0.1 3000+1000:1@0.2 8000+1000:4@0.3",
	      "1800+1000:0@0.4 3800+1000:0@0.5 10000+1000:0@0.6", "0.7");
	CHECK(lmb_enforce_memory_limit(0x1801) == 0);
	STATE("1000+1000:0@0.0 2000+1000:4@0.1 3000+801:1@0.2",
	      "1800+1000:0@0.4 3800+1:0@0.5", "0.6 0.3 0.7");
	/* the end of a region is an end of memory without LMB_NOMAP */
	CHECK(lmb_enforce_memory_limit(0x1000) == 0);
	STATE("1000+1000:0@0.0", "1800+800:0@0.4", "0.5 0.2 0.1 0.6 0.3 0.7");
	lmb_allow_growth();
	CHECK(lmb_enforce_memory_limit(0x1000) == -EBUSY);
	CHECK(lmb_enforce_memory_limit(0) == -EINVAL);
}

/* Rule 11: what the rest of a kernel asks. */
static void test_interface(void)
{
	const struct lmb_region *region;
	struct lmb_free_range range;
	char text[200], *out = text;

	lmb_host_reset();
	CHECK(!lmb_is_memory(0) && !lmb_is_reserved(0) && !lmb_is_region_reserved(0, 1));
	CHECK(!lmb_phys_mem_size() && !lmb_start_of_DRAM() && !lmb_end_of_DRAM());
	for_each_lmb_memory(region)
		CHECK(false);
	for_each_lmb_free(&range)
		CHECK(false);
	for_each_lmb_free_reverse(&range)
		CHECK(false);

	start(16);
	CHECK(!lmb_end_of_DRAM());
	lmb_add(0x1000, 0x3000, 0);
	lmb_add(0x4000, 0x1000, LMB_NOMAP);
	lmb_add(0x5000, 0x1000, LMB_HOTPLUG);
	lmb_add(0x6000, 0x1000, 0);
	lmb_reserve(0, 0x1800, 0);
	lmb_reserve(0x2000, 0x800, 0);
	lmb_reserve(0x6800, 0x1000, 0);
	CHECK(!lmb_is_memory(0xfff) && lmb_is_memory(0x1000) && lmb_is_memory(0x4800));
	CHECK(lmb_is_memory(0x6fff) && !lmb_is_memory(0x7000) && !lmb_is_memory(PHYS_ADDR_MAX));
	CHECK(lmb_is_reserved(0) && lmb_is_reserved(0x17ff) && !lmb_is_reserved(0x1800));
	CHECK(!lmb_is_reserved(0x1fff) && lmb_is_reserved(0x77ff) && !lmb_is_reserved(0x7800));
	CHECK(!lmb_is_region_reserved(0x1800, 0x800) && lmb_is_region_reserved(0x1800, 0x801));
	CHECK(lmb_is_region_reserved(0x17ff, 1) && !lmb_is_region_reserved(0x2000, 0));
	CHECK(lmb_is_region_reserved(0x7000, PHYS_ADDR_MAX));
	CHECK(lmb_phys_mem_size() == 0x6000);
	CHECK(lmb_start_of_DRAM() == 0x1000 && lmb_end_of_DRAM() == 0x7000);
	for_each_lmb_memory(region)
		out += sprintf(out, "%llx ", (u64)region->base);
	for_each_lmb_reserved(region)
		out += sprintf(out, "%llx ", (u64)region->base);
	CHECK(!strcmp(text, "1000 4000 5000 6000 0 2000 6800 "));
	out = text;
	for_each_lmb_free(&range)
		out += sprintf(out, "%llx-%llx:%x ", (u64)range.base, (u64)range.end, range.flags);
	CHECK(!strcmp(text, "1800-2000:0 2800-4000:0 5000-6000:1 6000-6800:0 "));
	out = text;
	for_each_lmb_free_reverse(&range)
		out += sprintf(out, "%llx-%llx:%x ", (u64)range.base, (u64)range.end, range.flags);
	CHECK(!strcmp(text, "6000-6800:0 5000-6000:1 2800-4000:0 1800-2000:0 "));
}

/* Rule 9: whole pages of the union, page 0 excepted, as maximal runs. */
static void test_free_all(void)
{
	start(16);
	lmb_add(0, 0x4800, 0);
	lmb_add(0x4800, 0x3800, 1);		/* page 4 lies in the union */
	lmb_add(0x8000, 0x1000, 4);
	lmb_add(0x9001, 0x2fff, 0);
	lmb_add(PHYS_ADDR_MAX - 0x17ff, 0x17ff, 0);
	lmb_reserve(0x2fff, 2, 0);		/* in pages 2 and 3 */
	lmb_reserve(0x20000, 0x1000, 0);
	CHECK(lmb_free_all() == 1 + 4 + 2 + 0);
	CHECK(lmb_handover.nr == 3);
	CHECK(lmb_handover.ranges[0].base == 0x1000 && lmb_handover.ranges[0].size == 0x1000);
	CHECK(lmb_handover.ranges[1].base == 0x4000 && lmb_handover.ranges[1].size == 0x4000);
	CHECK(lmb_handover.ranges[2].base == 0xa000 && lmb_handover.ranges[2].size == 0x2000);
}

static void test_dump(void)
{
	const char *want = sizeof(phys_addr_t) == 8 ?
		"LMB configuration:\n"
		" memory size = 0x0000000000003000 reserved size = 0x0000000000000010\n"
		" memory.cnt  = 0x1\n"
		" memory[0x0]\t[0x0000000000001000-0x0000000000003fff], 0x0000000000003000 bytes flags: 0x0\n"
		" reserved.cnt  = 0x1\n"
		" reserved[0x0]\t[0x0000000000000800-0x000000000000080f], 0x0000000000000010 bytes flags: 0x5\n" :
		"LMB configuration:\n"
		" memory size = 0x00003000 reserved size = 0x00000010\n"
		" memory.cnt  = 0x1\n"
		" memory[0x0]\t[0x00001000-0x00003fff], 0x00003000 bytes flags: 0x0\n"
		" reserved.cnt  = 0x1\n"
		" reserved[0x0]\t[0x00000800-0x0000080f], 0x00000010 bytes flags: 0x5\n";
	char text[1000];
	long len;

	start(8);
	lmb_add(0x1000, 0x3000, 0);
	lmb_reserve(0x800, 0x10, 5);
	len = lmb_host_dump(text, sizeof(text) - 1);
	CHECK(len == (long)strlen(want) && !memcmp(text, want, len));
}
#else
static void test_klimit(void)
{
	bool wide = sizeof(phys_addr_t) == 8;

	lmb_host_reset();
	lmb_host_set_klimit(0x350000);
	CHECK(lmb_init(0, 128) == 0);
	STATE("", "350000+1000:80000000@0.0", "0.1 0.2 0.3...");
	/* (4096 - 40) / 40 and (4096 - 40) / 32, less the page's own */
	CHECK(lmb.nr_free == (wide ? 100 : 125) && lmb.nr_blocks == 1);
	CHECK(lmb_free(0x350fff, 1) == -EBUSY && lmb_remove(0x350000, 1) == -EBUSY);
	CHECK(lmb_reserve(0x350000, 1, 0) == -EBUSY);
	CHECK(lmb_reserve(0x351000, 0x1000, 0) == 0);
	STATE("", "350000+1000:80000000@0.0 351000+1000:0@0.1", "0.2 0.3...");
	CHECK(lmb_free(0x351000, 0x1000) == 0);
	/* the page is not cut off */
	lmb_add(0x340000, 0x20000, 0);
	CHECK(lmb_enforce_memory_limit(0x10fff) == -EBUSY);
	CHECK(lmb.memory.total_size == 0x20000);
	CHECK(lmb_enforce_memory_limit(0x11000) == 0);
	CHECK(lmb.memory.total_size == 0x11000);

	/* where it cannot be: nothing has happened */
	lmb_host_reset();
	lmb_host_set_klimit(0x350001);
	CHECK(lmb_init(0, 128) == -EINVAL);
	lmb_host_set_klimit(PHYS_ADDR_MAX - 0xfff);
	CHECK(lmb_init(0, 128) == -EINVAL);
	lmb_host_set_klimit(0x350000);
	lmb_host_set_reach(0x350fff);
	CHECK(lmb_init(0, 128) == -EINVAL && lmb.nr_blocks == 0);
	lmb_host_set_reach(0x351000);
	CHECK(lmb_init(0, 100) == -EINVAL);
	CHECK(lmb_init(0, 128) == 0);
	lmb_host_reset();
	lmb_host_set_klimit(PHYS_ADDR_MAX - 0x1fff);
	CHECK(lmb_init(0, 128) == 0);
	lmb_host_reset();
	lmb_host_set_klimit(0);
	CHECK(lmb_init(0, 128) == 0 && lmb_is_reserved(0));
	lmb_host_set_klimit(0x200000);
}
#endif

/* The RAM of @map, as base+size words. */
static const char *ram_of(const struct firmware_map *map)
{
	static char text[400];
	struct firmware_ram ram = { .entry = 0 };
	char *out = text;

	*text = 0;
	while (firmware_next_ram(map, &ram))
		out += sprintf(out, "%s%llx+%llx", out == text ? "" : " ",
			       (u64)ram.range.base, (u64)ram.range.size);
	return text;
}

#define RAM(want, ...) do {						\
	static const struct firmware_range ranges[] = { __VA_ARGS__ };	\
	static struct firmware_map map;					\
									\
	map.nr = ARRAY_SIZE(ranges);					\
	memcpy(map.ranges, ranges, sizeof(ranges));			\
	expect(__LINE__, "RAM", ram_of(&map), want);			\
} while (0)

/* Rule 10: RAM is what no entry of another type covers; what goes too far is cut. */
static void test_firmware(void)
{
	const bool wide = sizeof(phys_addr_t) == 8;

	RAM("1000+2000 5000+1000", { 0x1000, 0x2000, 1 }, { 0x5000, 0x1000, 1 });
	/* in whole pages */
	RAM("2000+1000", { 0x1001, 0x2ffe, 1 });
	RAM("", { 0x1001, 0x1ffd, 1 }, { 0x5000, 0, 1 });
	/* below, within, above, over all; in either order */
	RAM("1000+1000 4000+2000 7000+1000", { 0x1000, 0x7000, 1 }, { 0x2000, 0x1000, 2 },
	    { 0x2800, 0x1800, 3 }, { 0x6000, 0x1000, 4 });
	RAM("1000+1000 4000+4000", { 0x2000, 0x2000, 2 }, { 0x1000, 0x7000, 1 });
	RAM("3000+1000", { 0, 0x3000, 2 }, { 0x1000, 0x5000, 1 }, { 0x4000, 0x8000, 5 });
	RAM("", { 0x1000, 0x5000, 1 }, { 0, 0x8000, 5 });
	/* a page that is RAM in part cannot be used; what is empty covers nothing */
	RAM("1000+2000 5000+1000", { 0x1000, 0x5000, 1 }, { 0x3fff, 0x801, 2 }, { 0x2000, 0, 2 });
	/* an unknown type is not RAM */
	RAM("1000+1000", { 0x1000, 0x2000, 1 }, { 0x2000, 0x1000, 0xffff });
	/* past the end of what phys_addr_t counts: cut, never dropped or wrapped */
	if (wide) {
		RAM("ffff0000+20000 100000000+10000", { 0xffff0000, 0x20000, 1 },
		    { 0x100000000, 0x10000, 1 });
		RAM("fffffffffffe0000+1f000", { 0xfffffffffffe0000, 0x20000, 1 });
		RAM("fffffffffffe0000+1f000", { 0xfffffffffffe0000, ~0ULL, 1 });
		RAM("fffffffffffe0000+10000", { 0xfffffffffffe0000, ~0ULL, 1 },
		    { 0xffffffffffff0000, ~0ULL, 2 });
	} else {
		RAM("ffff0000+f000", { 0xffff0000, 0x20000, 1 }, { 0x100000000, 0x10000, 1 });
		RAM("", { 0x100001000, 0x10000, 1 });
		RAM("1000+ffffe000", { 0x1000, ~0ULL, 1 });
	}
	RAM("", { ~0ULL, ~0ULL, 1 });
}

static void test_log(void)
{
	u64 r[LMB_HOST_LOG_WORDS];
	phys_addr_t base;

	start(4);
	lmb_add(0x1000, 0x1000, 9);
	lmb_alloc(0x100, 0x100, 1, 0x1800, 2, &base);
	lmb_free(1, 0);
	CHECK(lmb_host_log(0, r) == 4);
	CHECK(r[0] == LMB_OP_INIT && r[1] == 8 * sizeof(phys_addr_t) && r[4] == 4096);
	CHECK(r[5] == LMB_HEADER_SIZE && r[6] == sizeof(struct lmb_region));
	lmb_host_log(1, r);
	CHECK(r[0] == LMB_OP_ADD && r[1] == 9 && r[2] == 0 && r[3] == 0x1000);
	lmb_host_log(2, r);
	CHECK(r[0] == LMB_OP_ALLOC && r[1] == 2 && r[3] == 0 && r[4] == 0x100 &&
	      r[5] == 0x100 && r[6] == 1 && r[7] == 0x1800 && r[8] == 0x1700);
	lmb_host_log(3, r);
	CHECK(r[0] == LMB_OP_FREE && r[2] == (u64)-EINVAL && r[3] == 1 && r[9]);
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 200;

	test_refusals();
#ifndef CONFIG_LMB_KLIMIT
	test_init();
	test_merge();
	test_dropped_taken();
	test_remove();
	test_no_growth();
	test_growth();
	test_growth_twice();
	test_growth_fails();
	test_blocks_stay();
	test_search();
	test_mark();
	test_limit();
	test_interface();
	test_free_all();
	test_dump();
#else
	test_klimit();
#endif
	test_firmware();
	test_log();
	failures += fuzz(rounds);
	printf("%s: %s\n", argv[0], failures ? "FAILED" : "ok");
	return failures != 0;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults on purpose. lmb.fault=KIND[@N][,KIND[@N]...] writes into the
 * allocator's state what a stray pointer or a bug elsewhere would, so that
 * whoever looks into this kernel has something to find.
 *
 * All faults strike at once: after operation N, the smallest of those
 * given, or else when the scenario is over. N counts the operations of the
 * random scenario; in the others all calls of the allocator as its log does,
 * lmb_init() being number 0. No operation follows, as it might never end: the
 * kernel goes straight to lmb_ready(), without lmb_dump_all(), and stops there.
 * Only what leaves the lists sound goes on to the hand-over, and the fault in
 * the hand-over itself strikes before lmb_scenario_done().
 *
 * Several faults strike in the table's order: first those that need lists that
 * work, last those that break links. The latter only write to nodes that were
 * looked up before the first of them. Each fault, where it can, leaves all else
 * as it should be. A KIND begins with the code that a checker should give it;
 * for head-* and the links between blocks that is left to the checker.
 *
 * lmb.fault=each is all of them one after another: each strikes alone, at lists
 * as the scenario has left them, and is undone behind fault_struck().
 */
#include "boot_info.h"
#include "fault.h"
#include "fault_counts.h"
#include "fault_links.h"
#include "fault_records.h"
#include "fault_regions.h"
#include "fault_undo.h"
#include "init.h"
#include "lmb.h"
#include "printk.h"
#include "stops.h"
#include "string.h"

#define NEVER	(~0ULL)

static unsigned long nr_operations;
static u64 first_after = NEVER;
static bool counts_random, any_wanted, any_corrupts, each;

/* -- all of them, in the order in which they strike ------------------------- */

#define EITHER(kind, function)						\
	{ .name = kind, .inject = function, .type = &lmb.reserved },	\
	{ .name = kind "-memory", .inject = function, .type = &lmb.memory }

/* Each is a KIND of its own for each list; without a suffix it is the reserved list. */
#define LINK(kind, suffix, number, pointer, to)				\
	{ .name = kind suffix, .stage = ON_LINKS, .list = number,	\
	  .inject = fault_set_##pointer, .target = fault_to_##to }
#define LINKS(suffix, list)						\
	LINK("link-null", suffix, list, next, null),			\
	LINK("link-wild", suffix, list, next, poison),			\
	LINK("link-wild-prev", suffix, list, prev, poison),		\
	LINK("link-unmapped", suffix, list, next, unmapped),		\
	LINK("link-device", suffix, list, next, device),		\
	LINK("link-misaligned", suffix, list, next, misaligned),	\
	LINK("link-foreign", suffix, list, next, foreign),		\
	LINK("link-foreign-head", suffix, list, next, foreign_head),	\
	LINK("head-unmapped", suffix, list, head_next, unmapped),	\
	LINK("head-device", suffix, list, head_next, device),		\
	LINK("head-foreign", suffix, list, head_next, foreign),		\
	LINK("head-prev", suffix, list, head_prev, poison),		\
	LINK("link-broken", suffix, list, prev, itself),		\
	LINK("list-cycle", suffix, list, next, first)

static struct fault faults[] = {
	{ .name = "reserved-outside-memory", .inject = fault_reserved_outside_memory,
	  .legal = true },
	{ .name = "block-unreserved", .inject = fault_block_unreserved },
	{ .name = "block-unflagged", .inject = fault_block_unflagged },
	{ .name = "no-block", .inject = fault_no_block },
	{ .name = "bad-flags", .inject = fault_bad_flags },
	EITHER("log-divergence", fault_log_divergence),
	{ .name = "storage-corrupt-switch", .inject = fault_set_may_grow },
#if CONFIG_LMB_LOG > 3
	{ .name = "log-divergence-result", .inject = fault_log_result },
	{ .name = "log-divergence-op", .inject = fault_log_op },
	{ .name = "log-divergence-init", .inject = fault_log_init },
	{ .name = "log-divergence-shorter", .inject = fault_log_shorter },
#endif
	EITHER("overlap", fault_overlap),
	EITHER("unmerged", fault_unmerged),
	EITHER("empty-region", fault_empty_region),
	{ .name = "required-unreserved", .inject = fault_required_unreserved,
	  .legal = true },
	{ .name = "required-not-memory", .inject = fault_required_not_memory,
	  .legal = true },
	{ .name = "required-overlap", .inject = fault_required_overlap,
	  .legal = true },
	{ .name = "outside-firmware", .inject = fault_outside_firmware },
	EITHER("region-wraps", fault_region_wraps),
	{ .name = "entry-lost", .inject = fault_entry_lost },
	{ .name = "entry-lost-reserved", .inject = fault_entry_lost, .type = &lmb.reserved },
	{ .name = "entry-lost-memory", .inject = fault_entry_lost, .type = &lmb.memory },
	EITHER("unsorted", fault_unsorted),
	{ .name = "freelist-exhausted", .inject = fault_freelist_exhausted },
	{ .name = "freelist-exhausted-lost", .inject = fault_freelist_dropped },
	EITHER("count-mismatch", fault_count_mismatch),
	EITHER("count-mismatch-zero", fault_count_zero),
	EITHER("count-mismatch-huge", fault_count_huge),
	EITHER("size-mismatch", fault_size_mismatch),
	{ .name = "free-count-mismatch", .inject = fault_free_count_mismatch },
	{ .name = "free-count-mismatch-huge", .inject = fault_free_count_huge },
	{ .name = "storage-corrupt", .inject = fault_nr_blocks },
	{ .name = "storage-corrupt-size", .inject = fault_block_size_twice },
	{ .name = "storage-corrupt-size-odd", .inject = fault_block_size_odd },
	{ .name = "storage-corrupt-size-huge", .inject = fault_block_size_huge },
	{ .name = "storage-corrupt-nr", .inject = fault_block_nr },
	{ .name = "storage-corrupt-entries", .inject = fault_block_entries },
	{ .name = "storage-corrupt-base", .inject = fault_block_base },
	{ .name = "bad-name", .inject = fault_name },
	{ .name = "bad-limit", .inject = fault_limit },
	/* its list can no longer be walked from front to back */
	{ .name = "entry-shared", .stage = ON_LINKS, .inject = fault_entry_shared,
	  .type = &lmb.reserved },
	{ .name = "entry-shared-memory", .stage = ON_LINKS, .inject = fault_entry_shared,
	  .type = &lmb.memory },

	LINKS("", LIST_RESERVED),
	LINKS("-memory", LIST_MEMORY),
	LINKS("-free", LIST_FREE),
	LINKS("-blocks", LIST_BLOCKS),

#if CONFIG_LMB_HANDOVER_RANGES
	{ .name = "handover-mismatch", .stage = ON_HANDOVER,
	  .inject = fault_handover_mismatch },
	{ .name = "handover-mismatch-reserved", .stage = ON_HANDOVER,
	  .inject = fault_handover_reserved },
#endif
	{ .name = "handover-mismatch-count", .stage = ON_HANDOVER,
	  .inject = fault_handover_count },
};

/* -- when ------------------------------------------------------------------- */

static noinline void strike(enum fault_stage stage)
{
	struct fault *fault;

	for (fault = faults; fault < faults + ARRAY_SIZE(faults); fault++) {
		if (!(fault->wanted || each) || fault->stage != stage)
			continue;
		if (each)
			fault_save();
		printk("lmb.fault: %s\n", fault->name);
		fault->inject(fault);
		if (each) {
			fault_struck(fault->name);
			fault_undo();
		}
	}
}

static void strike_at_lists(void)
{
	strike(ON_SOUND_LISTS);
	fault_look_up_nodes();
	strike(ON_LINKS);
}

/* There is nothing behind this that a corrupt list would survive. */
static __noreturn void stop_here(void)
{
	lmb_ready();
	panic("lmb.fault: no hand-over with corrupt lists");
}

/**
 * fault_operation - an operation of the allocator is over
 * @random: one of the random scenario's, else one of the boot's own
 *
 * Does not return where it is the one to strike after.
 */
void fault_operation(bool random)
{
	if (random != counts_random || nr_operations++ != first_after)
		return;
	strike_at_lists();
	stop_here();
}

/**
 * fault_scenario_over - strike, if not yet done; does not return if that
 * leaves lists that cannot be used
 */
void fault_scenario_over(void)
{
	if (!any_wanted)
		return;
	if (first_after != NEVER)
		panic("bad boot option lmb.fault: operation %llu never came", first_after);
	strike_at_lists();
	if (any_corrupts)
		stop_here();
}

/* fault_handed_over - strike at what lmb_free_all() left */
void fault_handed_over(void)
{
	strike(ON_HANDOVER);
}

/* -- the option --------------------------------------------------------------- */

static __init struct fault *find(const char *name)
{
	struct fault *fault;

	for (fault = faults; fault < faults + ARRAY_SIZE(faults); fault++)
		if (!strcmp(fault->name, name))
			return fault;
	panic("bad boot option lmb.fault=%s: no such fault", name);
}

/* Take "each", or one KIND[@N]. */
static __init void parse_one(char *word)
{
	u64 after = NEVER;
	struct fault *fault;
	char *at = word;

	if (!strcmp(word, "each")) {
		each = any_wanted = true;
		return;
	}
	while (*at && *at != '@')
		at++;
	if (*at) {
		*at++ = '\0';
		if (!parse_number(at, &after) || after < 1 || after == NEVER)
			panic("bad boot option lmb.fault=%s@%s: not a number from 1 up",
			      word, at);
	}
	fault = find(word);
	if (fault->stage == ON_HANDOVER && after != NEVER)
		panic("bad boot option lmb.fault=%s@%llu: the hand-over comes last",
		      word, after);
	fault->wanted = true;
	any_wanted = true;
	any_corrupts |= fault->stage != ON_HANDOVER && !fault->legal;
	if (after < first_after)
		first_after = after;
}

/**
 * fault_parse - read the option's value
 * @value: KIND[@N] words with commas between them, or "each"
 *
 * Panics on an unknown KIND or a bad N.
 */
noinline __init void fault_parse(const char *value)
{
	static char word[COMMAND_LINE_SIZE] __initdata;
	size_t len;

	for (;;) {
		for (len = 0; value[len] && value[len] != ','; len++)
			word[len] = value[len];
		word[len] = '\0';
		parse_one(word);
		if (!value[len])
			return;
		value += len + 1;
	}
}

/**
 * fault_count - from now on operations are counted
 * @random: those of the random scenario, from 1 up; else the boot's own, the
 *	first of which, lmb_init(), is number 0
 */
noinline __init void fault_count(bool random)
{
	counts_random = random;
	nr_operations = random;
}

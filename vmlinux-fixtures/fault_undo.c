// SPDX-License-Identifier: GPL-2.0-or-later
/* The state that faults damage: saved before, and put back. */
#include "boot_info.h"
#include "fault_undo.h"
#include "lmb.h"
#include "printk.h"
#include "string.h"

#define SAVED	(32 * 1024)
/* So many of the log's records and of the hand-over's ranges are damaged at most. */
#define RECORDS	(CONFIG_LMB_LOG < 4 ? CONFIG_LMB_LOG : 4)
#define RANGES	(CONFIG_LMB_HANDOVER_RANGES ? 1 : 0)

static char saved[SAVED];
static size_t used;

static void move(void *state, size_t size, bool back)
{
	if (size > SAVED - used)
		panic("lmb.fault: the entries are too many to be saved");
	memcpy(back ? state : saved + used, back ? saved + used : state, size);
	used += size;
}

/* A block's header comes before its entries, and the list's head before both. */
static void move_all(bool back)
{
	struct lmb_block *block;

	used = 0;
	move(&lmb, sizeof(lmb), back);
	move(&boot_info, sizeof(boot_info), back);
#if CONFIG_LMB_LOG
	move(&lmb_log, offsetof(struct lmb_log, ring[RECORDS]), back);
#endif
	move(&lmb_handover, offsetof(struct lmb_handover, ranges[RANGES]), back);
	list_for_each_entry(block, &lmb.blocks, link) {
		move(block, sizeof(*block), back);
		move(block->entries, block->nr * sizeof(*block->entries), back);
	}
}

/* fault_save - remember the allocator's state */
void fault_save(void)
{
	move_all(false);
}

/* fault_undo - put the allocator's state back as it was */
void fault_undo(void)
{
	move_all(true);
}

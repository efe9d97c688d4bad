// SPDX-License-Identifier: GPL-2.0-or-later
/* Faults in what the allocator writes down: its log, and the hand-over. */
#include "boot_info.h"
#include "fault_records.h"
#include "lmb.h"

#if CONFIG_LMB_LOG > 3
/* An operation that succeeded is logged as one that did not. */
void fault_log_result(const struct fault *fault)
{
	(void)fault;
	lmb_log.ring[2].error = -ENOMEM;
}

void fault_log_op(const struct fault *fault)
{
	(void)fault;
	lmb_log.ring[3].op = 99;
}

void fault_log_init(const struct fault *fault)
{
	(void)fault;
	lmb_log.ring[0].max++;
}

/* The last operation is not in the log. */
void fault_log_shorter(const struct fault *fault)
{
	(void)fault;
	lmb_log.nr--;
}
#endif

#if CONFIG_LMB_HANDOVER_RANGES
/* The lowest range lacks a page that was handed over. */
void fault_handover_mismatch(const struct fault *fault)
{
	(void)fault;
	lmb_handover.ranges[0].size -= PAGE_SIZE;
}

/* A page of the kernel image was handed over. */
void fault_handover_reserved(const struct fault *fault)
{
	(void)fault;
	lmb_handover.ranges[0] = (struct lmb_range){ boot_info.image.base, PAGE_SIZE };
}
#endif

void fault_handover_count(const struct fault *fault)
{
	(void)fault;
	lmb_handover.nr = ~0UL;
}

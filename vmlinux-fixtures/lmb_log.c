// SPDX-License-Identifier: GPL-2.0-or-later
/* LMB: the log of its operations. */
#include "lmb_log.h"
#include "lmb_state.h"

#if CONFIG_LMB_LOG
struct lmb_log lmb_log;

void lmb_log_write(const struct lmb_log_record *record)
{
	if (!lmb_is_init())
		return;
	lmb_log.ring[lmb_log.nr % CONFIG_LMB_LOG] = *record;
	/* a debugger may stop us anywhere: a record that counts is complete */
	barrier();
	lmb_log.nr++;
}
#endif

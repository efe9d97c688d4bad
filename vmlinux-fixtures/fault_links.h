/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults in links. */
#ifndef FIXTURE_FAULT_LINKS_H
#define FIXTURE_FAULT_LINKS_H

#include "fault_kind.h"

void fault_look_up_nodes(void);

/* Which pointer changes, of struct fault's list. */
fault_fn fault_set_next, fault_set_prev, fault_set_head_next,
	fault_set_head_prev;

/* Where it leads then. */
fault_target_fn fault_to_null, fault_to_poison, fault_to_unmapped,
	fault_to_device, fault_to_misaligned, fault_to_foreign,
	fault_to_foreign_head, fault_to_itself, fault_to_first;

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults in what the allocator writes down: its log, and the hand-over. */
#ifndef FIXTURE_FAULT_RECORDS_H
#define FIXTURE_FAULT_RECORDS_H

#include "fault_kind.h"

fault_fn fault_log_result, fault_log_op, fault_log_init, fault_log_shorter;
fault_fn fault_handover_mismatch, fault_handover_reserved, fault_handover_count;

#endif

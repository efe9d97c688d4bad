/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults in the regions, the entries and the switches. */
#ifndef FIXTURE_FAULT_REGIONS_H
#define FIXTURE_FAULT_REGIONS_H

#include "fault_kind.h"

fault_fn fault_reserved_outside_memory, fault_required_unreserved,
	fault_required_not_memory, fault_required_overlap, fault_unsorted, fault_overlap,
	fault_unmerged, fault_empty_region, fault_region_wraps,
	fault_outside_firmware, fault_block_unreserved, fault_block_unflagged,
	fault_no_block, fault_bad_flags,
	fault_freelist_exhausted, fault_freelist_dropped, fault_entry_lost,
	fault_entry_shared, fault_log_divergence, fault_set_may_grow;

#endif

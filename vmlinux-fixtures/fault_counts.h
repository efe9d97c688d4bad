/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults in the numbers that the allocator keeps, and in the blocks' headers. */
#ifndef FIXTURE_FAULT_COUNTS_H
#define FIXTURE_FAULT_COUNTS_H

#include "fault_kind.h"

fault_fn fault_count_mismatch, fault_count_zero, fault_count_huge,
	fault_size_mismatch, fault_free_count_mismatch, fault_free_count_huge,
	fault_nr_blocks, fault_block_size_twice, fault_block_size_odd,
	fault_block_size_huge, fault_block_nr, fault_block_entries,
	fault_block_base, fault_name, fault_limit;

#endif

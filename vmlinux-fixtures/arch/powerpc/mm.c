// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The map of memory: TLB entries that stay, as no hardware walks tables, and no
 * exception of this kernel fills in a page.
 */
#include "../../arch.h"
#include "../../fault.h"
#include "../../init.h"
#include "../../lmb.h"
#include "../../mapped.h"
#include "address.h"
#include "machine.h"

#define MAPPED_MAX	((phys_addr_t)NR_CHUNKS << CHUNK_SHIFT)

/* Map the chunks of [base, end), as far as there are entries; this code runs in the first. */
static __init void map_range(phys_addr_t base, phys_addr_t end)
{
	phys_addr_t chunk, last = (end - 1) >> CHUNK_SHIFT;
	struct mapping mapping = { .shift = CHUNK_SHIFT };

	for (chunk = base >> CHUNK_SHIFT; chunk <= last && chunk < NR_CHUNKS; chunk++) {
		if (!chunk)
			continue;
		mapping.pa = chunk << CHUNK_SHIFT;
		mapping.va = (unsigned long)__va(mapping.pa);
		tlb_set(TLB_IMAGE + chunk, &mapping);
	}
}

/**
 * init_mem_mapping - map all memory, and let the allocator use what is mapped
 *
 * In chunks, so that what lies beside memory may be mapped too, LMB_NOMAP as
 * well; and no more than NR_CHUNKS of them: memory above is for others.
 */
noinline __init void init_mem_mapping(void)
{
	const struct lmb_region *region;
	phys_addr_t limit = lmb_end_of_DRAM();

	for_each_lmb_memory(region)
		map_range(region->base, lmb_end(region));
	mapped_end = limit < MAPPED_MAX ? limit : MAPPED_MAX;
	must(lmb_set_current_limit, mapped_end);
}

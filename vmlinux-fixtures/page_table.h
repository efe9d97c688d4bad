/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What direct_map.c asks of an architecture whose hardware walks tables of 512
 * entries of 8 bytes each, with pages of 4 KiB and of 2 MiB. Others have an
 * init_mem_mapping() of their own.
 */
#ifndef FIXTURE_PAGE_TABLE_H
#define FIXTURE_PAGE_TABLE_H

#include "types.h"

#define PMD_SIZE	(1UL << 21)
#define PUD_SIZE	(1UL << 30)

/* Entries: that lead to a table, or to memory. */
u64 pte_table(phys_addr_t table);
u64 pte_page(phys_addr_t address, bool huge);
bool pte_is_table(u64 entry);
phys_addr_t pte_address(u64 entry);

/* Bytes of physical memory, from address 0 on, that the map has room for. */
extern const phys_addr_t direct_map_size;

/* After a change of tables, or of the registers for them. */
void drop_tlb(void);

/**
 * direct_map_install - let the hardware use new tables
 * @pud: physical; its entries are those of the direct map, a GiB each
 *
 * Nothing that was looked up before may be used any more.
 */
void direct_map_install(phys_addr_t pud);

#endif

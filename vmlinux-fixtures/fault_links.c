// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults in links: single pointers, in nodes that were looked up before the
 * first of them.
 */
#include "arch.h"
#include "fault_links.h"
#include "printk.h"

#define NODES	16		/* of each list */

static struct list_head *const heads[NR_LISTS] = {
	&lmb.memory.regions, &lmb.reserved.regions, &lmb.freelist, &lmb.blocks,
};

/* Each list's first nodes. */
static struct list_head *nodes[NR_LISTS][NODES];
static unsigned int nr_nodes[NR_LISTS];

/**
 * fault_look_up_nodes - look up the nodes that the faults in links write to
 */
void fault_look_up_nodes(void)
{
	struct list_head *node;
	unsigned int i, list;

	for (list = 0; list < NR_LISTS; list++) {
		node = heads[list]->next;
		for (i = 0; i < NODES && node != heads[list]; node = node->next)
			nodes[list][i++] = node;
		nr_nodes[list] = i;
	}
}

/* One in the middle, if there is a middle. */
static struct list_head *victim(enum fault_list list)
{
	if (!nr_nodes[list])
		panic("lmb.fault: a list is too short for this fault");
	return nodes[list][nr_nodes[list] / 2];
}

struct list_head *fault_to_null(enum fault_list list)
{
	(void)list;
	return NULL;
}

/* What a freed and poisoned list_head holds in Linux. */
struct list_head *fault_to_poison(enum fault_list list)
{
	(void)list;
	return (struct list_head *)(~0UL / 0xff * 0x6b);
}

struct list_head *fault_to_unmapped(enum fault_list list)
{
	(void)list;
	return arch_va(arch_hole_base);
}

struct list_head *fault_to_device(enum fault_list list)
{
	(void)list;
	return arch_va(arch_device_base);
}

struct list_head *fault_to_misaligned(enum fault_list list)
{
	return (struct list_head *)((char *)victim(list) + sizeof(void *) / 2);
}

/* A node of another list, which is a node all the same. */
struct list_head *fault_to_foreign(enum fault_list list)
{
	return victim((list + 1) % NR_LISTS);
}

struct list_head *fault_to_foreign_head(enum fault_list list)
{
	return heads[(list + 1) % NR_LISTS];
}

/* Two nodes of one list that do not agree on which comes first. */
struct list_head *fault_to_itself(enum fault_list list)
{
	return victim(list);
}

struct list_head *fault_to_first(enum fault_list list)
{
	return nodes[list][0];
}

void fault_set_next(const struct fault *fault)
{
	victim(fault->list)->next = fault->target(fault->list);
}

void fault_set_prev(const struct fault *fault)
{
	victim(fault->list)->prev = fault->target(fault->list);
}

void fault_set_head_next(const struct fault *fault)
{
	heads[fault->list]->next = fault->target(fault->list);
}

void fault_set_head_prev(const struct fault *fault)
{
	heads[fault->list]->prev = fault->target(fault->list);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One kind of fault, as lmb.fault= names it. */
#ifndef FIXTURE_FAULT_KIND_H
#define FIXTURE_FAULT_KIND_H

#include "lmb.h"

/* The lists whose links a fault can change. */
enum fault_list { LIST_MEMORY, LIST_RESERVED, LIST_FREE, LIST_BLOCKS, NR_LISTS };

/* What a fault needs, and so when it can strike: one stage after the other. */
enum fault_stage { ON_SOUND_LISTS, ON_LINKS, ON_HANDOVER };

/* Faults write to the lists themselves; nobody else outside the allocator does. */
static inline struct lmb_region *lmb_entry(struct list_head *node)
{
	return list_entry(node, struct lmb_region, link);
}

struct fault;
typedef void fault_fn(const struct fault *fault);
typedef struct list_head *fault_target_fn(enum fault_list list);

/**
 * struct fault - one KIND
 * @name: as in lmb.fault=
 * @stage: when it can strike
 * @inject: do it
 * @type: the region list it happens to, where it could be either
 * @list: the list it happens to, of a fault in links
 * @target: where the pointer shall lead, of a fault in links
 * @legal: what the allocator itself would do, so that the lists stay sound
 * @wanted: it was asked for
 */
struct fault {
	const char *name;
	enum fault_stage stage;
	fault_fn *inject;
	struct lmb_type *type;
	enum fault_list list;
	fault_target_fn *target;
	bool legal, wanted;
};

#endif

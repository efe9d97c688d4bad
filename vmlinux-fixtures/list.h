/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Circular doubly linked lists with a head, the few words of Linux's
 * include/linux/list.h that the allocator needs.
 */
#ifndef FIXTURE_LIST_H
#define FIXTURE_LIST_H

#include "types.h"

struct list_head {
	struct list_head *next, *prev;
};

#define list_entry(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define list_for_each_entry(pos, head, member)				\
	for (pos = list_entry((head)->next, __typeof__(*pos), member);	\
	     &pos->member != (head);					\
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

/* Insert @new between @prev and the node that now follows it. */
static inline void list_add(struct list_head *new, struct list_head *prev)
{
	struct list_head *next = prev->next;

	new->next = next;
	new->prev = prev;
	next->prev = new;
	prev->next = new;
}

/* Insert @new before @next; with a head as @next that is the list's tail. */
static inline void list_add_tail(struct list_head *new, struct list_head *next)
{
	list_add(new, next->prev);
}

static inline void list_del(struct list_head *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
}

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The platform of the host libraries: blocks of entries live in the C heap,
 * whatever physical address they have, and text is kept.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lmb_platform.h"
#include "../printk.h"
#include "platform.h"

struct host_block {
	struct host_block *next;
	void *memory;
};

static struct host_block *host_blocks;
phys_addr_t host_klimit = 0x200000;
u64 host_reach = ~0ULL;

char *host_text;
size_t host_text_len;

void *lmb_arch_map(phys_addr_t base, phys_addr_t size)
{
	struct host_block *block;

	if (host_reach != ~0ULL && (base >= host_reach || size > host_reach - base))
		return NULL;
	block = malloc(sizeof(*block));
	if (!block)
		return NULL;
	block->memory = calloc(1, size);
	if (!block->memory) {
		free(block);
		return NULL;
	}
	block->next = host_blocks;
	host_blocks = block;
	return block->memory;
}

phys_addr_t lmb_arch_klimit(void)
{
	return host_klimit;
}

int printk(const char *fmt, ...)
{
	char line[256];
	va_list args;
	char *text;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(line))
		return -1;
	text = realloc(host_text, host_text_len + len + 1);
	if (!text)
		return -1;
	memcpy(text + host_text_len, line, len + 1);
	host_text = text;
	host_text_len += len;
	return len;
}

/**
 * host_platform_reset - free all blocks and the text
 */
void host_platform_reset(void)
{
	struct host_block *block;

	while ((block = host_blocks)) {
		host_blocks = block->next;
		free(block->memory);
		free(block);
	}
	host_reach = ~0ULL;
	free(host_text);
	host_text = NULL;
	host_text_len = 0;
}

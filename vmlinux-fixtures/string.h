/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_STRING_H
#define FIXTURE_STRING_H

#include "types.h"

void *memset(void *to, int byte, size_t size);
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memchr(const void *from, int byte, size_t size);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t size);
char *strrchr(const char *s, int c);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
bool parse_number(const char *s, u64 *number);

#endif

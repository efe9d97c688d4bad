// SPDX-License-Identifier: GPL-2.0-or-later
/* The few string functions that the kernel and the compiler need. */
#include "string.h"

void *memset(void *to, int byte, size_t size)
{
	char *p = to;

	while (size--)
		*p++ = byte;
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	char *p = to;
	const char *q = from;

	while (size--)
		*p++ = *q++;
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	char *p = to;
	const char *q = from;

	if (p <= q)
		return memcpy(to, from, size);
	while (size--)
		p[size] = q[size];
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const u8 *p = a, *q = b;

	for (; size; size--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

void *memchr(const void *from, int byte, size_t size)
{
	const u8 *p = from;

	for (; size; size--, p++)
		if (*p == (u8)byte)
			return (void *)p;
	return NULL;
}

size_t strnlen(const char *s, size_t size)
{
	const char *end = memchr(s, '\0', size);

	return end ? (size_t)(end - s) : size;
}

char *strrchr(const char *s, int c)
{
	const char *found = NULL;

	do {
		if (*s == (char)c)
			found = s;
	} while (*s++);
	return (char *)found;
}

size_t strlen(const char *s)
{
	size_t len = 0;

	while (s[len])
		len++;
	return len;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t size)
{
	for (; size && *a && *a == *b; size--) {
		a++;
		b++;
	}
	return size ? (u8)*a - (u8)*b : 0;
}

static int digit(char c, unsigned int base)
{
	int value = -1;

	if (c >= '0' && c <= '9')
		value = c - '0';
	else if (c >= 'a' && c <= 'f')
		value = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		value = c - 'A' + 10;
	return value < (int)base ? value : -1;
}

/**
 * parse_number - read a decimal or 0x number that is all of a string
 * @s: the string
 * @number: set on success only
 *
 * Return: whether it is one, and fits.
 */
bool parse_number(const char *s, u64 *number)
{
	unsigned int base = s[0] == '0' && (s[1] == 'x' || s[1] == 'X') ? 16 : 10;
	u64 value = 0;

	if (base == 16)
		s += 2;
	if (!*s)
		return false;
	for (; *s; s++) {
		int d = digit(*s, base);

		if (d < 0 || value > (~0ULL - d) / base)
			return false;
		value = value * base + d;
	}
	*number = value;
	return true;
}

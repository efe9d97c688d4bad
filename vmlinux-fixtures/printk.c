// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Text output. Everything goes to the console as it is printed, and into a
 * buffer where a debugger finds it when the console was not there.
 */
#include "arch.h"
#include "printk.h"
#include "stops.h"

static char early_log_buf[4096];

/**
 * struct log_buf - the last text printed
 * @text: a ring; the next character goes to text[nr % size]
 * @size: its bytes
 * @nr: characters ever printed
 */
struct log_buf {
	char *text;
	size_t size;
	unsigned long nr;
};

struct log_buf log_buf = { early_log_buf, sizeof(early_log_buf), 0 };

static void put_char(char c)
{
	log_buf.text[log_buf.nr % log_buf.size] = c;
	log_buf.nr++;
	arch_putc(c);
}

/**
 * printk_move - let the text log go on in a larger buffer
 * @buffer: zeroed
 * @size: its bytes
 */
void printk_move(char *buffer, size_t size)
{
	unsigned long i, first = 0;

	if (log_buf.nr > log_buf.size)
		first = log_buf.nr - log_buf.size;
	for (i = first; i < log_buf.nr; i++)
		buffer[i % size] = log_buf.text[i % log_buf.size];
	log_buf.text = buffer;
	log_buf.size = size;
}

static void put_string(const char *s)
{
	for (; *s; s++)
		put_char(*s);
}

static void put_number(u64 number, unsigned int base, unsigned int width, char pad)
{
	char digits[24];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number);
	for (; width > n; width--)
		put_char(pad);
	while (n)
		put_char(digits[--n]);
}

/* One conversion, after its '%'; returns what follows it. */
static const char *put_conversion(const char *fmt, va_list *args)
{
	unsigned int width = 0, longs = 0;
	char pad = ' ';
	long long value;

	if (*fmt == '0')
		pad = *fmt++;
	while (*fmt >= '0' && *fmt <= '9')
		width = width * 10 + *fmt++ - '0';
	while (*fmt == 'l') {
		longs++;
		fmt++;
	}
	if (*fmt == 's') {
		put_string(va_arg(*args, const char *));
		return fmt + 1;
	}
	if (*fmt == 'c' || *fmt == '%') {
		put_char(*fmt == 'c' ? va_arg(*args, int) : '%');
		return fmt + 1;
	}

	/* sign-extended for %d; %u and %x cut it back to the type's width */
	value = longs > 1 ? va_arg(*args, long long) :
		longs ? va_arg(*args, long) : va_arg(*args, int);
	if (*fmt == 'd') {
		if (value < 0)
			put_char('-');
		put_number(value < 0 ? -(u64)value : (u64)value, 10, width, pad);
		return fmt + 1;
	}
	put_number(longs > 1 ? (u64)value : longs ? (unsigned long)value :
		   (unsigned int)value, *fmt == 'u' ? 10 : 16, width, pad);
	return fmt + 1;
}

/* %s %c %d %u %x %%, with l, ll, a width and 0; the compiler checks the rest. */
int vprintk(const char *fmt, va_list args)
{
	unsigned long start = log_buf.nr;
	va_list copy;

	va_copy(copy, args);
	while (*fmt) {
		if (*fmt == '%')
			fmt = put_conversion(fmt + 1, &copy);
		else
			put_char(*fmt++);
	}
	va_end(copy);
	return log_buf.nr - start;
}

int printk(const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vprintk(fmt, args);
	va_end(args);
	return len;
}

/* A function of its own, so that a debugger can stop where all is lost. */
void panic_halt(void);
__stop void panic_halt(void)
{
	arch_halt();
}

noinline void panic(const char *fmt, ...)
{
	va_list args;

	printk("Kernel panic - not syncing: ");
	va_start(args, fmt);
	vprintk(fmt, args);
	va_end(args);
	printk("\n");
	panic_halt();
	__builtin_unreachable();
}

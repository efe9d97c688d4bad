// SPDX-License-Identifier: GPL-2.0-or-later
/* The first serial port, polled, and the last thing that this CPU does. */
#include "../../arch.h"
#include "io.h"
#include "serial.h"

#define COM1		0x3f8
#define UART_DATA	(COM1 + 0)
#define UART_IER	(COM1 + 1)
#define UART_FCR	(COM1 + 2)
#define UART_LCR	(COM1 + 3)
#define UART_LSR	(COM1 + 5)

#define LCR_DLAB	0x80
#define LCR_8N1		0x03
#define FCR_ENABLE	0x07	/* and empty both FIFOs */
#define LSR_THRE	0x20

/**
 * serial_init - 115200 baud, 8N1, no interrupts
 */
void serial_init(void)
{
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_DLAB);
	outb(UART_DATA, 1);
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_8N1);
	outb(UART_FCR, FCR_ENABLE);
}

void arch_putc(char c)
{
	/* a port that is not there reads as all ones, and does not hold us up */
	while (!(inb(UART_LSR) & LSR_THRE))
		;
	outb(UART_DATA, c);
}

void arch_halt(void)
{
	for (;;)
		__asm__ __volatile__("cli; hlt");
}

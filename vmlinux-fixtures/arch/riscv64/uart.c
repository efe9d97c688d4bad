// SPDX-License-Identifier: GPL-2.0-or-later
/* The first serial port, polled, and the last thing that this CPU does. */
#include "../../arch.h"
#include "address.h"
#include "uart.h"

#define UART_DATA	0
#define UART_IER	1
#define UART_FCR	2
#define UART_LCR	3
#define UART_LSR	5

#define LCR_8N1		0x03
#define FCR_ENABLE	0x07	/* and empty both FIFOs */
#define LSR_THRE	0x20

static volatile u8 *uart(unsigned int offset)
{
	return __va(UART_BASE + offset);
}

/**
 * uart_init - 8N1, no interrupts; the baud rate is as firmware left it
 */
void uart_init(void)
{
	*uart(UART_IER) = 0;
	*uart(UART_LCR) = LCR_8N1;
	*uart(UART_FCR) = FCR_ENABLE;
}

void arch_putc(char c)
{
	while (!(*uart(UART_LSR) & LSR_THRE))
		;
	*uart(UART_DATA) = c;
}

void arch_halt(void)
{
	__asm__ __volatile__("csrci sstatus, 2");
	for (;;)
		__asm__ __volatile__("wfi");
}

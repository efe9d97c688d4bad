// SPDX-License-Identifier: GPL-2.0-or-later
/* The first serial port, a PL011, polled, and the last thing that this CPU does. */
#include "../../arch.h"
#include "address.h"
#include "uart.h"

#define UART_DATA	0x00
#define UART_FLAGS	0x18
#define UART_LINE	0x2c
#define UART_CONTROL	0x30
#define UART_MASK	0x38

#define FLAGS_TX_FULL	0x20
#define LINE_8N1_FIFO	0x70
#define CONTROL_TX	0x101	/* enabled, sends */

static volatile u32 *uart(unsigned int offset)
{
	return __va(UART_BASE + offset);
}

/**
 * uart_init - 8N1, no interrupts; the baud rate is as it was
 */
void uart_init(void)
{
	*uart(UART_CONTROL) = 0;
	*uart(UART_MASK) = 0;
	*uart(UART_LINE) = LINE_8N1_FIFO;
	*uart(UART_CONTROL) = CONTROL_TX;
}

void arch_putc(char c)
{
	while (*uart(UART_FLAGS) & FLAGS_TX_FULL)
		;
	*uart(UART_DATA) = (u8)c;
}

void arch_halt(void)
{
	__asm__ __volatile__("msr daifset, #0xf");
	for (;;)
		__asm__ __volatile__("wfi");
}

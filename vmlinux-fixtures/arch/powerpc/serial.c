// SPDX-License-Identifier: GPL-2.0-or-later
/* The first serial port, a 16550 in memory, polled; and the last thing that this CPU does. */
#include "../../arch.h"
#include "address.h"
#include "machine.h"
#include "serial.h"

#define UART_DATA	0
#define UART_IER	1
#define UART_FCR	2
#define UART_LCR	3
#define UART_LSR	5

#define LCR_DLAB	0x80
#define LCR_8N1		0x03
#define FCR_ENABLE	0x07	/* and empty both FIFOs */
#define LSR_THRE	0x20

static volatile u8 *uart;

static void write_register(unsigned int number, u8 value)
{
	uart[number] = value;
	__asm__ __volatile__("eieio" : : : "memory");
}

/**
 * serial_init - 115200 baud, 8N1, no interrupts
 */
void serial_init(void)
{
	u64 registers = machine_console();
	struct mapping mapping = { CONSOLE_MAP, registers & ~(u64)(PAGE_SIZE - 1), PAGE_SHIFT, true };

	tlb_set(TLB_CONSOLE, &mapping);
	uart = (u8 *)CONSOLE_MAP + registers % PAGE_SIZE;
	write_register(UART_IER, 0);
	write_register(UART_LCR, LCR_DLAB);
	write_register(UART_DATA, 1);
	write_register(UART_IER, 0);
	write_register(UART_LCR, LCR_8N1);
	write_register(UART_FCR, FCR_ENABLE);
	/* QEMU leaves out a port that leads nowhere */
	if (uart[UART_LCR] != LCR_8N1)
		uart = NULL;
}

void arch_putc(char c)
{
	if (!uart)
		return;
	while (!(uart[UART_LSR] & LSR_THRE))
		;
	write_register(UART_DATA, c);
}

void arch_halt(void)
{
	machine_halt();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_RISCV64_UART_H
#define FIXTURE_RISCV64_UART_H

void uart_init(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_MAIN_H
#define FIXTURE_MAIN_H

#include "types.h"

void start_kernel(void) __noreturn;

#endif

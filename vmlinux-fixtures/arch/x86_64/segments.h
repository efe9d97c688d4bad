/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_X86_64_SEGMENTS_H
#define FIXTURE_X86_64_SEGMENTS_H

#include "../../types.h"

extern u64 gdt[];

#endif

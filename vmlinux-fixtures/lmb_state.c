// SPDX-License-Identifier: GPL-2.0-or-later
/* LMB: its state, all zero before lmb_init(). */
#include "lmb_state.h"

struct lmb lmb;

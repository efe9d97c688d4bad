// SPDX-License-Identifier: GPL-2.0-or-later
/* Which kernel this is, for people and for debuggers. */
#include "banner.h"
#include "lmb.h"

#define STRING_(x)	#x
#define STRING(x)	STRING_(x)

const char lmb_banner[] = "gdb-lmb fixture kernel, " CONFIG_ARCH
#ifdef CONFIG_LMB_KLIMIT
	", klimit storage"
#else
	", " STRING(CONFIG_LMB_STATIC_ENTRIES) " static entries"
#endif
	", log of " STRING(CONFIG_LMB_LOG)
	", hand-over table of " STRING(CONFIG_LMB_HANDOVER_RANGES);

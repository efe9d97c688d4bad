/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_INIT_H
#define FIXTURE_INIT_H

/* Given back by free_init_memory(), so only for what runs before it. */
#define __init		__attribute__((__section__(".init.text")))
#define __initdata	__attribute__((__section__(".init.data")))

#endif

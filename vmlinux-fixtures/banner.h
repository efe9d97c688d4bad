/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_BANNER_H
#define FIXTURE_BANNER_H

extern const char lmb_banner[];

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FIXTURE_AARCH64_ENTRY_H
#define FIXTURE_AARCH64_ENTRY_H

/* Where exceptions enter the kernel, 128 bytes each. */
extern const char exception_vectors[];

#endif

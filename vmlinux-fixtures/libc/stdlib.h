/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libfdt includes it, and needs nothing of it. */

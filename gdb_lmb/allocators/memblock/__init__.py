# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's memblock, the array-backed heir of LMB."""

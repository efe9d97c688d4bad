# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that gdb offers: `current()` of `current` is the selected inferior, a live guest or a dump.

Besides it: moving symbols, running the guest to its kernel, what clients of gdb see. One of the rooms that import gdb.
"""

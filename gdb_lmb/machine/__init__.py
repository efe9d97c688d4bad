# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's side of the machine: types to field tables, registers and frames, the gdb-backed reader.

One of the two rooms that import gdb.
"""

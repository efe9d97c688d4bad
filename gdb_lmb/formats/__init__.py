# SPDX-License-Identifier: GPL-2.0-or-later
"""File formats: ELF, core dumps, flattened device trees. Nothing here knows gdb."""

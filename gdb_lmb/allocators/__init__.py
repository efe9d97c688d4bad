# SPDX-License-Identifier: GPL-2.0-or-later
"""The early allocators: decoder, checks, reference model and operations of each. Nothing here knows gdb."""

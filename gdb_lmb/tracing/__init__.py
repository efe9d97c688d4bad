# SPDX-License-Identifier: GPL-2.0-or-later
"""Breakpoints in the allocator's functions, and the recorder of its operations."""

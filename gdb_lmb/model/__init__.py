# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference models: what an early allocator must do, written from its design and not from its C.

Each in-kernel allocator has one module here; none knows of guests, bytes or reports.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens: cutting lists to items, and comparing two boots item by item."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Architectures: registers, page tables, where KASLR may put a kernel, linear maps."""

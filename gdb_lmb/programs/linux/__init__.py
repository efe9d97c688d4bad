# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux kernel with memblock, moved by KASLR or not."""

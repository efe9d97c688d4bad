# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels and sources of distributions: from an archive into the cache. Imports nothing."""

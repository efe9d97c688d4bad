# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that formats: tables, the kernel's own text, JSON both ways.

The other rooms return values; only this one knows what a person or a program reads.
"""

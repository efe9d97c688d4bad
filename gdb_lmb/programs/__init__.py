# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that a guest runs, one package each: how one is recognised, where it lies, how far its boot has come."""

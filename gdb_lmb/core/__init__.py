# SPDX-License-Identifier: GPL-2.0-or-later
"""Values and protocols that all rooms use: errors, snapshots, findings, operations, memory, fields, units."""

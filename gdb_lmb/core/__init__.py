# SPDX-License-Identifier: GPL-2.0-or-later
"""What every room speaks of: errors, snapshots, findings, operations, memory, fields, units."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from states and operations: differences, lockstep, replay, owners, what an address is."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that lies where its ELF says, with any allocator that is registered, as the fixture kernel."""

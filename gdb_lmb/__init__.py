# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb-lmb: see and prove the early-boot memory allocator of a live kernel.

Importing this package imports nothing else: gdb loads it at start-up.
"""

__version__ = "0.1.0"

# SPDX-License-Identifier: GPL-2.0-or-later
"""Field tables and decoders: guest bytes in, `Snapshot` out; one module for each in-kernel layout.

Nothing here knows gdb: offsets, sizes and byte order arrive as `fields.Struct` values, made from debug
information by `target` or written by hand in a test.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""A saved trace as a test for the kernel's memblock simulator, `tools/testing/memblock`.

The function that is written makes the same calls by the public functions of `include/linux/memblock.h`, and
asserts every result and the state in the end: every region, the counters, and where doubled arrays lie. The
simulator's physical addresses are the process's own, so the memory of doubled arrays is mapped first.

The trace is read twice: `survey` learns what the head of the file needs, `source` writes as it reads.
"""

from gdb_lmb.report.export_c.source import source
from gdb_lmb.report.export_c.survey import Survey, survey

__all__ = ["Survey", "source", "survey"]

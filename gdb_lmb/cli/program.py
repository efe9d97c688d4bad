# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's ELF that `attach` and `core` are given: a file, or a name of the cache."""

from __future__ import annotations

from pathlib import Path

from gdb_lmb.arches.registry import named
from gdb_lmb.cli.common import say
from gdb_lmb.kernels.names import is_name, row_of
from gdb_lmb.runner.machines import find_gdb


def program_of(text: str, gdb: str | None) -> Path:
    """Return the ELF that `text` means: a file, or that of a kernel in the cache. Raises: UsageError."""
    if not is_name(text):
        return Path(text)
    # Before a long download, not after it.
    find_gdb(named(row_of(text).arch), gdb)
    from gdb_lmb.kernels.stock import find_kernel

    return find_kernel(text, notice=say).vmlinux

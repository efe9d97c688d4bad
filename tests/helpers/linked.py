# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols of a kernel as they were linked."""

from __future__ import annotations

import subprocess
from pathlib import Path


def linked_symbols(vmlinux: Path) -> dict[str, int]:
    """Return what nm says of global symbols."""
    told = subprocess.run(["nm", "-g", vmlinux], capture_output=True, text=True, check=True).stdout
    return {name: int(at, 16) for at, _, name in (line.split() for line in told.splitlines() if line[0] != " ")}

# SPDX-License-Identifier: GPL-2.0-or-later
"""The architectures on which stock Linux is understood: one object each, in one table."""

from __future__ import annotations

from gdb_lmb.arches.arm64 import Arm64
from gdb_lmb.arches.base import Architecture, Cpu
from gdb_lmb.arches.x86_64 import X86
from gdb_lmb.core.errors import LayoutError

__all__ = ["ARCHITECTURES", "Architecture", "Cpu", "architecture"]

ARCHITECTURES: dict[str, Architecture] = {"x86_64": X86(), "aarch64": Arm64()}
"""By the names of `target.program.arch()`."""


def architecture(name: str) -> Architecture:
    """Return the architecture of this name. Raises: `LayoutError` where stock Linux is not understood on it."""
    if name not in ARCHITECTURES:
        raise LayoutError(f"stock Linux is understood on {', '.join(ARCHITECTURES)} only so far, not on {name}")
    return ARCHITECTURES[name]

# SPDX-License-Identifier: GPL-2.0-or-later
"""The rooms of the package and what each of its files imports."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent.parent / "gdb_lmb"


# From the ground up: a room imports from those before it only.
ROOMS = (
    "core",
    "formats",
    "arches",
    "allocators",
    "programs",
    "analysis",
    "report",
    "machine",
    "tracing",
    "commands",
    "kernels",
    "runner",
    "cli",
    "plugin",
    "__main__",
)


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

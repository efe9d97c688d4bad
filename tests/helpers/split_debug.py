# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel whose debug information lies in a file of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path


def split(vmlinux: Path, out: Path, debug: Path) -> None:
    """Take the debug information of `vmlinux` away into `debug`, as distributions do."""
    debug.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["objcopy", "--only-keep-debug", vmlinux, debug], check=True, timeout=60)
    subprocess.run(["objcopy", "-S", f"--add-gnu-debuglink={debug}", vmlinux, out], check=True, timeout=60)

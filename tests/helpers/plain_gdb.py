# SPDX-License-Identifier: GPL-2.0-or-later
"""A gdb of the machine's, without the user's files and without a runner around it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import tabulate

ROOT = Path(__file__).resolve().parent.parent.parent
LOAD = ROOT / "gdb_lmb" / "commands" / "load.py"


def gdb(*commands: str, load: Path = LOAD, path: str | None = None, cwd: Path | None = None) -> str:
    """Run gdb with commands, return all it prints; a sentinel shows that it came to the end."""
    environment = {**os.environ, "GDB_LMB_PATH": str(Path(tabulate.__file__).parent.parent) if path is None else path}
    environment.pop("PYTHONPATH", None)
    arguments = [argument for command in (*commands, "echo END\\n") for argument in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-nx", "-q", "-batch", *arguments],
        capture_output=True, text=True, timeout=60, env=environment, cwd=cwd, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert "END" in output, output
    return output

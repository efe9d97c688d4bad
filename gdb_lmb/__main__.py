# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m gdb_lmb`: the command line `gdb-lmb`, also where its script is not on the PATH."""

from __future__ import annotations

import sys

from gdb_lmb.cli import main

if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""Put a bench's figures into gdb_lmb/docs/benchmarks.md, between the comments that mark their place."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "gdb_lmb" / "docs" / "benchmarks.md"


def write_block(name: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between `<!-- NAME -->` and `<!-- /NAME -->`. Raises: SystemExit unless there is one such place."""
    block = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
    whole, count = re.subn(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _: block, page.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{page}: {count} places are marked {name}, where there should be one")
    page.write_text(whole)

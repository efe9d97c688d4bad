# SPDX-License-Identifier: GPL-2.0-or-later
"""Putting a bench's figures into README.md, between the comments that mark their place."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def write_block(name: str, text: str) -> None:
    """Put `text` between `<!-- NAME -->` and `<!-- /NAME -->`."""
    block = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
    whole, count = re.subn(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _: block, README.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{README}: {count} places are marked {name}, where there should be one")
    README.write_text(whole)

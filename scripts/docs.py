# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the transcripts of README.md and gdb_lmb/docs, and tell or write what differs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import doc_commands
from transcripts import PAGES, built_as_shown, difference, read_page, rewritten, shown_blocks


def main() -> int:
    """Compare or write; return 1 where a page is not what it should be."""
    parser = argparse.ArgumentParser(prog="scripts/docs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, help="only these pages (default: all)")
    parser.add_argument("--write", action="store_true", help="put the output of today into the pages")
    parser.add_argument("--stock", action="store_true", help="also the transcripts on distribution kernels")
    options = parser.parse_args()
    wanted = [path.resolve() for path in options.pages] or list(PAGES)
    for path in wanted:
        if path not in PAGES:
            parser.error(f"{path} is no page: README.md or one of gdb_lmb/docs")
    exact, differ = built_as_shown(), False
    if doc_commands.PAGE in wanted:
        text = doc_commands.page()
        if not doc_commands.PAGE.exists() or text != doc_commands.PAGE.read_text():
            differ = True
            print(f"{doc_commands.PAGE}: not what the commands' help says")
            if options.write:
                doc_commands.PAGE.write_text(text)
    for path in wanted:
        for stock in (False, True) if options.stock else (False,):
            page = read_page(path)
            with tempfile.TemporaryDirectory(prefix="docs") as folder:
                shown = shown_blocks(page, Path(folder), stock=stock)
            for block, lines in shown:
                told = difference(block, lines, exact=exact and not stock)
                differ = differ or bool(told)
                print(told, end="\n" if told else "")
            if options.write:
                path.write_text(rewritten(page, shown))
    return 0 if options.write or not differ else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb help`: the pages of the documentation, which are shipped with the package as Markdown."""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from gdb_lmb.cli.common import COLOR_OPTION, CommandLine, argument, stdout_terminal
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.report.terminal import HEADING

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_EPILOG = """\
Without TOPIC the topics are listed. On a terminal a page is shown by $PAGER (default: less).
The help of one command: gdb-lmb COMMAND --help, and in gdb: help lmb-dump. All of them: gdb-lmb help commands.

example: gdb-lmb help findings
"""
# Exit statuses of a shell that cannot start a command.
_NOT_STARTED = (126, 127)


def topics() -> list[str]:
    """Return the names of the pages, sorted."""
    return sorted(path.stem for path in _DOCS.glob("*.md"))


def _run(arguments: argparse.Namespace) -> ExitStatus:
    names, topic = topics(), arguments.topic
    if topic is None:
        width = max(map(len, names))
        sys.stdout.writelines(f"{name:{width}}  {_summary(name)}\n" for name in names)
        return ExitStatus.CLEAN
    if topic not in names:
        near = difflib.get_close_matches(topic.lower(), names)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the topics are {', '.join(names)}"
        raise UsageError(f"there is no topic {printable(topic, 40)!r}: {hint}")
    terminal = stdout_terminal(arguments.color)
    lines = (_DOCS / f"{topic}.md").read_text(encoding="utf-8").splitlines()
    _show("".join(terminal.paint(line, HEADING if line.startswith("#") else None) + "\n" for line in lines))
    return ExitStatus.CLEAN


def _summary(topic: str) -> str:
    # What the title of a page says after the topic.
    with (_DOCS / f"{topic}.md").open(encoding="utf-8") as page:
        return page.readline().partition(": ")[2].strip()


def _show(text: str) -> None:
    pager = os.environ.get("PAGER", "less" if shutil.which("less") else "")
    if not (sys.stdout.isatty() and pager.strip() and _paged(text, pager)):
        sys.stdout.write(text)


def _paged(text: str, pager: str) -> bool:
    # `pager` is a shell command; what is returned is whether it could be started.
    # less: leave a short page on the screen, and show colours; as git does, unless the user says otherwise.
    environment = {"LESS": "FRX", **os.environ}
    # Ctrl-C is the pager's. A handler, unlike SIG_IGN, is not inherited by it.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        encoded = text.encode(sys.stdout.encoding, sys.stdout.errors or "strict")
        done = subprocess.run(["sh", "-c", pager], input=encoded, env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    return done.returncode not in _NOT_STARTED


COMMANDS = (
    CommandLine(
        "help",
        _run,
        "show a page of the documentation, or list the pages",
        "Show a page of the documentation, or list the pages.",
        _EPILOG,
        (argument("topic", metavar="TOPIC", nargs="?", help=f"the page: {', '.join(topics())}"), COLOR_OPTION),
        "gdb-lmb help [TOPIC] [--color auto|always|never]",
    ),
)

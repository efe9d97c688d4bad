# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/demo.md, whose transcripts are run and compared, has the commands and statuses of scripts/demo."""

from __future__ import annotations

import shlex
from pathlib import Path

from transcripts import FIXTURE, read_page, steps_of

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


def test_the_page_has_the_demos_commands() -> None:
    shown = [shlex.split(line) for line in (SCRIPTS / "demo").read_text().splitlines() if line.startswith("show ")]
    expected = [([str(FIXTURE) if word == "$KERNEL" else word for word in words], status)
                for _, status, *words in shown]  # fmt: skip
    steps = [steps_of(block) for block in read_page(SCRIPTS / "demo.md").blocks]
    assert [(shlex.split(run), status[0]) for (run, _), (_, status) in steps] == expected and len(expected) == 5
    assert all(echo == "echo $?" for _, (echo, _) in steps)

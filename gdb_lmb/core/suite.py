# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of checks in a form that every report is written from: cases, and the suite that they make up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gdb_lmb.core.golden import Change
from gdb_lmb.core.snapshot import Finding

Outcome = Literal["passed", "differs", "findings", "died", "usage", "not verified", "infrastructure"]
"""How a case ended. The first four are the kernel's; the others say nothing about it."""


@dataclass(frozen=True)
class CaseResult:
    """How one check ended.

    `status` is the exit status that it has by itself. `changes` are those that no rule allows, `lines` what is told to
    people, without any control character. `command` repeats it. `artefacts` is the folder of what was kept, if any.
    """

    name: str
    outcome: Outcome
    status: int
    seconds: float = 0.0
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    lines: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    artefacts: Path | None = None
    golden: Path | None = None

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


@dataclass(frozen=True)
class SuiteResult:
    """The cases of one run in the order they were asked for, and what is the same for all of them."""

    name: str
    cases: tuple[CaseResult, ...]
    properties: Mapping[str, str] = field(default_factory=dict)

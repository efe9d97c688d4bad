# SPDX-License-Identifier: GPL-2.0-or-later
"""The booted kernel of a session, as tests see it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.cli.common import build_parser, error_lines
from gdb_lmb.cli.golden import document_of, environment_of_boot, new_path
from gdb_lmb.cli.guest import booted
from gdb_lmb.core.errors import GuestError, UsageError
from gdb_lmb.core.golden import Golden
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import FINDING
from gdb_lmb.plugin.goldens import Goldens
from gdb_lmb.plugin.targets import Target
from gdb_lmb.report.changes import Comparison, change_lines, comparison
from gdb_lmb.report.golden.comments import GoldenFile
from gdb_lmb.report.golden.dump import stop_of
from gdb_lmb.report.golden.reading import read_golden
from gdb_lmb.report.golden.writing import golden_text
from gdb_lmb.report.jsonio import snapshot_from
from gdb_lmb.report.output import whole_file
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.runner.results import CheckResult
from gdb_lmb.runner.session import GuestSession

_APART = "leave match out (then each case has a golden), or give each a name of its own"


class Lmb:
    """A kernel booted to where its allocator is looked at. A guest that died on its way there fails each test.

    `target` says which kernel, and how it was booted.
    """

    def __init__(
        self, target: Target, guest: GuestSession, current: Golden | None, goldens: Goldens, death: str
    ) -> None:
        self.target = target
        self._guest = guest
        self._current = current
        self._goldens = goldens
        self._death = death

    def command(self, text: str) -> str:
        """Execute one gdb command and return its output. What it changes in the guest, all later tests see."""
        self._alive()
        return self._guest.command(text)

    def dump(self) -> Snapshot:
        """Return what the allocator holds."""
        return snapshot_from(json.loads(_last_line(self.command("lmb-dump --json"))))

    def check(self) -> CheckResult:
        """Check the allocator, and fail the test on what it finds or cannot verify; notes are returned."""
        self._alive()
        found = self._guest.result(CheckResult, "lmb-check --json")
        faults = [f"{one.code}: {one.message}" for one in found.findings if one.severity == FINDING]
        if found.exit_status is ExitStatus.NOT_VERIFIED:
            pytest.fail(f"not verified: {', '.join(found.not_verified)}", pytrace=False)
        if found.exit_status is not ExitStatus.CLEAN:
            pytest.fail("\n".join(faults), pytrace=False)
        return found

    def snapshot(self, match: str | None = None) -> Golden:
        """Hold what the allocator held at the stop to the test's golden `match`, and fail the test where it differs.

        By default a golden is called as the test's parameters are. It is written with --lmb-update only, and never
        with what differs from what another case has found the same as it in the same run.
        """
        self.check()
        path = self._goldens.path_of(match)
        if self._goldens.update:
            return self._updated(path)
        if not path.exists():
            pytest.fail(f"there is no golden {path}: --lmb-update writes it", pytrace=False)
        former, current, found = self._compared(path)
        if not found.changes:
            return current
        lines = [*change_lines(found.changes), *(f"note: {note}" for note in found.notes)]
        new = new_path(path)
        with self._goldens.held(new) as other:
            if other is not None:
                told = f"the actual state is kept nowhere: {new} is that of {other} ({_APART})"
                pytest.fail("\n".join([*lines, told]), pytrace=False)
            _write(new, golden_text(current, former))
        lines.append(f"the actual state is in {new} (gdb-lmb accept {path}, or --lmb-update)")
        pytest.fail("\n".join(lines), pytrace=False)

    def _updated(self, path: Path) -> Golden:
        assert self._current is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._goldens.held(path) as other:
            former, current = None, self._current
            if path.exists():
                former, current, found = self._compared(path)
                if not found.changes:
                    return current
                if other is not None:
                    told = f"{path} would be of {self._goldens.test}, but {other} has used it in this run, and differs"
                    pytest.fail(f"{told}: {_APART}", pytrace=False)
            _write(path, golden_text(current, former))
            self._goldens.note_written(path)
        return current

    # The golden at `path`, what the allocator held with the rules of that, and what has changed.
    def _compared(self, path: Path) -> tuple[GoldenFile, Golden, Comparison]:
        assert self._current is not None
        former = read_golden(path)
        current = replace(self._current, rules=former.golden.rules)
        return former, current, comparison(former.golden, current, (str(path), str(self.target.kernel)))

    def _alive(self) -> None:
        if self._death:
            pytest.fail(self._death, pytrace=False)


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _last_line(output: str) -> str:
    return next(line for line in reversed(output.splitlines()) if line.startswith("{"))


@contextlib.contextmanager
def booted_target(target: Target, goldens: Goldens) -> Iterator[Lmb]:
    """Boot a target. Infrastructure that fails is an error of the fixture, no failure of a test."""
    words = target.words()
    try:
        arguments = build_parser("run").parse_args(["run", *words])
    except SystemExit:
        raise UsageError(f"{target}: gdb-lmb run does not take this") from None
    arguments.color = "never"
    with booted(arguments) as guest:
        current, death = None, ""
        at = target.until or guest.default_symbol
        try:
            guest.run_until(target.until)
            document = document_of(guest)
            environment = environment_of_boot(arguments, guest, [document], traced=False)
            current = Golden(environment, (stop_of(document, at),))
        except GuestError as error:
            death = "\n".join(error_lines(error))
        yield Lmb(target, guest, current, goldens, death)

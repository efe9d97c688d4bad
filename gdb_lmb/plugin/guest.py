# SPDX-License-Identifier: GPL-2.0-or-later
"""The booted kernel of a session, as tests see it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace

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
from gdb_lmb.report.changes import change_lines, comparison
from gdb_lmb.report.golden.dump import stop_of
from gdb_lmb.report.golden.reading import read_golden
from gdb_lmb.report.golden.writing import golden_text
from gdb_lmb.report.jsonio import snapshot_from
from gdb_lmb.report.output import whole_file
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.runner.results import CheckResult
from gdb_lmb.runner.session import GuestSession


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

        By default a golden is called as the test's parameters are. It is written with --lmb-update only.
        """
        self.check()
        assert self._current is not None
        path = self._goldens.path_of(match)
        former = read_golden(path) if path.exists() else None
        rules = () if former is None else former.golden.rules
        current = replace(self._current, rules=rules)
        if former is None:
            if not self._goldens.update:
                pytest.fail(f"there is no golden {path}: --lmb-update writes it", pytrace=False)
            found = None
        else:
            found = comparison(former.golden, current, (str(path), str(self.target.kernel)))
            if not found.changes:
                return current
        text = golden_text(current, former).encode("utf-8", "backslashreplace")
        if self._goldens.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(text)
            self._goldens.note_written(path)
            return current
        assert found is not None
        with whole_file(new_path(path)) as file:
            file.write(text)
        lines = [*change_lines(found.changes), *(f"note: {note}" for note in found.notes)]
        lines.append(f"the actual state is in {new_path(path)} (gdb-lmb accept {path}, or --lmb-update)")
        pytest.fail("\n".join(lines), pytrace=False)

    def _alive(self) -> None:
        if self._death:
            pytest.fail(self._death, pytrace=False)


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

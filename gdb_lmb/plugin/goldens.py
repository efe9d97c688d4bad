# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens beside tests: where each is, which were used, which no test has, and the report of it at the end.

The golden `NAME` of a test is goldens/MODULE/TEST/NAME.golden, in the folder of its module. So whose it is can be told
where only some tests run, and on how many machines they do. The cases of a test that is run with several parameters
may share one that they agree on; a record of the run, in a file for all its processes, tells who has used it.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

FOLDER, ENDING = "goldens", ".golden"
_NAME = re.compile(r"[\w.,+=@:-]+")
_IN_NO_NAME = re.compile(r"[^\w.,+=@:-]|^\.")


class Goldens:
    """What a session knows of goldens; with pytest-xdist each process has one, and the controller hears of all."""

    def __init__(self, config: pytest.Config) -> None:
        self.update: bool = config.getoption("--lmb-update")
        self._prune: bool = config.getoption("--lmb-prune")
        self._config = config
        self._item: pytest.Item | None = None
        self._used: set[str] = set()
        self._written: set[str] = set()
        # The folder of each test's goldens, and the tests that it has by their parameters.
        self._tests: dict[str, set[str]] = {}
        self._deselected: set[str] = set()
        self._outcomes: dict[str, str] = {}
        self._partial = any("::" in str(arg) for arg in config.args) or bool(config.getoption("lf", False))
        self._removed: list[Path] = []
        self._record: Path | None = None

    # -- for tests --

    def path_of(self, match: str | None) -> Path:
        """Return the golden of the test that runs now, which uses it. Raises: `pytest.UsageError`."""
        assert self._item is not None
        parameters = getattr(self._item, "callspec", None)
        if match is None:
            # Two ids never make one name.
            name = "golden" if parameters is None else _IN_NO_NAME.sub(_quoted, parameters.id)
        elif _NAME.fullmatch(match) and not match.startswith("."):
            name = match
        else:
            raise pytest.UsageError(f"match={match!r}: give a file's name, of letters, digits and . , + = @ : - _")
        path = _folder_of(self._item) / f"{name}{ENDING}"
        self._used.add(str(path))
        return path

    def note_written(self, path: Path) -> None:
        self._written.add(str(path))

    def record_in(self, folder: Path) -> None:
        """Keep the record of this run there: the folder for temporary files of this process."""
        worker = getattr(self._config, "workerinput", None)
        # That of a process of pytest-xdist lies in one for all of them.
        self._record = (
            folder / "gdb-lmb-goldens" if worker is None else folder.parent / f"gdb-lmb-goldens-{worker['testrunuid']}"
        )

    @contextlib.contextmanager
    def held(self, path: Path) -> Iterator[str | None]:
        """Hold `path` for the test that runs now, against those of other processes, and record that it has used it.

        Yield another test that has used it in this run, None where there is none. An exception leaves no record.
        """
        assert self._record is not None
        with self._record.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            used = [ast.literal_eval(line) for line in file]
            yield next((test for where, test in used if where == str(path) and test != self.test), None)
            file.write(f"{(str(path), self.test)!a}\n")

    @property
    def test(self) -> str:
        """The test that runs now, as pytest calls it."""
        assert self._item is not None
        return self._item.nodeid

    # -- hooks of pytest --

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._item = item
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        self._collected(items)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._collected(items)
        self._deselected |= {item.nodeid for item in items}

    def _collected(self, items: Iterable[pytest.Item]) -> None:
        for item in items:
            self._tests.setdefault(str(_folder_of(item)), set()).add(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # The worst of setup, call and teardown.
        before = self._outcomes.get(report.nodeid)
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[report.nodeid] = before if before == "failed" else report.outcome

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["gdb-lmb"] = {
                "used": sorted(self._used),
                "written": sorted(self._written),
                "tests": {folder: sorted(ids) for folder, ids in self._tests.items()},
                "deselected": sorted(self._deselected),
            }
        elif self._prune and exitstatus == pytest.ExitCode.OK and self._is_whole():
            for path in [*self.unused(), *self.unknown()]:
                path.unlink(missing_ok=True)
                self._removed.append(path)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        told = getattr(node, "workeroutput", {}).get("gdb-lmb")
        if error or told is None:
            self._partial = True
            return
        self._used |= set(told["used"])
        self._written |= set(told["written"])
        self._deselected |= set(told["deselected"])
        for folder, ids in told["tests"].items():
            self._tests.setdefault(folder, set()).update(ids)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        gone = set(self._removed)
        rows = [
            ("written", [Path(path) for path in sorted(self._written)]),
            ("removed", self._removed),
            ("unused: no test that passed has used it", [path for path in self.unused() if path not in gone]),
            ("unknown: there is no such test", [path for path in self.unknown() if path not in gone]),
        ]
        if any(paths for _, paths in rows):
            terminalreporter.section("goldens of gdb-lmb")
            for words, paths in rows:
                for path in paths:
                    terminalreporter.write_line(f"{words}: {path}")
        if self._prune and not self._removed and not self._is_whole():
            terminalreporter.write_line("goldens of gdb-lmb: none is removed after a run of a part, or one that failed")

    # -- what is left over --

    def unused(self) -> list[Path]:
        """Return the goldens that no test has used: of those tests only that passed with all their parameters.

        One that failed or was skipped may not have come to its goldens.
        """
        found: list[Path] = []
        for folder, ids in sorted(self._tests.items()):
            passed = all(self._outcomes.get(nodeid) == "passed" for nodeid in ids)
            if passed and ids and not ids & self._deselected and not self._selected(ids):
                found += [path for path in _goldens_in(Path(folder)) if str(path) not in self._used]
        return found

    # Whether single parameters of a test were asked for.
    def _selected(self, ids: set[str]) -> bool:
        return any("[" in str(arg) and str(arg).partition("[")[0].endswith(next(iter(ids)).partition("[")[0])
                   for arg in self._config.args)  # fmt: skip

    def unknown(self) -> list[Path]:
        """Return the goldens of tests that there are not, in modules that were collected as a whole, or are gone."""
        found: list[Path] = []
        for base in sorted({Path(folder).parent.parent for folder in self._tests}):
            for module in sorted(base.iterdir()) if base.is_dir() else ():
                exists = (base.parent / f"{module.name}.py").is_file()
                collected = any(Path(folder).parent == module for folder in self._tests)
                if exists and (not collected or self._partial):
                    continue
                for folder in sorted(module.iterdir()) if module.is_dir() else ():
                    if str(folder) not in self._tests:
                        found += _goldens_in(folder)
        return found

    def _is_whole(self) -> bool:
        wanted = {nodeid for ids in self._tests.values() for nodeid in ids}
        passed = all(self._outcomes.get(nodeid) == "passed" for nodeid in wanted)
        return passed and bool(wanted) and not self._deselected and not self._partial


def _goldens_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{ENDING}"))


# Where the goldens of a test are, whatever its parameters.
def _folder_of(item: pytest.Item) -> Path:
    names = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    names.append(getattr(item, "originalname", None) or item.name.partition("[")[0])
    return item.path.parent / FOLDER / item.path.stem / ".".join(names)


def _quoted(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


GOLDENS = pytest.StashKey[Goldens]()

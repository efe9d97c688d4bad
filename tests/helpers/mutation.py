# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation testing of the rooms that need no gdb: one small change at a time, and the tests that reach it.

    python -m tests.helpers.mutation [--results FILE] [--seconds N] [--each N] [--tests ROOM]... [PATH...]

Each change (a comparison, a constant, a sign, a condition, a statement left out) is tried in a process of its own, by
the tests that call the changed function, which gets the changed code; where it is the module's own, all is imported
anew. What no test notices is printed. What is killed is kept in FILE with the test that noticed it, so that a run goes
on where another one ended; those tests are run first for the next change of the same file. `EQUIVALENT` names changes
that no test can notice, each with the reason.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import hashlib
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.helpers.json_log import LOGS

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("core", "formats", "arches", "allocators", "analysis", "report")
TESTS = ("core", "formats", "arches", "allocators", "analysis", "report", "programs")
EQUIVALENT = Path(__file__).parent / "mutation_equivalent.txt"

SECONDS_OF_TESTS = 12.0  # tests for one change, as long as they took unchanged
SLOWEST_TEST = 4.0  # in seconds
MEMORY = 3 << 30  # in bytes: a change may make a loop endless


# -- changes -------------------------------------------------------------------------------------------

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of a file: in which function (its name, its first line and that of the outermost one around it; "" and
    0: none), and its source."""

    path: str
    function: str
    first_line: int
    outer_line: int
    line: int
    what: str
    source: str

    @property
    def key(self) -> str:
        """Return what names the change even when lines move."""
        return f"{self.path} | {self.function or '-'} | {self.what}"


def _replacements(node: ast.AST) -> Iterator[ast.AST | None]:
    # Yield what may stand in a node's place; None: nothing, for a statement.
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                other = copy.deepcopy(node)
                other.ops[at] = _COMPARISONS[type(operator)]()
                yield other
        case ast.Constant() if type(node.value) is int:
            yield from (ast.Constant(node.value + step) for step in (1, -1))
        case ast.Constant() if type(node.value) is bool:
            yield ast.Constant(not node.value)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        case ast.AugAssign() if type(node.op) in _OPERATORS:
            yield ast.AugAssign(node.target, _OPERATORS[type(node.op)](), node.value)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp() if isinstance(node.op, ast.Not | ast.USub):
            yield node.operand
        case ast.If() | ast.IfExp() | ast.While():
            for value in (True, False):
                other = copy.copy(node)
                other.test = ast.Constant(value)
                if not (isinstance(node, ast.While) and value):
                    yield other
        case ast.comprehension() if node.ifs:
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.Return() if node.value is not None and not _is_none(node.value):
            yield ast.Return(ast.Constant(None))
        case ast.Expr() if not isinstance(node.value, ast.Constant):
            yield None
        case ast.Raise() | ast.Break() | ast.Continue():
            yield None


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _short(node: ast.AST) -> str:
    match node:
        case ast.If() | ast.While():
            return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
        case ast.comprehension():
            return ast.unparse(node).strip()
    return ast.unparse(node)


class _Places(ast.NodeVisitor):
    # Every node that can be changed, with the innermost function around it.
    def __init__(self) -> None:
        self.found: list[tuple[str, int, int, ast.AST, str, int | None]] = []
        self.names: list[str] = []
        self.first_lines = [0]

    def visit(self, node: ast.AST) -> None:
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if named:
            self.names.append(node.name)  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef):
            self.first_lines.append(min([node.lineno, *(one.lineno for one in node.decorator_list)]))
        for field, value in ast.iter_fields(node):
            # Annotations are never run, and neither is what only a type checker reads; zip() is strict to be safe.
            if field in ("annotation", "returns") or _only_types(node):
                continue
            if isinstance(node, ast.keyword) and node.arg == "strict":
                continue
            for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST):
                    outer = self.first_lines[1] if len(self.first_lines) > 1 and field not in _AT_ITS_DEFINITION else 0
                    self.found.append((".".join(self.names), self.first_lines[-1], outer, node, field, at))
                    self.visit(child)
        if isinstance(node, ast.FunctionDef):
            self.first_lines.pop()
        if named:
            self.names.pop()


# What of a function is run where it is defined.
_AT_ITS_DEFINITION = ("decorator_list", "args", "defaults", "kw_defaults")


def _only_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Yield every change of a file's source."""
    tree = ast.parse(source)
    places = _Places()
    places.visit(tree)
    seen: dict[str, int] = defaultdict(int)
    for function, first_line, outer_line, parent, field, at in places.found:
        held = getattr(parent, field)
        node = held if at is None else held[at]
        for other in _replacements(node):
            stands = ast.Pass() if other is None else other
            what = " ".join(f"{_short(node)} -> {'nothing' if other is None else _short(other)}".split())
            if at is None:
                setattr(parent, field, stands)
            else:
                held[at] = stands
            text = ast.unparse(ast.fix_missing_locations(tree))
            if at is None:
                setattr(parent, field, node)
            else:
                held[at] = node
            seen[f"{function} {what}"] += 1
            number = seen[f"{function} {what}"]
            yield Mutant(
                path, function, first_line, outer_line, getattr(node, "lineno", first_line),
                what + (f" ({number})" if number > 1 else ""), text,
            )  # fmt: skip


# -- which tests reach what ----------------------------------------------------------------------------

_QUICK = "not kernel and not stock and not long and not release and not random"
_ALONE = ("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-o", "timeout=0")


def _cpu_seconds() -> float:
    # Whatever else the machine does now.
    return sum(os.times()[:4])


class Reached:
    """Which tests call a function, by its file and first line, how long each takes, and what it noticed so far."""

    def __init__(self) -> None:
        self.tests: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.noticed: dict[tuple[str, str], int] = defaultdict(int)

    def run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Run one test and note what it calls."""
        codes: set[CodeType] = set()

        def called(frame: FrameType, event: str, argument: object) -> None:
            if frame.f_back is None or frame.f_back.f_code.co_name != "<module>":  # called while it is imported
                codes.add(frame.f_code)

        start = _cpu_seconds()
        sys.setprofile(called)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.setprofile(None)
        self.seconds[item.nodeid] = _cpu_seconds() - start
        for code in codes:
            if code.co_filename.startswith(str(ROOT / "gdb_lmb")):
                self.tests[str(Path(code.co_filename).relative_to(ROOT)), code.co_firstlineno].add(item.nodeid)

    def save(self, path: Path) -> None:
        """Write it to a file."""
        tests = [[path, line, sorted(ids)] for (path, line), ids in self.tests.items()]
        path.write_text(json.dumps({"tests": tests, "seconds": self.seconds}))

    @classmethod
    def load(cls, path: Path) -> Reached:
        """Return what was saved."""
        data, found = json.loads(path.read_text()), cls()
        found.seconds.update(data["seconds"])
        found.tests.update({(path, line): set(ids) for path, line, ids in data["tests"]})
        return found

    def in_place(self, mutant: Mutant) -> bool:
        """Tell whether a change is seen without importing anew: of a function that tests call."""
        return mutant.outer_line > 0 and (mutant.path, mutant.first_line) in self.tests

    def tests_for(self, mutant: Mutant, seconds: float) -> list[str]:
        """Return the tests to run for a change: those that noticed most changes of its file, then the quickest."""
        ids = self.tests.get((mutant.path, mutant.first_line), set())
        if not self.in_place(mutant):  # tests that call anything in the module
            ids = set().union(*(tests for (path, _), tests in self.tests.items() if path == mutant.path))
        chosen: list[str] = []
        left = seconds
        for name in sorted(ids, key=lambda one: (-self.noticed[mutant.path, one], self.seconds[one])):
            left -= self.seconds[name]
            if left < 0 or self.seconds[name] > SLOWEST_TEST:
                break
            chosen.append(name)
        return chosen


# -- one change ----------------------------------------------------------------------------------------


def in_a_child(run: Callable[[], int], seconds: float) -> bool:
    """Tell whether `run` returns 0, within `seconds`, in a process of its own."""
    pid = os.fork()
    if not pid:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        status = 1
        try:
            status = run()
        finally:
            os._exit(status)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def module_name(path: str) -> str:
    """Return the name of the module in a file of the project."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with other source."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self.name = module_name(mutant.path)

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return this loader for the changed module only."""
        if fullname != self.name:
            return None
        where = str(ROOT / self._mutant.path)
        inside = [str(Path(where).parent)] if where.endswith("__init__.py") else None
        return importlib.util.spec_from_file_location(fullname, where, loader=self, submodule_search_locations=inside)

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source."""
        exec(compile(self._mutant.source, str(ROOT / self._mutant.path), "exec"), module.__dict__)


class FirstFailure:
    """A plugin of pytest that writes the name of the first test that fails to a file, and ends the process."""

    def __init__(self, path: Path, active: bool = True) -> None:
        self._path, self.active = path, active

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End at the first failure."""
        if self.active and report.failed:
            self._path.write_text(report.nodeid)
            os._exit(1)


def run_imported(noticed: Path, mutant: Mutant, tests: Sequence[str]) -> int:
    """Run tests where one module is imported with a change; return pytest's status."""
    sys.meta_path.insert(0, Changed(mutant))
    return int(pytest.main([*_ALONE, *tests], plugins=[FirstFailure(noticed)]))


def _codes(code: CodeType, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], CodeType]]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield (*names, one.co_name), one
            yield from _codes(one, (*names, one.co_name))


def change(mutant: Mutant, functions: dict[tuple[str, int], list[FunctionType]]) -> bool:
    """Give the outermost function around a change its changed code; tell whether there is one."""
    path = str(ROOT / mutant.path)
    before, after = (dict(enumerate(_codes(compile(text, path, "exec"))))
                     for text in (Path(path).read_text(), mutant.source))  # fmt: skip
    # Both have the same functions in the same order, but for what a change takes away behind it.
    for at, (names, code) in before.items():
        if code.co_firstlineno == mutant.outer_line and "<" not in names[-1]:
            found = functions.get((path, mutant.outer_line), [])
            for function in found:
                function.__code__ = after[at][1]
            return bool(found) and after[at][0] == names
    return False


class Loop:
    """A plugin of pytest that runs the tests once, then for each change of a function those that reach it."""

    def __init__(self, tried: Tried, saved: Path, failure: FirstFailure) -> None:
        self._tried, self._saved, self._failure = tried, saved, failure

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do what `main` is for, but the changes of modules."""
        items = {item.nodeid: item for item in session.items}
        capture = session.config.pluginmanager.getplugin("capturemanager")
        capture.suspend_global_capture(in_=True)

        def first() -> int:
            found = Reached()
            for item, following in zip(session.items, [*session.items[1:], None], strict=True):
                found.run(item, following)
            found.save(self._saved)
            return 0

        assert in_a_child(first, float("inf")), "the tests could not be run"
        found = Reached.load(self._saved)
        # What a session sets up, and what is imported late, is each child's then.
        with_kernels = [item for item in session.items if "fixture_build" in getattr(item, "fixturenames", ())]
        for item in [session.items[0], *with_kernels[:1]]:
            # What this test has of its own is taken down again.
            others = [one for one in (session.items[0], session.items[-1]) if one.path != item.path]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=others[0] if others else None)
        for path in {path for path, _ in found.tests}:
            importlib.import_module(module_name(path))
        functions: dict[tuple[str, int], list[FunctionType]] = defaultdict(list)
        for one in gc.get_objects():
            if isinstance(one, FunctionType):
                functions[one.__code__.co_filename, one.__code__.co_firstlineno].append(one)
        gc.freeze()

        def run(mutant: Mutant, tests: list[str]) -> int:
            if not change(mutant, functions):
                return 2
            self._failure.active = True
            for log in LOGS:
                log.forget()
            chosen = [items[name] for name in tests]
            for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            return 0

        self._tried.all(found.in_place, found, run)
        return True


# -- all of them ---------------------------------------------------------------------------------------


def equivalent() -> dict[str, str]:
    """Return the changes that no test can notice, with the reason for each."""
    rows = [line.rsplit(" | ", 1) for line in EQUIVALENT.read_text().splitlines() if line and line[0] != "#"]
    return dict(rows)


def files(names: Sequence[str]) -> list[str]:
    """Return the files of the rooms without gdb, or those of `names`."""
    roots = [ROOT / name for name in names] or [ROOT / "gdb_lmb" / room for room in ROOMS]
    found = (path for root in roots for path in (sorted(root.rglob("*.py")) if root.is_dir() else [root]))
    return [str(path.relative_to(ROOT)) for path in found]


class Tried:
    """What was tried, kept in a file of results: only what was killed, of a file that is the same since."""

    def __init__(self, paths: list[str], results: Path, seconds: float, each: float) -> None:
        self._paths, self._results, self._stop, self._each = paths, results, time.monotonic() + seconds, each
        results.parent.mkdir(parents=True, exist_ok=True)
        results.touch()
        self.noticed = results.with_suffix(".noticed")
        self.survived = False

    def all(self, of: Callable[[Mutant], bool], found: Reached, run: Callable[[Mutant, list[str]], int]) -> None:
        """Try the changes that `of` accepts; print the survivors and how many there were."""
        rows = [json.loads(line) for line in self._results.read_text().splitlines()]
        killed = {(row["key"], row["file"]) for row in rows}
        for row in rows:
            found.noticed[row["key"].split(" | ")[0], row["test"]] += 1
        known, counts = equivalent(), defaultdict[str, int](int)
        with self._results.open("a", buffering=1) as results:
            for path in self._paths:
                source = (ROOT / path).read_text()
                digest = hashlib.sha256(source.encode()).hexdigest()[:16]
                for mutant in filter(of, mutants(path, source)):
                    outcome = "killed before" if (mutant.key, digest) in killed else "equivalent"
                    if outcome == "equivalent" and mutant.key not in known:
                        outcome, tests = "not tried", found.tests_for(mutant, self._each)
                        limit = 30 + 20 * sum(map(found.seconds.__getitem__, tests))
                        if time.monotonic() > self._stop:
                            pass
                        elif tests and not in_a_child(partial(run, mutant, tests), limit):
                            outcome, test = "killed", self.noticed.read_text() if self.noticed.exists() else ""
                            self.noticed.unlink(missing_ok=True)
                            found.noticed[path, test] += 1
                            results.write(json.dumps({"key": mutant.key, "file": digest, "test": test}) + "\n")
                        else:
                            outcome = "survived"
                            told = mutant.key.split(" | ", 1)[1] + ("" if tests else " (no test)")
                            print(f"{path}:{mutant.line}: {told:.200}", flush=True)
                    counts[outcome] += 1
        self.survived |= bool(counts["survived"])
        print(", ".join(f"{number} {what}" for what, number in sorted(counts.items())), flush=True)


def main() -> int:
    """Try what is left to try; return 1 if anything survived that is not known to be equivalent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "vmlinux-fixtures" / "build" / "mutants.jsonl")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long; run again to go on")
    parser.add_argument("--each", type=float, default=SECONDS_OF_TESTS, help="seconds of tests for one change")
    parser.add_argument("--tests", action="append", metavar="ROOM", help="rooms of tests (default: all without gdb)")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    os.chdir(ROOT)
    tried = Tried(files(options.paths), options.results, options.seconds, options.each)
    saved = options.results.with_suffix(".reached")
    chosen = [f"tests/{room}" for room in options.tests or TESTS]
    failure = FirstFailure(tried.noticed, active=False)
    # This process imports nothing of the package: for changes of modules its children do.
    pid = os.fork()
    if not pid:
        pytest.main([*_ALONE, "-m", _QUICK, *chosen], plugins=[Loop(tried, saved, failure), failure])
        sys.stdout.flush()
        os._exit(tried.survived)
    _, status = os.waitpid(pid, 0)
    found = Reached.load(saved)
    tried.all(lambda mutant: not found.in_place(mutant), found, partial(run_imported, tried.noticed))
    return int(tried.survived or status != 0)


if __name__ == "__main__":
    sys.exit(main())

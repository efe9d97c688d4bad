# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation testing of the rooms that need no gdb: one small change at a time, and the tests that reach it.

    python -m tests.helpers.mutation [--results FILE] [--seconds N] [--each N] [--all] [--tests ROOM]... [PATH...]

Each change (a comparison, a constant, a sign, a condition, a statement left out) is tried in a process of its own, by
the tests that reach its lines, those first that noticed most changes for their time. Its function gets the changed
code; where it is the module's own, all is imported anew. What no test notices is printed.

Of a statement's changes one is tried, whichever its name's digest picks: tests that miss it miss the others too, more
often than not. With `--all` each is.

A run may be stopped at any time, and goes on where another one ended: FILE, by default mutants.jsonl in the cache,
keeps each change that was tried, and which test noticed it. Tried again is what is in a function that was edited since,
and what survived before the tests that reach it were edited, or with less than `--each` seconds of tests.
`EQUIVALENT` names changes that no test can notice, each with the reason.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import copy
import functools
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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.helpers.json_log import LOGS

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("core", "formats", "arches", "allocators", "programs", "analysis", "report")
EQUIVALENT = Path(__file__).parent / "mutation_equivalent.txt"

SECONDS_OF_TESTS = 12.0  # tests for one change, as long as they took unchanged
SLOWEST_TEST = 4.0  # in seconds
# A change may make a loop endless.
MEMORY = 3 << 30  # in bytes
SECONDS_OF_CPU = 3  # for one test, besides ten times what it took unchanged
NOT_IN_PLACE = 77  # exit status: the function cannot be given the changed code


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
class Scope:
    """Where a node is: the names of the functions and classes around it, the innermost function's first line, the
    outermost function and the classes around that, the lines of the statement, and the module's statement."""

    names: tuple[str, ...] = ()
    first_line: int = 0
    outer: ast.FunctionDef | None = None
    classes: tuple[ast.ClassDef, ...] = ()
    lines: range = range(0)
    top: ast.stmt | None = None


@dataclass(frozen=True)
class Mutant:
    """One change of a file, and the changed tree, which is changed back when the next mutant is asked for."""

    path: str
    scope: Scope
    line: int
    what: str
    digest: str
    tree: ast.Module

    @property
    def function(self) -> str:
        """Return the name of the function around the change, "" for none."""
        return ".".join(self.scope.names)

    @property
    def outer_line(self) -> int:
        """Return the first line of the outermost function around the change, 0 for none."""
        return _first_line(self.scope.outer) if self.scope.outer else 0

    @property
    def key(self) -> str:
        """Return what names the change even when lines move."""
        return f"{self.path} | {self.function or '-'} | {self.what}"

    @property
    def top_name(self) -> str:
        """Return the name that the statement of the module gives, "" for none."""
        match self.scope.top:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                return name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                return name
        return ""

    def code(self) -> CodeType:
        """Return the changed code of the outermost function."""
        assert self.scope.outer
        body: ast.stmt = self.scope.outer
        for one in reversed(self.scope.classes):  # whose are its private names and what super() is
            body = ast.ClassDef(one.name, bases=[], keywords=[], body=[body], decorator_list=[])
        code = compiled(ast.Module([body], []), self.path)
        for one in (*self.scope.classes, self.scope.outer):
            code = next(held for held in code.co_consts if isinstance(held, CodeType) and held.co_name == one.name)
        return code


def compiled(tree: ast.Module, path: str) -> CodeType:
    """Return the code of a file's tree."""
    flags = __future__.annotations.compiler_flag
    return compile(ast.fix_missing_locations(tree), str(ROOT / path), "exec", flags=flags, dont_inherit=True)


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


def _first_line(node: ast.stmt | ast.excepthandler) -> int:
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])


# What of a function is run where it is defined.
_AT_ITS_DEFINITION = ("decorator_list", "args")


def _places(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, Scope]]:
    # Yield every node below one: what holds it, where, and its scope.
    around = scope
    match node:
        case ast.FunctionDef():
            names, first_line = (*scope.names, node.name), _first_line(node)
            scope = replace(scope, names=names, first_line=first_line, outer=scope.outer or node)
        case ast.ClassDef():
            classes = scope.classes if scope.outer else (*scope.classes, node)
            scope = replace(scope, names=(*scope.names, node.name), classes=classes)
    for field, value in ast.iter_fields(node):
        # Annotations are never run, and neither is what only a type checker reads; zip() is strict to be safe, and
        # that nothing assigns to what is frozen is the type checker's.
        if field in ("annotation", "returns") or _only_types(node):
            continue
        if isinstance(node, ast.keyword) and node.arg in ("strict", "frozen"):
            continue
        here = scope
        if isinstance(node, ast.FunctionDef) and field in _AT_ITS_DEFINITION:
            here = replace(scope, outer=around.outer)
        for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST):
                continue
            its = here
            if isinstance(child, ast.stmt | ast.excepthandler):
                inner = [one.lineno for one in ast.iter_child_nodes(child) if isinstance(one, ast.stmt)]
                first = _first_line(child)
                end = max(first + 1, min(inner)) if inner else (child.end_lineno or first) + 1
                its = replace(here, lines=range(first, end))
                if isinstance(node, ast.Module):
                    its = replace(its, top=child)  # type: ignore[arg-type]
            yield node, field, at, child, its
            yield from _places(child, its)


def _only_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Yield every change of a file's source."""
    tree = ast.parse(source)
    seen: dict[str, int] = defaultdict(int)
    digests: dict[ast.AST | None, str] = {}
    for parent, field, at, node, scope in list(_places(tree, Scope())):
        held = getattr(parent, field)
        edited = scope.outer or scope.top
        if edited not in digests:  # in the order of the nodes: it is not changed yet, or changed back
            digests[edited] = hashlib.sha256(ast.unparse(edited or tree).encode()).hexdigest()[:16]
        for other in _replacements(node):
            stands = ast.Pass() if other is None else other
            what = " ".join(f"{_short(node)} -> {'nothing' if other is None else _short(other)}".split())
            mutant = Mutant(path, scope, getattr(node, "lineno", scope.first_line), what, digests[edited], tree)
            seen[mutant.key] += 1
            if seen[mutant.key] > 1:
                mutant = replace(mutant, what=f"{what} ({seen[mutant.key]})")
            if at is None:
                setattr(parent, field, stands)
            else:
                held[at] = stands
            yield mutant
            if at is None:
                setattr(parent, field, node)
            else:
                held[at] = node


def one_of_each(found: Iterable[Mutant]) -> set[str]:
    """Return the keys of one change of each statement."""
    first: dict[tuple[tuple[str, ...], range], str] = {}
    for mutant in found:
        statement, order = (mutant.scope.names, mutant.scope.lines), _order(mutant.key)
        if statement not in first or order < _order(first[statement]):
            first[statement] = mutant.key
    return set(first.values())


def _order(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


# -- which tests reach what ----------------------------------------------------------------------------

_QUICK = "not kernel and not stock and not long and not release and not random"
_ALONE = ("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-o", "timeout=0")
_PACKAGE = str(ROOT / "gdb_lmb") + "/"


def _sources() -> str:
    # A digest of the package and its tests.
    paths = sorted(path for folder in ("gdb_lmb", "tests") for path in (ROOT / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(map(Path.read_bytes, paths))).hexdigest()


def _cpu_seconds() -> float:
    # Whatever else the machine does now.
    return sum(os.times()[:4])


class Reached:
    """Which tests reach a line of a file, how long each takes, and what it noticed so far; which functions, by file and
    first line, are called while modules are imported; which lines mention a name."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.seconds: dict[str, float] = {}
        self.at_import: set[tuple[str, int]] = set()
        self.mentions: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.noticed: dict[str, Counter[str]] = defaultdict(Counter)
        self.first: dict[str, str] = {}

    def run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Run one test and note what it reaches."""
        reached: dict[str, set[int]] = defaultdict(set)
        tracers: dict[CodeType, Callable[[FrameType, str, object], Any] | None] = {}

        def tracer(path: str) -> Callable[[FrameType, str, object], Any]:
            add = reached[path].add

            def line(frame: FrameType, event: str, argument: object) -> Any:
                add(frame.f_lineno)
                return line

            return line

        def called(frame: FrameType, event: str, argument: object) -> Any:
            code = frame.f_code
            if code not in tracers:
                known = code.co_filename.startswith(_PACKAGE) and code.co_name != "<module>"
                tracers[code] = tracer(code.co_filename) if known else None
            return tracers[code]

        start = _cpu_seconds()
        sys.settrace(called)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.settrace(None)
        self.seconds[item.nodeid] = _cpu_seconds() - start
        for path, lines in reached.items():
            for number in lines:
                self.lines[str(Path(path).relative_to(ROOT))][number].add(item.nodeid)

    def save(self, path: Path) -> None:
        """Write it to a file."""
        numbers = {name: at for at, name in enumerate(self.seconds)}
        lines = [[path, number, [numbers[name] for name in names]]
                 for path, found in self.lines.items() for number, names in found.items()]  # fmt: skip
        path.write_text(json.dumps({"lines": lines, "seconds": self.seconds, "of": _sources()}))

    @staticmethod
    def is_of(path: Path, items: Iterable[pytest.Item]) -> bool:
        """Tell whether what is saved is of these tests, unchanged."""
        data = json.loads(path.read_text()) if path.exists() else {}
        return data.get("of") == _sources() and list(data["seconds"]) == [item.nodeid for item in items]

    @classmethod
    def load(cls, path: Path, at_import: Path) -> Reached:
        """Return what was saved."""
        data, found = json.loads(path.read_text()), cls()
        found.seconds.update(data["seconds"])
        names = list(found.seconds)
        for file, number, tests in data["lines"]:
            found.lines[file][number].update(names[at] for at in tests)
        found.at_import.update(map(tuple, json.loads(at_import.read_text())))
        for file in files([]):
            for node in ast.walk(ast.parse((ROOT / file).read_text())):
                if isinstance(node, ast.Name | ast.Attribute):
                    found.mentions[node.id if isinstance(node, ast.Name) else node.attr].add((file, node.lineno))
        return found

    def in_place(self, mutant: Mutant) -> bool:
        """Tell whether a change is seen without importing anew."""
        return mutant.outer_line > 0 and (mutant.path, mutant.outer_line) not in self.at_import

    def tests_for(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach a change, those first that notice most for their time."""
        lines = self.lines[mutant.path]
        ids = set[str]().union(*(lines[one] for one in mutant.scope.lines if one in lines))
        if not self.in_place(mutant) and not ids:  # what may use the statement's name, or else what is in the module
            where, top = self.mentions[mutant.top_name], mutant.scope.top
            own = range(top.lineno, (top.end_lineno or top.lineno) + 1) if top else ()
            ids = set().union(
                *(self.lines[path][line] for path, line in where), *(lines[at] for at in own if at in lines)
            )
            ids = ids or set().union(*lines.values())
        noticed, nearby = self.noticed[mutant.path], self.noticed[f"{mutant.path} {mutant.function}"]
        first = self.first.get(mutant.key)
        return sorted(ids, key=lambda one: (
            one != first, -(0.1 + noticed[one] + 10 * nearby[one]) / (0.02 + self.seconds[one]), one))  # fmt: skip

    def in_time(self, tests: Iterable[str], seconds: float) -> list[str]:
        """Return the first of some tests, as many as take so long, without the slowest."""
        chosen: list[str] = []
        for name in tests:
            if self.seconds[name] <= min(seconds, SLOWEST_TEST):
                seconds -= self.seconds[name]
                chosen.append(name)
        return chosen

    def note(self, key: str, test: str) -> None:
        """Note which test noticed a change."""
        path, function, _ = key.split(" | ", 2)
        self.noticed[path][test] += 1
        self.noticed[f"{path} {function}"][test] += 1


# -- one change ----------------------------------------------------------------------------------------


def in_a_child(run: Callable[[], int], seconds: float) -> int:
    """Return what `run` returns in a process of its own; -1 if that takes more than `seconds`."""
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
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def limit_cpu(seconds: float) -> None:
    """End this process when it has computed so long from now on."""
    used = sum(os.times()[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + 1 + SECONDS_OF_CPU + 10 * seconds), resource.RLIM_INFINITY))


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
        exec(compiled(self._mutant.tree, self._mutant.path), module.__dict__)


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


def run_imported(noticed: Path, mutant: Mutant, tests: Sequence[str], seconds: float) -> int:
    """Run tests where one module is imported with a change; return pytest's status."""
    limit_cpu(10 + seconds)
    sys.meta_path.insert(0, Changed(mutant))
    # With its own assertions pytest would import the package itself, unchanged.
    return int(pytest.main([*_ALONE, "--assert=plain", *tests], plugins=[FirstFailure(noticed)]))


def called_at_import() -> list[tuple[str, int]]:
    """Return which functions are called while modules are imported: their files and first lines."""
    codes: set[CodeType] = set()
    sys.setprofile(lambda frame, event, argument: codes.add(frame.f_code))
    for path in files([]):
        importlib.import_module(module_name(path))
    sys.setprofile(None)
    return [(str(Path(one.co_filename).relative_to(ROOT)), one.co_firstlineno)
            for one in codes if one.co_filename.startswith(_PACKAGE) and one.co_name != "<module>"]  # fmt: skip


class Loop:
    """A plugin of pytest that runs the tests once, then for each change of a function those that reach it."""

    def __init__(self, tried: Tried, saved: Path, at_import: Path, failure: FirstFailure) -> None:
        self._tried, self._saved, self._at_import, self._failure = tried, saved, at_import, failure

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

        if not Reached.is_of(self._saved, session.items):
            assert in_a_child(first, float("inf")) == 0, "the tests could not be run"
        found = Reached.load(self._saved, self._at_import)
        # What a session sets up, and what is imported late, is each child's then.
        with_kernels = [item for item in session.items if "fixture_build" in getattr(item, "fixturenames", ())]
        for item in [session.items[0], *with_kernels[:1]]:
            # What this test has of its own is taken down again.
            others = [one for one in (session.items[0], session.items[-1]) if one.path != item.path]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=others[0] if others else None)
        for path in found.lines:
            importlib.import_module(module_name(path))
        functions: dict[tuple[str, int], list[FunctionType]] = defaultdict(list)
        for one in gc.get_objects():
            if isinstance(one, FunctionType):
                functions[one.__code__.co_filename, one.__code__.co_firstlineno].append(one)
            elif isinstance(one, functools._lru_cache_wrapper) and one.__module__.startswith("gdb_lmb"):
                one.cache_clear()
        gc.freeze()

        def run(mutant: Mutant, tests: list[str], seconds: float) -> int:
            code = mutant.code()
            changed = functions.get((code.co_filename, mutant.outer_line), ())
            if not changed or changed[0].__code__.co_freevars != code.co_freevars:
                return NOT_IN_PLACE
            for function in changed:
                function.__code__ = code
            self._failure.active = True
            for log in LOGS:
                log.forget()
            chosen = [items[name] for name in tests]
            for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                limit_cpu(found.seconds[item.nodeid])
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
    """What was tried, kept in a file of results."""

    def __init__(self, paths: list[str], results: Path, seconds: float, each: float, every: bool) -> None:
        self._paths, self._results, self._stop, self._each = paths, results, time.monotonic() + seconds, each
        self._every = every
        results.parent.mkdir(parents=True, exist_ok=True)
        results.touch()
        self.noticed = results.with_suffix(".noticed")
        self.survived = False

    def kept(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the newest row of each change, by what names it and the digest of what it changes."""
        rows = map(json.loads, self._results.read_text().splitlines())
        return {(row["key"], row["digest"]): row for row in rows}

    def all(self, of: Callable[[Mutant], bool], found: Reached, run: Callable[[Mutant, list[str], float], int]) -> None:
        """Try the changes that `of` accepts; print the survivors and how many there were."""
        kept, known, counts = self.kept(), equivalent(), Counter[str]()
        for row in kept.values():
            if "test" in row:
                found.note(row["key"], row["test"])
                found.first[row["key"]] = row["test"]
        texts = _Texts()
        with self._results.open("a", buffering=1) as results:
            for path in self._paths:
                source = (ROOT / path).read_text()
                of_each = one_of_each(mutants(path, source))
                for mutant in filter(of, mutants(path, source)):
                    if not self._every and mutant.key not in of_each:
                        continue
                    reaching = found.tests_for(mutant)
                    row = {"key": mutant.key, "digest": mutant.digest}
                    before = kept.get((mutant.key, mutant.digest), {})
                    survived = {**row, "tests": texts.digest(reaching), "each": self._each}
                    if mutant.key in known:
                        outcome = "equivalent"
                    elif "test" in before:
                        outcome = "killed before"
                    elif before.get("tests") == survived["tests"] and before["each"] >= self._each:
                        outcome = "survived"
                    elif time.monotonic() > self._stop:
                        outcome = "not tried"
                    else:
                        outcome = self._one(mutant, found, found.in_time(reaching, self._each), run)
                        if outcome == "killed":
                            row["test"] = self.noticed.read_text() if self.noticed.exists() else ""
                            self.noticed.unlink(missing_ok=True)
                            found.note(mutant.key, row["test"])
                        if outcome:
                            results.write(json.dumps(survived if outcome == "survived" else row) + "\n")
                    if outcome == "survived":
                        told = mutant.key.split(" | ", 1)[1] + ("" if reaching else " (no test)")
                        print(f"{path}:{mutant.line}: {told:.200}", flush=True)
                    counts[outcome] += 1
        self.survived |= bool(counts["survived"])
        print(", ".join(f"{number} {what}" for what, number in sorted(counts.items()) if what), flush=True)

    def _one(
        self, mutant: Mutant, found: Reached, tests: list[str], run: Callable[[Mutant, list[str], float], int]
    ) -> str:
        if not tests:
            return "survived"
        seconds = sum(map(found.seconds.__getitem__, tests))
        status = in_a_child(partial(run, mutant, tests, seconds), 60 + 20 * seconds)
        return {0: "survived", NOT_IN_PLACE: ""}.get(status, "killed")


class _Texts:
    # Digests of tests: their names and what is in their files.
    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def digest(self, tests: Iterable[str]) -> str:
        whole = hashlib.sha256()
        for name in sorted(tests):
            path = name.split("::")[0]
            if path not in self._files:
                self._files[path] = hashlib.sha256((ROOT / path).read_bytes()).digest()
            whole.update(name.encode() + self._files[path])
        return whole.hexdigest()[:16]


def in_the_cache() -> Path:
    """Return the file of results that is used without --results."""
    from gdb_lmb.kernels.cache import cache_folder

    for name in [name for name in sys.modules if name.split(".")[0] == "gdb_lmb"]:
        del sys.modules[name]
    return cache_folder() / "mutants.jsonl"


def main() -> int:
    """Try what is left to try; return 1 if anything survived that is not known to be equivalent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="what was tried (default: mutants.jsonl in the cache)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long; run again to go on")
    parser.add_argument("--each", type=float, default=SECONDS_OF_TESTS, help="seconds of tests for one change")
    parser.add_argument("--all", action="store_true", help="all changes of a statement, not one")
    parser.add_argument("--tests", action="append", metavar="ROOM", help="rooms of tests (default: all without gdb)")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    os.chdir(ROOT)
    results = options.results or in_the_cache()
    tried = Tried(files(options.paths), results, options.seconds, options.each, options.all)
    saved, at_import = results.with_suffix(".reached"), results.with_suffix(".at_import")
    chosen = [f"tests/{room}" for room in options.tests or ROOMS]
    failure = FirstFailure(tried.noticed, active=False)
    # This process imports nothing of the package: for changes of modules its children do.
    in_a_child(lambda: at_import.write_text(json.dumps(called_at_import())) and 0, float("inf"))
    pid = os.fork()
    if not pid:
        pytest.main([*_ALONE, "-m", _QUICK, *chosen], plugins=[Loop(tried, saved, at_import, failure), failure])
        sys.stdout.flush()
        os._exit(tried.survived)
    _, status = os.waitpid(pid, 0)
    found, done = Reached.load(saved, at_import), tried.kept()
    left = lambda mutant: not found.in_place(mutant) or (mutant.key, mutant.digest) not in done  # noqa: E731
    tried.all(left, found, partial(run_imported, tried.noticed))
    return int(tried.survived or status != 0)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""Unknown is None, and only that: no code puts 0, "" or -1 in the place of what is not there."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.helpers.rooms import FILES, PACKAGE

# Where what is absent is 0, empty or -1 by its own meaning. Fields are named with their class.
EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "a counter or a sum: none is 0": (
        "allocators/lmb/storage.py: LmbStorage.nr_blocks",
        "allocators/lmb/storage.py: LmbStorage.nr_free",
        "allocators/memblock/table.py: Table.total_size",
        "analysis/compare.py: StateDiff.omitted",
        "commands/base.py: Session.forgotten",
        "commands/base.py: Session.times_set",
        "core/memory.py: Meter.bytes_read",
        "core/memory.py: Meter.requests",
        "core/operation.py: TraceHeader.lost",
        "report/jsonio.py: counts.get('block', 0)",
        "report/jsonio.py: counts.get('entry', 0)",
        "report/picture.py: Cell.free",
        "report/picture.py: Cell.image",
        "report/picture.py: Cell.image_reserved",
        "report/picture.py: Cell.kept",
        "report/picture.py: Cell.reserved",
        "report/trace_file.py: row.get('lost', 0)",
        "report/trace_text.py: TraceResult.failed",
        "runner/results.py: Verdict.forgotten",
    ),
    "an argument that the call does not take, or that was not given: 0 in the C interface": (
        "core/operation.py: Operation.align",
        "core/operation.py: Operation.base",
        "core/operation.py: Operation.flags",
        "core/operation.py: Operation.list",
        "core/operation.py: Operation.max",
        "core/operation.py: Operation.min",
        "core/operation.py: Operation.size",
        "allocators/lmb/allocator.py: first.base or 0",  # klimit of lmb_init(), as the guest's log has it
    ),
    "a kernel without a command line has an empty one": (
        "cli/many_boots.py: arguments.append or ''",
        "cli/golden.py: arguments.append or ''",
    ),
    "a mask without a flag in it": ("arches/base.py: Convention.tags", "core/golden.py: Item.flags"),
    "a distance of nothing in an ABI's document": ("arches/base.py: Convention.stack",),
    "memblock_get_region_node() is 0 without CONFIG_NUMA, and so is the node of the first region that means empty": (
        "allocators/memblock/model.py: 0 if self.config.no_node is None else nid",
        "allocators/memblock/table.py: Table.dummy_nid",
    ),
    "the functions of memblock that look for memory return 0 where they find none": (
        "allocators/memblock/model.py: next(filter(None, found), 0)",
        "allocators/memblock/model.py: return 0",
    ),
    "JSON of schema snapshot/1 says 0x0 for what is not known": ("allocators/json_fields.py: value or 0",),
    "gdb prints no offset where it is 0": ("machine/symbols.py: found[2] or 0",),
    "a width of 0 is gdb's word for no limit": ("runner/gdb_process.py: terminal.width or 0",),
    "SystemExit without a code is status 0": ("cli/common.py: end.code or 0",),
    "an unset variable is an empty list of folders": (
        "commands/load.py: os.environ.get('GDB_LMB_PATH', '')",
        "commands/load_ahead.py: os.environ.get('GDB_LMB_PATH', '')",
    ),
    "gdb takes a text as help": ("commands/base.py: cls.__doc__ or ''",),
}


def stands_for_none(node: ast.AST | None, values: tuple[object, ...] = (0, "", -1)) -> bool:
    """Tell whether code is one of the literals that may stand for what is not known."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -1 in values and node.operand.value == 1
    return isinstance(node, ast.Constant) and type(node.value) in (int, str) and node.value in values


def stand_ins(tree: ast.AST) -> Iterator[str]:
    """Yield what puts a literal in the place of what is not known: the code, or the name of a field."""
    for node in ast.walk(tree):
        if (
            (isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and stands_for_none(node.values[-1]))
            or (isinstance(node, ast.Call) and _has_default(node))
            or (isinstance(node, ast.IfExp) and _chooses(node))
        ):
            yield ast.unparse(node)
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in _fields(node))
        elif isinstance(node, ast.FunctionDef) and node.returns is not None and "None" in ast.unparse(node.returns):
            yield from (ast.unparse(one) for one in _returns(node) if stands_for_none(one.value))


def _has_default(call: ast.Call) -> bool:
    # get(key, 0), pop(key, 0), getattr(of, name, 0), next(found, 0): the last argument is for what is not there.
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    wanted = {"get": 2, "pop": 2, "setdefault": 2, "next": 2, "getattr": 3}
    return wanted.get(name or "") == len(call.args) and stands_for_none(call.args[-1])


def _chooses(node: ast.IfExp) -> bool:
    # Numbers only: an empty piece of a sentence is no stand-in.
    absent, there = node.orelse, node.body
    asks_none, negated = _asks_none(node.test)
    if negated:
        absent, there = there, absent
    if isinstance(there, ast.Constant):
        return False
    found = isinstance(node.test, ast.Name | ast.NamedExpr)
    return stands_for_none(absent, (0, -1)) if asks_none or found else stands_for_none(node.orelse, (-1,))


def _asks_none(test: ast.expr) -> tuple[bool, bool]:
    # Whether a condition compares with None, and whether it holds where the value is None.
    for one in test.values if isinstance(test, ast.BoolOp) else [test]:
        if isinstance(one, ast.UnaryOp) and isinstance(one.op, ast.Not) and isinstance(one.operand, ast.Name):
            return True, True
        if isinstance(one, ast.Compare) and ast.unparse(one.comparators[-1]) == "None":
            return True, isinstance(one.ops[-1], ast.Is)
    return False, False


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            value = one.value
            if isinstance(value, ast.Call):  # field(default=0)
                value = next((word.value for word in value.keywords if word.arg == "default"), None)
            if stands_for_none(value):
                yield one.target.id


def _returns(function: ast.FunctionDef) -> Iterator[ast.Return]:
    # Those of the function itself.
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)


def test_what_is_not_known_is_none() -> None:
    allowed = {name for names in EXCEPTIONS.values() for name in names}
    found = {
        f"{path.relative_to(PACKAGE)}: {code}" for path in FILES for code in stand_ins(ast.parse(path.read_text()))
    }
    assert found - allowed == set(), "0, an empty text or -1 stands for what is not known"
    assert allowed - found == set(), "an exception that is not needed any more"


@pytest.mark.parametrize(
    "code",
    [
        "register('cr0') or 0",
        "function.file or ''",
        "one or other or -1",
        "symbols.get(name, 0)",
        "row.pop('signal', '')",
        "getattr(self, name, -1)",
        "next((bit for bit in bits if bit), 0)",
        "0 if at is None else at - moved",
        "at - moved if at is not None else 0",
        "size(found) if found else 0",
        "0 if not found else found.size",
        "size if (found := look()) else 0",
        "0 if image is None or image.size is None else image.size",
        "nid[at] if at < len(nid) else -1",
    ],
)
def test_the_reader_sees_stand_ins(code: str) -> None:
    # Guards the test above against passing because nothing was read.
    assert list(stand_ins(ast.parse(code))) == [ast.unparse(ast.parse(code)).strip()]


def test_the_reader_sees_fields_and_returns() -> None:
    fields = "class Block:\n size: int = 0\n name: str = field(default='')\n nid: int = -1\n base: int | None = None\n"
    assert list(stand_ins(ast.parse(fields))) == ["Block.size", "Block.name", "Block.nid"]
    function = "def at() -> int | None:\n def inner() -> int:\n  return 1\n if lost:\n  return -1\n return 7\n"
    assert list(stand_ins(ast.parse(function))) == ["return -1"]


@pytest.mark.parametrize(
    "code",
    [
        "x or 1",
        "words.get(key, None)",
        "f'{text}' if text else ''",
        "1 if up else -1",
        "total % size if total > size else 0",
        "None if found is None else found.size",
        "def ok() -> int:\n return 0",
        "class Block:\n static: bool = False\n size: int",
    ],
)
def test_the_reader_sees_what_is_allowed(code: str) -> None:
    assert list(stand_ins(ast.parse(code))) == []

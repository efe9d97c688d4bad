# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of a golden: what may vary, as tables of TOML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gdb_lmb.core.errors import InputError
from gdb_lmb.core.golden import KINDS, OF_NO_LIST, WITH_AMOUNT, Rule
from gdb_lmb.core.json_values import Json, checked, read_number, short
from gdb_lmb.report.golden.toml import are_tables, table_of, text_of, value_text

_RULES = """\
[rules]
# What may vary, such as { kind = "grew", name = "setup_arch", percent = 5 }. kind, list and name say which changes,
# bytes and percent up to which amount; what is left out is any.
ignore = []
"""


def rules_of(data: Json, layout: str) -> tuple[Rule, ...]:
    """Return the rules of a golden of the allocator `layout`.

    Raises: `InputError`, also for a rule that can let nothing pass.
    """
    rules = table_of(data, "rules", missing={})
    for name in rules.keys() - {"ignore"}:
        raise InputError(f"[rules] has {short(name)}; expected ignore")
    ignore = checked("ignore", rules.get("ignore", []), lambda value: value == [] or are_tables(value), "tables")
    return tuple(_rule(row, layout) for row in ignore)


def _rule(row: Json, layout: str) -> Rule:
    for member in row.keys() - {"kind", "list", "name", "bytes", "percent"}:
        raise InputError(f"a rule has {short(member)}; expected kind, list, name, bytes or percent")
    percent = row.get("percent")
    if percent is not None:
        checked("percent", percent, lambda value: type(value) in (int, float) and value >= 0, "a number from 0 up")
    if "kind" in row:
        _require_of_kind(row, checked("kind", row["kind"], KINDS.__contains__, f"one of {', '.join(KINDS)}"))
    if "list" in row:
        from gdb_lmb.allocators.base import allocator  # few rules name one

        names = allocator(layout).list_names
        checked("list", row["list"], names.__contains__, f"one of {', '.join(names)}")
    checked("name", row.get("name"), lambda value: value != "", "an owner or a role")
    return Rule(
        text_of(row, "kind"),
        text_of(row, "list"),
        text_of(row, "name"),
        None if "bytes" not in row else read_number("bytes", row["bytes"], 64),
        None if percent is None else float(percent),
    )


# Refuse what no change of the kind has: such a rule would let nothing pass, and nobody would hear of it.
def _require_of_kind(row: Json, kind: str) -> None:
    for member in ("bytes", "percent"):
        if member in row and kind not in WITH_AMOUNT:
            raise InputError(f"a rule of kind {kind} has {member}, but only {', '.join(WITH_AMOUNT)} have an amount")
    for member in ("list", "name"):
        if member in row and kind in OF_NO_LIST:
            raise InputError(f"a rule of kind {kind} has {member}, but such a change is in no list: leave it out")


def rules_text(rules: Sequence[Rule]) -> str:
    """Return the section of a golden for `rules`."""
    if not rules:
        return _RULES
    rows = [{name: value for name, value in asdict(rule).items() if value is not None} for rule in rules]
    return "\n".join(["[rules]", "ignore = [", *(f"  {value_text(row)}," for row in rows), "]"])

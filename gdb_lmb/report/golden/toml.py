# SPDX-License-Identifier: GPL-2.0-or-later
"""TOML: its reader, values of a table, and values as text."""

from __future__ import annotations

import re
import sys
from typing import Any

from gdb_lmb.core.json_values import Json, checked
from gdb_lmb.core.words import truth

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["tomllib"]

_TO_ESCAPE = re.compile(r'[\x00-\x1f\x7f"\\]')


def table_of(data: Json, name: str, missing: Any = None) -> Json:
    """Return a table in `data`. Raises: `InputError`."""
    found: Json = checked(name, data.get(name, missing), dict, f"a table [{name}]")
    return found


def are_tables(value: Any) -> bool:
    """Tell whether a value is a list of tables, with one of them at least."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def text_of(row: Json, name: str) -> str | None:
    """Return a string in `row`, None where there is none. Raises: `InputError`."""
    return None if name not in row else str(checked(name, row[name], str, "a string"))


def value_text(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, str):
        return '"' + _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", value) + '"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_name_text(name)} = {value_text(one)}" for name, one in value.items()) + " }"
    return truth(value) if isinstance(value, bool) else str(value)


def _name_text(name: str) -> str:
    return name if re.fullmatch("[A-Za-z_-]+", name) else value_text(name)

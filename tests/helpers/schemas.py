# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schemas of the package, and documents held against them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import gdb_lmb

FOLDER = Path(gdb_lmb.__file__).resolve().parent / "schemas"

NO_OUTPUT = {
    # The name of a value for a message of a person's.
    "gdb_lmb.core.json_values",
    # Over a pipe to the process that cleans up.
    "gdb_lmb.runner.process",
    # To QEMU's monitor.
    "gdb_lmb.runner.qmp",
    # What the cache of kernels notes for itself.
    "gdb_lmb.kernels.fetch",
}
"""Modules of which the JSON is nobody's but theirs."""

_HEX = re.compile(r"0x[0-9a-f]{1,17}")
_LONG = 64


class Refused(Exception):
    """A document that its schema refuses, or that has none."""


def file_of(name: str) -> Path:
    """Return the file of the schema "gdb-lmb/trace-show/1"."""
    _, kind, version = name.split("/")
    return FOLDER / f"{kind}-{version}.schema.json"


def schema_files() -> dict[str, Path]:
    """Return the schema files by the names of their schemas."""
    return {f"gdb-lmb/{'/'.join(path.name[: -len('.schema.json')].rsplit('-', 1))}": path
            for path in sorted(FOLDER.glob("*.schema.json"))}  # fmt: skip


@cache
def _registry() -> Registry[Any]:
    contents = {path.name: json.loads(path.read_text()) for path in schema_files().values()}
    # Where a schema names its dialect, jsonschema would go on with its own class instead of the one below.
    for schema in contents.values():
        del schema["$schema"]
    resources = ((name, Resource(schema, DRAFT202012)) for name, schema in contents.items())
    return Registry().with_resources(resources)


def _kind(value: Any) -> Any:
    """Return what stands for all values that no keyword of the schemas tells from this one.

    Addresses are alike, and so are numbers that fit the same C types; text and truth values are themselves.
    """
    if isinstance(value, str):
        return "0x" if _HEX.fullmatch(value) else value
    if isinstance(value, bool) or value is None:
        return (value,)
    if isinstance(value, int):
        # One sign and one size, in the steps that the C types have.
        return value < 0, next((bits for bits in (0, 16, 31, 32, 64) if abs(value) <= 1 << bits), None)
    if isinstance(value, dict):
        return tuple([(name, _kind(part)) for name, part in value.items()])
    if isinstance(value, list):
        return ("list", *map(_kind, value)) if len(value) < _LONG else id(value)
    return value


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Check a long list's elements, one for each kind that there is in it: jsonschema is slow."""
    known = Draft202012Validator.VALIDATORS["items"]
    if validator.is_type(instance, "array") and len(instance) >= _LONG and "prefixItems" not in schema:
        instance = list({_kind(element): element for element in reversed(instance)}.values())
    yield from known(validator, items, instance, schema)


_Validator = extend(Draft202012Validator, {"items": _items})


@cache
def validator_of(name: str, part: str = "") -> Any:
    """Return what checks documents of a schema, or of a `part` of it: "#/$defs/operations"."""
    schema = {"$ref": f"{file_of(name).name}{part}"}
    return _Validator(schema, registry=_registry())


def error_of(document: Any, name: str) -> str | None:
    """Return why the schema refuses a document, None where it does not."""
    if not file_of(name).exists():
        return f"there is no schema {name}"
    error = best_match(validator_of(name).iter_errors(document))
    return None if error is None else f"{error.json_path}: {error.message[:500]}"


def schema_name(document: Any, module: str) -> str:
    """Return the schema that what `module` wrote is to follow. Raises: Refused."""
    if isinstance(document, dict):
        if "schema" in document:
            return str(document["schema"])
        # A trace's lines after the first, and the operations of a file that is no trace.
        if module == "gdb_lmb.report.trace_file":
            return "gdb-lmb/trace/1"
        if module == "gdb_lmb.cli.replay":
            return "gdb-lmb/replay/1"
    raise Refused("it names no schema")


def check(text: bytes, module: str) -> str | None:
    """Return the schema that a document of `module` follows, None for one that is no output. Raises: Refused."""
    if module in NO_OUTPUT:
        return None
    document = json.loads(text)
    name = schema_name(document, module)
    why = error_of(document, name)
    if why is not None:
        raise Refused(why)
    return name

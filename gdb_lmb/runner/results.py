# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON of the lmb commands as typed values, for everybody outside gdb.

    state = read(CheckResult, guest.command("lmb-check --json"))

Each class is one schema, of which it has the members in use: a member is called as in the JSON. What is missing
or of another type is an error, never a default, but for members that older releases did not write.
"""

from __future__ import annotations

import json
import re
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import FINDING, plural, printable
from gdb_lmb.report.statuses import ExitStatus, status_of_outcome, status_of_run

_DOCUMENT = re.compile(r'\{ *"schema".*')
D = TypeVar("D")


class Finding(NamedTuple):
    """One finding: its `code`, `severity` ("finding" or "note"), `message`, and "0x…" addresses."""

    code: str
    severity: str
    message: str
    addresses: tuple[str, ...]


class CheckResult(NamedTuple):
    """What `lmb-check --json` found at one stop."""

    layout: str
    arch: str
    torn: bool
    not_verified: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def exit_status(self) -> ExitStatus:
        return status_of_outcome(sum(one.severity == FINDING for one in self.findings), self.not_verified)


class State(NamedTuple):
    """How far the guest is, from `lmb-dump --json`: memblock's `phase`, or whether a list-based LMB is `closed`."""

    layout: str
    phase: str | None = None
    closed: bool | None = None


class Attached(NamedTuple):
    """What `lmb-attach --json` says of the kernel: its `phase`, and whether it is at its first instruction."""

    phase: str | None
    at_first_instruction: bool


class Fit(NamedTuple):
    """The largest allocation at one alignment below one limit: its `size`, "0x0" where there is none."""

    size: str


class Space(NamedTuple):
    """What `lmb-free --json` says: the `largest` allocations possible, first of all by pages and anywhere."""

    torn: bool
    largest: tuple[Fit, ...]


class TraceStatus(NamedTuple):
    """What `lmb-trace status --json` says: why it `ended`, and whether that is at its place (`complete`)."""

    running: bool
    ended: str | None
    complete: bool
    write_error: str | None
    divergence: dict[str, Any] | None
    findings: tuple[Finding, ...]


class Check(NamedTuple):
    """What one lmb command found: numbers of findings and notes, and what it could not verify."""

    command: str
    findings: int
    notes: int
    not_verified: tuple[str, ...]


class Verdict(NamedTuple):
    """What all lmb commands of a run found together, from `lmb-verdict`; nothing else is a verdict.

    `findings` counts what two of them found once, None in the JSON of older releases; `forgotten` counts the
    checks before the last `lmb-verdict --reset`.
    """

    checks: tuple[Check, ...]
    findings: int | None = None
    forgotten: int = 0

    @property
    def total(self) -> int:
        return sum(check.findings for check in self.checks) if self.findings is None else self.findings

    @property
    def not_verified(self) -> tuple[str, ...]:
        """List what was not verified, each once, in order."""
        return tuple(dict.fromkeys(what for check in self.checks for what in check.not_verified))

    @property
    def exit_status(self) -> ExitStatus:
        return status_of_run(status_of_outcome(check.findings, check.not_verified) for check in self.checks)

    def in_words(self) -> str:
        """Say in one line what the exit status alone does not."""
        words = [plural(self.total, "finding")] if self.total else []
        if self.not_verified:
            words.append("not verified: " + ", ".join(printable(what, 80) for what in self.not_verified))
        if not self.checks:
            since = " since lmb-verdict --reset" if self.forgotten else ""
            words.append(f"no command that checks ran{since}: nothing was verified")
        return "; ".join(words) or "clean"


SCHEMAS: dict[type, str] = {
    CheckResult: "gdb-lmb/check/1",
    State: "gdb-lmb/snapshot/1",
    Attached: "gdb-lmb/attach/1",
    Space: "gdb-lmb/free/1",
    TraceStatus: "gdb-lmb/trace-status/1",
    Verdict: "gdb-lmb/verdict/1",
}


def read(kind: type[D], output: str) -> D:
    """Return the one document in the output of an lmb command, which may have said something before it.

    Raises: InfrastructureError where there is none, or several, or it is not as the schema has it.
    """
    schema = SCHEMAS[kind]
    found = _DOCUMENT.findall(output)
    if len(found) != 1:
        raise InfrastructureError(f"no {schema} from gdb, but {printable(output, 200)!r}")
    try:
        data = json.loads(found[0])
        if data["schema"] != schema:
            raise ValueError("it is of another schema")
        document: D = _value(kind, data, "it")
        if isinstance(document, Verdict):
            counts = [check.findings for check in document.checks]
            if not max(counts, default=0) <= document.total <= sum(counts):
                raise ValueError(f"it counts {document.total} findings in {counts}")
    except (ValueError, RecursionError) as error:
        why = printable(str(error), 200)
        raise InfrastructureError(f"no {schema} from gdb: {why}: {printable(found[0], 200)}") from None
    return document


# A JSON value as the type `hint`; `where` names it. Raises: ValueError where it is of another.
def _value(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, UnionType):
        return None if value is None else _value(get_args(hint)[0], value, where)
    kind = get_origin(hint) or hint
    if hasattr(kind, "_fields") and isinstance(value, dict):
        missing = [name for name in kind._fields if name not in value and name not in kind._field_defaults]
        if missing:
            raise ValueError(f"{where} has no {missing[0]!r}")
        hints = get_type_hints(kind)
        return kind(**{name: _value(hints[name], value[name], repr(name)) for name in kind._fields if name in value})
    if kind is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], item, f"an element of {where}") for item in value)
    # Not isinstance: true is no number. All numbers are counts.
    if type(value) is not kind or (kind is int and value < 0):
        raise ValueError(f"{where} is {printable(repr(value), 60)}")
    return value

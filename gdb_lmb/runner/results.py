# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON of the lmb commands as typed values, for everybody outside gdb.

    state = read(CheckResult, guest.command("lmb-check --json"))

Each class is one schema, of which it has the members in use: a member is called as in the JSON. What is missing
or of another type is an error, never a default, but for members that older releases did not write.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import FINDING, plural, printable
from gdb_lmb.report.statuses import ExitStatus, status_of_outcome

_DOCUMENT = re.compile(r'\{ *"schema".*')


class Document(Protocol):
    """A class whose values are JSON documents of one schema."""

    SCHEMA: ClassVar[str]


D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Finding:
    """One finding: its `code`, `severity` ("finding" or "note"), `message`, and "0x…" addresses."""

    code: str
    severity: str
    message: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class CheckResult:
    """What `lmb-check --json` found at one stop."""

    SCHEMA: ClassVar[str] = "gdb-lmb/check/1"

    layout: str
    arch: str
    torn: bool
    not_verified: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def exit_status(self) -> ExitStatus:
        """Return the status that follows."""
        return status_of_outcome(sum(one.severity == FINDING for one in self.findings), self.not_verified)


@dataclass(frozen=True)
class State:
    """How far the guest is, from `lmb-dump --json`: memblock's `phase`, or whether a list-based LMB is `closed`."""

    SCHEMA: ClassVar[str] = "gdb-lmb/snapshot/1"

    layout: str
    phase: str | None = None
    closed: bool | None = None


@dataclass(frozen=True)
class Attached:
    """What `lmb-attach --json` says of the kernel: its `phase`, and whether it is at its first instruction."""

    SCHEMA: ClassVar[str] = "gdb-lmb/attach/1"

    phase: str | None
    at_first_instruction: bool


@dataclass(frozen=True)
class TraceStatus:
    """What `lmb-trace status --json` says: why it `ended`, and whether that is at its place (`complete`)."""

    SCHEMA: ClassVar[str] = "gdb-lmb/trace-status/1"

    running: bool
    ended: str | None
    complete: bool
    write_error: str | None
    divergence: dict[str, Any] | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Check:
    """What one lmb command found: numbers of findings and notes, and what it could not verify."""

    command: str
    findings: int
    notes: int
    not_verified: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse negative numbers. Raises: ValueError."""
        if min(self.findings, self.notes) < 0:
            raise ValueError(f"it counts {self.findings} findings and {self.notes} notes")


@dataclass(frozen=True)
class Verdict:
    """What all lmb commands of a run found together, from `lmb-verdict`; nothing else is a verdict.

    `total` counts what two of them found once, None in the JSON of older releases.
    """

    SCHEMA: ClassVar[str] = "gdb-lmb/verdict/1"

    checks: tuple[Check, ...]
    total: int | None = field(default=None, metadata={"name": "findings"})

    def __post_init__(self) -> None:
        """Refuse a total that the checks cannot have. Raises: ValueError."""
        counts = [check.findings for check in self.checks]
        if self.total is not None and not max(counts, default=0) <= self.total <= sum(counts):
            raise ValueError(f"it counts {self.total} findings in {counts}")

    @property
    def findings(self) -> int:
        """Count the findings."""
        return sum(check.findings for check in self.checks) if self.total is None else self.total

    @property
    def not_verified(self) -> tuple[str, ...]:
        """List what was not verified, each once, in order."""
        return tuple(dict.fromkeys(what for check in self.checks for what in check.not_verified))

    @property
    def exit_status(self) -> ExitStatus:
        """Return the status that follows."""
        return status_of_outcome(self.findings, self.not_verified)

    def in_words(self) -> str:
        """Say in one line what the exit status alone does not."""
        words = [plural(self.findings, "finding")] if self.findings else []
        if self.not_verified:
            words.append("not verified: " + ", ".join(printable(what, 80) for what in self.not_verified))
        if not self.checks:
            words.append("no command that checks ran: nothing was verified")
        return "; ".join(words) or "clean"


def read(kind: type[D], output: str) -> D:
    """Return the one document in the output of an lmb command, which may have said something before it.

    Raises: InfrastructureError where there is none, or several, or it is not as the schema has it.
    """
    found = _DOCUMENT.findall(output)
    if len(found) != 1:
        raise InfrastructureError(f"no {kind.SCHEMA} from gdb, but {printable(output, 200)!r}")
    try:
        data = json.loads(found[0])
        if data["schema"] != kind.SCHEMA:
            raise ValueError("it is of another schema")
        document: D = _value(kind, data, "it")
    except (ValueError, RecursionError) as error:
        why = printable(str(error), 200)
        raise InfrastructureError(f"no {kind.SCHEMA} from gdb: {why}: {printable(found[0], 200)}") from None
    return document


def _value(hint: Any, value: object, where: str) -> Any:
    """Return a JSON value as the type `hint`; `where` names it. Raises: ValueError where it is of another."""
    if isinstance(hint, UnionType):
        return None if value is None else _value(get_args(hint)[0], value, where)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        hints, members = get_type_hints(hint), {}
        for member in fields(hint):
            name = member.metadata.get("name", member.name)
            if name in value:
                members[member.name] = _value(hints[member.name], value[name], repr(name))
            elif member.default is MISSING:
                raise ValueError(f"{where} has no {name!r}")
        return hint(**members)
    kind = get_origin(hint) or hint
    if kind is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], item, f"an element of {where}") for item in value)
    if type(value) is not kind:  # not isinstance: true is no number
        raise ValueError(f"{where} is {printable(repr(value), 60)}")
    return value

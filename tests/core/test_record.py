# SPDX-License-Identifier: GPL-2.0-or-later
"""Our `dataclass` against that of `dataclasses`: the same classes, made by each, answer the same."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from gdb_lmb.core.record import dataclass as ours


def made_by(dataclass: Any) -> SimpleNamespace:
    @dataclass(frozen=True)
    class Base:
        base: int
        size: int = 0x1000
        names: dict[str, int] = field(default_factory=dict, compare=False)

    @dataclass(frozen=True)
    class Region(Base):
        flags: int = 0
        set: bool = False
        va: int = field(kw_only=True)
        note: str = field(default="", repr=False)

    @dataclass
    class Counter:
        known: ClassVar[int] = 3
        found: list[int] = field(default_factory=list)
        total: int = 0

        def __post_init__(self) -> None:
            self.total += len(self.found)

    @dataclass(kw_only=True)
    class Named:
        b: int
        a: int = 1

        def __repr__(self) -> str:
            return "named"

    @dataclass(frozen=True)
    class Empty:
        pass

    return SimpleNamespace(Base=Base, Region=Region, Counter=Counter, Named=Named, Empty=Empty)


BOTH = made_by(dataclasses.dataclass), made_by(ours)
ASKED: dict[str, Callable[[Any], Any]] = {
    "defaults": lambda c: repr(c.Base(1)),
    "inherited": lambda c: repr(c.Region(1, 2, {"a": 3}, 4, True, va=5, note="x")),
    "a factory makes a new one": lambda c: c.Counter().found is c.Counter().found,
    "post-init": lambda c: repr(c.Counter([1, 2], 3)),
    "own repr": lambda c: repr(c.Named(b=2)),
    "empty": lambda c: (repr(c.Empty()), c.Empty() == c.Empty(), hash(c.Empty()) == hash(c.Empty())),
    "equal": lambda c: c.Base(1) == c.Base(1, 0x1000),
    "not compared": lambda c: c.Base(1, names={"a": 1}) == c.Base(1),
    "unequal": lambda c: c.Base(1) == c.Base(2),
    "another class": lambda c: (c.Base(1) == c.Region(1, va=2), c.Base(1) == 1),
    "hash": lambda c: len({c.Base(1), c.Base(1, names={"a": 1}), c.Base(2)}),
    "fields": lambda c: [(f.name, f.type, f.kw_only) for f in fields(c.Region)],
    "replace": lambda c: repr(replace(c.Region(1, va=2), size=3)),
    "asdict": lambda c: asdict(c.Region(1, va=2, names={"a": 1})),
    "match": lambda c: (c.Region.__match_args__, c.Named.__match_args__, c.Base.__match_args__),
    "parameters": lambda c: [
        [(one.name, one.kind) for one in inspect.signature(kind).parameters.values()] for kind in vars(c).values()
    ],
}
REFUSED: dict[str, Callable[[Any], Any]] = {
    "assignment": lambda c: setattr(c.Base(1), "base", 2),
    "deletion": lambda c: delattr(c.Base(1), "base"),
    "too few": lambda c: c.Base(),
    "too many": lambda c: c.Named(1),
    "unknown": lambda c: c.Base(1, other=2),
    "no hash": lambda c: hash(c.Counter()),
}


@pytest.mark.parametrize("question", ASKED)
def test_answers_are_those_of_dataclasses(question: str) -> None:
    theirs, own = (ASKED[question](classes) for classes in BOTH)
    assert own == theirs


@pytest.mark.parametrize("question", REFUSED)
def test_what_dataclasses_refuse_is_refused(question: str) -> None:
    for classes in BOTH:
        with pytest.raises((FrozenInstanceError, TypeError)):
            REFUSED[question](classes)


def test_a_default_before_what_has_none_is_refused() -> None:
    with pytest.raises((TypeError, SyntaxError)):

        @ours(frozen=True)
        class Wrong:
            a: int = 1
            b: int

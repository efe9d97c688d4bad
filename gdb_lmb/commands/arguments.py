# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of a command: a table of what it takes, and how its words are read by that table.

gdb splits its line at blanks, so `sizeof(struct lmb)` and `0x1000 - 0x2000` come in pieces; a number may begin with
a minus. Neither is argparse's way, and loading argparse would cost every session.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.numbers import is_name, is_negative, literal
from gdb_lmb.core.words import safe

Options = SimpleNamespace
"""The values of the arguments of one command, by name."""

FLAG, ONE, OPTIONAL, ANY, SOME = "flag", "one", "optional", "any", "some"
"""How many words an argument takes: none, exactly one, at most one, any number, at least one."""


@dataclass(frozen=True)
class Argument:
    """One argument: an option where `name` begins with "-", else a word by its position.

    `field` names its value, by default after `name`; `shown` is its name in messages.
    """

    name: str
    count: str = ONE
    choices: Sequence[str] = ()
    default: Any = None
    field: str = ""
    shown: str = ""

    @property
    def is_option(self) -> bool:
        """Tell whether it is an option."""
        return self.name.startswith("-")

    @property
    def key(self) -> str:
        """Return the name of its value."""
        return self.field or self.name.lstrip("-").replace("-", "_")


JSON = Argument("--json", FLAG)


def parse(words: Sequence[str], table: Sequence[Argument], command: str, exclusive: Sequence[str] = ()) -> Options:
    """Return the values of the words of `command` by `table`, of `exclusive` options at most one.

    Raises: `UsageError`, which names the command's help.
    """
    try:
        return _parse(words, table, exclusive)
    except UsageError as error:
        raise UsageError(f"{error} (see: help {command})") from None


def _parse(words: Sequence[str], table: Sequence[Argument], exclusive: Sequence[str]) -> Options:
    options = {argument.name: argument for argument in table if argument.is_option}
    values = {argument.key: argument.default for argument in table}
    values |= {argument.key: False for argument in table if argument.count == FLAG}
    rest = joined(words)
    free: list[str] = []
    seen: list[str] = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            free.append(word)
            continue
        option, value = _option(word, options)
        seen += [option.name] if option.name in exclusive and option.name not in seen else []
        if len(seen) > 1:
            raise UsageError(f"{seen[0]} and {seen[1]} exclude each other")
        if option.count == FLAG:
            if value is not None:
                raise UsageError(f"{option.name} takes no value")
            values[option.key] = True
        elif option.count == SOME:
            end = next((at for at, other in enumerate(rest) if other.startswith("-")), len(rest))
            values[option.key], rest = ([] if value is None else [value]) + rest[:end], rest[end:]
        else:
            absent = not rest or rest[0].partition("=")[0] in options
            values[option.key] = value if value is not None else None if absent else rest.pop(0)
        if values[option.key] in (None, []):
            raise UsageError(f"{word} needs a value")
    return Options(**values | _by_position(free, [argument for argument in table if not argument.is_option]))


def _option(word: str, options: dict[str, Argument]) -> tuple[Argument, str | None]:
    """Return the option that `word` begins with, and the value in it: --min=5, -oFILE. Raises: `UsageError`."""
    name, mark, value = word.partition("=")
    if name in options:
        return options[name], value if mark else None
    short = options.get(word[:2])
    if short is not None and short.count != FLAG:
        return short, word[2:]
    if is_negative(word):
        raise UsageError(f"{safe(word, 40)!r} is negative, but must be 0 or more")
    near = difflib.get_close_matches(word, options, 1)
    raise UsageError(f"unknown option {safe(word, 40)!r}" + (f", did you mean {near[0]}?" if near else ""))


def _by_position(words: list[str], table: Sequence[Argument]) -> dict[str, Any]:
    """Return the values of the words that are no options. Raises: `UsageError`."""
    values: dict[str, Any] = {}
    for argument in table:
        if argument.count == ANY:
            values[argument.key], words = words, []
        elif words:
            if argument.choices and words[0] not in argument.choices:
                raise UsageError(f"{safe(words[0], 40)!r} is none of {', '.join(argument.choices)}")
            values[argument.key], words = words[0], words[1:]
        elif argument.count == ONE:
            which = f": one of {', '.join(argument.choices)}" if argument.choices else ""
            raise UsageError(f"{argument.shown or argument.name} is missing{which}")
    if words:
        raise UsageError(f"{safe(words[0], 40)!r} is one word too many")
    return values


def candidates(given: Sequence[str], table: Sequence[Argument]) -> list[str]:
    """Return the options and choices that are not among the words `given`."""
    out: list[str] = []
    for argument in table:
        if argument.is_option:
            out += [argument.name] if argument.name not in given else []
        elif not any(word in argument.choices for word in given):
            out += argument.choices
    return out


def joined(words: Sequence[str]) -> list[str]:
    """Return `words` with `sizeof(type)` and ranges written with blanks in one piece each."""
    return _ranges(_sizeofs(words))


def _sizeofs(words: Sequence[str]) -> list[str]:
    """Join what `sizeof(` begins, up to its closing parenthesis, or where there is none to the next option."""
    out: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.endswith("sizeof") and rest and rest[0].startswith("("):
            word += rest.pop(0)
        if "sizeof(" in word:
            while word.count("(") > word.count(")") and rest and not rest[0].startswith("--"):
                word += f" {rest.pop(0)}"
        out.append(word)
    return out


def _ranges(words: Sequence[str]) -> list[str]:
    """Join `A - B`, `A- B`, `A + SIZE` and the like where both sides are numbers or names."""
    out: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if rest and word in ("-", "+") and out and _is_place(out[-1]) and _is_place(rest[0]):
            out[-1] += word + rest.pop(0)
        elif rest and word[-1:] in ("-", "+") and _is_place(word[:-1]) and _is_place(rest[0]):
            out.append(word + rest.pop(0))
        elif word[:1] == "+" and out and _is_place(out[-1]) and _is_place(word[1:]):
            out[-1] += word
        else:
            out.append(word)
    return out


def _is_place(word: str) -> bool:
    """Tell whether a word may be one side of a range."""
    return literal(word) is not None or is_name(word)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of a command: a table of what it takes, and how its words are read by that table.

gdb splits its line at blanks, also within `sizeof(struct lmb)` and `0x1000 - 0x2000`, and a value may begin with a
minus sign. argparse can handle neither, and importing it takes time in every session.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.numbers import OPERAND_PATTERN, is_negative
from gdb_lmb.core.words import safe

# The values of the arguments of one command, by name.
Options = SimpleNamespace

# How many words an argument takes: none, exactly one, at most one, any number, at least one.
FLAG, ONE, OPTIONAL, ANY, SOME = "flag", "one", "optional", "any", "some"


@dataclass(frozen=True)
class Argument:
    """One argument: an option where `name` begins with "-", else a word by its position.

    `field` names its value, by default after `name`, which is in messages. `of` are the first words of the
    line that it belongs to, where not all.
    """

    name: str
    count: str = ONE
    choices: Sequence[str] = ()
    default: Any = None
    field: str | None = None
    of: Sequence[str] = ()

    @property
    def is_option(self) -> bool:
        return self.name.startswith("-")

    @property
    def key(self) -> str:
        return self.field or self.name.lstrip("-").replace("-", "_")


JSON = Argument("--json", FLAG)
ALL = Argument("--all", FLAG)


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
    values: dict[str, Any] = {argument.key: False if argument.count == FLAG else argument.default for argument in table}
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
    values |= _by_position(free, [argument for argument in table if not argument.is_option])
    for argument in table:
        if argument.of and free[0] not in argument.of and values[argument.key] not in (argument.default, False):
            what = argument.name if argument.is_option else f"word {safe(values[argument.key], 40)!r}"
            raise UsageError(f"{free[0]} takes no {what}")
    return Options(**values)


def _option(word: str, options: dict[str, Argument]) -> tuple[Argument, str | None]:
    # The value may be in the word: --min=5, -oFILE.
    name, mark, value = word.partition("=")
    if name in options:
        return options[name], value if mark else None
    short = options.get(word[:2])
    if short is not None and short.count != FLAG:
        return short, word[2:]
    if is_negative(word):
        raise UsageError(f"{safe(word, 40)!r} is negative, but must be 0 or more")
    import difflib  # few are mistyped

    near = difflib.get_close_matches(word, options, 1)
    raise UsageError(f"unknown option {safe(word, 40)!r}" + (f", did you mean {near[0]}?" if near else ""))


def _by_position(words: list[str], table: Sequence[Argument]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for argument in table:
        if argument.count == ANY:
            values[argument.key], words = words, []
        elif words:
            if argument.choices and words[0] not in argument.choices:
                raise UsageError(f"{safe(words[0], 40)!r} is not one of {', '.join(argument.choices)}")
            values[argument.key], words = words[0], words[1:]
        elif argument.count == ONE:
            which = f": one of {', '.join(argument.choices)}" if argument.choices else ""
            raise UsageError(f"{argument.name} is missing{which}")
    if words:
        raise UsageError(f"{safe(words[0], 40)!r} is one word too many")
    return values


def candidates(given: Sequence[str], table: Sequence[Argument]) -> list[str]:
    """Return the options that are not among the words `given`, and the choices where none of them is."""
    offered = ([argument.name] if argument.is_option else argument.choices for argument in table)
    return [word for words in offered if not set(words) & set(given) for word in words]


# The words of a line with NUL between them: what `sizeof(` begins, up to its end, else up to the next option; and
# `A - B`, `A- B`, `A + B` and `A +B`. `A -B` could be an option.
_SIZEOF = re.compile(r"sizeof\0?\((?:(?!\0--)[^)])*\)?")
_RANGE = re.compile(
    rf"(?<![^\0]){OPERAND_PATTERN}(?:\0?[-+]\0|\0\+){OPERAND_PATTERN}(?![^\0])", re.IGNORECASE | re.ASCII
)


def joined(words: Sequence[str]) -> list[str]:
    """Return `words` with `sizeof(type)` and ranges written with blanks in one piece each."""
    line = _SIZEOF.sub(lambda found: found[0].replace("f\0(", "f(").replace("\0", " "), "\0".join(words))
    return _RANGE.sub(lambda found: found[0].replace("\0", ""), line).split("\0") if words else []

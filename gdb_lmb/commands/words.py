# SPDX-License-Identifier: GPL-2.0-or-later
"""A command's words before argparse sees them: what belongs together is joined, what cannot be is refused.

gdb takes its line apart at blanks, so `sizeof(struct lmb)` and `0x1000 - 0x2000` come in pieces; and argparse takes
a number with a minus for an option.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence

from gdb_lmb.commands.numbers import is_name
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.numbers import is_negative, literal
from gdb_lmb.core.words import safe


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


def for_parser(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return `words` so that argparse takes them as they are meant, each option's value bound to it with "=".

    Raises: `UsageError` for an unknown option, one without its value, and too few or too many words.
    """
    out = list(_bound(words, parser))
    positional = [action for action in parser._actions if not action.option_strings]
    free = _free_words(out, parser)
    for action, at in zip(positional, range(len(positional)), strict=True):
        if at >= free and action.nargs not in ("?", "*"):
            which = f": one of {', '.join(action.choices)}" if action.choices else ""
            raise UsageError(f"{action.metavar or action.dest} is missing{which} (see: help {parser.prog})")
    return out


def _bound(words: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[str]:
    options = {name: action for action in parser._actions for name in action.option_strings}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name = word.partition("=")[0]
        action = options.get(name)
        if not word.startswith("-") or word == "-":
            yield word
        elif action is None:
            short = options.get(word[:2])
            if short is None or short.nargs == 0:
                raise _unknown(word, options, parser)
            yield word
        elif action.nargs == 0 and "=" in word:
            raise UsageError(f"{name} takes no value (see: help {parser.prog})")
        elif action.nargs == "+" and (not rest or rest[0].startswith("-")):
            raise UsageError(f"{word} needs a value (see: help {parser.prog})")
        elif action.nargs is None and "=" not in word:
            if not rest or rest[0].partition("=")[0] in options:
                raise UsageError(f"{word} needs a value (see: help {parser.prog})")
            # A short option takes its value as it is, a long one after "=".
            yield f"{word}={rest.pop(0)}" if word.startswith("--") else word + rest.pop(0)
        else:
            yield word


def _unknown(word: str, options: dict[str, argparse.Action], parser: argparse.ArgumentParser) -> UsageError:
    if is_negative(word):
        return UsageError(f"{safe(word, 40)!r} is negative, but must be 0 or more (see: help {parser.prog})")
    near = difflib.get_close_matches(word, options, 1)
    hint = f", did you mean {near[0]}?" if near else ""
    return UsageError(f"unknown option {safe(word, 40)!r}{hint} (see: help {parser.prog})")


def _free_words(words: Sequence[str], parser: argparse.ArgumentParser) -> int:
    """Count the words that are no option and no value of one that takes several."""
    several = {name for action in parser._actions if action.nargs == "+" for name in action.option_strings}
    count, taking = 0, False
    for word in words:
        if word.startswith("-") and word != "-":
            taking = word in several
        elif not taking:
            count += 1
    return count

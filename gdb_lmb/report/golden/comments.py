# SPDX-License-Identifier: GPL-2.0-or-later
"""What people have written into a golden: where it belongs, and where that is when the golden is renewed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gdb_lmb.analysis.golden.compare import matches
from gdb_lmb.core.golden import Golden

Spot = tuple[object, ...]
"""A place in a golden: the table, the number of the stop, the key or the list, and the region's number in it."""


@dataclass
class Comments:
    """What people have written into a golden, as its lines have it.

    `above` and `beside` (at a line's end) are by the place of what they belong to, as `Spot` has it. `rules` is all
    of that section, None where there is none.
    """

    above: dict[Spot, list[str]] = field(default_factory=dict)
    beside: dict[Spot, str] = field(default_factory=dict)
    rules: str | None = None


@dataclass(frozen=True)
class GoldenFile:
    """A golden, and the comments in its file."""

    golden: Golden
    comments: Comments = field(default_factory=Comments)


_ARRAY = re.compile(r"([\w-]+)\s*=\s*\[$")
_KEY = re.compile(r"([\w-]+)\s*=")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|(#.*)')


def comments_of(text: str) -> Comments:
    """Return the comments in the text of a golden."""
    found, pending = Comments(), list[str]()
    section: Spot = ()
    array: str | None = None
    stops = at = 0
    rules: list[str] | None = None
    for line in text.split("\n"):
        words = line.strip()
        if not words or words.startswith("#"):
            pending += [words] if words else []
            if rules is not None:
                rules.append(line)
            continue
        beside = next((match[1] for match in _QUOTED.finditer(words) if match[1]), None)
        code = words.removesuffix(str(beside)).rstrip() if beside else words
        is_header = array is None and code.startswith("[") and not (rules is not None and code.startswith("{"))
        place: Spot | None = None
        if is_header:
            name = code.strip("[] ").partition(".")[0]
            if name == "rules":
                if rules is None:
                    rules = [*pending]
                rules.append(line)
                pending, section = [], ("rules",)
                continue
            if rules is not None and found.rules is None:
                # What stands right above the next header belongs to that.
                found.rules = "\n".join(rules[: len(rules) - len(pending)] if pending else rules)
            stops += name == "stop"
            section = (name, stops - 1) if name == "stop" else (name,)
            place = section
        elif section == ("rules",) and rules is not None:
            rules.append(line)
            pending = []
        elif array is None:
            start, key = _ARRAY.match(code), _KEY.match(code)
            place = (*section, key[1] if key else code)
            if start:
                array, at = start[1], 0
        elif code.startswith("{"):
            place, at = (*section, array, at), at + 1
        elif code.startswith("]"):
            place, array = (*section, array, "end"), None
        if place is not None:
            if pending:
                found.above[place] = pending
            if beside:
                found.beside[place] = beside
            pending = []
    if rules is not None and found.rules is None:
        found.rules, pending = "\n".join(rules), []
    if pending:
        found.above["end",] = pending
    return found


def moved(former: GoldenFile, golden: Golden) -> Comments:
    """Return the comments of a golden at the places of another one where what they belong to is now.

    Those of what has vanished follow its list.
    """
    comments = Comments(rules=former.comments.rules)
    old = former.golden
    numbers = {stop.at: number for number, stop in enumerate(golden.stops)}
    places: dict[Spot, Spot] = {}
    for number, stop in enumerate(old.stops):
        if stop.at not in numbers:
            continue
        now = numbers[stop.at]
        for match in matches(old, golden, stop, golden.stops[now]):
            if not match.before:
                continue
            name = match.before[0].list
            heirs = {**match.pairs, **{one: parts[0] for one, parts in match.splits.items()}}
            heirs.update((part, one) for one, parts in match.merges.items() for part in parts)
            for at in range(len(match.before)):
                places["stop", number, name, at] = ("stop", now, name, heirs.get(at, "end"))

    def target(place: Spot) -> Spot:
        if place in places or place[:1] != ("stop",):
            return places.get(place, place)
        at = next((stop.at for number, stop in enumerate(old.stops) if number == place[1]), None)
        return ("stop", numbers[at], *place[2:]) if at in numbers else ("end",)

    for place, lines in former.comments.above.items():
        comments.above.setdefault(target(place), []).extend(lines)
    for place, line in former.comments.beside.items():
        spot = target(place)
        if spot[-1] == "end" and place[-1] != "end":
            comments.above.setdefault(spot, []).append(line)
        else:
            comments.beside[spot] = f"{comments.beside[spot]} {line}" if spot in comments.beside else line
    return comments

# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens as files, schema `gdb-lmb/snapshot/2`: TOML, with one region a line, for people to read, review and comment.

What people write into one stays in it when it is renewed: comments above a region and at its line's end go where the
region goes, the rules stay as they are. JSON of schema `gdb-lmb/snapshot/1`, by `lmb-dump --json`, is read as a golden
of one stop.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gdb_lmb.allocators.json_fields import FLAGS, Json
from gdb_lmb.analysis.golden.compare import matches
from gdb_lmb.analysis.golden.items import MEMORY, RESERVED, Owned, items_of
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.golden import KINDS, OWNER, ROLE, Environment, Golden, GoldenStop, Item, Rule
from gdb_lmb.core.numbers import literal
from gdb_lmb.core.operation import checked, read_number, short
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import FLAG_NAMES, Place, RegionList, flag_names
from gdb_lmb.core.words import FINDING, safe, truth
from gdb_lmb.report.jsonio import SNAPSHOT_SCHEMA

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GOLDEN_SCHEMA = "gdb-lmb/snapshot/2"

_FAMILY = GOLDEN_SCHEMA.rpartition("/")[0] + "/"
_IMAGE = "kernel image"  # `Role.IMAGE`
_HEAD = """\
# A golden of gdb-lmb: what the early allocator of a kernel holds. `gdb-lmb check KERNEL --golden` compares with it.
# Comments above a region and at the end of its line stay with it when `gdb-lmb accept` renews this file.
"""
_RULES = """\
[rules]
# What may vary, such as { kind = "grew", name = "setup_arch", percent = 5 }. kind, list and name say which changes,
# bytes and percent up to which amount; what is left out is any.
ignore = []
"""
_MAX_BYTES = 64 << 20

_Spot = tuple[object, ...]
"""A place in a golden: the table, the number of the stop, the key or the list, and the region's number in it."""


# -- from what lmb-dump writes ----------------------------------------------------------------------


def stop_of(data: Json, at: str | None = None) -> GoldenStop:
    """Return a stop from JSON of `lmb-dump --json --owners --roles --all`; `at` is where it was asked for.

    Raises: `InputError`.
    """
    try:
        no_node = data.get("no_node")
        names = dict.fromkeys([MEMORY, RESERVED, *(name for name, value in data.items() if _is_list(value))])
        lists = [_regions(name, data[name]["regions"]) for name in names]
        roles = [Place(base, end, row["role"]) for row in data.get("roles", ()) for base, end in [_row_range(row)]]
        owners = data.get("owners") or {"reserved": ()}
        owned = [
            Owned(*_row_range(row), _owner(row), row["seq"])
            for pieces in owners["reserved"]
            for row in pieces
            if row.get("seq") is not None
        ]
        symbol = (data["stop"] or {}).get("symbol")
        return GoldenStop(
            at=at or symbol or "unknown",
            items=tuple(item for one in lists for item in items_of(one, no_node, roles, owned)),
            current_limit=int(data["current_limit"], 16),
            bottom_up=bool(data["bottom_up"]),
            phase=data.get("phase"),
            closed=bool(data.get("closed", False)),
            findings=tuple(sorted({row["code"] for row in data["findings"] if row["severity"] == FINDING})),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        why = safe(f"{type(error).__name__}: {error}")
        raise InputError(f"this is no snapshot of schema {SNAPSHOT_SCHEMA}: {why}") from None


def _regions(name: str, rows: Sequence[Json]) -> RegionList:
    return RegionList(
        name,
        len(rows),
        0,
        [int(row["base"], 16) for row in rows],
        [int(row["size"], 16) for row in rows],
        [int(row["flags"]) for row in rows],
        range(len(rows)),
        nid=[int(row["nid"]) for row in rows] if any("nid" in row for row in rows) else (),
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, dict) and "regions" in value


def _row_range(row: Json) -> Range:
    base = int(row["base"], 16)
    return base, base + int(row["size"], 16)


def _owner(row: Json) -> str:
    # The function, without what the compiler adds to its copies, such as ".isra.0".
    for caller in row.get("callers", ())[:1]:
        if caller.get("function"):
            return str(caller["function"]).partition(".")[0]
    return str(row["owner"])


def environment_of(data: Json, kernel: str, **more: Any) -> Environment:
    """Return the environment of a dump's JSON; `more` are members that it does not tell. Raises: `InputError`."""
    try:
        image = [_row_range(row) for row in data.get("roles", ()) if row["role"] == _IMAGE]
        rows = [_row_range(row) for row in data[MEMORY]["regions"]]
        names = data.get("flag_names")
        return Environment(
            kernel=kernel,
            layout=data["layout"],
            arch=data["arch"],
            byte_order=data["byte_order"],
            bits=data["bits"],
            page_size=int(data["page_size"], 16),
            flag_names=FLAG_NAMES if names is None else FLAGS.read(names),
            image=(min(one[0] for one in image), max(one[1] for one in image)) if image else None,
            ram_end=max((end for _, end in rows), default=None),
            **{"history": "log" if data.get("owners") else None, **more},
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        why = safe(f"{type(error).__name__}: {error}")
        raise InputError(f"this is no snapshot of schema {SNAPSHOT_SCHEMA}: {why}") from None


# -- reading ----------------------------------------------------------------------------------------


@dataclass
class Comments:
    """What people have written into a golden, as its lines have it.

    `above` and `beside` (at a line's end) are by the place of what they belong to, as `_Spot` has it. `rules` is all
    of that section, None where there is none.
    """

    above: dict[_Spot, list[str]] = field(default_factory=dict)
    beside: dict[_Spot, str] = field(default_factory=dict)
    rules: str | None = None


@dataclass(frozen=True)
class GoldenFile:
    """A golden, and the comments in its file."""

    golden: Golden
    comments: Comments = field(default_factory=Comments)


def read_golden(path: Path) -> GoldenFile:
    """Read a golden, or a snapshot of version 1. Raises: `UsageError`, `InputError`."""
    try:
        raw = path.read_bytes()[: _MAX_BYTES + 1]
    except OSError as error:
        raise UsageError(f"cannot read {safe(str(path), 200)}: {error.strerror}") from None
    try:
        if len(raw) > _MAX_BYTES:
            raise InputError(f"it is larger than {_MAX_BYTES >> 20} MiB")
        return golden_from(raw, path.name)
    except InputError as error:
        raise InputError(f"{safe(str(path), 200)}: {error}") from None


def golden_from(raw: bytes, name: str = "") -> GoldenFile:
    """Return the golden that a file of this name holds. Raises: `InputError`."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InputError("this is neither a golden nor a snapshot: it is not UTF-8") from None
    if text.lstrip().startswith("{"):
        return GoldenFile(_from_json(text, name))
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is no TOML: {safe(str(error))}") from None
    _require_schema(data.get("schema"), GOLDEN_SCHEMA)
    return GoldenFile(_from_toml(data), _comments(text))


def _require_schema(found: Any, expected: str) -> None:
    if found == expected:
        return
    version = found.removeprefix(_FAMILY) if isinstance(found, str) and found.startswith(_FAMILY) else ""
    if version.isdecimal() and int(version) > int(GOLDEN_SCHEMA.removeprefix(_FAMILY)):
        raise InputError(
            f"it is of schema {safe(str(found))}, which is newer than this gdb-lmb ({GOLDEN_SCHEMA}): update gdb-lmb"
        )
    raise InputError(f'its "schema" is {short(found)}, but a golden has {GOLDEN_SCHEMA}')


def _from_json(text: str, name: str) -> Golden:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("this is no JSON") from None
    _require_schema(data.get("schema"), SNAPSHOT_SCHEMA)
    return Golden(environment_of(data, name), (stop_of(data),))


def _from_toml(data: Json) -> Golden:
    own = _table(data, "environment")
    names = {
        read_number("flag_names", flag, 32): str(word) for flag, word in _table(own, "flag_names", missing={}).items()
    }
    bits = checked("bits", own.get("bits"), (32, 64).__contains__, "32 or 64")
    image = own.get("image")
    if image is not None:
        checked("image", image, lambda value: isinstance(value, list) and len(value) == 2, "its base and its end")
        image = (read_number("image", image[0], 65), read_number("image", image[1], 65))
    texts: Json = {name: _text(own, name) for name in ("release", "build_id", "append", "memory", "machine", "history")}
    for name in ("kernel", "layout", "arch", "byte_order"):
        texts[name] = checked(name, own.get(name), str, "a string")
    environment = Environment(
        **texts,
        bits=bits,
        page_size=read_number("page_size", own.get("page_size"), 32),
        flag_names=names or FLAG_NAMES,
        image=image,
        ram_end=None if "ram_end" not in own else read_number("ram_end", own["ram_end"], 65),
        smp=None if "smp" not in own else read_number("smp", own["smp"], 31),
    )
    stops = checked("stop", data.get("stop"), _are_tables, "one [[stop]] or more")
    rules = _table(data, "rules", missing={})
    for name in rules.keys() - {"ignore"}:
        raise InputError(f"[rules] has {short(name)}; expected ignore")
    ignore = checked("ignore", rules.get("ignore", []), lambda value: value == [] or _are_tables(value), "tables")
    return Golden(environment, tuple(_stop(row, environment) for row in stops), tuple(map(_rule, ignore)))


def _table(data: Json, name: str, missing: Any = None) -> Json:
    found: Json = checked(name, data.get(name, missing), dict, f"a table [{name}]")
    return found


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _text(row: Json, name: str) -> str | None:
    return None if name not in row else str(checked(name, row[name], str, "a string"))


def _stop(row: Json, environment: Environment) -> GoldenStop:
    at = str(checked("at", row.get("at"), str, "a string"))
    try:
        items = [
            _item(name, item, environment)
            for name, rows in row.items()
            if name != "findings" and isinstance(rows, list)
            for item in rows
        ]
        return GoldenStop(
            at=at,
            items=tuple(items),
            current_limit=read_number("current_limit", row.get("current_limit"), environment.bits),
            bottom_up=bool(checked("bottom_up", row.get("bottom_up", False), bool, "true or false")),
            phase=_text(row, "phase"),
            closed=bool(checked("closed", row.get("closed", False), bool, "true or false")),
            findings=tuple(map(str, checked("findings", row.get("findings", []), list, "a list"))),
        )
    except InputError as error:
        raise InputError(f"at {safe(at)}: {error}") from None


_MEMBERS = ("base", "size", "flags", "node", OWNER, ROLE, "seq", "place")


def _item(name: str, row: Any, environment: Environment) -> Item:
    checked(name, row, dict, 'a region, { base = "0x…", size = "0x…" }')
    for member in row.keys() - {*_MEMBERS}:
        raise InputError(f"a region has {short(member)}; expected {', '.join(_MEMBERS)}")
    by = next((kind for kind in (OWNER, ROLE) if kind in row), None)
    return Item(
        list=name,
        base=read_number("base", row.get("base"), environment.bits),
        size=read_number("size", row.get("size"), environment.bits + 1),
        flags=_flags(row["flags"], environment.flag_names) if "flags" in row else 0,
        node=None if "node" not in row else read_number("node", row["node"], 31),
        name=None if by is None else _text(row, by),
        by=by,
        seq=None if "seq" not in row else read_number("seq", row["seq"], 64),
    )


def _flags(value: Any, names: Mapping[int, str]) -> int:
    known = {name: bit for bit, name in names.items()}
    if isinstance(value, str):
        parts = [known.get(word, literal(word)) for word in value.split("|")]
        if None not in parts:
            return sum(part for part in parts if part is not None)
    return read_number("flags", value, 32)


def _rule(row: Json) -> Rule:
    for member in row.keys() - {"kind", "list", "name", "bytes", "percent"}:
        raise InputError(f"a rule has {short(member)}; expected kind, list, name, bytes or percent")
    percent = row.get("percent")
    if percent is not None:
        checked("percent", percent, lambda value: type(value) in (int, float) and value >= 0, "a number from 0 up")
    if "kind" in row:
        checked("kind", row["kind"], KINDS.__contains__, f"one of {', '.join(KINDS)}")
    return Rule(
        _text(row, "kind"),
        _text(row, "list"),
        _text(row, "name"),
        None if "bytes" not in row else read_number("bytes", row["bytes"], 64),
        None if percent is None else float(percent),
    )


# -- comments ---------------------------------------------------------------------------------------

_ARRAY = re.compile(r"([\w-]+)\s*=\s*\[$")
_KEY = re.compile(r"([\w-]+)\s*=")
_TO_ESCAPE = re.compile(r'[\x00-\x1f\x7f"\\]')
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|(#.*)')


def _comments(text: str) -> Comments:
    found, pending = Comments(), list[str]()
    section: _Spot = ()
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
        place: _Spot | None = None
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
            continue
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


# -- writing ----------------------------------------------------------------------------------------


def golden_text(golden: Golden, former: GoldenFile | None = None) -> str:
    """Return the file of a golden; comments and rules are those of the `former` one, where it takes its place."""
    kept = Comments() if former is None else _moved(former, golden)
    lines = list(kept.above.get(("schema",), _HEAD.rstrip("\n").split("\n")))
    lines.append(_with(kept, ("schema",), f'schema = "{GOLDEN_SCHEMA}"'))
    lines += ["", *_section(kept, ("environment",), _environment_rows(golden.environment))]
    lines += ["", *(kept.rules or _rules(golden.rules)).strip("\n").split("\n")]
    for number, stop in enumerate(golden.stops):
        lines += ["", *_stop_lines(kept, ("stop", number), stop, golden.environment)]
    lines += kept.above.get(("end",), ())
    return "\n".join(lines) + "\n"


def _rules(rules: Sequence[Rule]) -> str:
    if not rules:
        return _RULES
    rows = [{name: value for name, value in asdict(rule).items() if value is not None} for rule in rules]
    return "\n".join(["[rules]", "ignore = [", *(f"  {_value(row)}," for row in rows), "]"])


def _with(kept: Comments, place: _Spot, code: str) -> str:
    return f"{code}  {kept.beside[place]}" if place in kept.beside else code


def _section(kept: Comments, place: _Spot, rows: Mapping[str, Any], header: str = "[environment]") -> Iterator[str]:
    yield from kept.above.get(place, ())
    yield _with(kept, place, header)
    for name, value in rows.items():
        if value is not None:
            yield from kept.above.get((*place, name), ())
            yield _with(kept, (*place, name), f"{name} = {_value(value)}")


def _value(value: Any) -> str:
    # A value as TOML has it.
    if isinstance(value, str):
        return '"' + _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", value) + '"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_name(name)} = {_value(one)}" for name, one in value.items()) + " }"
    return truth(value) if isinstance(value, bool) else str(value)


def _name(name: str) -> str:
    return name if re.fullmatch("[A-Za-z_-]+", name) else _value(name)


def _environment_rows(own: Environment) -> dict[str, Any]:
    return {
        "kernel": own.kernel,
        "release": own.release,
        "build_id": own.build_id,
        "append": own.append,
        "memory": own.memory,
        "smp": own.smp,
        "machine": own.machine,
        "history": own.history,
        "arch": own.arch,
        "byte_order": own.byte_order,
        "bits": own.bits,
        "page_size": hex(own.page_size),
        "layout": own.layout,
        "image": None if own.image is None else [hex(at) for at in own.image],
        "ram_end": None if own.ram_end is None else hex(own.ram_end),
        "flag_names": {hex(flag): name for flag, name in own.flag_names.items()},
    }


def _stop_lines(kept: Comments, place: _Spot, stop: GoldenStop, environment: Environment) -> Iterator[str]:
    rows = {
        "at": stop.at,
        "phase": stop.phase,
        "current_limit": hex(stop.current_limit),
        "bottom_up": stop.bottom_up,
        "closed": stop.closed,
        "findings": list(stop.findings),
    }
    yield from _section(kept, place, rows, "[[stop]]")
    for name in dict.fromkeys((MEMORY, RESERVED, *(item.list for item in stop.items))):
        yield from kept.above.get((*place, name), ())
        yield _with(kept, (*place, name), f"{name} = [")
        for at, item in enumerate(item for item in stop.items if item.list == name):
            spot = (*place, name, at)
            yield from (f"  {line}" for line in kept.above.get(spot, ()))
            yield _with(kept, spot, f"  {_item_text(item, environment)},")
        yield from (f"  {line}" for line in kept.above.get((*place, name, "end"), ()))
        yield _with(kept, (*place, name, "end"), "]")


def _item_text(item: Item, environment: Environment) -> str:
    row: dict[str, Any] = {"base": hex(item.base), "size": hex(item.size)}
    if item.flags:
        row["flags"] = flag_names(item.flags, environment.flag_names)
    if item.node is not None:
        row["node"] = item.node
    if item.by is not None:
        row[item.by] = item.name
    if item.seq is not None:
        row["seq"] = item.seq
    place = _place(item, environment)
    if place is not None:
        row["place"] = place
    return _value(row)


def _place(item: Item, environment: Environment) -> str | None:
    # The address from what moves it, for people: nothing reads it.
    image, end = environment.image, environment.ram_end
    if image is not None and image[0] <= item.base < image[1]:
        return f"image+{item.base - image[0]:#x}"
    if end is not None and end // 2 < item.base < end:
        return f"ram_end-{end - item.base:#x}"
    return None


def _moved(former: GoldenFile, golden: Golden) -> Comments:
    # The comments, at the places where what they belong to is now; those of what has vanished follow it.
    comments = Comments(rules=former.comments.rules)
    old = former.golden
    numbers = {stop.at: number for number, stop in enumerate(golden.stops)}
    places: dict[_Spot, _Spot] = {}
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

    def target(place: _Spot) -> _Spot:
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


def stops_with(stops: Sequence[GoldenStop], renewed: Iterable[GoldenStop]) -> tuple[GoldenStop, ...]:
    """Return `stops` with those in the place of their like that are `renewed`."""
    new = {stop.at: stop for stop in renewed}
    return tuple(new.get(stop.at, stop) for stop in stops)

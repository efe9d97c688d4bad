# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes goldens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gdb_lmb.analysis.golden.items import MEMORY, RESERVED
from gdb_lmb.core.golden import ROLE, Environment, Golden, GoldenStop, Item
from gdb_lmb.core.snapshot import flag_names
from gdb_lmb.report.golden import GOLDEN_SCHEMA
from gdb_lmb.report.golden.comments import Comments, GoldenFile, Spot, moved
from gdb_lmb.report.golden.rules import rules_text
from gdb_lmb.report.golden.toml import value_text

_HEAD = """\
# A golden of gdb-lmb: what the early allocator of a kernel holds. `gdb-lmb check KERNEL --golden` compares with it.
# Comments above a region and at the end of its line stay with it when `gdb-lmb accept` renews this file.
"""


def golden_text(golden: Golden, former: GoldenFile | None = None) -> str:
    """Return the file of a golden; comments and rules are those of the `former` one, where it takes its place."""
    kept = Comments() if former is None else moved(former, golden)
    lines = list(kept.above.get(("schema",), _HEAD.rstrip("\n").split("\n")))
    lines.append(_with(kept, ("schema",), f'schema = "{GOLDEN_SCHEMA}"'))
    lines += ["", *_section(kept, ("environment",), _environment_rows(golden.environment))]
    lines += ["", *(kept.rules or rules_text(golden.rules)).strip("\n").split("\n")]
    for number, stop in enumerate(golden.stops):
        lines += ["", *_stop_lines(kept, ("stop", number), stop, golden.environment)]
    lines += kept.above.get(("end",), ())
    return "\n".join(lines) + "\n"


def _with(kept: Comments, place: Spot, code: str) -> str:
    return f"{code}  {kept.beside[place]}" if place in kept.beside else code


def _section(kept: Comments, place: Spot, rows: Mapping[str, Any], header: str = "[environment]") -> Iterator[str]:
    yield from kept.above.get(place, ())
    yield _with(kept, place, header)
    for name, value in rows.items():
        if value is not None:
            yield from kept.above.get((*place, name), ())
            yield _with(kept, (*place, name), f"{name} = {value_text(value)}")


def _environment_rows(own: Environment) -> dict[str, Any]:
    return {
        "kernel": own.kernel,
        "release": own.release,
        "build_id": own.build_id,
        "append": own.append,
        "memory": own.memory,
        "smp": own.smp,
        "machine": own.machine,
        "relocatable": own.relocatable,
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


def _stop_lines(kept: Comments, place: Spot, stop: GoldenStop, environment: Environment) -> Iterator[str]:
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
    if item.role is not None:
        row[ROLE] = item.role
    if item.seq is not None:
        row["seq"] = item.seq
    place = _place(item, environment)
    if place is not None:
        row["place"] = place
    return value_text(row)


def _place(item: Item, environment: Environment) -> str | None:
    # The address from what moves it, for people: nothing reads it.
    image, end = environment.image, environment.ram_end
    if image is not None and image[0] <= item.base < image[1]:
        return f"image+{item.base - image[0]:#x}"
    if end is not None and end // 2 < item.base < end:
        return f"ram_end-{end - item.base:#x}"
    return None


def stops_with(stops: Sequence[GoldenStop], renewed: Iterable[GoldenStop]) -> tuple[GoldenStop, ...]:
    """Return `stops` with those in the place of their like that are `renewed`."""
    new = {stop.at: stop for stop in renewed}
    return tuple(new.get(stop.at, stop) for stop in stops)

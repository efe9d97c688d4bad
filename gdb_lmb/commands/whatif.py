# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-whatif` and `lmb-free`: what an operation would return and change, and what can still be allocated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.commands.arguments import ALL, ANY, JSON, Argument, Options
from gdb_lmb.commands.base import SESSION, LmbCommand, take_snapshot, take_whole_snapshot
from gdb_lmb.commands.names import Names
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.holes import ALIGNS, LIMITS, FreeSpace, free_space
from gdb_lmb.core.numbers import alignment, flags_of, number
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.current import current
from gdb_lmb.programs.base import model_facts
from gdb_lmb.report.prediction import free_json, free_text, prediction_json, prediction_text

_RANGES = ("reserve", "free", "add", "remove", "mark", "clear")
_FLAGGING = ("mark", "clear")
_NID_BITS = 31


class LmbWhatif(LmbCommand):
    """Tell what an allocator call would do, without doing it.

    Usage: lmb-whatif alloc SIZE [--align N] [--min A] [--max B] [--flags F]
           lmb-whatif reserve|add BASE SIZE|A-B|A+SIZE [--flags F]
           lmb-whatif free|remove BASE SIZE|A-B|A+SIZE
           lmb-whatif mark|clear BASE SIZE|A-B|A+SIZE --flags F

      alloc      find SIZE bytes and reserve them
      reserve    take the range BASE, SIZE; free gives it back
      add        make the range memory; remove forgets it
      mark       set one flag on memory; clear clears it (not of memblock)
      --align N  the base is a multiple of N bytes, a power of two (default 1,
                 in memblock SMP_CACHE_BYTES)
      --min A    the lowest address allowed
      --max B    no byte at or above B (default: the current limit)
      --flags F  of the new region: a number, or names as NOMAP|MIRROR
      --nid N    its node (memblock only)
      --json     as JSON, schema gdb-lmb/whatif/1

    The result, the regions that change (before -> after), and the entries and
    growth it takes, worked out on the reference model from the lists as they
    are at this stop; the guest is not touched. BASE, A and B are physical, SIZE
    and N are bytes: decimal, 0x..., with K, M, G or T, a $variable, sizeof(type),
    or the name of a symbol, which stands for its physical address.

    Example: lmb-whatif alloc 64K --align 2M --max 4G
    """

    name = "lmb-whatif"
    arguments = (
        Argument("operation", choices=("alloc", "reserve", "add", "free", "remove", "mark", "clear")),
        Argument("numbers", ANY),
        *(Argument(name, of=("alloc",)) for name in ("--align", "--min", "--max")),
        Argument("--flags", of=("alloc", "reserve", "add", "mark", "clear")),
        Argument("--nid", of=("alloc", "reserve", "add")),
        JSON,
    )
    writers = (prediction_json, lambda found, snapshot, shown: prediction_text(found, shown, snapshot))

    def ask(self, options: Options) -> tuple[Prediction, Snapshot]:
        _require_fitting(options)
        snapshot = take_snapshot()
        own, values = allocator(snapshot.layout), _given(snapshot, options)
        facts = model_facts(current()) if own.needs_facts else {}
        found = own.predict(snapshot, facts, options.operation, **values)
        return replace(found, unverified=own.unverified(facts)), snapshot

    def show(self, options: Options, *found: Any) -> None:
        super().show(options, *found)
        if found[0].unverified:
            SESSION.record(self.name, (), ["generation-unknown"])


def _require_fitting(options: Options) -> None:
    ranged = options.operation in _RANGES
    if len(options.numbers) != (2 if ranged else 1) and not (ranged and _is_range(options.numbers)):
        takes = "BASE and SIZE, A-B or A+SIZE" if ranged else "SIZE"
        raise UsageError(f"{options.operation} takes {takes} (see: help lmb-whatif)")
    if options.operation in _FLAGGING and options.flags is None:
        raise UsageError(f"{options.operation} takes --flags, one of HOTPLUG, MIRROR and NOMAP")


def _is_range(words: list[str]) -> bool:
    # One word may stand for base and size together.
    return len(words) == 1 and ("-" in words[0] or "+" in words[0])


def _given(snapshot: Snapshot, options: Options) -> dict[str, int]:
    # The values are by the names of the model's arguments.
    names, bits = Names(), snapshot.bits
    values: dict[str, int] = {}
    if options.operation in _RANGES and _is_range(options.numbers):
        base, end = names.range(options.numbers[0], bits)
        values |= {"base": base, "size": end - base}
    else:
        if len(options.numbers) > 1:
            values["base"] = number(options.numbers[0], "BASE", bits, names.physical)
        values["size"] = number(options.numbers[-1], "SIZE", bits, names.value)
    values |= {
        name: number(getattr(options, name), f"--{name}", most, resolve)
        for name, most, resolve in (
            ("align", bits, names.value),
            ("min", bits, names.physical),
            ("max", bits, names.physical),
            ("nid", _NID_BITS, names.value),
        )
        if getattr(options, name) is not None
    }
    if options.flags is not None:
        values["flags"] = flags_of(options.flags, snapshot.flag_names, names.value)
    return values


class LmbFree(LmbCommand):
    """Show what memory an allocation may still get.

    Usage: lmb-free [--align N] [--min A] [--max B] [--all] [--json]

      --align N  only this alignment, in bytes (default 4K, 64K, 2M and 1G)
      --min A    nothing below A
      --max B    nothing at or above B
      --all      every hole (default: the first 200)
      --json     as JSON, schema gdb-lmb/free/1

    The holes are memory less what is reserved, without page 0 and memory marked
    NOMAP, up to the current limit; each lies in one region of memory, as an
    allocation must. Then the largest allocation whose base has an alignment,
    anywhere, and below 1 MiB, 16 MiB and 4 GiB where holes lie on either side.
    Fragmentation is 1 - largest hole / all free bytes: 0 % is one hole. What an
    allocation that first needs more entries gets, tells lmb-whatif. A and B are
    physical: 0x..., 16M, a $variable, sizeof(type), or a symbol.

    Example: lmb-free --max 4G --align 2M
    """

    name = "lmb-free"
    arguments = (Argument("--align"), Argument("--min"), Argument("--max"), ALL, JSON)
    writers = (free_json, free_text)

    def ask(self, options: Options) -> tuple[Snapshot, FreeSpace]:
        snapshot, names = take_whole_snapshot(), Names()
        values = {"min": 0} | {
            name: number(getattr(options, name), f"--{name}", snapshot.bits, names.physical)
            for name in ("min", "max")
            if getattr(options, name) is not None
        }
        align = options.align
        aligns = ALIGNS if align is None else (alignment(align, "--align", snapshot.bits, names.value),)
        low, high = values["min"], values.get("max")
        if high is not None and low >= high:
            raise UsageError(f"--min {low:#x} is not below --max {high:#x}: nothing lies between")
        return snapshot, free_space(snapshot, aligns=aligns, limits=LIMITS if high is None else (), **values)

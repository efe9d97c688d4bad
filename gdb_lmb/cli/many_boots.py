# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb check --boots N`: one golden and many boots, each a `gdb-lmb check` of its own; one answer."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gdb_lmb.analysis.boots import Reservation, reservations, smallest_window
from gdb_lmb.cli.common import Argument
from gdb_lmb.cli.reports import discard, folder_of, keep_command, repeating, show_lines
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.golden import Golden
from gdb_lmb.core.numbers import literal
from gdb_lmb.core.suite import CaseResult, SuiteResult
from gdb_lmb.core.words import human_size, plural, printable
from gdb_lmb.report import suite_json
from gdb_lmb.report.golden.reading import read_golden
from gdb_lmb.report.progress import PROGRESS
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.report.suite_text import counted, details
from gdb_lmb.runner.boots import Boot, Ended, jobs_by_default, run_boots
from gdb_lmb.runner.process import RunFolder

_OWN = ("boots", "vary", "jobs", "report", "artefacts", "actual", "bisect", "console", "append", "memory", "smp")
"""Options that are not those of the single boots, or that each of them has anew."""


def variations(arguments: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Return all variants of a boot: its words for people, and the words for its command line."""
    append, memory, cpus = arguments.append or "", str(arguments.memory), int(arguments.smp)
    if "kaslr" in arguments.vary and "nokaslr" in append.split():
        append = " ".join(word for word in append.split() if word != "nokaslr")
    size = literal(memory)
    if size is None:
        raise UsageError(f"memory size {memory!r}: give a number with K, M, G or T, such as 256M")
    number, unit = (memory[:-1], memory[-1]) if memory[-1] in "kmgtKMGT" else (memory, "M")
    if number == memory:
        size <<= 20
    with_and_without = [append, " ".join(word for word in (append, "nokaslr") if word)]
    appends = with_and_without if "kaslr" in arguments.vary else [append]
    twice = (2 * size, f"{2 * int(number, 0)}{unit}" if number.isdecimal() else f"{2 * size >> 10}K")
    sizes = [(size, memory), twice] if "memory" in arguments.vary else [(size, memory)]
    smps = [cpus, 2 * cpus] if "cpus" in arguments.vary else [cpus]
    nodes = [1, 2] if "nodes" in arguments.vary else [1]
    found = []
    for text, (of_ram, as_given), smp, count in itertools.product(appends, sizes, smps, nodes):
        told = []
        if "kaslr" in arguments.vary:
            told.append("no KASLR" if text is not append else "KASLR")
        if "memory" in arguments.vary:
            told.append(human_size(of_ram))
        if "cpus" in arguments.vary:
            told.append(plural(smp, "CPU"))
        if "nodes" in arguments.vary:
            told.append(plural(count, "node"))
        words = [f"--append={text}", f"--memory={as_given}", f"--smp={smp}"]
        words += [f"--qemu-arg={word}" for word in _numa(of_ram, count)]
        found.append((", ".join(told), words))
    return found


def _numa(size: int, nodes: int) -> Iterator[str]:
    # Whole MiB for each, and what is left over for the last one.
    part = (size // nodes) >> 20 << 20
    for node in range(nodes if nodes > 1 else 0):
        own = part if node < nodes - 1 else size - part * (nodes - 1)
        yield from ("-object", f"memory-backend-ram,id=ram{node},size={own}")
        yield from ("-numa", f"node,nodeid={node},memdev=ram{node}")


def words_of(rows: Sequence[Argument], arguments: argparse.Namespace) -> list[str]:
    """Return the words that say again what `arguments` holds for the arguments in `rows`, but for our own options."""
    words: list[str] = []
    for names, settings in rows:
        name = str(settings.get("dest") or names[-1].lstrip("-").replace("-", "_"))
        value = getattr(arguments, name)
        if name in _OWN or value is None or value is False or value == settings.get("default", None):
            continue
        if not names[0].startswith("-"):
            words.append(str(value))
        elif value is True:
            words.append(names[-1])
        else:
            values = value if settings.get("action") == "append" else [value]
            words += [f"{names[-1]}={one}" for one in values]
    return words


def many_boots(arguments: argparse.Namespace, rows: Sequence[Argument]) -> SuiteResult:
    """Run all boots; return a case for each of them, in order. What they have in common is shown."""
    variants = variations(arguments)
    base = ["check", *words_of(rows, arguments)]
    total, started = arguments.boots, time.perf_counter()
    jobs = arguments.jobs or jobs_by_default()
    cases: dict[int, CaseResult] = {}
    goldens: dict[int, Golden] = {}
    folder = RunFolder()
    try:
        folder.guarded()
        discard(folder_of(arguments))
        boots, commands = [], []
        for number in range(total):
            told, more = variants[number % len(variants)]
            name = f"boot {number + 1}" + (f" ({told})" if told else "")
            words = (*base, *more, f"--artefacts={folder_of(arguments) / f'boot-{number + 1}'}")
            commands.append(repeating(words))
            own = (f"--report=json={folder.path / f'{number}.json'}", f"--actual={folder.path / f'{number}.golden'}")
            boots.append(Boot(name, (*words, *own)))

        def waiting(ended: int) -> None:
            if PROGRESS.wanted():
                PROGRESS.show(f"gdb-lmb: {ended} of {plural(total, 'boot')}, {time.perf_counter() - started:.0f} s")

        # A boot has several steps, each with the time limit of one.
        for ended in run_boots(folder, boots, jobs, 10 * arguments.timeout + 60, waiting):
            cases[ended.number] = _case(ended, folder.path / f"{ended.number}.json", commands[ended.number])
            keep_command(cases[ended.number])  # its own words are none for people
            actual = folder.path / f"{ended.number}.golden"
            # Lists in the middle of a change say nothing of where things are.
            if actual.is_file() and cases[ended.number].outcome != "not verified":
                goldens[ended.number] = read_golden(actual).golden
            actual.unlink(missing_ok=True)
    finally:
        PROGRESS.clear()
        folder.close()
    suite = SuiteResult("gdb-lmb check", tuple(cases[number] for number in range(total)), {"boots": str(total)})
    named = {suite.cases[number].name: golden for number, golden in sorted(goldens.items())}
    *lines, last = answer(suite, named)
    left_out = "; ".join(told for told, _ in variants[total:])
    if left_out:
        lines.append(f"not booted: {left_out} (--boots {len(variants)} boots all)")
    show_lines([*lines, last], arguments.report)
    return suite


def _case(ended: Ended, report: Path, command: tuple[str, ...]) -> CaseResult:
    try:
        (case,) = suite_json.read(report.read_text()).cases
    except (OSError, InputError, ValueError):
        # It said nothing of its kernel, whatever its status.
        status = ExitStatus.INFRASTRUCTURE
        return CaseResult(ended.boot.name, "infrastructure", status, lines=(ended.words,), command=command)
    if ended.status != case.status:
        lines = (*case.lines, ended.words)
        return replace(case, name=ended.boot.name, outcome="infrastructure", status=4, lines=lines, command=command)
    return replace(case, name=ended.boot.name, command=command)


def answer(suite: SuiteResult, goldens: dict[str, Golden]) -> list[str]:
    """Return in lines what many boots came to: which fail, what stands still and what moves, how much stays free."""
    lines = []
    for case in suite.cases:
        if not case.passed:
            lines.append(f"{case.outcome}: {case.name}")
            lines += [f"  {line}" for line in details(case)]
    rows = reservations(goldens.values())
    stops = dict.fromkeys(row.at for row in rows)
    for at in stops:
        where = f" at {at}" if len(stops) > 1 else ""
        named = [row for row in rows if row.at == at and row.name is not None]
        nobodys = [row for row in rows if row.at == at and row.name is None]
        for own, noun in ((named, "reservation"), (nobodys, "piece")):
            still = sum(row.stands_still for row in own)
            whose = " that nobody is known to own" if own is nobodys else ""
            if own:
                seen = plural(own[0].boots, "boot")
                lines.append(f"stand still{where}: {still} of {plural(len(own), noun)}{whose} in {seen}")
            # Of what has no name it is not known what has become of it.
            lines += [f"  {_moves(row)}" for row in own if row.name is not None and not row.stands_still]
    window = smallest_window(goldens)
    if window is not None and not window.size:
        lines.append(f"no memory is free in {window.boot}")
    elif window is not None:
        size = f"{human_size(window.size)} at [{window.base:#x}, {window.end:#x})"
        lines.append(f"the smallest of the largest free windows: {size} in {window.boot}")
    return [*lines, counted(suite)]


def _moves(row: Reservation) -> str:
    name = printable(str(row.name), 200)
    which = f" ({row.number + 1})" if row.number else ""
    (low, end), (high, _) = row.places[0], row.places[-1]
    if len(row.places) == 1:
        return f"{name}{which} in {row.seen} of {plural(row.boots, 'boot')} only: [{low:#x}, {end:#x})"
    if low == high:
        sizes = sorted(end - base for base, end in row.places)
        told = f"stays at {low:#x}, with {len(sizes)} sizes from {human_size(sizes[0])} to {human_size(sizes[-1])}"
    else:
        told = f"moves: {plural(len(row.places), 'place')} from {low:#x} to {high:#x}"
        told += f", with {row.follows}" if row.follows else ""
    told += f", in {row.seen} of {plural(row.boots, 'boot')}" if row.seen < row.boots else ""
    return f"{name}{which} {told}"

# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb snapshot`, `check`, `diff`, `accept`: goldens of what an early allocator holds, made, compared, renewed."""

from __future__ import annotations

import argparse
import errno
import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gdb_lmb.cli.boots import BOOTS_OPTIONS
from gdb_lmb.cli.common import (
    COLOR_OPTION,
    GDB_OPTIONS,
    Argument,
    CommandLine,
    Once,
    argument,
    error_lines,
    progress,
    say,
    stdout_terminal,
    tell,
)
from gdb_lmb.cli.guest import BOOT_OPTIONS, booted, require_outputs
from gdb_lmb.cli.reports import (
    REPORT_OPTIONS,
    discard,
    folder_of,
    keep,
    repeating,
    report_files,
    require_folder,
    show_lines,
    write_reports,
)
from gdb_lmb.core.errors import InfrastructureError, LmbError, NotReachedError, UsageError
from gdb_lmb.core.golden import Change, Environment, Golden
from gdb_lmb.core.snapshot import Finding
from gdb_lmb.core.suite import CaseResult, Outcome, SuiteResult
from gdb_lmb.core.words import FINDING, plural, printable
from gdb_lmb.kernels.cache import is_name
from gdb_lmb.report.changes import Comparison, change_lines, comparison, diff_json, diff_text, ignored_words
from gdb_lmb.report.golden.comments import GoldenFile
from gdb_lmb.report.golden.dump import environment_of, stop_of
from gdb_lmb.report.golden.reading import golden_from, read_golden
from gdb_lmb.report.golden.writing import golden_text, stops_with
from gdb_lmb.report.output import told_of, whole_file
from gdb_lmb.report.statuses import STATUSES, ExitStatus, status_of_error, status_of_run
from gdb_lmb.report.suite_text import status_of
from gdb_lmb.report.terminal import BAD, CLEAN, NOTE
from gdb_lmb.runner.base import CommandError, ignore
from gdb_lmb.runner.qemu import DEFAULT_MEMORY
from gdb_lmb.runner.results import CheckResult
from gdb_lmb.runner.session import GuestSession

_SNAPSHOT = """\
Boot KERNEL in QEMU and write what its early allocator holds at a symbol, or at several in one boot, into a golden:
a TOML file for people, with one region a line, to which `gdb-lmb check` holds later boots. It is written only if all
that is checked there is sound.
"""
_SNAPSHOT_EXAMPLES = """\
examples:
  gdb-lmb snapshot vmlinux -o vmlinux.golden
  gdb-lmb snapshot debian:6.1-cloud-amd64 --memory 512M -o debian.golden
  gdb-lmb snapshot vmlinux --until lmb_ready --until lmb_scenario_done -o vmlinux.golden
"""
_CHECK = """\
Boot KERNEL in QEMU, check its early allocator at the symbols that a golden has, and compare what it holds there.
What differs is told in words, and written to FILE.new; the golden itself is left as it is (see: gdb-lmb accept).
Options of the boot that are not given are those that the golden was made with.
"""
_CHECK_EXAMPLES = """\
examples:
  gdb-lmb check vmlinux --golden vmlinux.golden
  gdb-lmb check debian:6.1-cloud-amd64 --golden debian.golden --memory 1G --append nokaslr
  git bisect run gdb-lmb check vmlinux --golden vmlinux.golden --bisect

With --bisect the exit status is what `git bisect run` takes: 4 and 5 become 125 (skip this commit), 2 becomes 128
(stop: no commit is to blame for that).
"""
_DIFF = """\
Compare two goldens, snapshots (`lmb-dump --json --owners --roles --all`) or saved traces, of the same kernel or of two:
what appeared, vanished, moved, grew, shrank, was split or merged, or has other flags, another node, owner or place in
the order; then how many bytes each owner has reserved, before and after, the largest change first.
"""
_DIFF_EXAMPLES = """\
examples:
  gdb-lmb diff vmlinux.golden vmlinux.golden.new
  gdb-lmb diff debian-6.1.trace debian-6.12.trace --json

exit status: 0 no change, 1 changes, 2 usage error, 5 not verified (a trace is cut off)
"""
_ACCEPT = """\
Show what differs between a golden and its FILE.new, which `gdb-lmb check` has written, and put that into its place.
Comments and rules of the golden are kept.
"""
_ACCEPT_EXAMPLES = """\
example: gdb-lmb accept vmlinux.golden
"""
_DUMP = "lmb-dump --json --owners --roles --all"
_TRACE = "trace"


class Seen(NamedTuple):
    """What one boot showed at its stops: what it holds there, and what the checks found and could not verify."""

    golden: Golden
    findings: tuple[Finding, ...]
    status: ExitStatus
    words: str
    torn: bool


def look(arguments: argparse.Namespace, places: Sequence[str | None], *, traced: bool) -> Seen:
    """Boot as the options say, and take what the allocator holds at each place (None: the default one), in order.

    Raises: `LmbError`.
    """
    documents: list[dict[str, Any]] = []
    findings: dict[Finding, None] = {}
    torn = False
    with booted(arguments, tables=False) as guest:
        if traced:
            guest.unpack()
            guest.command("lmb-trace start", ignore)
        for place in places:
            progress(f"booting {arguments.kernel} to {place or guest.default_symbol}")
            _run_until(guest, place, places[: len(documents)])
            documents.append(document_of(guest))
            check = guest.result(CheckResult, "lmb-check --json")
            torn = torn or check.torn
            rows = [one for one in check.findings if one.severity == FINDING]
            findings.update(
                (Finding(one.code, one.severity, one.message, tuple(int(at, 16) for at in one.addresses)), None)
                for one in rows
            )
        verdict = guest.verdict()
        stops = [stop_of(data, place or guest.default_symbol) for data, place in zip(documents, places, strict=True)]
        environment = environment_of_boot(arguments, guest, documents, traced=traced)
    golden = Golden(environment, tuple(stops))
    return Seen(golden, tuple(findings), verdict.exit_status, verdict.in_words(), torn)


def _run_until(guest: GuestSession, place: str | None, before: Sequence[str | None]) -> None:
    try:
        guest.run_until(place)
    except NotReachedError as error:
        if not before:
            raise
        # The order may be wrong, and not the guest.
        been = ", ".join(printable(str(at), 80) for at in before)
        raise NotReachedError(f"{error}; it had been at {been} before", error.console) from None


def document_of(guest: GuestSession) -> dict[str, Any]:
    """Return the JSON of what the allocator holds where the guest is. Raises: `InfrastructureError`."""
    output = guest.command(_DUMP)
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    try:
        data: dict[str, Any] = json.loads(str(line))
    except (ValueError, RecursionError):
        raise InfrastructureError(f"no snapshot from gdb, but {printable(output, 200)!r}") from None
    return data


def environment_of_boot(
    arguments: argparse.Namespace, guest: GuestSession, documents: Sequence[dict[str, Any]], *, traced: bool
) -> Environment:
    # The image may not be known at the first stops.
    data = next((one for one in reversed(documents) if one.get("roles")), documents[-1])
    program = guest.program.name
    more: dict[str, Any] = {"history": _TRACE} if traced else {}
    return environment_of(
        data,
        arguments.kernel if is_name(arguments.kernel) else printable(Path(arguments.kernel).name),
        release=printable(program.removeprefix("vmlinux-")) if program.startswith("vmlinux-") else None,
        build_id=guest.build_id(),
        append=arguments.append or "",
        memory=arguments.memory,
        smp=arguments.smp,
        machine=arguments.machine,
        relocatable=guest.relocatable,
        **more,
    )


# -- snapshot ---------------------------------------------------------------------------------------


def _snapshot(arguments: argparse.Namespace) -> ExitStatus:
    output: Path = arguments.output
    _require_once(arguments.until)
    require_outputs(arguments, [output])
    former = read_golden(output) if output.is_file() else None
    try:
        seen = look(arguments, arguments.until or [None], traced=arguments.trace)
    except CommandError as error:
        tell(error_lines(error))
        return _status_of(error)
    if seen.status is not ExitStatus.CLEAN:
        for finding in seen.findings:
            say(f"finding: {finding.code}: {finding.message}")
        say(f"{seen.words}: {output} is not written, since a golden is of a boot that is sound")
        return seen.status
    rules = () if former is None else former.golden.rules
    golden = Golden(seen.golden.environment, seen.golden.stops, rules)
    _write(output, golden, former)
    regions = sum(len(stop.items) for stop in golden.stops)
    say(f"{output} has {plural(regions, 'region')} at {', '.join(stop.at for stop in golden.stops)}")
    return ExitStatus.CLEAN


def _write(path: Path, golden: Golden, former: GoldenFile | None) -> None:
    raw = golden_text(golden, former).encode("utf-8", "backslashreplace")
    golden_from(raw)  # what could not be read again is not written
    with whole_file(path) as file:
        file.write(raw)


# -- check ------------------------------------------------------------------------------------------


def new_path(golden: Path) -> Path:
    """Return where a check writes what differs from a golden."""
    return golden.with_name(golden.name + ".new")


def _check(arguments: argparse.Namespace) -> int:
    _require_once(arguments.until)
    _require_used(arguments)
    files = [*report_files(arguments.report), *([] if arguments.actual is None else [arguments.actual])]
    require_outputs(arguments, files, arguments.golden, [new_path(arguments.golden)])
    read = (Path(arguments.kernel), arguments.golden, arguments.symbols, arguments.initrd)
    require_folder(arguments, (*read, *arguments.outputs))
    if arguments.boots > 1:
        from gdb_lmb.cli.many_boots import many_boots  # each boot is a check of its own, which needs none of it

        _golden_of(arguments)
        suite = many_boots(arguments, _CHECK_ARGUMENTS)
    else:
        case = _kept(arguments, check(arguments))
        _show(arguments, case)
        suite = SuiteResult("gdb-lmb check", (case,))
    write_reports(suite, arguments.report)
    folders = dict.fromkeys(case.artefacts.parent if arguments.boots > 1 else case.artefacts
                            for case in suite.cases if case.artefacts is not None)  # fmt: skip
    for folder in folders:
        say(f"artefacts are in {folder}")
    return status_of(suite)


def _require_once(places: Sequence[str] | None) -> None:
    for place in places or ():
        if (places or ()).count(place) > 1:
            raise UsageError(f"--until {place} is given twice: once is enough")


# What has no effect is refused, not passed over.
def _require_used(arguments: argparse.Namespace) -> None:
    if arguments.vary and arguments.boots == 1:
        raise UsageError("--vary is for many boots: give --boots N too, of 2 or more")
    for option, given, what in (
        ("--actual", arguments.actual, "the state of one boot"), ("--console", arguments.console, "that of one boot")
    ):  # fmt: skip
        if given is not None and arguments.boots > 1:
            raise UsageError(
                f"{option} is {what}: leave it out with --boots; of a boot that fails it is among the artefacts"
            )


def _show(arguments: argparse.Namespace, case: CaseResult) -> None:
    if case.outcome in ("died", "usage", "infrastructure"):
        tell(case.lines)
        return
    terminal = stdout_terminal(arguments.color)
    *lines, last = case.lines
    role = CLEAN if case.passed else BAD if case.status == ExitStatus.FINDINGS else NOTE
    show_lines([*lines, terminal.paint(last, role)], arguments.report)


def _kept(arguments: argparse.Namespace, case: CaseResult) -> CaseResult:
    if case.passed:
        discard(folder_of(arguments))
    # Of a wrong command line there is nothing to keep.
    if case.passed or case.outcome == "usage":
        return case
    told = "".join(f"{line}\n" for line in case.lines)
    files = {"check.txt": told.encode("utf-8", "backslashreplace"), **arguments.kept}
    return replace(case, artefacts=keep(case, folder_of(arguments), files))


def check(arguments: argparse.Namespace) -> CaseResult:
    """Hold one boot to a golden, and return how it went, whatever that is."""
    start = time.perf_counter()
    arguments.kept = {}
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    try:
        former = _golden_of(arguments)
        places = _places(arguments, former.golden)
        traced = arguments.trace or former.golden.environment.history == _TRACE
        seen = look(arguments, places, traced=traced)
        _write_actual(arguments, seen.golden)
        found = comparison(former.golden, seen.golden, (str(arguments.golden), arguments.kernel))
        # Lists in the middle of a change differ from what they will be.
        changes, findings = () if seen.torn else found.changes, seen.findings
        status = status_of_run([seen.status, *[ExitStatus.FINDINGS] * bool(changes)])
        if status is not ExitStatus.CLEAN:
            arguments.kept["diff.txt"] = f"{diff_text(found)}\n".encode()
        if changes and seen.status is ExitStatus.CLEAN:
            stops = stops_with(former.golden.stops, seen.golden.stops)
            _write(new_path(arguments.golden), replace(seen.golden, stops=stops, rules=former.golden.rules), former)
        lines = _lines(arguments.golden, replace(found, changes=changes), seen)
    except LmbError as error:
        status, lines = _status_of(error), error_lines(error)
    return CaseResult(
        name=f"{Path(arguments.kernel).name} {arguments.golden.name}",
        outcome=_outcome(status, differs=not findings),
        status=int(status),
        seconds=time.perf_counter() - start,
        changes=changes,
        findings=findings,
        lines=tuple(lines),
        command=repeating(arguments.command_line),
        golden=arguments.golden,
    )


def _write_actual(arguments: argparse.Namespace, golden: Golden) -> None:
    raw = golden_text(golden).encode("utf-8", "backslashreplace")
    arguments.kept["actual.golden"] = raw
    if arguments.actual is not None:
        with whole_file(arguments.actual) as file:
            file.write(raw)


def _status_of(error: LmbError) -> ExitStatus:
    # Where a command of ours comes too early, or meets damage, nothing is verified. None of them is the user's: one
    # that fails without a status of its own, as where the disk is full, says nothing about the kernel.
    if isinstance(error, CommandError) and error.status != ExitStatus.USAGE:
        same = error.status == ExitStatus.NOT_VERIFIED
        return ExitStatus.NOT_VERIFIED if same else ExitStatus.INFRASTRUCTURE
    return status_of_error(error)


def _golden_of(arguments: argparse.Namespace) -> GoldenFile:
    """Read the golden, and take from it how to boot where that was not said. Raises: `UsageError`."""
    path: Path = arguments.golden
    if not path.exists():
        raise UsageError(
            f"there is no golden {path}, and a check never makes one: gdb-lmb snapshot {arguments.kernel} -o {path}"
        )
    found = read_golden(path)
    own = found.golden.environment
    for name, default in (("append", None), ("memory", DEFAULT_MEMORY), ("smp", 1), ("machine", None)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(own, name) or default)
    return found


def _places(arguments: argparse.Namespace, golden: Golden) -> list[str]:
    known = [stop.at for stop in golden.stops]
    for place in arguments.until or ():
        if place not in known:
            raise UsageError(f"{arguments.golden} has no stop at {place}, but at {', '.join(known)}")
    # They are known in the order of the boot.
    return [at for at in known if arguments.until is None or at in arguments.until]


def _lines(golden: Path, found: Comparison, seen: Seen) -> list[str]:
    lines = [f"finding: {finding.code}: {finding.message}" for finding in seen.findings]
    lines += change_lines(found.changes, stops=len(found.budgets) > 1)
    if lines:
        lines += [f"note: {note}" for note in found.notes]
    compared = plural(sum(len(stop.items) for stop in seen.golden.stops), "region")
    where = ", ".join(stop.at for stop in seen.golden.stops)
    words = [plural(len(found.changes), "change") + ignored_words(found)] if found.changes else []
    if seen.status is not ExitStatus.CLEAN:
        words.append(seen.words)
    if not words:
        return [*lines, f"no change from {golden}: {compared} at {where}{ignored_words(found)}"]
    last = f"{'; '.join(words)} at {where}"
    if seen.torn:
        return [*lines, f"{last}; not compared with {golden}"]
    if seen.status is ExitStatus.CLEAN:
        new = new_path(golden)
        return [*lines, f"{last}, against {golden}; the actual state is in {new} (gdb-lmb accept {golden})"]
    return [*lines, f"{last}, against {golden}"]


def _outcome(status: ExitStatus, *, differs: bool) -> Outcome:
    outcomes: dict[ExitStatus, Outcome] = {
        ExitStatus.CLEAN: "passed",
        ExitStatus.FINDINGS: "differs" if differs else "findings",
        ExitStatus.USAGE: "usage",
        ExitStatus.NOT_REACHED: "died",
        ExitStatus.INFRASTRUCTURE: "infrastructure",
        ExitStatus.NOT_VERIFIED: "not verified",
    }
    return outcomes[status]


# -- diff and accept --------------------------------------------------------------------------------


def _diff(arguments: argparse.Namespace) -> ExitStatus:
    sides = [_side(name) for name in (arguments.before, arguments.after)]
    if None in sides:
        return ExitStatus.NOT_VERIFIED
    before, after = (side for side in sides if side is not None)
    found = comparison(before, after, (arguments.before, arguments.after))
    if not found.budgets:
        raise UsageError(f"{arguments.before} and {arguments.after} have no stop in common")
    text = json.dumps(diff_json(found)) if arguments.json else diff_text(found, stdout_terminal(arguments.color))
    sys.stdout.write(text + "\n")
    return ExitStatus.FINDINGS if found.changes else ExitStatus.CLEAN


def _side(name: str) -> Golden | None:
    # A golden, a snapshot, or the end of a trace; None, having said why, where that is not known.
    path = Path(name)
    with told_of_input(path), path.open("rb") as file:
        first = file.read(4096)
    if b'"gdb-lmb/trace/' not in first:
        return read_golden(path).golden
    from gdb_lmb.analysis.owners import History, Owners
    from gdb_lmb.cli.replay import open_lines, open_trace
    from gdb_lmb.report.jsonio import snapshot_json
    from gdb_lmb.report.who import owners_json

    with open_lines(name) as lines, open_trace(name, lines) as reader:
        owners = Owners(reader.header, reader)
    end = reader.end
    if end is None or end.final is None:
        why = reader.cut_off or "it has no final state"
        say(f"not verified: {name}: {why}: there is nothing to compare")
        return None
    history = History(owners, reader.symbols.get, _TRACE)
    data = snapshot_json(end.final) | {"owners": owners_json(end.final, history), "roles": end.roles or []}
    environment = environment_of(data, path.name)
    return Golden(replace(environment, history=_TRACE), (stop_of(data),))


@contextmanager
def told_of_input(path: Path) -> Iterator[None]:
    """Turn a failure to read into a `UsageError` that names the file."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _accept(arguments: argparse.Namespace) -> ExitStatus:
    golden: Path = arguments.golden
    new = new_path(golden)
    if not golden.exists():
        raise UsageError(f"there is no golden {golden}: gdb-lmb snapshot makes one")
    if not new.exists():
        raise UsageError(f"there is nothing to accept: a check that differs would have written {new}")
    before, after = (read_golden(path).golden for path in (golden, new))
    # All of it, whatever the rules let pass.
    found = comparison(replace(before, rules=()), after, (str(golden), str(new)))
    sys.stdout.write(diff_text(found, stdout_terminal(arguments.color)) + "\n")
    sys.stdout.flush()  # what cannot be shown is not accepted
    _renew(golden, new)
    say(f"{golden} replaced by {new.name}")
    return ExitStatus.CLEAN


# A golden that is a link stays one, and keeps its mode. Renaming needs no room on the disk.
def _renew(golden: Path, new: Path) -> None:
    target = Path(os.path.realpath(golden))
    with told_of(golden, f"{new} is still there"):
        mode = stat.S_IMODE(target.stat().st_mode)
        renamed = not new.is_symlink()
        try:
            if renamed and stat.S_IMODE(new.stat().st_mode) != mode:
                new.chmod(mode)
            if renamed:
                new.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            renamed = False  # another file system
        if not renamed:
            with whole_file(target) as file:
                file.write(new.read_bytes())
            new.unlink()


# -- commands ---------------------------------------------------------------------------------------

_FROM_GOLDEN = ("--append", "--memory", "--smp", "--machine")
_UNTIL = argument(
    "--until", metavar="SYMBOL", action="append",
    help="where to look, as for gdb-lmb run; may be repeated, in the order of the boot",
)  # fmt: skip
_TRACED = argument(
    "--trace",
    action="store_true",
    help="trace the boot: regions then have owners also where the kernel keeps no log",
)


def _of_golden(row: Argument) -> Argument:
    names, settings = row
    if names[0] not in _FROM_GOLDEN:
        return row
    plain = settings["help"].partition(" (default")[0]
    return names, settings | {"default": None, "help": f"{plain} (default: the golden's)"}


_CHECK_ARGUMENTS: tuple[Argument, ...] = (
    *map(_of_golden, BOOT_OPTIONS),
    argument("--golden", metavar="FILE", type=Path, required=True, action=Once, help="the golden, by gdb-lmb snapshot"),
    _UNTIL,
    _TRACED,
    argument("--bisect", action="store_true", help="end with a status for git bisect run"),
    argument(
        "--actual",
        metavar="FILE",
        type=Path,
        action=Once,
        help="write the actual state into FILE, whatever the verdict",
    ),
    *BOOTS_OPTIONS,
    *REPORT_OPTIONS,
    *GDB_OPTIONS,
)

COMMANDS = (
    CommandLine(
        "snapshot",
        _snapshot,
        "boot a kernel in QEMU and write what its allocator holds into a golden",
        _SNAPSHOT,
        f"{_SNAPSHOT_EXAMPLES}\n{STATUSES}",
        (
            *BOOT_OPTIONS,
            argument("-o", "--output", metavar="FILE", type=Path, required=True, action=Once, help="the golden"),
            _UNTIL,
            _TRACED,
            *GDB_OPTIONS,
        ),
        "gdb-lmb snapshot KERNEL -o FILE [--until SYMBOL]... [options]",
    ),
    CommandLine(
        "check",
        _check,
        "boot a kernel in QEMU and hold its allocator to a golden",
        _CHECK,
        f"{_CHECK_EXAMPLES}\n{STATUSES}",
        _CHECK_ARGUMENTS,
        "gdb-lmb check KERNEL --golden FILE [--until SYMBOL]... [options]",
    ),
    CommandLine(
        "diff",
        _diff,
        "compare two goldens, snapshots or saved traces",
        _DIFF,
        _DIFF_EXAMPLES,
        (
            argument("before", metavar="A", help="a golden, a snapshot or a saved trace"),
            argument("after", metavar="B", help="what to compare it with"),
            argument("--json", action="store_true", help="print JSON, schema gdb-lmb/diff/1"),
            COLOR_OPTION,
        ),
    ),
    CommandLine(
        "accept",
        _accept,
        "put what a check has found in the place of a golden",
        _ACCEPT,
        _ACCEPT_EXAMPLES,
        (argument("golden", metavar="FILE", type=Path, help="the golden"), COLOR_OPTION),
    ),
)

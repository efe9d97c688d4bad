# SPDX-License-Identifier: GPL-2.0-or-later
"""What `gdb-lmb check` leaves behind: reports in several formats, and the folder with the artefacts of a failure."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.cli.common import Once, argument, say
from gdb_lmb.core.errors import OutputError, UsageError
from gdb_lmb.core.suite import CaseResult, SuiteResult
from gdb_lmb.core.words import printable
from gdb_lmb.report.output import told_of, whole_file

FORMATS = {"text": "suite_text", "json": "suite_json", "ktap": "ktap", "junit": "junit", "github": "github"}
"""The module of each format in the room report, which is imported where a report is asked for."""

_STDOUT = Path("-")

# What is in the folder of a failure, beside logs and the folders of many boots.
_COMMAND = "command.sh"
_FILES = (_COMMAND, "check.txt", "diff.txt", "actual.golden")
# One that was killed may have left a half of one.
_BOOT = r"boot-[0-9]+(\.[0-9]+\.(partial|old))?"


class Report(NamedTuple):
    """One report asked for: its format, and the file, "-" for stdout."""

    format: str
    path: Path


def _report(text: str) -> Report:
    name, _, path = text.partition("=")
    if name not in FORMATS or not path:
        raise argparse.ArgumentTypeError(
            f"{printable(text, 80)!r}: give FORMAT=FILE, with one of {', '.join(FORMATS)}, and - for stdout"
        )
    return Report(name, Path(path))


REPORT_OPTIONS = (
    argument(
        "--report", metavar="FORMAT=FILE", type=_report, action="append", default=[],
        help=f"write a report: {', '.join(FORMATS)}; may be repeated; FILE may be - for stdout",
    ),
    argument(
        "--artefacts", metavar="DIR", type=Path, action=Once,
        help="where to keep the artefacts of a failure (default: the golden's name and .failed)",
    ),
)  # fmt: skip


def report_files(reports: Sequence[Report]) -> list[Path]:
    """Return the files of the reports, without stdout, which takes one. Raises: `UsageError`."""
    files = [report.path for report in reports if report.path != _STDOUT]
    if len(files) < len(reports) - 1:
        raise UsageError("two reports into stdout: name a file for one of them")
    return files


def show_lines(lines: Sequence[str], reports: Sequence[Report]) -> None:
    """Write lines for people to stdout, or to stderr where a report has stdout for itself."""
    stream = sys.stderr if any(report.path == _STDOUT for report in reports) else sys.stdout
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def write_reports(suite: SuiteResult, reports: Sequence[Report]) -> None:
    """Write all reports, and with GitHub's the summary of the step. Raises: `OutputError` where one cannot be written.

    Whatever happens to one, the others are written.
    """
    failed: list[OutputError] = []
    for report in reports:
        try:
            text = import_module(f"gdb_lmb.report.{FORMATS[report.format]}").write(suite)
            if report.path == _STDOUT:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                with whole_file(report.path) as file:
                    file.write(text.encode())
            if report.format == "github":
                _append_summary(suite)
        except OutputError as error:
            failed.append(error)
    if failed:
        raise OutputError("; ".join(map(str, failed)))


def _append_summary(suite: SuiteResult) -> None:
    from gdb_lmb.report import github

    name = os.environ.get(github.SUMMARY_VARIABLE)
    if not name:
        return
    path = Path(name)
    with told_of(path), path.open("ab") as file:
        # Other commands of the step may have written into it.
        file.write(github.summary(suite, github.SUMMARY_BYTES - file.tell()).encode())


# -- artefacts --------------------------------------------------------------------------------------


def folder_of(arguments: argparse.Namespace) -> Path:
    """Return where the artefacts of a failure are kept."""
    given: Path | None = arguments.artefacts
    golden: Path = arguments.golden
    return given if given is not None else golden.with_name(f"{golden.name}.failed")


def require_folder(arguments: argparse.Namespace, files: Iterable[Path | None]) -> None:
    """Check that the folder of the artefacts can be put aside as a whole: nothing of `files` is in it, and nobody.

    Raises: `UsageError`.
    """
    folder, given = folder_of(arguments), arguments.artefacts
    told = printable(str(folder), 200)
    place = Path(os.path.realpath(folder))
    if Path(os.path.realpath(Path.cwd())).is_relative_to(place):
        raise UsageError(
            f"the current folder is in {told}, which is replaced as a whole: name another with --artefacts"
        )
    if given is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"--artefacts {told} is no folder: name one")
    for file in files:
        real = None if file is None else Path(os.path.realpath(file))
        if real is None or not real.is_relative_to(place):
            continue
        # Many boots have folders of their own there, and leave alone what else there is.
        if arguments.boots == 1 or real == place or _has_our_name(real.relative_to(place).parts[0]):
            raise UsageError(
                f"{printable(str(file), 200)} is in the folder of the artefacts, {told}, which is replaced as a whole: "
                "name another with --artefacts"
            )


def repeating(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command that repeats this one."""
    return ("gdb-lmb", *words)


def keep(case: CaseResult, folder: Path, files: Mapping[str, bytes]) -> Path | None:
    """Put `files`, by name, and the command that repeats a case into `folder`; return it, None if there can be none.

    It takes the place of the last failure's as a whole. That it cannot be written changes nothing about the case.
    """
    place = Path(os.path.realpath(folder))
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        for name, content in {**files, _COMMAND: _command_file(case.command)}.items():
            (partial / name).write_bytes(content)
        with _put_aside(place):
            partial.rename(place)
    except OSError as error:
        say(f"cannot write the artefacts into {folder}: {error.strerror or error}")
        return None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def keep_command(case: CaseResult) -> None:
    """Write the command that repeats a case into the folder where its artefacts are, if there is one."""
    if case.artefacts is None:
        return
    try:
        with whole_file(case.artefacts / _COMMAND) as file:
            file.write(_command_file(case.command))
    except OutputError as error:
        say(str(error))


def discard(folder: Path) -> None:
    """Remove the artefacts of an earlier failure, of one boot or of many, and nothing else.

    That it cannot be done is told and changes nothing.
    """
    place = Path(os.path.realpath(folder))
    if not place.is_dir():
        return
    for own in (place, *place.glob("boot-*")):
        try:
            if _is_ours(own):
                with _put_aside(own):
                    pass
        except OSError as error:
            say(f"cannot remove the artefacts of an earlier failure, {folder}: {error.strerror or error}")
            return


def _command_file(words: Sequence[str]) -> bytes:
    return os.fsencode(f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(words)}\n")


def _has_our_name(name: str) -> bool:
    return name in _FILES or name.endswith(".log") or re.fullmatch(_BOOT, name) is not None


# Whatever holds anything that we do not write is somebody's, and stays.
def _is_ours(folder: Path) -> bool:
    if not folder.is_dir() or folder.is_symlink():
        return False
    within = list(folder.iterdir())
    boots = [one for one in within if re.fullmatch(_BOOT, one.name)]
    files = [one for one in within if one not in boots]
    if not all(_has_our_name(one.name) and one.is_file() for one in files):
        return False
    return (bool(boots) or folder / _COMMAND in files) and all(map(_is_ours, boots))


# Others may do the same at this moment: one after another, and the last one stays.
@contextlib.contextmanager
def _put_aside(folder: Path) -> Iterator[None]:
    """Remove `folder`, if it is ours; nothing takes its place but what is put there within."""
    old = folder.with_name(f"{folder.name}.{os.getpid()}.old")
    descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_ours(folder):
            folder.rename(old)
        yield
    finally:
        os.close(descriptor)
        shutil.rmtree(old, ignore_errors=True)

# SPDX-License-Identifier: GPL-2.0-or-later
"""What `gdb-lmb check` leaves behind: reports in several formats, and the folder with the artefacts of a failure."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.cli.common import argument, say
from gdb_lmb.core.errors import OutputError, UsageError
from gdb_lmb.core.suite import CaseResult, SuiteResult
from gdb_lmb.core.words import printable
from gdb_lmb.report.output import told_of, whole_file

FORMATS = {"text": "suite_text", "json": "suite_json", "ktap": "ktap", "junit": "junit", "github": "github"}
"""The module of each format in the room report, which is imported where a report is asked for."""

_STDOUT = Path("-")


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
        "--artefacts", metavar="DIR", type=Path,
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


def repeating(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command that repeats this one."""
    return ("gdb-lmb", *words)


def keep(case: CaseResult, folder: Path, files: Mapping[str, bytes]) -> Path | None:
    """Put `files`, by name, and the command that repeats a case into `folder`; return it, None if there can be none.

    It takes the place of the last failure's as a whole. That it cannot be written changes nothing about the case.
    """
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(case.command)}\n"
    try:
        partial.mkdir(parents=True)
        for name, content in {**files, "command.sh": os.fsencode(command)}.items():
            (partial / name).write_bytes(content)
        _replace(partial, folder)
    except OSError as error:
        say(f"cannot write the artefacts into {folder}: {error.strerror or error}")
        return None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


# Others may do the same at this moment: one after another, and the last one stays.
def _replace(new: Path, folder: Path) -> None:
    old = folder.with_name(f"{folder.name}.{os.getpid()}.old")
    descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Only a folder of ours is put aside: whatever else has that name stays.
        if (folder / "command.sh").is_file():
            folder.rename(old)
        new.rename(folder)
    finally:
        os.close(descriptor)
        shutil.rmtree(old, ignore_errors=True)

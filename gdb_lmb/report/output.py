# SPDX-License-Identifier: GPL-2.0-or-later
"""Output files: written whole or not at all, and one line that says why where one cannot be written."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from gdb_lmb.core.errors import OutputError, UsageError
from gdb_lmb.core.words import safe


def cannot_write(path: Path | str, error: OSError, left: str = "") -> OutputError:
    """Return the error for a file that cannot be written; `left` says what it holds then."""
    why = error.strerror or str(error)
    return OutputError(f"cannot write {safe(str(path), 200)}: {why}" + (f"; {left}" if left else ""))


@contextlib.contextmanager
def told_of(path: Path, left: str = "", *, below: bool = True) -> Iterator[None]:
    """Turn a failure to write into an `OutputError` that names `path`, or the file in question if that is `below`.

    `left` says what it holds then.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(error.filename if below and error.filename else path, error, left) from None


def require_writable(path: Path) -> None:
    """Check that a file can be written, before long work and not after it. Raises: `OutputError`.

    A file that is there keeps what it holds; one that is not is not there afterwards either.
    """
    target = Path(os.path.realpath(path))
    with told_of(path, below=False):
        new = not target.exists()
        if target.is_fifo():  # opening it would wait for a reader
            return
        with target.open("ab"):
            pass
        if new:
            target.unlink()


def require_apart(output: Path, *inputs: Path | None) -> None:
    """Check that writing `output` does not destroy what is read. Raises: `UsageError`."""
    if any(path is not None and _same(output, path) for path in inputs):
        raise UsageError(f"{safe(str(output), 200)} is read, so it cannot be written too: name another file")


def require_all_apart(outputs: Sequence[Path], *inputs: Path | None) -> None:
    """Check that no output destroys what is read, or another output. Raises: `UsageError`."""
    for number, output in enumerate(outputs):
        require_apart(output, *inputs)
        # A device or a pipe takes what comes, from whomever.
        if any(_same(output, other) for other in outputs[:number]) and (output.is_file() or not output.exists()):
            raise UsageError(f"{safe(str(output), 200)} would be written twice: name another file for one of them")


# Whether two names, by links too, are those of one file, which need not be there yet.
def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write that takes its place only when all is written. Raises: `OutputError`.

    On an error the file that was there before stays as it was. What is no regular file (a device, a pipe) is
    written directly, and so is a file in a folder that takes no new ones.
    """
    target = Path(os.path.realpath(path))
    partial = target.parent / f"{target.name}.{os.getpid()}.partial"
    mode = None
    with told_of(path, below=False):
        with contextlib.suppress(FileNotFoundError):
            mode = target.stat().st_mode
        if mode is not None and not (stat.S_ISREG(mode) and os.access(target.parent, os.W_OK)):
            with target.open("wb") as stream:
                yield stream
            return
        if mode is not None and not os.access(target, os.W_OK):
            raise PermissionError(0, "Permission denied")
        try:
            with partial.open("wb") as stream:
                yield stream
            if mode is not None:
                partial.chmod(stat.S_IMODE(mode))
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps of a guest, made by QEMU's monitor and opened in gdb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gdb_lmb.runner.existing import CoreSession
from gdb_lmb.runner.session import CommandError, GuestSession


@contextmanager
def dump_of(guest: GuestSession, words: str = "") -> Iterator[Path]:
    """Have QEMU dump the guest; the file is as large as its RAM, so it is removed at once."""
    path = guest.folder / "guest.core"
    assert guest.command(f"monitor dump-guest-memory {words} {path}").strip() == ""
    path.chmod(0o600)
    try:
        yield path
    finally:
        path.unlink()


def refused(dump: CoreSession, command: str) -> str:
    """Return the one line with which a command fails; gdb must be usable after it."""
    with pytest.raises(CommandError) as caught:
        dump.command(command)
    assert "\n" not in caught.value.message
    assert dump.command("output 6 * 7") == "42"
    return caught.value.message

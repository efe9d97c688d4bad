# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of an image's bytes, written into the guest that it was read from."""

from __future__ import annotations

from collections.abc import Mapping

from gdb_lmb.runner.session import GuestSession


def differing(before: Mapping[int, bytes | bytearray], after: Mapping[int, bytes | bytearray]) -> list[tuple[int, int]]:
    """Return address and size of what differs between the segments of two images, byte run by byte run."""
    runs: list[tuple[int, int]] = []
    for va, old in before.items():
        for at in (at for at, (one, other) in enumerate(zip(old, after[va], strict=True)) if one != other):
            if runs and sum(runs[-1]) == va + at:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((va + at, 1))
    return runs


def write(guest: GuestSession, image: Mapping[int, bytes | bytearray], runs: list[tuple[int, int]]) -> None:
    """Write these runs of an image's bytes into the guest, by gdb alone."""
    for va, size in runs:
        base = next(base for base, data in image.items() if base <= va < base + len(data))
        data = bytes(image[base][va - base : va - base + size])
        guest.command(f"python gdb.selected_inferior().write_memory({va}, bytes.fromhex('{data.hex()}'))")

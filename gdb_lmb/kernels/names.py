# SPDX-License-Identifier: GPL-2.0-or-later
"""What `get-kernel` can be asked for: a table of kernels and one of sources, each row a place in the archive."""

from __future__ import annotations

from typing import NamedTuple

from gdb_lmb.core.errors import UsageError


class Name(NamedTuple):
    """A kernel that can be asked for: where its newest version lives and how its packages are called.

    `suites` of the Debian archive are tried together; `image` is the start of the image package's name.
    """

    name: str
    suites: tuple[str, ...]
    image: str
    flavour: str
    arch: str


_BOOKWORM = ("bookworm", "bookworm-updates", "bookworm-security")
_BACKPORTS = ("bookworm-backports", "bookworm-security")
_TRIXIE = ("trixie", "trixie-updates", "trixie-security")
_NEWEST = ("trixie-backports",)

KERNELS = {
    row.name: row
    for row in (
        Name("debian:6.1-cloud-amd64", _BOOKWORM, "linux-image-6.1.", "cloud-amd64", "amd64"),
        Name("debian:6.12-cloud-amd64", _BACKPORTS, "linux-image-6.12.", "cloud-amd64", "amd64"),
        Name("debian:7-cloud-amd64", _NEWEST, "linux-image-7.", "cloud-amd64", "amd64"),
        Name("debian:6.12-cloud-arm64", _TRIXIE, "linux-image-6.12.", "cloud-arm64", "arm64"),
    )
}

SOURCES = {
    row.name: row
    for row in (
        Name("source:6.1", _BOOKWORM, "linux-source-6.1", "", "amd64"),
        Name("source:6.12", _BACKPORTS, "linux-source-6.12", "", "amd64"),
        Name("source:7", _NEWEST, "linux-source-7.", "", "amd64"),
    )
}


def is_name(text: str) -> bool:
    """Tell whether `text` is meant as a kernel's name and not as a file."""
    return text.startswith("debian:")


def row_of(name: str) -> Name:
    """Return the row of this kernel. Raises: UsageError naming those there are."""
    if name not in KERNELS:
        raise UsageError(f"unknown kernel {name!r}; known are {', '.join(KERNELS)}")
    return KERNELS[name]

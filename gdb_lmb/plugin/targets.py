# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernels are booted, and how: by options, and by a matrix whose ids a person can read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

OPTIONS = {
    "kernel": "the kernel: an ELF with symbols, an image, or a name such as debian:6.1-cloud-amd64",
    "symbols": "the ELF with the debug information of an image",
    "append": "the kernel's command line",
    "initrd": "an initial RAM disk",
    "memory": "RAM, such as 512M",
    "smp": "the number of CPUs",
    "machine": "QEMU's machine",
    "arch": "the architecture that the kernel must be of",
    "until": "the symbol at which the allocator is looked at",
    "timeout": "the seconds that each step may take",
    "gdb": "the gdb to use",
    "qemu": "the QEMU to use",
}
"""What says how a kernel is booted, and what it means; options of `gdb-lmb run` by the same names."""


@dataclass(frozen=True)
class Target:
    """A kernel, None where nothing says which, and how to boot it; else None is what `gdb-lmb run` takes by default."""

    kernel: str | None
    symbols: str | None = None
    append: str | None = None
    initrd: str | None = None
    memory: str | None = None
    smp: str | None = None
    machine: str | None = None
    arch: str | None = None
    until: str | None = None
    timeout: str | None = None
    gdb: str | None = None
    qemu: str | None = None

    def words(self) -> list[str]:
        """Return the words of the command line that boots it. Raises: `pytest.UsageError`."""
        if self.kernel is None:
            raise pytest.UsageError("which kernel? Give --lmb-kernel, lmb_kernel in the configuration, or the mark lmb")
        rows = {name: value for name, value in asdict(self).items() if value is not None and name != "kernel"}
        return [self.kernel, *(f"--{name}={value}" for name, value in rows.items())]


def default_target(config: pytest.Config) -> Target:
    """Return the target of the options."""
    given = {name: config.getoption(f"--lmb-{name}") or config.getini(f"lmb_{name}") or None for name in OPTIONS}
    return Target(**given)


def matrix(base: Target, axes: Mapping[str, Any]) -> dict[str, Target]:
    """Return all combinations of the values of `axes`, by ids of what differs between them.

    A value is one, or a list, or a mapping by labels for the ids. Raises: `pytest.UsageError`.
    """
    known = {field.name for field in fields(Target)}
    for name in axes:
        if name not in known:
            raise pytest.UsageError(f"mark lmb: {name!r} is none of {', '.join(sorted(known))}")
    columns = [_labelled(name, value) for name, value in axes.items()]
    found: dict[str, Target] = {}
    for row in itertools.product(*columns):
        name = "-".join(label for label, _ in row)
        if name in found:
            raise pytest.UsageError(f"mark lmb: two targets are called {name!r}: give labels, as in {{'label': value}}")
        found[name] = replace(base, **{axis: value for axis, (_, value) in zip(axes, row, strict=True)})
    return found


def _labelled(axis: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        rows: Iterable[tuple[Any, Any]] = value.items()
    else:
        values = [value] if isinstance(value, str | int | Path) else list(value)
        rows = [(_label(axis, str(one)), one) for one in values]
    found = [(str(label), str(one)) for label, one in rows]
    if not found:
        raise pytest.UsageError(f"mark lmb: {axis} has no value")
    return found


def _label(axis: str, value: str) -> str:
    # A path's last part; of a command line its words; a number with what it counts.
    if axis in ("kernel", "initrd", "symbols"):
        value = value.rpartition("/")[2]
    elif axis == "smp":
        value = f"{value}cpus"
    return re.sub(r"[^\w.,+=:-]+", "_", value) or f"no_{axis}"

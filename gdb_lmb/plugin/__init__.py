# SPDX-License-Identifier: GPL-2.0-or-later
"""A plugin of pytest: a kernel booted once for a session, and goldens beside the tests.

    def test_reservations(lmb: Lmb) -> None:
        lmb.check()
        lmb.snapshot()

`pip install` makes it known to pytest; it does nothing for tests that have no `lmb`. See docs/ci.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gdb_lmb.plugin.goldens import GOLDENS, Goldens
from gdb_lmb.plugin.targets import OPTIONS, Target, default_target, matrix

if TYPE_CHECKING:
    from gdb_lmb.plugin.guest import Lmb

__all__ = ["Lmb", "Target", "lmb", "lmb_target"]

MARK = "lmb"


def __getattr__(name: str) -> object:
    # For annotations: what boots is imported where something is to be booted.
    if name == "Lmb":
        from gdb_lmb.plugin.guest import Lmb

        return Lmb
    raise AttributeError(name)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lmb", "the early memory allocator of kernels in QEMU (gdb-lmb)")
    for name, told in OPTIONS.items():
        group.addoption(f"--lmb-{name}", metavar=name.upper(), help=f"{told} (or lmb_{name} in the configuration)")
        parser.addini(f"lmb_{name}", told)
    group.addoption("--lmb-update", action="store_true", help="write goldens that are missing, or differ")
    group.addoption(
        "--lmb-prune", action="store_true",
        help="remove goldens that no test uses, after a whole run in which everything passed",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARK}(kernel, append, memory, arch, smp, ...): boot each of these, one value or several for each name",
    )
    config.stash[GOLDENS] = goldens = Goldens(config)
    config.pluginmanager.register(goldens, "gdb-lmb goldens")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = list(metafunc.definition.iter_markers(MARK))
    if marks and "lmb_target" in metafunc.fixturenames:
        # The one nearest to the test comes last, and counts.
        axes = {name: value for mark in reversed(marks) for name, value in mark.kwargs.items()}
        targets = matrix(default_target(metafunc.config), axes)
        metafunc.parametrize("lmb_target", targets.values(), ids=targets, indirect=True, scope="session")


@pytest.fixture(scope="session")
def lmb_target(request: pytest.FixtureRequest) -> Target:
    """The kernel and how to boot it: of the mark `lmb`, else of the options."""
    found = getattr(request, "param", None) or default_target(request.config)
    if not isinstance(found, Target):
        raise pytest.UsageError(f"lmb_target is {found!r}, but must be a gdb_lmb.plugin.Target")
    return found


@pytest.fixture(scope="session")
def lmb(lmb_target: Target, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lmb]:
    """The kernel, booted once for the session to where its allocator is looked at."""
    from gdb_lmb.plugin.guest import booted_target

    goldens = request.config.stash[GOLDENS]
    goldens.record_in(tmp_path_factory.getbasetemp())
    with booted_target(lmb_target, goldens) as found:
        yield found

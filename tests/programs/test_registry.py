# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs are found through the registry: one more is one more package, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.core.address import Linear
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine, Variable
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.programs import base
from gdb_lmb.programs.base import AddressMap, Guest, Program, RoleRange
from tests.helpers.linux import linux
from tests.helpers.machine import BytesMachine


class BootLoader(Program):
    """A program that a test defines: it has relocated itself to where `gd` says."""

    name = "boot-loader"
    fails: Exception | None = None

    def recognises(self, machine: Machine) -> bool:
        """Tell by `gd`."""
        return machine.variable("gd") is not None

    def take(self, machine: Machine, *, with_log: bool = False, meter: Meter | None = None) -> Snapshot:
        """Return nothing that a test looks at, or fail."""
        if self.fails is not None:
            raise self.fails
        raise AssertionError("taken")

    def where(self, machine: Machine) -> AddressMap:
        """Return the place that it has moved to."""
        return AddressMap(machine, (Linear(0x100_0000, 0x1000, 0x7F00_0000),))

    def ranges(self, guest: Guest) -> Iterator[RoleRange]:
        """Yield its stack."""
        yield RoleRange(Role.STACK, 0x7E00_0000, 0x7E01_0000, "gd->start_addr_sp")


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> BootLoader:
    made = BootLoader()
    monkeypatch.setattr(base, "PROGRAMS", [*base.PROGRAMS, (None, lambda: made)])
    return made


def test_another_program(loader: BootLoader) -> None:
    machine = BytesMachine(variables={"gd": Variable(0x100_0010, 8)}, registers={"pc": 0})
    assert base.find_programs(machine) == [loader]
    assert base.image_ranges(machine) == [(0x7F00_0000, 0x7F00_1000)]
    assert base.address_map(machine).of_symbol(0x100_0010) == 0x7F00_0010
    assert [(one.role, one.base) for one in base.role_ranges(machine)] == [
        (Role.IMAGE, 0x7F00_0000), (Role.STACK, 0x7E00_0000)
    ]  # fmt: skip
    with pytest.raises(AssertionError, match="taken"):
        base.take_snapshot(machine)
    with pytest.raises(LayoutError, match=r"^the program \(boot-loader\) cannot be traced$"):
        loader.traced(machine)
    assert base.model_facts(machine) == {} and loader.movable(machine) is None


@pytest.mark.parametrize("fails", [NotReadyError("not initialised"), ReadError(0, 1)])
def test_two_programs_in_one(loader: BootLoader, tmp_path: Path, fails: Exception) -> None:
    # The first tells where the image is; the allocator of the last is shown as soon as it is there.
    machine = linux(tmp_path)
    machine.variables["gd"] = Variable(0x100_0010, 8)
    with pytest.raises(AssertionError, match="taken"):
        base.take_snapshot(machine)
    loader.fails = fails
    snapshot = base.take_snapshot(machine)
    assert snapshot is not None and snapshot.layout == "memblock"
    roles = {one.source for one in base.role_ranges(machine)}
    assert {"_text", "init_stack", "gd->start_addr_sp"} <= roles

# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's symbols and a guest, or a dump, of another architecture: named before gdb trips over its registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.arches.registry import architectures
from gdb_lmb.cli import main
from gdb_lmb.core.errors import UsageError
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.elf import ElfFile
from gdb_lmb.runner.existing import CoreSession, require_machine_of_stub
from tests.helpers.attached import booted
from tests.helpers.core_image import Piece, core_image
from tests.helpers.tool import build_guest

Capture = pytest.CaptureFixture[str]


def test_what_an_x86_guest_may_run(tmp_path: Path) -> None:
    with booted(build_guest(tmp_path, "ready")) as machine:
        for row in architectures():
            elf = ElfFile(Path("vmlinux"), row.bits, row.byte_order, row.e_machine, Path("vmlinux"))
            if row.name in ("x86-64", "i386"):
                require_machine_of_stub(machine.qemu.endpoint, machine.stub, elf, 20)
            else:
                with pytest.raises(UsageError, match=rf"(?s)architecture \(i386:x86-64\) than vmlinux \({row.name}\)"):
                    require_machine_of_stub(machine.qemu.endpoint, machine.stub, elf, 20)


def test_a_dump_of_another_machine_names_both(tmp_path: Path) -> None:
    kernel, core = build_guest(tmp_path, "ready"), tmp_path / "core"
    for machine, name in ((183, "aarch64"), (21, "ppc64 or ppc64le"), (22, "s390x"), (9999, "ELF machine 9999")):
        core.write_bytes(core_image([Piece(0, b"x")], machine=machine))
        with pytest.raises(UsageError) as caught:
            CoreSession(core, kernel)
        assert f"{core} is a dump of another machine ({name}) than {kernel} is for (x86-64)" in str(caught.value)


@pytest.mark.stock
@pytest.mark.parametrize("state", ["running", "paused"])
def test_an_arm64_vmlinux_on_an_x86_guest(tmp_path: Path, state: str, capfd: Capture) -> None:
    kernel = find_kernel("debian:6.12-cloud-arm64", notice=print)
    with booted(build_guest(tmp_path, "ready")) as machine:
        machine.bring_to(state)
        capfd.readouterr()
        assert main(["attach", machine.stub, str(kernel.vmlinux)]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"{machine.stub} is of another architecture (i386:x86-64) than {kernel.vmlinux} (aarch64)" in err
        assert machine.qmp.settled(state) == state and machine.runs() == (state == "running")


@pytest.mark.stock
def test_an_x86_vmlinux_on_an_arm64_guest(tmp_path: Path, capfd: Capture) -> None:
    arm64, guest = find_kernel("debian:6.12-cloud-arm64", notice=print), build_guest(tmp_path, "ready")
    with booted(arm64.vmlinux) as machine:  # it has nothing to run, and is only asked what it is
        assert main(["attach", machine.stub, str(guest)]) == 2
        err = capfd.readouterr().err
        assert f"{machine.stub} is of another architecture (aarch64) than {guest} (x86-64)" in err

# SPDX-License-Identifier: GPL-2.0-or-later
"""One golden of a distribution kernel holds over many boots: with KASLR and without, with two sizes of RAM."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.cli import main
from tests.helpers.soak import seeds

SETTINGS = ((), ("--append", "nokaslr"), ("--memory", "512M"), ("--memory", "512M", "--append", "nokaslr"))


@pytest.mark.stock
@pytest.mark.random
@pytest.mark.parametrize("name", ["debian:6.1-cloud-amd64", "debian:6.12-cloud-amd64"])
def test_one_golden_holds(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    golden = tmp_path / "stock.golden"
    assert main(["snapshot", name, "-o", str(golden)]) == 0
    differing = []
    for number in seeds(3):
        options = SETTINGS[number % len(SETTINGS)]
        if main(["check", name, "--golden", str(golden), *options]):
            differing.append((number, options, *capfd.readouterr()))
    assert differing == []
    # And it can see: RAM that is a page smaller though as much was asked for, and a kernel that is another one.
    assert main(["check", name, "--golden", str(golden), "--qemu-arg=-m", "--qemu-arg=255M"]) == 1
    assert "memory [0x100000, 0xffe0000) shrank by 1 MiB to [0x100000, 0xfee0000)" in capfd.readouterr().out


@pytest.mark.stock
@pytest.mark.parametrize("traced", [(), ("--trace",)], ids=["roles", "owners"])
def test_what_moves_by_itself_is_told_wherever_the_image_is(
    traced: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """KASLR puts the image at 16 MiB or above: it has nothing to do with what lies below."""
    name, golden = "debian:6.1-cloud-amd64", tmp_path / "stock.golden"
    assert main(["snapshot", name, *traced, "--append", "crashkernel=4M@4M", "-o", str(golden)]) == 0
    for _ in range(3):
        assert main(["check", name, "--golden", str(golden), "--append", "crashkernel=4M@4M"]) == 0
        capfd.readouterr()
        assert main(["check", name, "--golden", str(golden), "--append", "crashkernel=4M@8M"]) == 1
        owner = " by setup_arch" if traced else ""
        assert capfd.readouterr().out.splitlines()[0] == (
            f"reserved [0x400000, 0x800000){owner} moved up by 4 MiB to [0x800000, 0xc00000)"
        )

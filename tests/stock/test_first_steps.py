# SPDX-License-Identifier: GPL-2.0-or-later
"""The first steps with a distribution's kernel: its vmlinux alone, its vmlinuz alone, and the wrong two together."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.kernels.stock import find_kernel
from tests.helpers.stock import AMD64

pytestmark = pytest.mark.stock

Capture = pytest.CaptureFixture[str]
ARM64 = "debian:6.12-cloud-arm64"


@pytest.mark.parametrize("name", [AMD64[0], AMD64[2]])
def test_a_vmlinux_alone_stops_where_memblock_is_complete(name: str, capfd: Capture) -> None:
    kernel = find_kernel(name, notice=print)
    capfd.readouterr()
    commands = ("print $pc == (long)&memblock_free_all", "lmb-attach", "lmb-check")
    assert main(["run", str(kernel.vmlinux), "--memory", "512M", "--", *commands]) == 0
    out = capfd.readouterr().out
    # QEMU loads it where it is linked, and nothing moves it.
    assert "$1 = 1\n" in out and "moved by 0x0 physically, by 0x0 virtually" in out and "lmb-check: clean" in out


def test_a_vmlinuz_alone_finds_its_vmlinux(tmp_path: Path, capfd: Capture) -> None:
    kernel = find_kernel(AMD64[1], notice=print)
    image, symbols = tmp_path / "vmlinuz", tmp_path / "vmlinux"
    image.symlink_to(kernel.image)
    symbols.symlink_to(kernel.vmlinux)
    capfd.readouterr()
    assert (
        main(["run", str(image), "--memory", "512M", "--", "print $pc == (long)&memblock_free_all", "lmb-check"]) == 0
    )
    out, err = capfd.readouterr()
    assert "$1 = 1\n" in out and f"gdb-lmb: symbols of vmlinuz: {symbols}\n" in err


def test_the_wrong_symbols_are_refused_before_anything_runs(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = {name: find_kernel(name, notice=print) for name in (*AMD64, ARM64)}
    capfd.readouterr()
    monkeypatch.setenv("PATH", "/nonexistent")  # neither QEMU nor gdb is there to be started
    for image, symbols, words in (
        (AMD64[0], AMD64[1], ("is Linux 6.1.", "is Linux 6.12.")),
        (AMD64[2], AMD64[1], ("is Linux 7.", "is Linux 6.12.")),
        (ARM64, AMD64[1], ("is a kernel for aarch64", "has symbols for x86-64")),
        (AMD64[0], ARM64, ("is a kernel for x86-64", "has symbols for aarch64")),
    ):
        assert main(["run", str(kernels[image].image), "--symbols", str(kernels[symbols].vmlinux)]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert all(word in err for word in (*words, str(kernels[image].image), str(kernels[symbols].vmlinux)))
    # An arm64 vmlinux has nothing that QEMU could load.
    assert main(["run", str(kernels[ARM64].vmlinux)]) == 2
    assert "boot the Image with --symbols" in capfd.readouterr().err
    # The right ones are only stopped by what is missing here.
    for kernel in kernels.values():
        assert main(["run", str(kernel.image), "--symbols", str(kernel.vmlinux)]) == 4
        assert "not found" in capfd.readouterr().err

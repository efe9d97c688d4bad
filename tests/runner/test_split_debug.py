# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel whose debug information is in a file of its own, as distributions ship it: found as gdb finds it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.runner import elf
from gdb_lmb.runner.elf import headers_of
from gdb_lmb.runner.gdb_process import extension
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.split_debug import split

Capture = pytest.CaptureFixture[str]
COMMANDS = ("lmb-dump", "lmb-check", "lmb-who lmb", "info line lmb_ready")


def debug_places(folder: Path, kernel: Path) -> dict[str, Path]:
    """Return where gdb looks for the debug file of folder/vmlinux; the last is in a folder for all debug files."""
    build_id = headers_of(kernel).build_id()
    assert build_id is not None
    text = build_id.hex()
    return {
        "beside": folder / "vmlinux.debug",
        "below": folder / ".debug/vmlinux.debug",
        "build id": folder / f"all/.build-id/{text[:2]}/{text[2:]}.debug",
    }


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["beside", "below", "build id"])
def test_a_split_kernel_is_shown_as_the_whole_one(
    fixture_kernel: Path, place: str, tmp_path: Path, capfd: Capture
) -> None:
    elf.DEBUG_FOLDERS.append(tmp_path / "all")
    try:
        kernel = tmp_path / "vmlinux"
        split(fixture_kernel, kernel, debug_places(tmp_path, fixture_kernel)[place])
        assert main(["run", str(fixture_kernel), "--", *COMMANDS]) == 0
        whole = capfd.readouterr().out
        assert "reserved: 5 regions" in whole and "kernel image" in whole
        assert main(["run", str(kernel), "--", *COMMANDS]) == 0
        assert capfd.readouterr().out == whole
        assert main(["trace", str(kernel), "--lockstep", "--until", "lmb_ready"]) == 0
        assert "kernel and model agree: 20 operations recorded" in capfd.readouterr().out
    finally:
        elf.DEBUG_FOLDERS.remove(tmp_path / "all")


@pytest.mark.kernel
def test_a_stripped_kernel_with_its_symbols_given(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    kernel = tmp_path / "stripped"
    subprocess.run(["objcopy", "-S", fixture_kernel, kernel], check=True, timeout=60)
    assert main(["run", str(kernel), "--symbols", str(fixture_kernel), "--", "lmb-check"]) == 0
    assert "lmb-check: clean" in capfd.readouterr().out


@pytest.mark.kernel
def test_split_kernels_in_a_dump_and_in_a_gdb_of_ones_own(
    fixture_kernel: Path, klimit_kernel: Path, tmp_path: Path, capfd: Capture
) -> None:
    kernel, other, core = tmp_path / "vmlinux", tmp_path / "other", tmp_path / "core"
    split(fixture_kernel, kernel, tmp_path / "vmlinux.debug")
    split(klimit_kernel, other, tmp_path / "other.debug")
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.run_until()
        whole = guest.command("lmb-dump --json"), guest.command("lmb-who lmb")
        stub = guest.qemu.endpoint.path
        guest.command(f"monitor dump-guest-memory {core}")
        core.chmod(0o600)
        capfd.readouterr()
        assert main(["core", str(core), str(kernel), "--", "lmb-dump --json", "lmb-who lmb"]) == 0
        assert capfd.readouterr().out == "".join(whole)
        # The build id is compared with that of the stripped file, at the place that its headers tell.
        assert main(["core", str(core), str(other)]) == 2
        assert f"another build than {other} (" in capfd.readouterr().err
        core.unlink()
        guest.command("disconnect")
        assert (
            main(["attach", f"unix:{stub}", str(kernel), "--leave", "paused", "--", "lmb-dump --json", "lmb-who lmb"])
            == 0
        )
        assert capfd.readouterr().out == "".join(whole)
        words = ["gdb", "-nx", "-q", "-batch", "-ex", "set width 0", str(kernel), "-ex", f"source {extension()}"]
        words += ["-ex", f"target remote {stub}", "-ex", "lmb-dump --json", "-ex", "lmb-who lmb"]
        environment = {**os.environ, "PYTHONPATH": ""}
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert "".join(whole) in done.stdout, done.stderr


@pytest.mark.kernel
def test_what_is_missing_is_said_in_gdb_too(fixture_kernel: Path, tmp_path: Path) -> None:
    kernel, bare = tmp_path / "vmlinux", tmp_path / "bare"
    split(fixture_kernel, kernel, tmp_path / "vmlinux.debug")
    (tmp_path / "vmlinux.debug").unlink()
    subprocess.run(["objcopy", "-g", fixture_kernel, bare], check=True, timeout=60)
    build_id = headers_of(fixture_kernel).build_id()
    assert build_id is not None
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.run_until()
        for program, says in (
            (kernel, f"{kernel} is stripped, and gdb has no debug file of it"),
            (bare, f"{bare} has an LMB but no debug information of it"),
        ):
            guest.command(f"symbol-file {program}")
            for command in ("lmb-dump", "lmb-attach"):
                with pytest.raises(CommandError) as caught:
                    guest.command(command)
                assert says in caught.value.message and "\n" not in caught.value.message
                assert f".build-id/{build_id.hex()[:2]}/{build_id.hex()[2:]}.debug" in caught.value.message

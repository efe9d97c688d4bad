# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input to the commands: each gets its one clear line, and gdb stays usable afterwards."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from fixture_kernels import make_words, qemu_words, vmlinux

from gdb_lmb.formats.program_file import build_identity, bytes_in_file, string_in_file
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.gdb_words import python_failed
from tests.helpers.plain_gdb import LOAD, gdb

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def other_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same kernel with another setting, and so of another build."""
    out = tmp_path_factory.mktemp("other")
    subprocess.run(
        make_words("-s", f"O={out}", "LMB_STATIC_ENTRIES=32", vmlinux(build=out)),
        check=True, timeout=120,
    )  # fmt: skip
    return vmlinux(build=out)


def test_build_id_is_read_from_the_file(fixture_kernel: Path) -> None:
    identity = build_identity(fixture_kernel)
    assert identity is not None
    told = subprocess.run(["readelf", "-n", fixture_kernel], capture_output=True, text=True, check=True).stdout
    assert f"Build ID: {identity.data.hex()}" in told
    found = bytes_in_file(fixture_kernel, identity.va, 20)
    assert found is not None and found.data == identity.data
    assert bytes_in_file(fixture_kernel, 0x1000, 20) is None


def test_banner_is_read_from_the_file(fixture_kernel: Path) -> None:
    """The whole string, however the variable that holds it is declared where gdb meets it first."""
    listed = subprocess.run(["nm", fixture_kernel], capture_output=True, text=True, check=True).stdout
    va = next(int(line.split()[0], 16) for line in listed.splitlines() if line.endswith(" lmb_banner"))
    found = string_in_file(fixture_kernel, va)
    says = b"gdb-lmb fixture kernel, x86_64, 64 static entries, log of 16384, hand-over table of 16384\0"
    assert found is not None and (found.va, found.data) == (va, says)
    assert string_in_file(fixture_kernel, 0x1000) is None


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 200, b"MZ" * 100])
def test_damaged_elf_has_no_identity(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(damage)
    assert build_identity(path) is None and bytes_in_file(path, 0, 1) is None


@pytest.mark.kernel
def test_symbols_of_another_build(fixture_kernel: Path, other_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        guest.command(f"file {other_kernel}")
        with pytest.raises(CommandError, match=r"lmb-check: the guest runs another build than .*: load the vmlinux of"):
            guest.command("lmb-check")
        guest.command(f"file {fixture_kernel}")
        assert "clean" in guest.command("lmb-check")


@pytest.mark.kernel
def test_no_build_id_but_another_banner(fixture_kernel: Path, tmp_path: Path) -> None:
    bare = tmp_path / "vmlinux"
    subprocess.run(["objcopy", "--remove-section=.notes", fixture_kernel, bare], check=True)
    assert build_identity(bare) is None
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        guest.command(f"file {bare}")
        assert "clean" in guest.command("lmb-check")
        guest.command("set var ((char *)lmb_banner)[3] = 'X'")
        with pytest.raises(CommandError, match="the guest runs another build"):
            guest.command("lmb-check")


@pytest.mark.kernel
def test_a_missing_tabulate_leaves_the_rest(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        # None in sys.modules is Python's way to say that a module cannot be imported.
        guest.command("python import sys; sys.modules['tabulate'] = None")
        with pytest.raises(CommandError, match="lmb-dump: the Python package tabulate is not found: start gdb with"):
            guest.command("lmb-dump")
        assert "clean" in guest.command("lmb-check")
        assert guest.command("lmb-dump --kernel").startswith("LMB configuration:")
        assert guest.command("lmb-dump --json").startswith("{")


BETWEEN = "os.kill({0}, signal.SIGKILL); time.sleep(0.3)"
MEANWHILE = "os.kill({0}, signal.SIGSTOP); threading.Timer(0.3, os.kill, ({0}, signal.SIGKILL)).start()"


@pytest.mark.kernel
@pytest.mark.parametrize("how", [BETWEEN, MEANWHILE], ids=["between", "meanwhile"])
def test_qemu_killed_in_the_middle_of_a_walk(fixture_kernel: Path, tmp_path: Path, how: str) -> None:
    # The reader is the real one; a signal ends QEMU before its 20th request or during it, and the walk goes on.
    with subprocess.Popen(
        [*qemu_words(), "-S", "-kernel", fixture_kernel, "-append",
         "lmb.scenario=fill lmb.ops=20000", "-m", "256M", "-gdb", f"unix:{tmp_path}/s,server=on,wait=off"],
        stderr=subprocess.DEVNULL,
    ) as qemu:  # fmt: skip
        script = tmp_path / "kill.py"
        script.write_text(
            "import os, signal, threading, time\n"
            "from gdb_lmb.machine.memory import GdbMemory\n"
            "read, seen = GdbMemory.read, []\n"
            "def killing(self, address, size):\n"
            "    seen.append(address)\n"
            "    if len(seen) == 20:\n"
            f"        {how.format(qemu.pid)}\n"
            "    return read(self, address, size)\n"
            "GdbMemory.read = killing\n"
        )
        try:
            deadline = time.monotonic() + 60
            while not (tmp_path / "s").exists():
                assert time.monotonic() < deadline, "QEMU did not open its socket"
                time.sleep(0.05)
            output = gdb(
                f"source {LOAD}", f"file {fixture_kernel}", f"target remote {tmp_path}/s", "tbreak lmb_ready",
                "continue", f"source {script}", "lmb-check --no-log", "lmb-check", "lmb-verdict",
            )  # fmt: skip
        finally:
            qemu.kill()
    assert "lmb-check: the connection to the guest was lost while reading: " in output
    # gdb stays usable: the next command tells how things stand, and nothing was recorded as a verdict.
    assert "lmb-check: there is no guest: connect with" in output
    assert '"checks": []' in output
    assert "storage-corrupt" not in output and not python_failed(output)


@pytest.mark.kernel
def test_running_guest(fixture_kernel: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*qemu_words(), "-S", "-kernel", fixture_kernel, "-m", "64M",
         "-gdb", f"unix:{tmp_path}/s,server=on,wait=off"],
        stderr=subprocess.DEVNULL,
    ) as qemu:  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not (tmp_path / "s").exists():
                assert time.monotonic() < deadline, "QEMU did not open its socket"
                time.sleep(0.05)
            output = gdb(
                f"source {LOAD}", f"file {fixture_kernel}", f"target remote {tmp_path}/s", "continue &", "lmb-check",
                "lmb-dump", "interrupt", "kill",
            )  # fmt: skip
        finally:
            qemu.kill()
    assert "lmb-check: the guest is running: stop it first" in output
    assert "lmb-dump: the guest is running: stop it first" in output

# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes of several things in one run: its exit status, and the line on stderr that tells why."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from tests.helpers.tool import Tool, build_guest

Capture = pytest.CaptureFixture[str]

DAMAGE = "set var lmb.reserved.cnt = lmb.reserved.cnt + 1"
REPAIR = "set var lmb.reserved.cnt = lmb.reserved.cnt - 1"
TORN = "stepi 12"
WIPE = (
    "python gdb.selected_inferior().write_memory(gdb.parse_and_eval('&lmb'), bytes(gdb.parse_and_eval('sizeof(lmb)')))"
)
NOTHING = "gdb-lmb: no command that checks ran: nothing was verified\n"
SINCE = "gdb-lmb: no command that checks ran since lmb-verdict --reset: nothing was verified\n"

# The commands, the exit status, and all of stderr.
ROWS: list[tuple[tuple[str, ...], int, str]] = [
    (("lmb-check", "print 1", "lmb-who 0x1000"), 0, ""),
    (("lmb-who 0x1000", "lmb-free", "lmb-whatif alloc 1K", "lmb-map", "lmb-verdict"), 5, NOTHING),
    ((DAMAGE, "lmb-check --no-log", "lmb-verdict --reset"), 5, SINCE),
    ((DAMAGE, "lmb-check --no-log", "lmb-verdict --reset", REPAIR, "lmb-check"), 0, ""),
    ((DAMAGE, "lmb-check --no-log", REPAIR, "lmb-check"), 1, "gdb-lmb: 1 finding\n"),
    # Two findings in two commands.
    ((DAMAGE, "lmb-dump", REPAIR, "set var lmb.memory.cnt = 7", "lmb-check --no-log"), 1, "gdb-lmb: 2 findings\n"),
    # What a stop inside a function shows is none for certain, and takes nothing from what was found before, or after.
    ((TORN, DAMAGE, "lmb-check"), 5, "gdb-lmb: 1 finding; not verified: torn\n"),
    ((DAMAGE, "lmb-check --no-log", REPAIR, TORN, "lmb-check"), 1, "gdb-lmb: 1 finding; not verified: torn\n"),
    ((TORN, "lmb-check", "finish", DAMAGE, "lmb-dump"), 1, "gdb-lmb: 1 finding; not verified: torn\n"),
    ((TORN, "lmb-check", "finish", "lmb-check"), 5, "gdb-lmb: not verified: torn\n"),
    # A command that failed ends the run; what was found by then is told.
    (("lmb-check", "lmb-check --typo", "echo not reached"), 2, "gdb-lmb: 'lmb-check --typo' failed: "),
    ((DAMAGE, "lmb-dump", "print no_such"), 2, "gdb-lmb: 1 finding\ngdb-lmb: 'print no_such' failed: "),
    ((DAMAGE, "lmb-dump", "shell kill -9 $PPID", "echo not reached"), 4, "gdb-lmb: gdb was killed by SIGKILL"),
    ((DAMAGE, "lmb-dump", "monitor quit", "lmb-check", "echo not reached"), 4, "gdb-lmb: "),
    # What was initialised and is wiped is damage; a log that is empty, too. Without a revision no rules are known.
    ((WIPE, "lmb-check"), 1, "gdb-lmb: 12 findings; not verified: uncompared, generation-unknown\n"),
    ((WIPE, "lmb-free"), 2, "gdb-lmb: 'lmb-free' failed: lmb-free: no answer without the memory list, which cannot "),
    (("set var lmb_log.nr = 0", "lmb-check"), 1, "gdb-lmb: 1 finding\n"),
]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize(("commands", "status", "says"), ROWS, ids=range(len(ROWS)))
def test_a_run(fixture_kernel: Path, commands: tuple[str, ...], status: int, says: str, capfd: Capture) -> None:
    # At the entry of a function that changes the lists these are whole.
    assert main(["run", str(fixture_kernel), "--until", "lmb_alloc", "--", *commands]) == status
    out, err = capfd.readouterr()
    assert "not reached" not in out
    assert err.startswith(says) and err.count("\n") == says.count("\n") + (says[-1:] not in ("", "\n"))


# -- a death of each kind ----------------------------------------------------------------------------------

EXIT = "-device", "isa-debug-exit,iobase=0xf4"
FIRMWARE = {"halts": b"\xfa\xf4\xeb\xfd", "spins": b"\xfa\xeb\xfe"}
"""At the reset vector: cli; hlt; jmp back. cli; jmp to itself."""
OUTSIDE = ", outside of the kernel: it never reached its first instruction, or has left it"

# The small guest, words for QEMU (ROM: firmware in place of QEMU's own), the exit status, and how it is told.
DEATHS: list[tuple[str, tuple[str, ...], int, str]] = [
    ("spin", ("ROM", "halts"), 3, f"the guest halted for good in 0xfff2, before it reached never{OUTSIDE}"),
    ("spin", ("ROM", "spins"), 3, f"the guest did not reach never within 1 s; it was in 0xfff1{OUTSIDE}"),
    ("spin", (), 3, "the guest did not reach never within 1 s; it was in spin at 0x1000"),
    ("sleeps", (), 3, "the guest did not reach never within 1 s; it was in nap at 0x1000"),
    ("parked", (), 3, "the guest halted for good in park at 0x10002c, before it reached never"),
    ("jumps", (), 3, "the guest halted for good in park at 0x10002b, before it reached never"),
    ("halt", (), 3, "the guest panicked before it reached never, called from _start"),
    ("panic", (), 3, "the guest panicked before it reached never, called from _start"),
    ("fault", (), 3, "the guest had a triple fault before it reached never, in _start at 0x10002c: ud2"),
    ("resets", (), 3, "the guest reset before it reached never, in _start at 0x10002c: jmp"),
    # The CPU goes a few instructions on before QEMU has stopped it.
    ("power_off", (), 3, "the guest powered off before it reached never, in "),
    ("exit", EXIT, 4, "qemu-system-x86_64 ended with status 7: the guest ended it, by isa-debug-exit\n"),
]


@pytest.mark.parametrize(("kind", "words", "status", "says"), DEATHS, ids=range(len(DEATHS)))
def test_a_death(tmp_path: Path, kind: str, words: tuple[str, ...], status: int, says: str, capfd: Capture) -> None:
    """Whatever commands give on the dead guest, that it did not come to its place stands."""
    guest = build_guest(tmp_path, kind)
    if words[:1] == ("ROM",):
        rom = bytearray(1 << 16)
        rom[0xFFF0 : 0xFFF0 + len(FIRMWARE[words[1]])] = FIRMWARE[words[1]]
        (tmp_path / "rom").write_bytes(rom)
        words = ("-bios", str(tmp_path / "rom"))
    # One that lives, as far as can be told, is watched for a second; a death ends the wait itself.
    limit = "1" if "within 1 s" in says else "50"
    commands = ("print (int)counter >= 0", "bt 1", "print no_such", "echo not reached")
    qemu = [f"--qemu-arg={word}" for word in words]
    assert main(["run", str(guest), "--until", "never", "--timeout", limit, *qemu, "--", *commands]) == status
    out, err = capfd.readouterr()
    assert says in err and "not reached" not in out
    if status == 3:
        assert out.startswith("$1 = 1\n#0 ") and "gdb-lmb: 'print no_such' failed: No symbol" in err
        assert ("  | second line\n" in err) == (OUTSIDE not in says)
        assert ("  | Kernel panic: no cheese\n" in err) == (kind == "panic")


def test_a_command_that_waits_for_a_dead_guest(tmp_path: Path, capfd: Capture) -> None:
    words = ("--until", "park", "--timeout", "50", "--", "continue", "echo not reached")
    assert main(["run", str(build_guest(tmp_path, "parked")), *words]) == 2
    out, err = capfd.readouterr()
    assert "not reached" not in out
    why = "the guest has halted for good and was interrupted in park at 0x10002c"
    assert err == f"gdb-lmb: 'continue' failed: {why}\n"


@pytest.mark.kernel
def test_output_into_a_reader_that_leaves(fixture_kernel: Path) -> None:
    """As with `| head -1`: what was found by then is not the status."""
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    commands = (DAMAGE, "lmb-check --no-log", "shell sleep 0.5", "lmb-dump", "lmb-dump")
    tool = Tool(folder, "run", fixture_kernel, "--", *commands)
    assert tool.process.stdout is not None
    assert b"finding: count-mismatch" in tool.process.stdout.readline()
    tool.process.stdout.close()
    tool.process.stdout = None
    assert tool.finish()[0] == 128 + signal.SIGPIPE
    assert tool.left_behind() == []
    folder.rmdir()

# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between gdb's versions and between its users' languages: the commands work alike in all."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from gdb_lmb.runner.mi_records import python_errors
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.gdb_words import python_failed
from tests.helpers.live import guest_of, no_breakpoint_is_left, status_of
from tests.helpers.plain_gdb import LOAD, gdb


def test_completion_prints_nothing_else() -> None:
    """gdb asks for it without a word first."""
    output = gdb(f"source {LOAD}", "complete lmb-dump re", "complete lmb-check --js", "complete lmb-who ")
    assert output.splitlines()[:2] == ["lmb-dump reserved", "lmb-check --json"] and not python_failed(output)


MI_TEXT = r"""
from gdb_lmb.machine.gdb_text import ask, plain
records = '~"a \\"quoted\\" line\\n"\n&"\\342\\232\\240 log\\tand more\\\\n\\033[m"\n@"of the target"\n'
print(ascii(plain(records)))
for text in ('', 'plain\n', '~"unfinished', '~"two" on a line\n', '~"one"\nand text\n', '=cmd-param,param="a"\n'):
    print(plain(text) == text)
print(ascii(ask("echo " + chr(0xe4) + chr(92) + "t" + chr(34) + chr(92) + "n")))
"""


@pytest.mark.kernel
def test_text_is_the_same_under_mi(tmp_path: Path, fixture_kernel: Path) -> None:
    script = tmp_path / "text.py"
    script.write_text(MI_TEXT)
    # Written by hand after the syntax of MI's c-strings.
    expected = [
        ascii('a "quoted" line\n\u26a0 log\tand more\\n\x1b[mof the target'),
        *["True"] * 6,
        ascii('\xe4\t"\n'),
    ]
    assert gdb(f"source {LOAD}", f"source {script}").splitlines()[: len(expected)] == expected
    with guest_of(fixture_kernel) as guest:
        assert guest.command(f"source {script}").splitlines() == expected


READS = """
import gdb
from gdb_lmb.core.errors import ReadError
from gdb_lmb.machine.memory import GdbMemory
AT = int(gdb.parse_and_eval("(unsigned long)&lmb"))
def read(size=32):
    return GdbMemory().read(AT, size)
def plainly(size=32):
    value = gdb.parse_and_eval(f"*(unsigned char(*)[{size}])&lmb")
    return bytes(int(value[at]) for at in range(size))
def missing():
    try:
        read()
    except ReadError:
        return True
"""


@pytest.mark.kernel
def test_reads_as_the_selected_cpu_and_with_one_packet(fixture_kernel: Path, tmp_path: Path) -> None:
    """Since gdb 14 Inferior.read_memory() asks the first CPU, and selects it and the other for that."""
    script = tmp_path / "reads.py"
    script.write_text(READS)
    told: list[str] = []
    with GuestSession(fixture_kernel, QemuOptions(memory="64M", smp=2), timeout_s=60, notice=told.append) as guest:
        guest.run_until("lmb_ready")
        guest.command(f"source {script}")
        assert guest.command("python print(read(0) == b'', read() == plainly(), any(read()))") == "True True True\n"
        # More than gdb lets a value of the user's have.
        large = guest.command("python print(read(100000).hex())")
        assert len(large) == 200001 and large.startswith(guest.command("python print(plainly().hex())").strip())
        guest.command("set max-value-size 4096")
        assert guest.command("python print(read(100000).hex())") == large
        guest.command("set debug remote 1")
        told.clear()
        guest.command("python [read() for _ in range(10)]")
        guest.command("set debug remote 0")
        sent = [line for line in told if "Sending packet" in line]
        assert len([line for line in sent if "$m" in line]) == 10
        assert not [line for line in sent if "$H" in line], sent
        # The firmware has parked the other CPU, without paging.
        guest.command("thread 2")
        assert guest.command("python print(missing())") == "True\n"
        guest.command("thread 1")
        assert guest.command("python print(missing())") == "None\n"


TRANSLATED = {
    "%s in section %s\n": "%s im Abschnitt %s\n",
    "%s in section %s of %s\n": "%s im Abschnitt %s von %s\n",
    "%s + %u in section %s\n": "%s plus %u im Abschnitt %s\n",
    "No symbol matches %s.\n": "Kein Symbol passt auf %s.\n",
    "\t`%s', ": "\t\u201e%s\u201c, ",
    "file type %s.\n": "Dateiart %s.\n",
}


def catalog(texts: dict[str, str]) -> bytes:
    """Return a catalog of messages as gettext reads it: sorted originals, then the translations, ended by NUL."""
    header = "Content-Type: text/plain; charset=UTF-8\n"
    rows = sorted((a.encode(), b.encode()) for a, b in {"": header, **texts}.items())
    out = struct.pack("<7I", 0x950412DE, 0, len(rows), 28, 28 + 8 * len(rows), 0, 0)
    at = 28 + 16 * len(rows)
    for column in (0, 1):
        for row in rows:
            out += struct.pack("<2I", len(row[column]), at)
            at += len(row[column]) + 1
    return out + b"".join(row[column] + b"\0" for column in (0, 1) for row in rows)


@pytest.mark.kernel
def test_a_users_language_changes_nothing(
    fixture_kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M"), timeout_s=60) as guest:
        guest.run_until("lmb_ready")
        core = tmp_path / "guest.core"
        guest.command(f"monitor dump-guest-memory {core}")
    # A locale that is C.UTF-8 by another name, so that gettext looks for translations.
    shutil.copytree("/usr/lib/locale/C.utf8", tmp_path / "xx_XX.utf8")
    messages = tmp_path / "xx" / "LC_MESSAGES"
    messages.mkdir(parents=True)
    (messages / "gdb.mo").write_bytes(catalog(TRANSLATED))
    commands = (
        f"python import ctypes; ctypes.CDLL(None).bindtextdomain(b'gdb', {os.fsencode(tmp_path)!r})",
        "info symbol &lmb_log", f"core-file {core}", f"source {LOAD}", "lmb-dump --json", "lmb-who lmb_log",
        "python from gdb_lmb.machine.symbols import linker_symbol",
        "python print(linker_symbol(int(gdb.parse_and_eval('(unsigned long)&startup_64_low')) + 3))",
        "info symbol &lmb_log",
    )  # fmt: skip
    outputs = {}
    for language in ("C", "xx_XX.UTF-8"):
        monkeypatch.setenv("LOCPATH", str(tmp_path))
        monkeypatch.setenv("LC_ALL", language)
        monkeypatch.delenv("LANGUAGE", raising=False)
        outputs[language] = gdb(f"file {fixture_kernel}", *commands).splitlines()
    english, foreign = outputs.values()
    assert english[0] == english[-2] == "lmb_log in section .bss"
    assert foreign[0] == foreign[-2] == "lmb_log im Abschnitt .bss"
    assert english[1:-2] == foreign[1:-2]
    shown = [json.loads(line) for line in english if line.startswith("{")]
    assert [snapshot["layout"] for snapshot in shown] == ["lmb-list"]
    assert "  symbol    lmb_log" in english
    assert "LinkerSymbol(name='startup_64_low', offset=3, section='.text')" in english


EARLY = """
import _signal, _thread, functools, signal
from gdb_lmb.tracing import tracepoints

class Signals:
    # All of `signal`; but `left` times a Ctrl-C has come when SIGINT is to be blocked, and is still to be taken.
    left = 0
    def __getattr__(self, name):
        return getattr(signal, name)
    def pthread_sigmask(self, how, mask):
        real = functools.partial(_signal.pthread_sigmask, how, mask)
        if how != signal.SIG_BLOCK or not self.left:
            return real()
        self.left -= 1
        # Nothing of Python's own runs in between.
        return [*map(functools.partial.__call__, (functools.partial(_thread.interrupt_main), real))][-1]

tracepoints.signal = Signals()
"""


@pytest.mark.kernel
def test_a_ctrl_c_right_before_a_traced_call_stops_the_guest_and_the_next_one_too(
    fixture_kernel: Path, tmp_path: Path
) -> None:
    script = tmp_path / "early.py"
    script.write_text(EARLY)
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --lockstep")
        guest.command(f"source {script}")
        for _ in range(3):
            guest.command("python tracepoints.signal.left = 2")
            guest.run_on("an interrupt")
            assert status_of(guest)["running"]
            blocked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
            assert guest.command(f"python {blocked}") == "False\n"
        guest.run_on("the hand-over")
        status = status_of(guest)
        assert status["divergence"] is None and status["compared"], status
        assert status["records"] == int(guest.command("output lmb_log.nr"))
        assert no_breakpoint_is_left(guest)


FAILING = """
import gdb
class Failing(gdb.Breakpoint):
    def stop(self):
        raise ValueError("no cheese")
Failing("lmb_reserve", internal=True)
"""


@pytest.mark.kernel
def test_python_that_fails_while_the_guest_runs_is_told_of(fixture_kernel: Path, tmp_path: Path) -> None:
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    told: list[str] = []
    with GuestSession(fixture_kernel, QemuOptions(memory="64M"), timeout_s=60, notice=told.append) as guest:
        guest.command(f"source {script}")
        assert guest.run_on("the end") is None
        assert [line for line in told if "ValueError" in line] == [
            "Python failed in gdb on the way to the end: ValueError: no cheese"
        ]
        told.clear()
        guest.command("continue")
        assert any("ValueError" in line and "no cheese" in line for line in told), told


CAPTURED = """
import gdb
gdb.Breakpoint("lmb_ready", temporary=True)
text = gdb.execute("continue", to_string=True)
print("stopped at", gdb.newest_frame().name())
"""


@pytest.mark.kernel
def test_a_script_that_wants_the_output_of_a_run_ends(fixture_kernel: Path, tmp_path: Path) -> None:
    script = tmp_path / "captured.py"
    script.write_text(CAPTURED)
    with GuestSession(fixture_kernel, QemuOptions(memory="64M"), timeout_s=60) as guest:
        assert guest.command(f"source {script}").endswith("stopped at lmb_ready\n")
        assert guest.command("output $_thread") == "1"
        assert guest.command("lmb-check").startswith("lmb-check: clean")
        # A command that takes long is waited for as ever.
        assert guest.command("shell sleep 3; echo end") == "end\n"
        assert guest.command("echo next") == "next"


LOGS = [
    # (log, exceptions), the logs as gdb 13.1, 16.3 and 18.1 write them.
    ('Traceback (most recent call last):\n  File "<string>", line 1, in <module>\nZeroDivisionError: division by zero\n'
     "Error while executing Python code.\n", ["ZeroDivisionError: division by zero"]),
    ("Python Exception <class 'ZeroDivisionError'>: division by zero\nError occurred in Python: division by zero\n",
     ["ZeroDivisionError: division by zero"]),
    ("Python Exception <class 'gdb.MemoryError'>: Cannot access memory at 0x1\n\u274c Error occurred in Python\n",
     ["gdb.MemoryError: Cannot access memory at 0x1"]),
    ("Python Exception <class 'KeyError'>: \n\nPython Exception <class 'a.b.C'>: x\n", ["KeyError", "a.b.C: x"]),
    ("warning: no Traceback\nNo symbol \"ValueError\" in current context.\n", []),
    ("", []),
]  # fmt: skip


@pytest.mark.parametrize(("log", "exceptions"), LOGS)
def test_exceptions_are_named_in_every_gdbs_log(log: str, exceptions: list[str]) -> None:
    assert python_errors(log) == exceptions

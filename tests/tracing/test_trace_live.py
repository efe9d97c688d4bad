# SPDX-License-Identifier: GPL-2.0-or-later
"""lmb-trace on the fixture kernel: against the kernel's own log, with users, signals and deaths in the middle."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixture_kernels import machine

from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.cli import main
from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.report.trace_file import TraceReader
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.live import (
    BOOT_OPERATIONS,
    BUSY,
    guest_of,
    json_of,
    no_breakpoint_is_left,
    read,
    settings,
    status_of,
    traced,
)
from tests.helpers.soak import seeds

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["static", "klimit"])
def kernel(request: pytest.FixtureRequest, fixture_kernel: Path, klimit_kernel: Path) -> Path:
    return {"static": fixture_kernel, "klimit": klimit_kernel}[request.param]


# -- whole boots ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("append", ["", BUSY, f"{BUSY} lmb.bottom_up lmb.seed=7"], ids=["boot", "random", "bottom-up"])
def test_a_sound_boot_agrees_with_the_model_after_each_operation(kernel: Path, append: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with guest_of(kernel, append) as guest:
        before = settings(guest)
        status = traced(guest, f"--lockstep -o {path}")
        assert status["divergence"] is None and status["compared"] and status["complete"]
        assert status["ended"] == "the allocator has handed over"
        # Nothing but what the kernel itself counted.
        assert status["records"] == int(guest.command("output lmb_log.nr"))
        # Two for each; QEMU tells of the same breakpoint twice now and then.
        assert status["records"] < status["stops"] <= 2 * status["records"] + 3
        assert no_breakpoint_is_left(guest) and settings(guest) == before
        assert guest.verdict().exit_status == 0
        guest.command(f"lmb-trace save {tmp_path}/log.jsonl --from-log")
    reader, records = read(path)
    _, logged = read(tmp_path / "log.jsonl")
    # The kernel's own log is another witness of every call, its result and its caller.
    assert [(r.seq, r.operation, r.result, r.callers[0]) for r in records] == [
        (r.seq, r.operation, r.result, r.callers[0]) for r in logged
    ]
    assert reader.end is not None and reader.end.final is not None and storage_of(reader.end.final).closed
    last = reader.symbols[records[-1].callers[0]]
    assert (last.function, last.file) == ("hand_over", "main.c")
    assert [r.phase for r in records[:1] + records[-1:]] == [None, "growing"]
    assert main(["replay", str(path)]) == 0
    assert main(["replay", str(tmp_path / "log.jsonl")]) == 0


def test_program_counters_are_those_of_gdbs_own_backtrace(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --until alloc_mem_map")
        guest.run_on("alloc_mem_map")
        guest.command("lmb-trace start --until lmb_ready")
        guest.command("break lmb_alloc")
        guest.run_on("lmb_alloc")
        backtrace = guest.command("bt -frame-arguments none")
        guest.command("delete")
        guest.run_on("lmb_ready")
        callers = json_of(guest, "lmb-trace show")["records"][0]["callers"]
    assert [f"0x{int(pc, 16):016x}" for pc in callers] == [
        word for line in backtrace.splitlines() for word in line.split() if word.startswith("0xffffffff")
    ]


def test_a_trace_may_begin_in_the_middle_and_end_where_it_is_told(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.run_until("scenario_random")
        status = traced(guest, "--lockstep --until lmb_scenario_done")
        assert (status["ended"], status["complete"]) == ("the guest has reached lmb_scenario_done", True)
        assert status["divergence"] is None and status["compared"]
        assert status["records"] == 201  # the scenario's, and lmb_free_all()
        assert no_breakpoint_is_left(guest)
        with pytest.raises(CommandError, match=r"has handed over already: say what to trace to with --until"):
            guest.command("lmb-trace start")


# -- users, signals, deaths -------------------------------------------------------------------------------------------


def test_a_reservation_over_what_was_allocated_is_a_finding(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command("break lmb_ready")
        guest.command("lmb-trace start --lockstep --until lmb_free_all")
        guest.command("continue")
        # Two pages: one that the kernel's own log says alloc_page_table() got, and one that is free.
        log = "lmb_log.ring[11]"
        assert guest.command(f"output {log}.op") == "LMB_OP_ALLOC"
        taken = int(guest.command(f"output {log}.result"))
        assert "alloc_page_table" in guest.command(f"info symbol {log}.caller")
        for base in (taken, 0x2000000):
            assert guest.command(f"output (int)lmb_reserve({base}, 4096, 0)") == "0"
        out = guest.command("continue")
        status = status_of(guest)
        assert status["compared"] and status["divergence"] is None
        found = [one for one in status["findings"] if one["severity"] == "finding"]
        assert len(found) == 1, status["findings"]
        (finding,) = found
        assert finding["code"] == "reserved-over-allocation"
        assert finding["addresses"] == [hex(taken)] and "alloc_page_table in operation 12" in finding["message"]
        assert "finding: reserved-over-allocation: " in out and "kernel and model agree" in out
        assert guest.verdict().exit_status == 1


def test_breakpoints_of_the_users_own_stop_the_guest_and_tracing_goes_on(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --lockstep")
        guest.command("break alloc_log_buf")
        guest.command("break lmb_alloc")  # where ours is too
        listed = guest.command("info breakpoints")
        assert listed.count("keep y") == 2 and "lmb_free" not in listed
        seen = []
        while "alloc_log_buf" not in seen:
            assert guest.run_on("a breakpoint") is None
            stop = guest.mi.last_stop
            assert stop is not None and status_of(guest)["running"]
            seen.append(stop.function)
        assert seen == ["lmb_alloc"] * 7 + ["alloc_log_buf"]  # two page tables, four CPUs, the memory map
        assert "Breakpoint 2, lmb_alloc" in guest.command("finish")
        guest.command("stepi")
        guest.command("finish")
        guest.command("delete")
        guest.run_on("the hand-over")
        status = status_of(guest)
        assert status["divergence"] is None and status["compared"]
        assert status["records"] == int(guest.command("output lmb_log.nr"))


def test_stop_inside_an_operation_says_so_and_leaves_nothing(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --lockstep")
        guest.command("tbreak lmb_find")
        guest.run_on("lmb_find")
        said = guest.command("lmb-trace stop")
        assert "NOT verified" in said and "inside alloc(size=" in said
        assert guest.command("output $lmb_status") == "5"
        assert no_breakpoint_is_left(guest)
        with pytest.raises(CommandError, match=r"the stop is inside lmb_"):
            guest.command("lmb-trace start --lockstep")


@pytest.mark.random
@pytest.mark.parametrize("seed", seeds(2))
def test_ctrl_c_loses_nothing(fixture_kernel: Path, seed: int) -> None:
    chance = random.Random(1 + seed)
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --lockstep")
        interrupted = 0
        for _ in range(12):
            if not status_of(guest)["running"]:
                break
            guest.run_on("any place", 0.02 + 0.1 * chance.random())
            interrupted += 1
        if status_of(guest)["running"]:
            guest.run_on("the hand-over")
        status = status_of(guest)
        assert interrupted
        assert status["divergence"] is None and status["compared"], status
        assert status["records"] == int(guest.command("output lmb_log.nr"))
        assert no_breakpoint_is_left(guest)


def test_a_panic_ends_the_trace(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel, "lmb.fault=no-such-fault") as guest:
        status = traced(guest)
        assert (status["complete"], status["running"]) == (False, False)
        assert status["ended"] == "the guest is in panic()"
        assert no_breakpoint_is_left(guest)


RESETS = [
    # QEMU keeps a guest that resets, as gdb-lmb tells it to; or it boots once more.
    ((), "the guest has reset or shut down", True),
    (("-action", "reboot=reset"), "the guest was reset: another boot has begun", False),
]


@pytest.mark.parametrize("start", ["lmb_init", None])
@pytest.mark.parametrize(("arguments", "ended", "compared"), RESETS, ids=["kept", "boots-again"])
def test_a_reset_ends_the_trace(
    fixture_kernel: Path, tmp_path: Path, arguments: tuple[str, ...], ended: str, compared: bool, start: str | None
) -> None:
    """No operation of another boot is taken for one of this."""
    path = tmp_path / "trace.jsonl"
    options = QemuOptions(append="lmb.scenario=random lmb.ops=60", arguments=arguments)
    with GuestSession(fixture_kernel, options, timeout_s=60) as guest:
        if start is not None:
            guest.run_until(start)
        guest.command(f"lmb-trace start --lockstep -o {path}")
        guest.command("tbreak lmb_ready")
        assert guest.run_on("lmb_ready") is None
        operations = int(guest.command("output lmb_log.nr"))
        # No gate for an exception, nor for that one's: a triple fault.
        idt = guest.command("output/x (unsigned long)&idt_table")
        guest.command(f"python gdb.selected_inferior().write_memory({idt}, bytes(4096))")
        guest.command("set $rip = 16")
        guest.run_on("the hand-over")
        status = status_of(guest)
        assert (status["running"], status["complete"], status["ended"]) == (False, False, ended)
        assert (status["divergence"], status["compared"], status["records"]) == (None, compared, operations)
        assert [one for one in status["findings"] if one["severity"] == "finding"] == []
        assert no_breakpoint_is_left(guest)
        assert guest.verdict().exit_status == (0 if compared else 5)
    with path.open("rb") as file:
        reader = TraceReader(file)
        assert len(list(reader)) == operations
    assert reader.end is not None and (reader.end.final is not None) == compared


def test_a_reset_ends_a_trace_that_began_after_the_hand_over(fixture_kernel: Path) -> None:
    """What the first boot ran to is not taken for reached by the second, though start_kernel() had been left."""
    with GuestSession(fixture_kernel, QemuOptions(arguments=("-action", "reboot=reset")), timeout_s=60) as guest:
        guest.run_until("lmb_scenario_done")
        guest.command("set var *(unsigned long *)$sp = 0")  # as on the stack of a kernel thread
        assert "start_kernel" not in guest.command("bt")
        guest.command("lmb-trace start --until lmb_scenario_done")
        guest.command("monitor system_reset")
        guest.run_on("lmb_scenario_done")
        status = status_of(guest)
        assert (status["complete"], status["ended"]) == (False, "the guest was reset: another boot has begun")


def test_a_reset_before_the_first_call_ends_nothing(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --lockstep")
        guest.command("tbreak *start_kernel")
        guest.run_on("start_kernel")
        for command in ("set $before = $sp", "stepi", "set $sp = $before", "set $pc = start_kernel"):
            guest.command(command)
        guest.run_on("the hand-over")
        status = status_of(guest)
        assert (status["complete"], status["divergence"]) == (True, None), status["ended"]
        assert status["records"] == int(guest.command("output lmb_log.nr"))


def test_where_a_boot_begins_is_watched_from_the_first_call_on(fixture_kernel: Path) -> None:
    """QEMU runs a page that has a breakpoint slowly, and Linux clears its BSS in the page where it begins."""
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start")
        assert " in start_kernel " not in guest.command("maint info breakpoints")
        guest.command("tbreak lmb_ready")
        assert guest.run_on("lmb_ready") is None
        assert " in start_kernel " in guest.command("maint info breakpoints")


def kill_when_written(path: Path, process: int) -> None:
    """Kill a process as soon as a trace's file holds the boot and some more."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while path.read_bytes().count(b'\n{"seq"') < BOOT_OPERATIONS + 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def test_qemus_death_is_one_clear_line_and_the_file_is_whole(fixture_kernel: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with guest_of(fixture_kernel, "lmb.scenario=random lmb.ops=100000") as guest:
        guest.command(f"lmb-trace start --lockstep -o {path}")
        kill_when_written(path, guest.qemu.child.process.pid)
        with pytest.raises(InfrastructureError, match=rf"^{machine().qemu} was killed by SIGKILL$"):
            guest.run_on("the end")
    reader, records = read(path)
    assert len(records) > BOOT_OPERATIONS
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert reader.end is None or reader.end.final is None


def test_what_is_left_by_a_killed_gdb_can_be_read(fixture_kernel: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with guest_of(fixture_kernel, "lmb.scenario=random lmb.ops=100000") as guest:
        guest.command(f"lmb-trace start -o {path}")
        kill_when_written(path, guest.mi.gdb.process.pid)
        with pytest.raises(InfrastructureError):
            guest.run_on("the end")
    reader, records = read(path)
    assert len(records) > BOOT_OPERATIONS
    assert reader.end is None and reader.cut_off is not None and reader.cut_off.endswith(f"record {len(records)}")


def test_gdb_that_quits_in_the_middle_leaves_a_file_with_its_end(fixture_kernel: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with guest_of(fixture_kernel) as guest:
        guest.command(f"lmb-trace start -o {path}")
        guest.command("tbreak alloc_log_buf")
        guest.run_on("alloc_log_buf")
        with pytest.raises(InfrastructureError):
            guest.command("quit")
    reader, records = read(path)
    assert 10 < len(records) < BOOT_OPERATIONS
    assert reader.cut_off is None and reader.end is not None and reader.end.final is None
    assert {pc for record in records for pc in record.callers} <= reader.symbols.keys()
    assert main(["replay", str(path)]) == 5


# -- what is shown, and what is refused -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(fixture_kernel: Path) -> Iterator[GuestSession]:
    with guest_of(fixture_kernel, "") as guest:
        traced(guest, "")
        yield guest


def shown(guest: GuestSession, options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json_of(guest, f"lmb-trace show {options}")["records"]
    return rows


def test_show_finds_records_by_number_caller_and_range(finished: GuestSession) -> None:
    assert len(shown(finished, "")) == 21
    assert [row["op"] for row in shown(finished, "--last 2")] == ["free", "free_all"]
    assert shown(finished, "--last 0") == []
    by_caller = shown(finished, "--caller ^setup_per_cpu")
    assert len(by_caller) == 4 and {row["op"] for row in by_caller} == {"alloc"}
    first = int(by_caller[0]["result"], 16)
    assert shown(finished, f"--range {first:#x}-{first + 1:#x} --caller per_cpu") == by_caller[:1]
    assert shown(finished, f"--range {first - 1:#x}-{first:#x} --caller per_cpu") == by_caller[1:2]
    for same in (
        f"{first:#x}+1",
        f"{first:#x} + 1",
        f"{first:#x} - {first + 1:#x}",
        f"{first}-{first + 1}",
        f"{first:#x}",
    ):
        assert shown(finished, f"--range {same} --caller per_cpu") == by_caller[:1], same
    finished.command(f"set $first = {first}")
    assert shown(finished, "--caller per_cpu --range $first+sizeof(struct lmb)") == by_caller[:1]
    finished.command("set $two = 2")
    assert shown(finished, "--last $two") == shown(finished, "--last 0x2") == shown(finished, "")[-2:]
    # The README's own sample: a symbol stands for its physical address.
    assert shown(finished, "--range 0x1000000-17M") == shown(finished, "--range 16777216-17825792") != []
    text = finished.command("lmb-trace show --last 1")
    assert "free_all()" in text and "hand_over+" in text and "main.c:" in text


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("start --every 3", "needs --lockstep"),
        ("start --lockstep --every 0", "from 1 up"),
        ("start --lockstep --only add", "leave --only out"),
        ("start --until ''", "--until is empty"),
        ("start --only", "--only needs a value"),
        ("start --only nonsense", "unknown operation 'nonsense'"),
        ("start --until no_such_symbol", "cannot trace until no_such_symbol"),
        ("start --until \x1b[2J", r"cannot trace until \x1b[2J: "),
        ("start word", "takes no word"),
        ("stop", "no trace is running"),
        ("start --lockstep --every -1", "'-1' is negative"),
        ("start --lockstep --every x", "give a number, $variable or sizeof(type)"),
        ("start --timeout 0", "--timeout 0: give a number of seconds more than 0"),
        ("start --timeout -1", "'-1' is negative"),
        ("start --timeout 1e400", "give a number of seconds more than 0"),
        ("start --timeout 1_0", "is not a time: give seconds, such as 60 or 0.5"),
        ("start --timeout", "--timeout needs a value"),
        ("start --json", "start takes no --json"),
        ("stop --lockstep", "stop takes no --lockstep"),
        ("status --last 1", "status takes no --last"),
        ("show -o x", "show takes no -o"),
        ("show --from-log", "show takes no --from-log"),
        ("show --last -1", "--last '-1' is negative"),
        ("show --last many", "'many' is a name, and a symbol has an address but no size"),
        ("show --range -5", "address '-5' is negative"),
        ("show --range 0x2000-0x1000", "is empty"),
        ("show --range 5+0", "is empty"),
        ("show --range 1-2-3", "is not a number"),
        ("show --range 5+lmb", "has an address but no size"),
        ("show --typo", "unknown option '--typo'"),
        ("show --lasst 3", "did you mean --last?"),
        ("show --caller (", "is no regular expression"),
        ("save", "file is missing"),
        ("dance", "'dance' is not one of start, stop, show, save, status"),
    ],
)
def test_wrong_input_is_one_clear_line(finished: GuestSession, command: str, why: str) -> None:
    with pytest.raises(CommandError) as error:
        finished.command(f"lmb-trace {command}")
    assert why in error.value.message and error.value.message.startswith("lmb-trace: ")
    assert no_breakpoint_is_left(finished)


def test_only_the_operations_asked_for_are_recorded(fixture_kernel: Path, tmp_path: Path) -> None:
    with guest_of(fixture_kernel, "") as guest:
        path = tmp_path / "trace.jsonl"
        status = traced(guest, f"--only alloc free --until lmb_ready -o {path}")
        assert status["records"] == 1 + 8 + 1
        # What makes the allocator is always there.
        assert [row["op"] for row in shown(guest, "")] == ["init"] + ["alloc"] * 8 + ["free"]
    assert main(["replay", str(path)]) == 5


def test_without_a_trace_there_is_nothing_to_show(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel, "") as guest, pytest.raises(CommandError, match="nothing was traced yet"):
        guest.command("lmb-trace show")


# -- the command line -------------------------------------------------------------------------------------------------


def test_commands_after_the_trace_know_what_it_recorded(
    fixture_kernel: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    commands = ["lmb-trace show --last 1", "lmb-who 0xffde000", "lmb-check --no-log"]
    assert main(["trace", str(fixture_kernel), "--", *commands]) == 0
    out, err = capfd.readouterr()
    assert "free_all" in out and "alloc_page_table" in out and "the trace of this session" in out
    assert "lmb-check: clean" in out and not err
    assert main(["trace", str(fixture_kernel), "--", "lmb-who nobody"]) == 2


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--lockstep"], 0, "kernel and model agree: 21 operations"),
        (["--until", "lmb_ready"], 0, "20 operations recorded, until the guest has reached lmb_ready"),
        (["--lockstep", "--append", "lmb.fault=overlap@9"], 1, "kernel and model differ: 10 operations"),
        (["--lockstep", "--append", "lmb.fault=no-such-fault"], 3, "the guest is in panic()"),
        (["--kvm"], 2, "leave --kvm out"),
        (["--until", "no_such_symbol"], 2, "cannot trace until no_such_symbol"),
        (
            ["--lockstep", "--timeout", "2", "--append", "lmb.scenario=random lmb.ops=100000"],
            3,
            "did not reach the hand-over",
        ),
    ],
)
def test_exit_status(
    fixture_kernel: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], status: int, says: str
) -> None:
    path = tmp_path / "a trace.jsonl"
    assert main(["trace", str(fixture_kernel), "-o", str(path), *options]) == status
    out, err = capfd.readouterr()
    assert says in out + err
    if status in (0, 1):
        assert main(["replay", str(path)]) == status

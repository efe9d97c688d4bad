# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorder without gdb: a second model is the kernel, whose calls are made by hand and may go wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.allocators.base import Role, allocator
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.core.errors import OutputError, ReadError, StateError
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.report.trace_file import TraceOutput, TraceReader
from gdb_lmb.tracing.recording import Call, Place, Purpose, Recording
from tests.helpers.operations import apply, op

ADD = op("add", 0x1000, 0xFF000)
LOCKSTEP = TraceOptions(lockstep=True)


class Kernel:
    """A list-based LMB that is traced: `call` runs an operation on it, between the two stops of the call."""

    layout, arch, byte_order, bits, page_size = "lmb-list", "x86_64", "little", 64, 4096
    allocator = allocator("lmb-list")

    def __init__(self) -> None:
        self.adapter = self.machine = self
        self.lmb = LmbModel(LmbConfig())
        self.fails = False
        self.reads = 0
        self._seen: Snapshot | None = None

    def read(self) -> Snapshot:
        if self.fails:
            raise ReadError(0x1000, 8, "no such memory")
        self.reads += 1
        self._seen = self.lmb.snapshot()
        return self._seen

    def unchanged(self) -> bool:
        return self.lmb.snapshot() == self._seen

    def operation(self, call: Call) -> Operation:
        return op(call.role.op, **call.arguments)

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        return operation, result

    def facts(self) -> dict[str, int]:
        return {"revision": 2}

    def switches(self) -> dict[str, int]:
        return {"set_bottom_up": int(self.lmb.bottom_up)}

    def model(self, state: Snapshot) -> LmbModel:
        return LmbModel.from_snapshot(state)


class Trace:
    """A recording and the kernel that is recorded."""

    def __init__(self, options: TraceOptions = LOCKSTEP, path: Path | None = None) -> None:
        self.kernel = Kernel()
        self.output = TraceOutput(path)
        self.recording = Recording(self.kernel, options, self.output)  # type: ignore[arg-type]
        self.header = self.recording.begin(self.kernel.lmb.snapshot())

    def call(self, operation: Operation, does: Callable[[LmbModel], int | None] | None = None) -> bool:
        """Make one call, which `does` something else than it should; tell whether the guest stops."""
        names = ("base", "size", "align", "min", "max", "flags")
        arguments = {name: value for name in names if (value := getattr(operation, name))}
        call = Call(Role(operation.op), 0x100, arguments, (0xC0DE, 0xCA11), 0x7000)
        if self.recording.entered(call):
            return True
        result = apply(self.kernel.lmb, operation) if does is None else does(self.kernel.lmb)
        return self.recording.returned(call, result)

    def pass_by(self, purpose: Purpose, address: int = 0x500, callers: tuple[int, ...] = ()) -> bool:
        return self.recording.reached(Place("there", address, purpose), callers)


def reserve(at: int, size: int = 0x1000) -> Operation:
    return op("reserve", at, size)


def test_a_sound_boot_is_recorded_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path=path)
    assert not trace.call(ADD)
    assert not trace.call(reserve(0x4000))
    assert not trace.call(op("alloc", size=0x2000, align=0x1000))
    assert not trace.call(op("free", 0x9000, 0x1000))
    assert not trace.call(op("allow_growth"))
    assert trace.call(op("free_all"))
    recording = trace.recording
    assert (recording.ended, recording.complete, recording.failed) == ("the allocator has handed over", True, False)
    final = recording.final_state()
    assert final is not None and final.handover is not None and recording.divergence is None
    trace.output.end({}, final)
    trace.output.close()
    with path.open("rb") as file:
        reader = TraceReader(file)
        assert list(reader) == recording.records
    assert [str(record.operation).split("(")[0] for record in recording.records] == [
        "add", "reserve", "alloc", "free", "allow_growth", "free_all",
    ]  # fmt: skip
    # The allocation lies at the top of memory; a free of what nobody has reserved succeeds.
    assert [record.result for record in recording.records][:5] == [0, 0, 0xFE000, 0, 0]
    assert [record.phase for record in recording.records] == ["before growth"] * 5 + ["growing"]
    assert {record.callers for record in recording.records} == {(0xC0DE, 0xCA11)}


def test_a_wrong_result_stops_the_guest_at_the_return() -> None:
    trace = Trace()
    assert not trace.call(ADD)
    assert trace.call(reserve(0x4000), lambda lmb: lmb.reserve(0x4000, 0x1000) - 22)
    divergence = trace.recording.divergence
    assert divergence is not None and (divergence.kind, divergence.found, divergence.expected) == ("result", -22, 0)
    assert (trace.recording.ended, trace.recording.complete) == ("they differ", False)
    # What comes after the end is not recorded any more.
    assert not trace.call(reserve(0x8000))
    assert len(trace.recording.records) == 2


def test_a_wrong_state_names_the_operation() -> None:
    trace = Trace()
    assert not trace.call(ADD)
    assert trace.call(reserve(0x4000), lambda lmb: lmb.reserve(0x4000, 0x1800))
    divergence = trace.recording.divergence
    assert divergence is not None and divergence.kind == "state" and divergence.exact
    assert divergence.record is not None and divergence.record.seq == 2


def test_a_change_between_two_operations_is_seen_at_the_next_call() -> None:
    trace = Trace()
    assert not trace.call(ADD)
    trace.kernel.lmb.reserve(0x9000, 0x1000)
    assert trace.call(reserve(0x4000))
    divergence = trace.recording.divergence
    assert divergence is not None and divergence.kind == "outside"
    assert divergence.message.startswith("before reserve(base=0x4000, size=0x1000, flags=0x0) begins, ")
    assert len(trace.recording.records) == 1


@pytest.mark.parametrize(
    ("purpose", "ended", "complete"),
    [
        (Purpose.COMPARE, "they differ", False),
        (Purpose.PANIC, "the guest is in there()", False),
        (Purpose.END, "the guest has reached there", True),
    ],
)
def test_a_change_is_seen_at_a_place(purpose: Purpose, ended: str, complete: bool) -> None:
    trace = Trace()
    assert not trace.call(ADD)
    trace.kernel.lmb.reserve(0x9000, 0x1000)
    assert trace.pass_by(purpose)
    assert (trace.recording.ended, trace.recording.complete) == (ended, complete)
    divergence = trace.recording.divergence
    assert divergence is not None and divergence.kind == "outside"


def test_a_sound_place_lets_the_guest_go_on() -> None:
    trace = Trace()
    assert not trace.call(ADD)
    reads = trace.kernel.reads
    assert not trace.pass_by(Purpose.COMPARE)
    assert trace.kernel.reads == reads, "what has not changed is not decoded again"
    assert trace.pass_by(Purpose.PANIC) and trace.recording.divergence is None


def test_the_end_may_be_an_operation_that_is_about_to_begin() -> None:
    trace = Trace(replace(LOCKSTEP, until="there"))
    assert not trace.call(ADD)
    call = Call(Role("reserve"), 0x100, {"base": 0x4000, "size": 0x1000}, (1,), 0)
    assert not trace.recording.entered(call)
    assert trace.pass_by(Purpose.END, address=0x100)
    assert trace.recording.inside is None and trace.recording.final_state() is not None


def test_an_end_inside_an_operation_has_no_last_state() -> None:
    trace = Trace(replace(LOCKSTEP, until="there"))
    assert not trace.call(ADD)
    assert not trace.recording.entered(Call(Role("reserve"), 0x100, {"base": 0x4000, "size": 0x1000}, (1,), 0))
    assert trace.pass_by(Purpose.END)
    assert trace.recording.inside == reserve(0x4000) and trace.recording.final_state() is None


def test_the_hand_over_ends_no_trace_that_has_another_end() -> None:
    trace = Trace(replace(LOCKSTEP, until="there"))
    assert not trace.call(ADD)
    assert not trace.call(op("free_all"))
    assert trace.recording.ended is None


def test_the_fault_is_found_between_two_states_that_are_compared() -> None:
    trace = Trace(replace(LOCKSTEP, every=4))
    assert not trace.call(ADD)
    assert not trace.call(reserve(0x4000), lambda lmb: lmb.reserve(0x4000, 0x2000))
    assert not trace.call(reserve(0x8000))
    assert trace.call(reserve(0xC000))
    divergence = trace.recording.divergence
    assert divergence is not None and divergence.exact
    assert divergence.record is not None and divergence.record.seq == 2


def test_a_setting_that_inlined_code_changes_is_an_operation() -> None:
    trace = Trace()
    assert not trace.call(ADD)
    assert not trace.pass_by(Purpose.SETTING, callers=(0x51, 0x52))
    trace.kernel.lmb.set_bottom_up(True)
    assert not trace.call(op("alloc", size=0x1000))
    seen = [(record.operation.op, record.operation.flags, record.callers) for record in trace.recording.records]
    assert seen[1:] == [("set_bottom_up", 1, (0x51, 0x52)), ("alloc", 0, (0xC0DE, 0xCA11))]
    assert trace.recording.divergence is None


def test_before_its_init_an_allocator_has_no_operations() -> None:
    kernel = Kernel()
    recording = Recording(kernel, LOCKSTEP, TraceOutput(None))  # type: ignore[arg-type]
    assert recording.begin(None).initial is None
    early = Call(Role("reserve"), 0x100, {"base": 0x4000, "size": 0x1000}, (1,), 0)
    assert not recording.entered(early) and not recording.returned(early, -22)
    assert recording.records == [] and recording.final_state() is None
    # lmb_init(): 64 static entries of 40 bytes, blocks of 4096 bytes with a header of 40.
    config = LmbConfig()
    init = op("init", size=config.block_size, flags=64, align=config.header_size, min=config.entry_size,
                     max=config.static)  # fmt: skip
    names = ("size", "flags", "align", "min", "max")
    call = Call(Role("init"), 0x200, {name: getattr(init, name) for name in names}, (1,), 0)
    assert not recording.entered(call) and not recording.returned(call, 0)
    assert [record.operation for record in recording.records] == [init] and recording.divergence is None
    assert recording.final_state() is not None


def test_what_cannot_be_read_ends_the_trace() -> None:
    trace = Trace()
    assert not trace.call(ADD)
    trace.kernel.fails = True
    assert trace.call(reserve(0x4000))
    recording = trace.recording
    assert recording.failed and not recording.complete and recording.write_error is None
    assert recording.ended == "cannot read 8 bytes of guest memory at 0x1000: no such memory"


def test_what_cannot_be_written_ends_the_trace(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    trace = Trace(TraceOptions(), pipe)
    assert not trace.call(ADD)
    os.close(reader)
    assert trace.call(reserve(0x4000))
    assert trace.recording.failed and trace.recording.ended is not None
    assert trace.recording.write_error == trace.recording.ended
    assert trace.recording.ended.startswith(f"cannot write {pipe}: Broken pipe")


def test_a_file_that_takes_nothing_is_refused_at_the_beginning() -> None:
    with pytest.raises(OutputError, match=r"^cannot write /dev/full: No space left on device$"):
        Trace(TraceOptions(), Path("/dev/full"))


def test_a_state_that_no_model_goes_on_from() -> None:
    class Torn(Kernel):
        def model(self, state: Snapshot) -> LmbModel:
            raise StateError("torn")

    with pytest.raises(StateError):
        Recording(Torn(), LOCKSTEP, TraceOutput(None)).begin(Kernel().read())  # type: ignore[arg-type]
    # Without the model it is recorded all the same.
    assert Recording(Torn(), TraceOptions(), TraceOutput(None)).begin(Kernel().read()).initial is not None  # type: ignore[arg-type]

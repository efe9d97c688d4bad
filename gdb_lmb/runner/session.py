# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel booted in QEMU, and one gdb with the lmb commands on it.

    with GuestSession(Path("vmlinux"), QemuOptions(append="lmb.ops=100")) as guest:
        guest.run_until("lmb_ready")
        text = guest.command("lmb-check --json")
        status = guest.verdict().exit_status

Every step has `timeout_s` seconds. Leaving the block ends everything that was started.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gdb_lmb.core.errors import InfrastructureError, LmbError, NotReachedError, PassedError, UsageError
from gdb_lmb.core.numbers import DEFAULT_TIMEOUT_S
from gdb_lmb.core.words import plural, printable
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.runner.base import STEP_S, CommandError, Session, ignore
from gdb_lmb.runner.boot_files import boot_files
from gdb_lmb.runner.elf import find_programs, has_symbol, headers_of, machine_of
from gdb_lmb.runner.process import quote, read_file
from gdb_lmb.runner.qemu import Qemu, QemuOptions
from gdb_lmb.runner.results import Attached, Space, State, Verdict

if TYPE_CHECKING:
    from gdb_lmb.runner.mi_records import Reply, Sink, Stop

DEFAULT_SYMBOL = "lmb_ready"
# Where the allocator is complete, in a kernel with LMB and in a stock one.
_DEFAULT_SYMBOLS = (DEFAULT_SYMBOL, "memblock_free_all")
# What brings a guest that has run elsewhere.
_BROUGHT = {"-loadvm", "-incoming", "--loadvm", "--incoming"}
# How long QEMU may take to end.
_QUIT_S = 5.0
# How long a guest that called panic() may go on printing.
_PANIC_PRINTS_S = 1.0
# How many steps are tried to leave an address: an instruction may lead to itself.
_STEPS = 8
# How many callers of a function that ends the guest are told.
_CALLERS = 4
_ALLOCATION = re.compile(r"\ballocat")


class GuestSession(Session):
    """A kernel booted in a QEMU of its own."""

    def __init__(
        self,
        kernel: Path,
        options: QemuOptions | None = None,
        *,
        symbols: Path | None = None,
        gdb: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        notice: Callable[[str], None] | None = None,
        terminal: Terminal | None = PLAIN,
    ) -> None:
        """Start QEMU, stopped at reset, and gdb; `timeout_s` is for each step to come.

        A bzImage or Image has its `symbols` in another file, which is looked for if it is not given; it may move
        itself anywhere, so the first run leads to where that is done, and gdb's symbols are put there.
        Raises: UsageError for an unsuitable kernel; InfrastructureError if QEMU or gdb cannot be had.
        """
        image, elf, moves = boot_files(kernel, symbols, notice or ignore)
        self._options = options or QemuOptions()
        self._architecture = machine_of(elf, self._options.arch)
        self._loads = headers_of(elf.path).loads
        self._unpacking = self._seen_dead = False
        _, gdb_path = find_programs(self._architecture, self._options.binary, gdb)
        self._moves, self._unpacked = moves, not moves
        self.program = elf.path
        # Where a run ends unless another place is given.
        self.default_symbol = next((name for name in _DEFAULT_SYMBOLS if has_symbol(elf, name)), DEFAULT_SYMBOL)
        self._from_reset = self._options.paused and not _BROUGHT & set(self._options.arguments)
        # How far the guest was when it could first be watched; empty where that was at its first instruction.
        self._late = ""
        # Checks that were no checks of the user's.
        self._own_checks = 0
        # Called with a guest that is lost, before it is let go.
        self.on_lost: Callable[[], object] | None = None
        super().__init__(timeout_s, notice, terminal)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.qemu = Qemu(self._folder, elf, self._options, image)
            self._open(elf.path, gdb_path)
            self.mi.peer = self.qemu.child
            self.mi.is_stopping = self.qemu.monitor.is_stopping
            undo.pop_all()

    @property
    def relocatable(self) -> bool:
        """Tell whether the kernel may put itself elsewhere than its headers say."""
        return self._moves

    def console(self) -> bytes:
        return self.qemu.console()

    def logs(self) -> dict[str, bytes]:
        """Return the guest's console, and what gdb and QEMU wrote to their stderr, by names for files."""
        logs = {f"{child.name}.log": read_file(child.log) for child in self._folder.children}
        return {"console.log": self.console(), **logs}

    def build_id(self) -> str | None:
        """Return the build id of the program in hex, None where it has none."""
        found = headers_of(self.program).build_id()
        return None if found is None else found.hex()

    def command(self, text: str, sink: Sink | None = None, timeout_s: float | None = None) -> str:
        self._connect()
        return super().command(text, sink, timeout_s)

    def run_until(self, where: str | None = None, timeout_s: float | None = None) -> Stop:
        """Run the guest until `where` (a symbol, FILE:LINE or *ADDRESS; `default_symbol` if None).

        Raises: UsageError if there is no such place; NotReachedError if the guest panics, resets, powers off
        or takes longer than `timeout_s` seconds; PassedError if it was past the place before it could be watched.
        """
        limit_s = timeout_s or self.timeout_s
        place = where if where is not None else self.default_symbol
        what = printable(place, 80)
        self.unpack(limit_s, what if place == self.default_symbol else None)
        target, address = self._insert_breakpoint(place, by_default=where is None)
        before = self.mi.last_stop
        if before is not None and before.address == address:
            self._step_off(target, before)
        # `panic_halt` comes after the message is out; a plain panic() has still to print it. Not every kernel has both.
        for panic in ("panic_halt", "panic"):
            number = _breakpoint_number(self._break(panic))
            if number is not None:
                break
        stop, reached = self._continue(what, limit_s)
        for inserted in filter(None, (target, number)):  # but for what was hit: that gdb has deleted
            self.mi.execute(f"-break-delete {inserted}", STEP_S)
        if stop.breakpoint == target:
            return stop
        panicked = number is not None and stop.breakpoint == number
        raise self.not_reached(self._why_not(what, stop, reached, limit_s, panic if panicked else None))

    def not_reached(self, why: str) -> LmbError:
        """Return the error for a guest that did not reach its place: `InfrastructureError` where it ended QEMU."""
        console = self.console()
        try:
            if self.on_lost is not None:
                self.on_lost()
            self._require_not_ended()
        except InfrastructureError as error:
            return error
        return NotReachedError(why, console)

    def verdict(self) -> Verdict:
        """Ask for the verdict; see `Session.verdict`. Raises: InfrastructureError if the guest has ended QEMU."""
        found = super().verdict()
        self._require_not_ended()
        return found._replace(forgotten=found.forgotten - self._own_checks)

    # Check that the guest has not ended QEMU with an exit status of its own, as by the device isa-debug-exit.
    # Since 9.1 QEMU takes that for a shutdown, which we have it pause at, and tells the status only by ending with
    # it: so a guest that has shut down or reset is let go here, after which it cannot be looked at any more.
    # Raises: InfrastructureError. Source: `qemu_system_shutdown_request_with_code()` of QEMU.
    def _require_not_ended(self) -> None:
        stop = self.mi.last_stop
        if stop is None or stop.signal != "SIGQUIT" or not self.mi.connected:
            return
        # gdb's own complaint is that the connection is gone; or QEMU ends before the command does.
        with contextlib.suppress(InfrastructureError):
            self.mi.console("monitor quit", _QUIT_S, ignore)
        if self.qemu.child.ended(_QUIT_S) and self.qemu.child.process.returncode:
            raise InfrastructureError(self.qemu.child.how_it_ended())

    def run_on(self, what: str, timeout_s: float | None = None) -> str | None:
        """Let the guest run until it stops by itself; return None, or in words why it stopped otherwise.

        `what` is what it should get to, for messages. Raises: InfrastructureError.
        """
        limit_s = timeout_s or self.timeout_s
        stop, stopped = self._continue(what, limit_s)
        as_expected = stopped and stop.signal != "SIGQUIT" and (not stop.signal or stop.breakpoint)
        return None if as_expected else self._why_not(what, stop, stopped, limit_s)

    def let_print(self) -> None:
        """Let a guest that called panic() print why."""
        self.mi.execute("-exec-continue", STEP_S, ignore)
        self.mi.wait_stopped(_PANIC_PRINTS_S)
        self.mi.interrupt()
        self.mi.take_late_log()  # of a source file that is not there

    def panic_text(self) -> str:
        """Return what Linux has panicked with after ": ", "" where nothing tells; no console is needed.

        It has the size of an allocation that failed, to which is added what was left.
        Source: the static buffer of `panic()`, in later kernels of `vpanic()`.
        """
        for function in ("panic", "vpanic"):
            reply = self.mi.console(f"with print repeats unlimited -- output (char *)&{function}::buf", STEP_S)
            found = re.search(r'"(.+)"$', reply.console) if reply.kind == "done" else None
            if found is not None:
                text = printable(found[1].removesuffix("\\n"), 200)
                return f": {text}" + (self._left_over() if _ALLOCATION.search(text) else "")
        return ""

    # Let the guest run; return where it stopped, and whether it did so by itself.
    def _continue(self, what: str, limit_s: float) -> tuple[Stop, bool]:
        self._connect()
        self.dead = False
        with self.watched(f"running to {what}"):
            reply = self.mi.execute("-exec-continue", STEP_S, ignore)
            if reply.kind != "running":
                self._check_alive()
                raise InfrastructureError(f"gdb cannot run the guest: {reply.error}")
            reached = self.mi.wait_stopped(limit_s, None, self._is_dead)
        interrupted = reached or self.mi.interrupt()
        # A breakpoint's stop() or a handler of events that raises is told of, and gdb goes on.
        for error in self.mi.take_python_errors():
            self._notice(f"Python failed in gdb on the way to {what}: {error}")
        self._check_alive()
        if not interrupted:
            raise InfrastructureError(f"no {what} within {limit_s:g} s, and QEMU does not answer")
        stop = self.mi.last_stop
        if stop is None or not self.mi.connected:
            raise InfrastructureError("QEMU closed the connection")
        # An interrupt may have been reported on a CPU that is parked; and gdb tells no place where it printed none.
        if (not reached and self._options.smp > 1) or stop.address is None:
            found = self.mi.stop_of_thread(1, STEP_S) or stop
            stop = stop._replace(address=found.address, function=found.function)
        return stop, reached

    def unpack(self, timeout_s: float | None = None, before_hand_over: str | None = None) -> None:
        """Let a bzImage or Image get to where it will stay, and put gdb's symbols there; an ELF is there already.

        `before_hand_over` names what is to come, where that is before memory goes to the page allocator.
        Raises: NotReachedError where the kernel does not come up; PassedError if the guest is past that already.
        """
        if not self._unpacked:
            self._unpack(timeout_s or self.timeout_s)
        elif not self._from_reset:
            self._find_phase()
        if before_hand_over is not None and self._late:
            from gdb_lmb.core.address import Phase  # 3 % of a start, and few guests come from elsewhere

            past = {Phase.HANDED_OVER.value: "handed over", Phase.DISCARDED.value: "handed over, and was discarded"}
            if self._late in past:
                raise PassedError(
                    f"the guest was past {before_hand_over} already when it could first be watched: its allocator had "
                    f"{past[self._late]}; this says nothing about the guest, run it again"
                )

    # Have `lmb-attach --wait` lead the guest to its first instruction.
    def _unpack(self, limit_s: float) -> None:
        self._unpacking = True
        try:
            told = self.result(Attached, f"lmb-attach --wait --json --timeout {limit_s:g}", limit_s + STEP_S)
        except CommandError as error:
            how = "halted for good" if self.dead else self.qemu.how_it_ended()
            stop = self.mi.stop_of_thread(1, STEP_S) if how else None
            if stop is None:
                raise self.not_reached(error.message) from None
            where = f"in {stop.place()}{self._instruction()}"
            why = f"the guest {how} before it reached the kernel's first instruction, {where}"
            raise self.not_reached(why) from None
        finally:
            self._unpacking = False
        self._unpacked = True
        if not told.at_first_instruction:
            self._late = str(told.phase)

    # gdb runs the guest itself, step by step, and must be told.
    def _waiting(self, seconds: float) -> None:
        if self._unpacking and self._is_dead():
            self._unpacking = False
            self.mi.interrupt_gdb()

    def _how_it_ended(self) -> str:
        return self.qemu.how_it_ended() or super()._how_it_ended()

    def _is_dead(self) -> bool:
        # What is seen twice is no moment between two instructions.
        registers = self.qemu.monitor.registers()
        dead = registers is not None and self._architecture.is_dead(registers, self.qemu.monitor.words)
        self.dead, self._seen_dead = dead and self._seen_dead, dead
        return self.dead

    # Find the boot phase of a guest that was not started from reset, once.
    def _find_phase(self) -> None:
        from gdb_lmb.core.address import Phase

        self._from_reset = True
        self._late = "somewhere in its boot"
        with contextlib.suppress(CommandError):
            state = self.result(State, "lmb-dump --json")
            self._late = state.phase or (Phase.HANDED_OVER.value if state.closed else self._late)
        self._own_checks = len(self.result(Verdict, "lmb-verdict --reset").checks)

    # In one line why the guest stopped where it is and not at `what`; `panic` is the function that it called then.
    def _why_not(self, what: str, stop: Stop, stopped: bool, limit_s: float, panic: str | None = None) -> str:
        # What happened before it was watched is not known.
        missed = f"did not come to {what}" if self._late else ""
        if panic is not None:
            callers = self._callers()
            told = ""
            if panic == "panic":
                self.let_print()
                told = self.panic_text()
            why = f"the guest panicked {'and ' + missed if missed else 'before it reached ' + what}{callers}{told}"
        elif stop.signal == "SIGQUIT":
            how = f"the guest {self._how_it_ended()}"
            where = f"in {stop.place()}{self._instruction()}"
            why = f"{how} {where} and {missed}" if missed else f"{how} before it reached {what}, {where}"
        elif stopped:
            signal = printable(stop.signal or stop.reason or "gdb does not tell why", 40)
            why = f"the guest stopped ({signal}) in {stop.place()}, not at {what}"
        elif self.dead:
            how = f"the guest halted for good in {stop.place()}"
            why = f"{how} and {missed}" if missed else f"{how}, before it reached {what}"
        else:
            why = f"the guest did not reach {what} within {limit_s:g} s; it was in {stop.place()}"
        if self._is_outside(stop):
            why += ", outside of the kernel: it never reached its first instruction, or has left it"
        late = f"; when it was first watched it was {self._late} already, and may have passed {what} before"
        return why + (late if self._late else "")

    # Tell whether the guest is outside of an ELF that lies where its headers say.
    def _is_outside(self, stop: Stop) -> bool:
        at = stop.address
        if at is None or self._moves:
            return False
        return not any(low <= at < low + one.memory_size for one in self._loads for low in (one.va, one.physical))

    # In words what called the function at whose entry the guest is: of a failed allocation, which one it was.
    def _callers(self) -> str:
        reply = self.mi.execute(f"-stack-list-frames 1 {_CALLERS}", STEP_S)
        rows = reply.payload.get("stack") or () if reply.kind == "done" else ()
        names = (row.get("func", row.get("addr")) for row in rows)
        told = ", ".join(printable(name, 80) for name in names if name not in (None, "panic"))
        return f", called from {told}" if told else ""

    def _left_over(self) -> str:
        with contextlib.suppress(CommandError, InfrastructureError):
            space = self.result(Space, "lmb-free --json")
            largest = int(space.largest[0].size, 16)
            return "" if space.torn else f"; the largest allocation possible was {plural(largest, 'byte')}"
        return ""

    # The instruction that the guest is at, "" where it cannot be read.
    def _instruction(self) -> str:
        reply = self.mi.execute('-data-disassemble -s $pc -e "$pc + 1" -- 0', STEP_S)
        rows = reply.payload.get("asm_insns") or () if reply.kind == "done" else ()
        return "".join(f": {printable(row['inst'], 80)}" for row in rows[:1] if "inst" in row)

    def _insert_breakpoint(self, where: str, by_default: bool) -> tuple[str, int | None]:
        if not where.strip() or "\n" in where:
            raise UsageError("the place to run until is empty or has several lines")
        reply = self._break(where)
        number = _breakpoint_number(reply)
        if number is None:
            advice = f" ({' and '.join(_DEFAULT_SYMBOLS)} are not in it); say where to stop with --until SYMBOL"
            why = reply.error.rstrip(".") or "no such place"
            raise UsageError(f"cannot stop at {printable(where, 80)}: {why}{advice if by_default else ''}")
        address = str(reply.payload["bkpt"].get("addr"))
        return number, int(address, 16) if address.startswith("0x") else None  # MI has words for none and for several

    # Step off a place before the guest runs to it again. gdb would do so too; but on a busy machine QEMU 10 and 11 may
    # report a step that was not made, and the guest would be there again at once.
    def _step_off(self, breakpoint: str, before: Stop) -> None:
        self.mi.execute(f"-break-disable {breakpoint}", STEP_S)
        stop: Stop | None = before
        for _ in range(_STEPS):
            if stop is None or stop.address != before.address or stop.signal == "SIGQUIT":
                break
            if self.mi.execute("-exec-step-instruction", STEP_S, ignore).kind != "running":
                break
            if not self.mi.wait_stopped(STEP_S):
                self.mi.interrupt()
                break
            stop = self.mi.last_stop
        self.mi.execute(f"-break-enable {breakpoint}", STEP_S)

    # Insert a temporary breakpoint: a hardware one under KVM, where loading overwrites the others.
    def _break(self, where: str) -> Reply:
        # The first look-up in half a gigabyte of debug information may take gdb a minute on a busy machine.
        reply = self.mi.execute(f"-break-insert -t {quote(where)}", max(STEP_S, self.timeout_s))
        number = _breakpoint_number(reply)
        if number is None or not self._options.kvm:
            return reply
        # The place was looked up without the guest, whose memory may not be mapped yet; the hardware needs it.
        self.mi.execute(f"-break-delete {number}", STEP_S)
        self._connect()
        address = reply.payload["bkpt"].get("addr")
        place = f"*{address}" if address is not None and address.startswith("0x") else where
        return self.mi.execute(f"-break-insert -t -h {quote(place)}", STEP_S)

    # Connect gdb to the stub, once.
    def _connect(self) -> None:
        if not self.mi.connected and self.mi.last_stop is None:
            limit_s = min(self.timeout_s, STEP_S)
            reply = self.mi.execute(f"-target-select remote {self.qemu.endpoint.path}", limit_s)
            if reply.kind != "connected":
                self.qemu.child.ended(1.0)
                self._check_alive()
                raise InfrastructureError(f"gdb cannot connect to QEMU: {reply.error}")
            self.qemu.monitor.ask("query-status")  # from now on it tells of events

    def _check_alive(self) -> None:
        # The connection is closed before the process has exited.
        within_s = 0.0 if self.mi.connected or self.mi.last_stop is None else 0.5
        if self.qemu.child.ended(within_s):
            raise InfrastructureError(self.qemu.child.how_it_ended())


# The number of the breakpoint that was inserted, if one was.
def _breakpoint_number(reply: Reply) -> str | None:
    number: str | None = reply.payload.get("bkpt", {}).get("number")
    return number

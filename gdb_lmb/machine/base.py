# SPDX-License-Identifier: GPL-2.0-or-later
"""What gdb offers of a live guest and of a dump alike: CPUs, registers, frames, the architecture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gdb

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.registry import of_gdb
from gdb_lmb.core.errors import LmbError, NotReadyError, ReadError
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.machine import Function
from gdb_lmb.core.memory import Memory
from gdb_lmb.machine.symbols import GdbSymbols, as_function, at_entry

# A guest's stack can be endless when damaged.
_MAX_FRAMES = 64


class _Changes:
    # How often the guest was let run, or written to.
    count = 0


def _changed(_event: object) -> None:
    _Changes.count += 1


gdb.events.cont.connect(_changed)
gdb.events.memory_changed.connect(_changed)


class GdbMachine(GdbSymbols):
    """What a live guest and a dump have in common: the selected inferior."""

    @property
    def architecture(self) -> Architecture | None:
        return of_gdb(gdb.selected_inferior().architecture().name(), self.bits, self.byte_order)

    @property
    def arch(self) -> str:
        # In gdb's words where it is not known here.
        known = self.architecture
        return str(gdb.selected_inferior().architecture().name()) if known is None else known.uname

    @property
    def byte_order(self) -> ByteOrder:
        # As gdb lays out an integer for the target.
        number = gdb.Value(b"\x01\x00", gdb.selected_inferior().architecture().integer_type(16, False))
        return "little" if int(number) == 1 else "big"

    @property
    def bits(self) -> int:
        return 8 * int(gdb.selected_inferior().architecture().integer_type(8).pointer().sizeof)

    def stop_number(self) -> tuple[int | None, int]:
        return gdb.selected_inferior().connection_num, _Changes.count

    def require_stopped(self) -> None:
        """Check that there is a guest and that it is stopped. Raises: `NotReadyError`."""
        thread = gdb.selected_thread()
        if thread is None or not thread.is_valid():
            if gdb.selected_inferior().threads():
                raise NotReadyError("no thread is selected: choose a CPU with `thread 1`")
            raise NotReadyError(
                "there is no guest: connect with `target remote ...`, open a dump with `core FILE`, or use "
                "`gdb-lmb run`"
            )
        if thread.is_running():
            # To gdb it also "runs" while a Breakpoint.stop() is asked, but then it can be looked at.
            try:
                gdb.newest_frame()
            except gdb.error:
                raise NotReadyError("the guest is running: stop it first (Ctrl-C or `interrupt`)") from None

    def register(self, name: str) -> int | None:
        try:
            value = gdb.newest_frame().read_register(name)
            return int(value) & ((1 << 8 * value.type.sizeof) - 1)
        except (ValueError, gdb.error):
            return None

    def pc(self) -> int:
        return int(gdb.newest_frame().pc())

    @contextlib.contextmanager
    def booting_cpu(self) -> Iterator[None]:
        # The firmware has parked another CPU, or it runs a user's program: its stack and its page tables tell nothing
        # of the kernel's allocator. Kernels boot on the first.
        selected = gdb.selected_thread()
        first = self._booting_cpu()
        if selected is None or first is None:
            yield
            return
        frame = gdb.selected_frame()
        first.switch()
        try:
            yield
        finally:
            with contextlib.suppress(gdb.error):
                selected.switch()
                frame.select()

    def select_booting_cpu(self) -> None:
        """Select the first CPU where another is selected that is not in the kernel, as after an interrupt.

        QEMU reports an interrupt on the last of the CPUs that were running, since 8.1 or so: during early boot the
        firmware still has that one parked. Source: `gdb_handle_vcont()` of QEMU's gdbstub/gdbstub.c.
        """
        first = self._booting_cpu()
        if first is not None:
            first.switch()

    def _booting_cpu(self) -> gdb.InferiorThread | None:
        # The first CPU, None where it is selected or the selected one is in the kernel.
        selected = gdb.selected_thread()
        # The list of threads costs requests: a guest with one CPU, or stopped by the first, is not asked for it.
        if selected is None or selected.num == 1:
            return None
        arch = self.architecture
        first = min(gdb.selected_inferior().threads(), key=lambda thread: thread.num)
        if arch is None or not arch.is_kernel_address(self.pc()):
            return first
        # kexec has stopped the others in a kernel that does not run any more; a crash has stopped the first too.
        stopped = self._is_stopped(arch)
        if not stopped:
            return first if stopped is None else None
        frame = gdb.selected_frame()
        first.switch()
        try:
            return None if self._is_stopped(arch) else first
        finally:
            selected.switch()
            frame.select()

    def _is_stopped(self, arch: Architecture) -> bool | None:
        # None where the selected CPU cannot read its own code: another kernel may have the memory of its page tables.
        cpu = arch.cpu_state(self.register)
        try:
            return arch.is_stopped(cpu, self.virtual())
        except ReadError:
            return None
        except LmbError:
            return False

    def virtual(self) -> Memory:
        raise NotImplementedError

    def cpus(self) -> Iterator[int]:
        selected, threads = gdb.selected_thread(), gdb.selected_inferior().threads()
        if selected is None or len(threads) < 2:
            return
        frame = gdb.selected_frame()
        try:
            for thread in threads:
                thread.switch()
                yield thread.num
        finally:
            selected.switch()
            frame.select()

    def functions_on_stack(self, moved: int = 0, memory: Memory | None = None) -> list[Function]:
        found: list[Function] = []
        with contextlib.suppress(gdb.error):  # a stack that cannot be unwound further ends there
            frame = gdb.newest_frame()
            pc = frame.pc()
            fresh = at_entry(pc)
            while frame is not None and frame.is_valid() and len(found) < _MAX_FRAMES:
                if frame.function() is not None and not (fresh and frame.pc() == pc):
                    found.append(as_function(frame.function()))
                frame = frame.older()
        return found

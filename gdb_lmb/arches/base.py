# SPDX-License-Identifier: GPL-2.0-or-later
"""What every architecture must know for a Linux kernel to be found, translated and followed.

What is arithmetic lives in `address`; here is what needs gdb's registers and the kernel's own variables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.core.address import Phase, Placement
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.image import KernelImage
from gdb_lmb.core.memory import BoundedMemory, Memory
from gdb_lmb.machine.program import DEFAULT_PAGE_SIZE


@dataclass(frozen=True)
class Cpu:
    """The selected CPU: program counter, whether paging is on, and the physical addresses of its page tables.

    `general` are its general registers, the stack pointer first, where they may tell of a kernel to come; `user`
    whether it is in user mode. What
    gdb has no register for is None or empty. Taken before reads become physical: gdb looks at code and
    stack to make a frame, and keeps what it saw.
    """

    pc: int
    paging: bool | None = None
    tables: tuple[int, ...] = ()
    general: tuple[int, ...] = ()
    user: bool | None = None


class Architecture(ABC):
    """How one architecture boots Linux.

    Besides those of every kernel, `variables` (with debug information) and `labels` (the linker's and the
    assembler's, of data and of code) are wanted; `entry` is the label of the image's first instruction. `missing`
    says why a kernel may not be in memory yet. `slice_s` is how many seconds a guest whose kernel is awaited runs
    between two looks.
    """

    entry: str
    missing: str
    variables: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    code_labels: tuple[str, ...] = ()
    slice_s = 0.02

    def page_size(self, program: Path, image: tuple[int, int]) -> int:
        """Return `PAGE_SIZE` in bytes of the kernel in the ELF `program`, linked at `image`."""
        return DEFAULT_PAGE_SIZE

    @abstractmethod
    def selected_cpu(self) -> Cpu:
        """Return the selected CPU's registers."""

    @abstractmethod
    def base_va(self, image: tuple[int, int]) -> int:
        """Return the linked address that stands for physical 0 in the placement of a kernel linked at `image`."""

    @abstractmethod
    def deltas(self, kernel: KernelImage, cpu: Cpu) -> Iterator[int]:
        """Yield what may have to be added to linked physical addresses, likely values first."""

    @abstractmethod
    def settle(self, kernel: KernelImage, image: Placement, memory: BoundedMemory, cpu: Cpu) -> Placement:
        """Return the whole placement of a kernel found at `image`, from its variables in physical `memory`.

        Raises: `NotReadyError` where its pointers have not been relocated yet, `LayoutError`.
        """

    @abstractmethod
    def require_running(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> None:
        """Check that the CPU has got to the kernel. Raises: `NotReadyError`."""

    def before_kernel(self, cpu: Cpu) -> bool:
        """Tell whether the CPU alone shows that the kernel does not run: what its variables hold means nothing then."""
        return False

    @abstractmethod
    def early_phase(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> Phase | None:
        """Return the phase while the CPU does not run at the kernel's virtual addresses, else None.

        Raises: `NotReadyError` where it has not got to the kernel.
        """

    def nothing_yet(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> bool:
        """Tell whether a look at the CPU is enough to know that no kernel is in memory."""
        return False

    def quick_way_points(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> tuple[int, ...]:
        """Return where a guest on its way to the kernel is sure to come by: at one of these, as its CPU has them.

        A few requests tell; a search of all RAM takes thousands. Nothing where they do not.
        """
        return ()

    def arrived(self, cpu: Cpu) -> bool:
        """Tell whether the CPU runs at a kernel's own addresses, so that a search would be a short one."""
        return False

    @abstractmethod
    def first_instruction(self, kernel: KernelImage, placement: Placement) -> int:
        """Return where a kernel that has just got to its place is, as its CPU has it: `run_to_entry` stops there."""

    def linked_way_points(self, kernel: KernelImage) -> tuple[int, ...]:
        """Return where a kernel that is not moved virtually comes by first, if the CPU tells it by those addresses."""
        return ()

    @abstractmethod
    def way_point(self, kernel: KernelImage, placement: Placement | None, memory: Memory, cpu: Cpu) -> int | None:
        """Return where a guest whose kernel is not settled may come by, as its CPU will address it.

        None where that cannot be told yet. What has been found may be a copy that the boot loader only reads, so the
        guest is to be looked at again meanwhile.
        """


def word_at(memory: Memory, address: int, order: ByteOrder, size: int = 8) -> int:
    """Return the unsigned word of `size` bytes at `address`. Raises: `ReadError`."""
    return int.from_bytes(memory.read(address, size), order)

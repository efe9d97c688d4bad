# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be known of an architecture for a Linux kernel to be found in memory, translated and followed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gdb_lmb.arches.base import Architecture, Cpu
from gdb_lmb.arches.registry import architectures, find
from gdb_lmb.core.address import KernelImage, Phase, Placement
from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range

# `PAGE_SIZE` in bytes where a kernel does not tell: it is a macro, which debug information has not.
PAGE_SIZE = 4096


class LinuxArchitecture(Architecture, ABC):
    """How one architecture boots Linux.

    Besides those of every kernel, `variables` (with debug information) and `labels` (the linker's and the
    assembler's, of data and of code) are wanted; `entry` is the label of the image's first instruction. `missing`
    says why a kernel may not be in memory yet. `slice_s` is how many seconds a guest whose kernel is awaited runs
    between two looks. `page_tables` are the labels of page tables in the image. In `firmware_edits` every kernel edits
    the firmware's map. `trims` tells that memory is cut to whole pages only when it is on the list. Memory is physical.

    The image is reserved from label `image_from` to `image_to` (to its end where there is none), but for what lies
    between the two labels `image_freed`; from phase `image_reserved` on, once anything is reserved or memory.
    `unwound_by` are the registers that `frames()` begins with.
    """

    entry: str
    missing: str
    variables: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    code_labels: tuple[str, ...] = ()
    page_tables: tuple[str, ...] = ()
    slice_s = 0.02
    firmware_edits: tuple[Range, ...] = ()
    image_from: str = "_text"
    image_to: str = "_end"
    image_freed: tuple[str, ...] = ()
    image_reserved = Phase.COMPLETE
    trims = True
    unwound_by: tuple[str, ...] = ()

    def page_size(self, program: Path, image: Range) -> int:
        """Return `PAGE_SIZE` in bytes of the kernel in the ELF `program`, linked at `image`."""
        return PAGE_SIZE

    @abstractmethod
    def base_va(self, image: Range) -> int:
        """Return the linked address that stands for physical 0 in the placement of a kernel linked at `image`."""

    def tells_place(self, cpu: Cpu) -> bool:
        """Tell whether all registers that `running_at()` goes by are known."""
        return cpu.pc is not None and cpu.paging is not None

    def running_at(
        self, kernel: KernelImage, memory: Memory, cpu: Cpu, last: tuple[int, ...]
    ) -> Iterator[tuple[int, int | None]]:
        """Yield where a CPU whose registers are known has its kernel, by its page tables or by where it runs.

        That is what is added to linked physical addresses, and to virtual ones (None: the kernel's variables tell).
        What is only left in RAM of another boot is none of them. `last` are virtual moves to be tried first.
        """
        yield from ()

    @abstractmethod
    def anywhere(self, kernel: KernelImage, ram: Sequence[Range]) -> Iterator[int]:
        """Yield all that may have been added to linked physical addresses in a machine with this RAM."""

    @abstractmethod
    def settle(self, kernel: KernelImage, image: Placement, virtual: int | None, memory: Memory, cpu: Cpu) -> Placement:
        """Return the whole placement of a kernel found at `image`, from its variables.

        `virtual` is how far the CPU's page tables move it, None where they do not tell.
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

    def quick_way_points(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> tuple[int, ...]:
        """Return where a guest on its way to the kernel is sure to come by: at one of these, as its CPU has them.

        A few requests tell; a search of all RAM takes thousands. Nothing where they do not.
        """
        return ()

    def arrived(self, cpu: Cpu) -> bool:
        """Tell whether a few requests are enough to know if the CPU has got to the kernel."""
        return False

    @abstractmethod
    def first_instruction(self, kernel: KernelImage, placement: Placement) -> int:
        """Return where a kernel that has just got to its place is, as its CPU has it: `run_to_entry` stops there."""

    def linked_way_points(self, kernel: KernelImage) -> tuple[int, ...]:
        """Return where a kernel that is not moved virtually comes by first, if the CPU tells it by those addresses."""
        return ()

    @abstractmethod
    def way_point(
        self, kernel: KernelImage, placement: Placement | None, memory: Memory, cpu: Cpu, machine: Machine
    ) -> int | None:
        """Return where a guest whose kernel is not settled may come by, as its CPU will address it.

        None where that cannot be told yet. What has been found may be a copy that the boot loader only reads, so the
        guest is to be looked at again meanwhile.
        """

    def limits(self, word: Callable[[str], int | None], page_size: int, bits: int) -> frozenset[int] | None:
        """Return the values that `memblock.current_limit` may have, None where that is not known.

        `word` returns a variable of type `unsigned long`; `bits` is the width of `phys_addr_t`.
        """
        return None

    def frames(
        self, kernel: KernelImage, virtual: int, cpu: Cpu, known: Mapping[str, int], machine: Machine, stack: Memory
    ) -> Iterator[int]:
        """Yield a linked address in each function on the CPU's stack, innermost first, up to where the stack begins.

        That is where the CPU is, or was when an exception or interrupt came, else an address in the call; so code that
        an exception has interrupted is seen too. `virtual` is what has been added to linked
        addresses; `known` are those of the registers `unwound_by` that there are; `stack` reads run-time addresses.
        Raises: `ReadError`, `LayoutError` where the stack cannot be followed to its beginning.
        """
        raise LayoutError(f"how stacks are laid out on {self.uname} is not known")

    def word_at(self, memory: Memory, address: int) -> int:
        """Return the `unsigned long` at `address`. Raises: `ReadError`."""
        return int.from_bytes(memory.read(address, self.word_bytes), self.byte_order)


def linux_architecture(uname: str) -> LinuxArchitecture:
    """Return an architecture on which Linux is found and followed. Raises: `LayoutError`."""
    found = find(uname=uname)
    if not isinstance(found, LinuxArchitecture):
        known = ", ".join(row.uname for row in architectures() if isinstance(row, LinuxArchitecture))
        raise LayoutError(f"stock Linux is understood on {known} only so far, not on {uname}")
    return found

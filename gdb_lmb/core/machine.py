# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs, architectures and allocators may ask of a stopped guest and of the debugger's symbols of it.

`machine.current()` implements `Machine` on gdb, for a live guest and for a dump alike; a test makes one of bytes and
dicts. Addresses are virtual unless named physical; what the machine does not know is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gdb_lmb.core.fields import ByteOrder, Struct
from gdb_lmb.core.memory import Memory, Meter
from gdb_lmb.core.ranges import Range


@dataclass(frozen=True)
class Variable:
    """A variable that debug information describes.

    `address` is where the debugger has it, `size` is in bytes, `program` is the ELF that defines it (None: not known).
    """

    address: int
    size: int
    program: Path | None = None


@dataclass(frozen=True)
class LinkerSymbol:
    """A symbol of the ELF's symbol table, how many bytes behind it an address is, and the section."""

    name: str
    offset: int
    section: str


@dataclass(frozen=True)
class Function:
    """A function that debug information describes, and the source file that its code is from."""

    name: str
    file: str | None = None


class Machine(Protocol):
    """A stopped guest, live or in a dump, and the debugger's symbols of the program in it.

    Addresses of symbols are where the debugger has them now.
    """

    @property
    def arch(self) -> str:
        """Return the architecture in the kernel's words ("x86_64", "ppc64", "aarch64")."""

    @property
    def byte_order(self) -> ByteOrder:
        """Return the byte order of the guest's data."""

    @property
    def bits(self) -> int:
        """Return the width of a pointer."""

    @property
    def can_run(self) -> bool:
        """Tell whether this is a live guest, which can be let run; a dump cannot."""

    @property
    def lacking(self) -> str | None:
        """Return in words why memory that the guest has may be missing here, None for a live guest."""

    def stop_number(self) -> tuple[int | None, int]:
        """Return what is another value once the guest has run, gdb has written to it, or it is another guest."""

    def register(self, name: str) -> int | None:
        """Return a register of the selected CPU by gdb's name, unsigned; "pc" and "sp" are known everywhere."""

    def pc(self) -> int:
        """Return the program counter of the selected CPU."""

    def functions_on_stack(self, moved: int = 0, memory: Memory | None = None) -> list[Function]:
        """Return the functions of the selected CPU's stack, innermost first, as far as they can be told.

        One that stands at its very entry is left out: it has changed nothing yet. In a dump a word that was left on
        the stack may name a function that has returned. `moved` is what to add to an address there to get to where
        the debugger's symbols are; `memory` reads virtual addresses of a dump that does not tell how its CPUs do.
        """

    def booting_cpu(self) -> AbstractContextManager[None]:
        """Select the CPU that boots the kernel meanwhile, unless the selected one runs the kernel itself."""

    def cpus(self) -> Iterator[int]:
        """Select each CPU in turn and yield its number as the debugger counts; none where there is but one.

        The one that was selected is again at the end.
        """

    def physical(self, meter: Meter | None = None) -> AbstractContextManager[Memory]:
        """Return what reads physical addresses inside its `with` block; requests are added to `meter`.

        Registers are to be read before the block is entered. Raises: `LayoutError` where the target cannot.
        """

    def virtual(self) -> Memory:
        """Return what reads virtual addresses as the selected CPU translates them. Raises: `LmbError`."""

    def translate(self, va: int) -> int | None:
        """Return the physical address of `va` by the page tables in force, None where it is not mapped."""

    def ram(self) -> list[Range]:
        """Return the half-open physical ranges of RAM; anything else may be registers of devices."""

    def variable(self, name: str) -> Variable | None:
        """Return the global or static variable `name`."""

    def label(self, name: str, *, code: bool = False) -> int | None:
        """Return the address of a symbol of the linker or assembler; `code`: of a function or a label in code."""

    def symbol_at(self, address: int) -> LinkerSymbol | None:
        """Return the linker's symbol at or before `address` in its section."""

    def struct(self, of: str, member: str = "") -> Struct:
        """Return the field table of the structure type of variable `of`, or of its member `member` ("memory.regions").

        Pointers and arrays on the way stand for what they point to or consist of. `of` may also name a type:
        "struct lmb_region". Raises: `LayoutError` where there is no such structure.
        """

    def enum(self, of: str, member: str = "") -> Mapping[int, str]:
        """Return {value: name} of the enumeration found in the same way as by `struct()`. Raises: `LayoutError`."""

    def source(self, name: str) -> str | None:
        """Return the source file that defines a function or a variable, as the debug information names it."""

    def functions_beside(self, variable: str) -> frozenset[str]:
        """Return the functions of the source file that defines a variable."""

    def functions_at(self, pc: int) -> list[Function]:
        """Return the functions whose code is at `pc`, inlined ones first."""

    def at_entry(self, pc: int) -> bool:
        """Tell whether `pc` is where a function has done nothing yet."""

    def name_at(self, pc: int) -> str | None:
        """Return "function+0x12" for an address in the program's code."""

    def parameters(self, function: str) -> int | None:
        """Return how many parameters a function takes, None where the program has none of that name."""

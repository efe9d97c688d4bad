# SPDX-License-Identifier: GPL-2.0-or-later
"""A `Machine` made of bytes and dicts, and a small ELF to go with it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import ByteOrder, Struct
from gdb_lmb.core.machine import Function, LinkerSymbol, Variable
from gdb_lmb.core.memory import BytesMemory, Memory, Meter
from gdb_lmb.core.snapshot import Range

BUILD_ID = bytes(range(0x40, 0x54))
NOTE = struct.pack("<III", 4, len(BUILD_ID), 3) + b"GNU\0" + BUILD_ID
"""A note with a GNU build id, as the linker writes it."""


def small_elf(path: Path, va: int, physical: int, content: bytes, note_at: int) -> Path:
    """Write an x86-64 ELF with one loaded segment, in which the note lies at offset `note_at`."""
    content = content[:note_at] + NOTE + content[note_at + len(NOTE) :]
    start = 64 + 2 * 56
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, va, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, start, va, physical, len(content), len(content), 1)
    note = struct.pack("<IIQQQQQQ", 4, 4, start + note_at, va + note_at, physical + note_at, len(NOTE), len(NOTE), 4)
    path.write_bytes(ident + header + load + note + content)
    return path


@dataclass
class BytesMachine:
    """What a test says of a guest; addresses of `variables` and `labels` are where the debugger has them.

    `data` are the labels that are not in code.
    """

    arch: str = "x86_64"
    byte_order: ByteOrder = "little"
    bits: int = 64
    can_run: bool = True
    lacking: str | None = None
    variables: dict[str, Variable] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    data: frozenset[str] = frozenset()
    structs: dict[tuple[str, str], Struct] = field(default_factory=dict)
    enums: dict[tuple[str, str], dict[int, str]] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    memory: dict[int, bytes] = field(default_factory=dict)
    mapped: dict[int, int] = field(default_factory=dict)
    ranges: list[Range] = field(default_factory=list)
    has_physical: bool = True
    others: dict[int, dict[str, int]] = field(default_factory=dict)
    """Registers of the CPUs that are not selected, by number."""

    def variable(self, name: str) -> Variable | None:
        return self.variables.get(name)

    def label(self, name: str, *, code: bool = False) -> int | None:
        return None if code and name in self.data else self.labels.get(name)

    def symbol_at(self, address: int) -> LinkerSymbol | None:
        below = [(at, name) for name, at in self.labels.items() if at <= address]
        return LinkerSymbol(max(below)[1], address - max(below)[0], ".text") if below else None

    def struct(self, of: str, member: str = "") -> Struct:
        if (of, member) not in self.structs:
            raise LayoutError(f"no structure {of} {member}")
        return self.structs[of, member]

    def enum(self, of: str, member: str = "") -> Mapping[int, str]:
        if (of, member) not in self.enums:
            raise LayoutError(f"no enumeration {of} {member}")
        return self.enums[of, member]

    def source(self, name: str) -> str | None:
        return None

    def functions_beside(self, variable: str) -> frozenset[str]:
        return frozenset()

    def functions_at(self, pc: int) -> list[Function]:
        return []

    def at_entry(self, pc: int) -> bool:
        return False

    def name_at(self, pc: int) -> str | None:
        found = self.symbol_at(pc)
        return None if found is None else f"{found.name}+{found.offset:#x}"

    def parameters(self, function: str) -> int | None:
        return None

    def stop_number(self) -> tuple[int, int]:
        return 0, 0

    def register(self, name: str) -> int | None:
        return self.registers.get(name)

    def pc(self) -> int:
        return self.registers["pc"]

    def functions_on_stack(self, moved: int = 0, memory: Memory | None = None) -> list[Function]:
        return []

    def booting_cpu(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def cpus(self) -> Iterator[int]:
        selected = self.registers
        for number, registers in self.others.items():
            self.registers = registers
            yield number
        self.registers = selected

    @contextlib.contextmanager
    def physical(self, meter: Meter | None = None) -> Iterator[Memory]:
        if not self.has_physical:
            raise LayoutError("this target cannot read physical memory")
        yield BytesMemory(self.memory)

    def virtual(self) -> Memory:
        return BytesMemory({va: self.memory[at] for va, at in self.mapped.items()})

    def translate(self, va: int) -> int | None:
        for start, at in self.mapped.items():
            if start <= va < start + len(self.memory[at]):
                return va - start + at
        return None

    def ram(self) -> list[Range]:
        return self.ranges

    def ram_end(self) -> int:
        return max((end for _, end in self.ranges), default=0)

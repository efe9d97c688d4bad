# SPDX-License-Identifier: GPL-2.0-or-later
"""Do a kernel image, a guest or a dump belong to the symbols that were given? By architecture, build and build id.

gdb itself says of a guest of another architecture that a register is truncated.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from gdb_lmb.arches.registry import architectures
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.formats.elf import SHT_NOBITS, Elf, read_headers
from gdb_lmb.kernels.cache import fetched_together
from gdb_lmb.runner.elf import ElfFile
from gdb_lmb.runner.kernel_image import KernelImage, banners_in
from gdb_lmb.runner.machines import machine_of
from gdb_lmb.runner.rsp import Endpoint, ask

_BUILD = re.compile(r"(?:Linux version )?(\S+ \([^)]*\)) .*?(#\d.*)")
_DESCRIPTION = b"qXfer:features:read:target.xml:0,ffb"
_ARCHITECTURE = re.compile(rb"<architecture>\s*([^<\s]+)\s*</architecture>")


def require_same_kernel(image: KernelImage, elf: ElfFile) -> None:
    """Check that `elf` has the symbols of `image`, as far as the two tell. Raises: UsageError that names both."""
    machine = machine_of(elf).name
    if image.machine is not None and image.machine != machine:
        raise UsageError(
            f"{image.path} is a kernel for {image.machine} ({image.kind}), but {elf.path} has symbols for {machine}"
        )
    # Nothing can differ in what has come as packages of one version, and to compare takes up to 60 ms.
    why_not = None if fetched_together(image.path, elf.path) else difference(image, elf.path)
    if why_not is not None:
        raise UsageError(f"{why_not}: give the vmlinux of the same build")


def require_same_elf(kernel: Elf, symbols: Elf) -> None:
    """Check that a kernel that is an ELF is of the same build as another. Raises: UsageError that names both."""
    if (kernel.machine, kernel.bits, kernel.byte_order) != (symbols.machine, symbols.bits, symbols.byte_order):
        raise UsageError(f"{kernel.path} and {symbols.path} are of different architectures: give the kernel's symbols")
    ids = kernel.build_id(), symbols.build_id()
    if None not in ids and ids[0] != ids[1]:
        hexes = [build_id.hex() for build_id in ids if build_id]
        raise UsageError(
            f"{kernel.path} has the build id {hexes[0]}, but {symbols.path} {hexes[1]}: "
            "give the vmlinux of the same build"
        )


def difference(image: KernelImage, vmlinux: Path) -> str | None:
    """Return in words how the builds of the two differ, None where they do not, as far as they tell."""
    try:
        elf = read_headers(vmlinux)
        build_id, banners = elf.build_id(), banners_of(elf)
    except InputError:
        return None
    theirs = image.banners() if image.version is None else []
    if banners and (
        not any(_says(banner, image.version) for banner in banners)
        if image.version is not None
        else theirs and not set(theirs) & set(banners)
    ):
        return (
            f"{image.path} is Linux {build_in_words(image.name)}, but {vmlinux} is Linux {build_in_words(banners[0])}"
        )
    # What builds are numbered by may be the same for two.
    if build_id and image.content is not None and image.content.find(build_id) < 0:
        return f"{image.path} is another build than {vmlinux}, whose build id {build_id.hex()} is not in it"
    return None


def banners_of(elf: Elf) -> list[str]:
    """Return the kernel's `linux_banner` from its ELF; it is read-only data. Raises: InputError."""
    places = [(s.offset, s.size) for s in elf.sections if s.name == b".rodata" and s.kind != SHT_NOBITS]
    places += [(s.offset, s.size) for s in elf.loads if s.size]
    try:
        with elf.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for offset, size in places:
                found = banners_in(data[offset : offset + size])
                if found:
                    return found
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {elf.path}: {error}") from None
    return []


def _says(banner: str, version: str) -> bool:
    """Tell whether a banner is of the kernel that a bzImage calls `version`.

    The banner has the compiler between what is before "#" and what follows. Source: arch/x86/boot/version.c,
    init/version.c.
    """
    head, mark, build = version.partition(") #")
    return banner.startswith(f"Linux version {head}{mark[:1]} ") and banner.endswith(f" #{build}" if mark else "")


def build_in_words(text: str) -> str:
    """Return release, builder and number of a build, from a banner without its compiler."""
    found = _BUILD.match(text)
    return printable(text if found is None else f"{found[1]} {found[2]}", 300)


def require_machine_of_stub(stub: Endpoint, said: object, elf: ElfFile, timeout_s: float) -> None:
    """Check that the guest behind `stub`, called `said` in messages, is of the program's architecture.

    Says nothing of a stub that does not tell. Raises: UsageError that names both; OSError.
    """
    found = _ARCHITECTURE.search(ask(stub, _DESCRIPTION, timeout_s))
    if found is None:
        return
    guest, program = found[1].decode(errors="replace"), machine_of(elf)
    known = any(guest.startswith(row.gdb) for row in architectures())
    if known and not guest.startswith(program.gdb):
        raise UsageError(
            f"the guest at {said} is of another architecture ({printable(guest, 40)}) than {elf.path} "
            f"({program.name}): give the vmlinux of the kernel that runs there"
        )


def require_machine_of_core(core: Path, e_machine: int, elf: ElfFile) -> None:
    """Check that a dump is of the program's architecture. Raises: UsageError that names both."""
    program = machine_of(elf)
    if e_machine in (program.e_machine, *program.dump_machines):
        return
    names = [row.name for row in architectures() if row.e_machine == e_machine]
    dump = " or ".join(names) or f"ELF machine {e_machine}"
    raise UsageError(
        f"{core} is a dump of another machine ({dump}) than {elf.path} is for ({program.name}): "
        "give the vmlinux of the kernel that was dumped"
    )

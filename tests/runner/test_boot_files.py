# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel images and their symbols before anything runs: what an image is, whose vmlinux is its own, where it lies.

The images are made here by the documents of their formats, the programs by gcc and binutils.
"""

from __future__ import annotations

import gzip
import struct
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.core.errors import UsageError
from gdb_lmb.runner.boot_files import boot_files
from gdb_lmb.runner.elf import debug_file_of, headers_of, read_elf, require_debug
from gdb_lmb.runner.kernel_image import identify
from tests.helpers.split_debug import split
from tests.helpers.tool import build_guest

Capture = pytest.CaptureFixture[str]
RELEASE = "6.6.0-test"
VERSION = "6.6.0-test (me@host) #7 SMP Thu Nov 26 2026"
BANNER = "Linux version 6.6.0-test (me@host) (gcc (Made up) 12.2.0, GNU ld 2.40) #7 SMP Thu Nov 26 2026"


def compile_kernel(path: Path, banner: str = BANNER, salt: str = "", *words: str) -> Path:
    """Build an ELF with a banner, debug information and a build id that depends on `salt`."""
    source = path.with_suffix(".c")
    source.write_text(
        f'const char linux_banner[] = "{banner}\\n";\nconst char salt[] = "{salt}";\n'
        '__asm__(".pushsection .note.Xen,\\"a\\",@note\\n.long 4,4,18,0x6e6558,0x1000000\\n.popsection");\n'
        "void _start(void) { }\nvoid memblock_free_all(void) { }\n"
    )
    subprocess.run(
        ["gcc", "-g", "-ffreestanding", "-fno-pic", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=sha1", *words,
         "-o", path, source],
        check=True, timeout=60,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vmlinux that the images of these tests are of."""
    return compile_kernel(tmp_path_factory.mktemp("kernel") / "vmlinux")


def stripped(vmlinux: Path, out: Path) -> bytes:
    subprocess.run(["objcopy", "-S", vmlinux, out], check=True, timeout=60)
    return out.read_bytes()


def bzimage(version: str, payload: bytes = b"\x02!L\x18packed", *, wide: bool = True, protocol: int = 0x20F) -> bytes:
    """Return a bzImage as Documentation/arch/x86/boot.rst has it: two sectors of setup, then the rest."""
    setup = bytearray(3 * 512)
    setup[0x1F1] = 2
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, protocol)
    struct.pack_into("<H", setup, 0x20E, 0x200 if version else 0)
    setup[0x400 : 0x400 + len(version)] = version.encode()
    struct.pack_into("<H", setup, 0x236, int(wide))
    struct.pack_into("<II", setup, 0x248, 64, len(payload))
    return bytes(setup) + bytes(64) + payload


def raw_image(magic: bytes, at: int, content: bytes) -> bytes:
    """Return an uncompressed image: a header with its magic number, then the kernel."""
    head = bytearray(4096)
    head[at : at + len(magic)] = magic
    return bytes(head) + content


def zboot(content: bytes, compression: bytes, machine: int = 0xAA64) -> bytes:
    """Return an EFI image of CONFIG_EFI_ZBOOT. Source: drivers/firmware/efi/libstub/zboot-header.S."""
    head = bytearray(512)
    struct.pack_into("<2sxx4sII8x", head, 0, b"MZ", b"zimg", 512, len(content))
    head[24 : 24 + len(compression)] = compression
    head[56:60] = b"ARM\x64"
    struct.pack_into("<I4sH", head, 60, 64, b"PE\0\0", machine)
    return bytes(head) + content


# --- what an image says -----------------------------------------------------------------------------------


def test_every_kind_of_image_is_known(kernel: Path, tmp_path: Path) -> None:
    plain = kernel.read_bytes()
    arm64 = raw_image(b"ARM\x64", 56, plain)
    images: list[tuple[bytes, str, str | None, str | None]] = [
        (bzimage(VERSION), "bzImage", "x86-64", RELEASE),
        (bzimage(VERSION, wide=False), "bzImage", "i386", RELEASE),
        (bzimage(VERSION, protocol=0x204), "bzImage", None, RELEASE),
        (bzimage("", gzip.compress(plain)), "bzImage", "x86-64", RELEASE),
        (bzimage(""), "bzImage", "x86-64", None),
        (arm64, "arm64 Image", "aarch64", RELEASE),
        (gzip.compress(arm64), "gzip-compressed arm64 Image", "aarch64", RELEASE),
        (raw_image(b"RISCV\0\0\0RSC\x05", 48, plain), "RISC-V Image", "riscv64", RELEASE),
        (raw_image(b"\x18\x28\x6f\x01", 0x24, b""), "arm zImage", "arm", None),
        (zboot(gzip.compress(arm64), b"gzip"), "EFI image (vmlinuz.efi)", "aarch64", RELEASE),
        (zboot(b"(\xb5/\xfd", b"zstd"), "EFI image (vmlinuz.efi)", "aarch64", None),
        (zboot(b"(\xb5/\xfd", b"zstd", 0x5064), "EFI image (vmlinuz.efi)", "riscv64", None),
    ]
    path = tmp_path / "image"
    for content, kind, machine, release in images:
        path.write_bytes(content)
        found = identify(path)
        assert found is not None and (found.kind, found.machine, found.release) == (kind, machine, release)
    for content in (b"", b"#!/bin/sh\n" * 100, plain, b"\x1f\x8b\x08damaged" * 20, gzip.compress(plain)):
        path.write_bytes(content)
        assert identify(path) is None


def test_an_image_that_is_cut_off_says_less(kernel: Path, tmp_path: Path) -> None:
    path = tmp_path / "image"
    whole = (bzimage("", gzip.compress(kernel.read_bytes())), zboot(gzip.compress(kernel.read_bytes()), b"gzip"))
    for image in whole:
        for length in (*range(0, 0x260, 7), *range(0x260, len(image), 997)):
            path.write_bytes(image[:length])
            found = identify(path)
            assert found is None or found.release in (None, RELEASE)


# --- whose vmlinux ----------------------------------------------------------------------------------------


def test_symbols_of_the_same_build_only(kernel: Path, tmp_path: Path) -> None:
    later = compile_kernel(tmp_path / "later", BANNER.replace("6.6.0", "6.7.0"))
    again = compile_kernel(tmp_path / "again", BANNER.replace("#7", "#8"))
    salted = compile_kernel(tmp_path / "salted", salt="reproducible to the second, but other code")
    narrow = compile_kernel(tmp_path / "narrow", BANNER, "", "-m32")
    plain = stripped(kernel, tmp_path / "stripped")
    packed = bzimage(VERSION, gzip.compress(plain))
    image = tmp_path / "bzImage"
    for content, symbols, says in (
        (bzimage(VERSION), kernel, None),
        (packed, kernel, None),
        (gzip.compress(raw_image(b"RISCV\0\0\0RSC\x05", 48, b"")), kernel, "for riscv64 .* has symbols for x86-64"),
        (raw_image(b"ARM\x64", 56, plain), kernel, "for aarch64 .*, but .*vmlinux has symbols for x86-64"),
        (bzimage(VERSION), narrow, "for x86-64 .*, but .*narrow has symbols for i386"),
        (
            bzimage(VERSION),
            later,
            r"is Linux 6.6.0-test \(me@host\) #7 .*, but .*later is Linux 6.7.0-test \(me@host\) #7 ",
        ),
        (bzimage(VERSION), again, r"is Linux 6.6.0-test .* #7 .* is Linux 6.6.0-test \(me@host\) #8 SMP"),
        # The header does not tell these apart; the kernel in it does where it can be read.
        (bzimage(VERSION), salted, None),
        (packed, salted, "is another build than .*salted, whose build id [0-9a-f]{40} is not in it"),
        (bzimage("", gzip.compress(plain)), later, "is Linux 6.6.0-test"),
    ):
        image.write_bytes(content)
        if says is None:
            assert boot_files(image, symbols, print).elf.path == symbols
        else:
            with pytest.raises(UsageError, match=says) as caught:
                boot_files(image, symbols, print)
            assert (
                "\n" not in str(caught.value) and str(image) in str(caught.value) and str(symbols) in str(caught.value)
            )
    # A kernel that is an ELF itself.
    assert boot_files(tmp_path / "stripped", kernel, print).image == tmp_path / "stripped"
    with pytest.raises(UsageError, match="has the build id"):
        boot_files(tmp_path / "stripped", salted, print)
    with pytest.raises(UsageError, match="different architectures"):
        boot_files(tmp_path / "stripped", narrow, print)


def test_refused_before_qemu_and_gdb_are_even_looked_for(
    kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(bzimage(VERSION.replace("#7", "#8")))
    monkeypatch.setenv("PATH", "/nonexistent")
    for words in (["run"], ["trace", "--lockstep"]):
        assert main([*words, str(image), "--symbols", str(kernel)]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1) and "#8" in err and "#7" in err


# --- where it lies ----------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root of a distribution's in place of this machine's."""
    root = tmp_path / "root"
    monkeypatch.setattr("gdb_lmb.runner.elf.DEBUG_FOLDERS", [root / "usr/lib/debug"])
    monkeypatch.setattr("gdb_lmb.runner.boot_files.DEBUG_FOLDERS", [root / "usr/lib/debug"])
    monkeypatch.setattr("gdb_lmb.runner.boot_files.MODULE_FOLDERS", [root / "lib/modules", root / "usr/lib/modules"])
    monkeypatch.setattr("gdb_lmb.runner.boot_files.BOOT_FOLDERS", [root / "boot"])
    return root


@pytest.mark.parametrize(
    ("image", "symbols"),
    [
        ("boot/vmlinuz-6.6.0-test", "usr/lib/debug/boot/vmlinux-6.6.0-test"),
        ("boot/vmlinuz-6.6.0-test", "usr/lib/debug/lib/modules/6.6.0-test/vmlinux"),
        ("usr/lib/modules/6.6.0-test/vmlinuz", "usr/lib/debug/usr/lib/modules/6.6.0-test/vmlinux"),
        ("boot/vmlinuz", "lib/modules/6.6.0-test/build/vmlinux"),
        ("boot/vmlinuz", "usr/lib/modules/6.6.0-test/vmlinux"),
        ("elsewhere/vmlinuz", "boot/vmlinux-6.6.0-test"),
        ("elsewhere/vmlinuz", "elsewhere/vmlinux"),
        ("linux/arch/x86/boot/bzImage", "linux/vmlinux"),
        ("linux/arch/arm64/boot/Image", "linux/vmlinux"),
    ],
)
def test_the_vmlinux_is_found(kernel: Path, places: Path, image: str, symbols: str) -> None:
    for name, content in ((image, bzimage(VERSION)), (symbols, kernel.read_bytes())):
        (places / name).parent.mkdir(parents=True, exist_ok=True)
        (places / name).write_bytes(content)
    said: list[str] = []
    found = boot_files(places / image, None, said.append)
    assert (found.image, found.elf.path) == (places / image, places / symbols)
    assert said == [f"symbols of {Path(image).name}: {places / symbols}"]


def test_of_several_the_one_of_this_build(kernel: Path, places: Path, tmp_path: Path) -> None:
    other = compile_kernel(tmp_path / "other", BANNER.replace("#7", "#6"))
    image = places / "boot/vmlinuz-6.6.0-test"
    first, second = places / "usr/lib/debug/boot/vmlinux-6.6.0-test", places / "usr/lib/modules/6.6.0-test/vmlinux"
    for path, content in ((image, bzimage(VERSION)), (first, other.read_bytes()), (second, kernel.read_bytes())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert boot_files(image, None, print).elf.path == second
    second.unlink()
    with pytest.raises(UsageError, match=f"give its vmlinux with --symbols VMLINUX.*{first} is Linux .*#6"):
        boot_files(image, None, print)
    first.write_bytes(stripped(kernel, tmp_path / "stripped"))
    with pytest.raises(UsageError, match=rf"--symbols VMLINUX.*{first}: no symbol table"):
        boot_files(image, None, print)


def test_none_is_found(places: Path, capfd: Capture) -> None:
    image = places / "vmlinuz"
    places.mkdir()
    image.write_bytes(bzimage(VERSION))
    assert main(["run", str(image)]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    for words in (
        f"{image} is a bzImage of Linux 6.6.0-test", "--symbols VMLINUX", "linux-image-6.6.0-test-dbg",
        "linux-image-unsigned-6.6.0-test-dbgsym", "dnf debuginfo-install kernel-6.6.0-test",
        f"it is not in {places}, ", str(places / "usr/lib/debug"), str(places / "lib/modules"),
    ):  # fmt: skip
        assert words in err
    # A release that would lead out of these folders is none.
    image.write_bytes(bzimage("../../etc (me@host) #1"))
    assert main(["run", str(image)]) == 2
    assert "etc/" not in capfd.readouterr().err
    # Its release cannot be read.
    image.write_bytes(bzimage(""))
    assert main(["run", str(image)]) == 2
    assert "--symbols VMLINUX" in capfd.readouterr().err


# --- debug information apart, or missing ------------------------------------------------------------------


def test_debug_files_are_found_as_gdb_finds_them(kernel: Path, places: Path, tmp_path: Path) -> None:
    program = tmp_path / "vmlinux"
    build_id = headers_of(kernel).build_id()
    assert build_id is not None
    listed = subprocess.run(["readelf", "-n", kernel], capture_output=True, text=True, check=True, timeout=60).stdout
    assert f"Build ID: {build_id.hex()}" in listed
    for debug in (
        tmp_path / "vmlinux.debug",
        tmp_path / ".debug/vmlinux.debug",
        places / f"usr/lib/debug{tmp_path}/vmlinux.debug",
        places / f"usr/lib/debug/.build-id/{build_id.hex()[:2]}/{build_id.hex()[2:]}.debug",
    ):
        split(kernel, program, debug)
        assert debug_file_of(headers_of(program)).path == debug
        require_debug(program)
        assert read_elf(program).symbols == debug
        with debug.open("ab") as file:
            file.write(b"x")
        # The link has a checksum; the build id's file has the build id in it.
        assert (debug_file_of(headers_of(program)).path == debug) == (".build-id" in str(debug))
        debug.unlink()
        assert debug_file_of(headers_of(program)).path is None
        with pytest.raises(UsageError, match="no symbol table") as caught:
            read_elf(program)
        assert str(tmp_path / ".debug") in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_missing_of_symbols_is_said(kernel: Path, places: Path, tmp_path: Path, capfd: Capture) -> None:
    image, bare, debug = tmp_path / "vmlinuz", tmp_path / "bare", tmp_path / "only.debug"
    image.write_bytes(bzimage(VERSION))
    subprocess.run(["objcopy", "-g", kernel, bare], check=True, timeout=60)
    subprocess.run(["objcopy", "--only-keep-debug", kernel, debug], check=True, timeout=60)
    for symbols, says in (
        (bare, f"{bare} has no debug information"),
        (debug, f"{debug} is a debug file, which has no byte of the kernel"),
    ):
        assert main(["run", str(image), "--symbols", str(symbols)]) == 2
        out, err = capfd.readouterr()
        assert out == "" and says in err and err.count("\n") == 1


# --- what QEMU can boot -----------------------------------------------------------------------------------


def test_an_elf_without_pvh_note_is_not_given_to_qemu(tmp_path: Path, capfd: Capture) -> None:
    whole, bare = build_guest(tmp_path, "ready"), tmp_path / "vmlinux"
    subprocess.run(["objcopy", "--remove-section=.note.Xen", whole, bare], check=True, timeout=60, capture_output=True)
    assert main(["run", str(bare), "--", "print 1"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"PVH note, and this one has none (CONFIG_PVH=y makes it): boot the bzImage with --symbols {bare}" in err
    image = tmp_path / "arch/x86/boot/bzImage"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    assert main(["run", str(bare), "--", "print 1"]) == 2
    assert f"(there is {image})" in capfd.readouterr().err


MULTIBOOT = """
    .text
    .align 4
    .long 0x1badb002, 0, -0x1badb002
    .globl _start, lmb_ready
    .type _start, @function
_start: nop
    call lmb_ready
1:  jmp 1b
    .type lmb_ready, @function
lmb_ready: ret
"""


def test_a_multiboot_kernel_is_booted_as_before(tmp_path: Path, capfd: Capture) -> None:
    source, kernel = tmp_path / "multiboot.S", tmp_path / "multiboot"
    source.write_text(MULTIBOOT)
    subprocess.run(
        ["gcc", "-m32", "-g", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x100000", "-Wl,--build-id=none",
         "-o", kernel, source],
        check=True, timeout=60,
    )  # fmt: skip
    assert main(["run", str(kernel), "--", "print $pc == lmb_ready"]) == 5
    assert capfd.readouterr().out == "$1 = 1\n"


def test_an_arm64_vmlinux_is_not_given_to_qemu(tmp_path: Path, capfd: Capture) -> None:
    # Linked as arm64 links it: physical addresses are the virtual ones. One section, so that it has symbols.
    names = b"\0.symtab\0"
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 183, 1, 0xFFFF800080000000, 64, 128, 0, 64, 56, 1, 64, 2, 1
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0xFFFF800080000000, 0xFFFF800080000000, 64, 64, 0x10000)
    table = struct.pack("<IIQQQQIIQQ", 1, 2, 0, 0, 0, 24, 0, 0, 8, 24)
    strings = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 256, len(names), 0, 0, 1, 0)
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(header + load.ljust(64, b"\0") + table + strings + names)
    assert main(["run", str(kernel)]) == 2
    assert f"boot the Image with --symbols {kernel}" in capfd.readouterr().err


def test_names_of_symbols_share_their_ends(tmp_path: Path) -> None:
    source = tmp_path / "names.S"
    source.write_text(".globl _start, __pfx_lmb_ready, lmb_ready_not\n_start: __pfx_lmb_ready: lmb_ready_not: nop\n")
    for words, there in (((), False), (("-Wl,--defsym=lmb_ready=_start",), True)):
        for bits in ("-m64", "-m32"):
            program = tmp_path / f"program{bits}{there}"
            subprocess.run(
                ["gcc", bits, "-nostdlib", "-static", "-no-pie", *words, "-o", program, source], check=True, timeout=60
            )
            assert headers_of(program).has_symbol(b"lmb_ready") is there
            assert headers_of(program).has_symbol(b"__pfx_lmb_ready")


def test_the_default_place_is_what_the_kernel_has(tmp_path: Path, capfd: Capture) -> None:
    guest = build_guest(tmp_path, "ready")
    stock = tmp_path / "stock"
    # As in a stock kernel, which has no lmb_ready.
    subprocess.run(["objcopy", "--redefine-sym", "lmb_ready=memblock_free_all", guest, stock], check=True, timeout=60)
    assert main(["run", str(stock), "--", "print $pc == (long)&memblock_free_all"]) == 5
    assert capfd.readouterr().out == "$1 = 1\n"
    neither = build_guest(tmp_path, "spin")
    assert main(["run", str(neither)]) == 2
    assert "lmb_ready and memblock_free_all are not in it); say where to stop with --until" in capfd.readouterr().err

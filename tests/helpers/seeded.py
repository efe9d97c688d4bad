# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixture kernels with a change in them that somebody might make by mistake, built from a copy of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from fixture_kernels import DEFAULT_ARCH, FIXTURES, vmlinux

STEPS = """\
static noinline __init void reserve_platform(void)
{
	must(lmb_reserve, PLATFORM, 4 * PAGE_SIZE, 0);
}

static noinline __init void reserve_frame_buffer(void)
{
	must(lmb_reserve, FRAME_BUFFER, 8 * PAGE_SIZE, 0);
}

/* All that must not be overwritten is reserved now"""
"""Two steps of a boot that no fixture kernel has: what is seeded changes these, at addresses that are known."""

CALLS = "\treserve_platform();\n\treserve_frame_buffer();\n"


class Sources:
    """A copy of the fixture's sources with the two steps, in which pieces of text can be replaced."""

    def __init__(self, folder: Path, platform: int, frame_buffer: int) -> None:
        """Copy the sources to `folder`; the steps reserve memory at these addresses."""
        self.folder = folder
        shutil.copytree(FIXTURES, folder, ignore=shutil.ignore_patterns("build"))
        text = (folder / "main.c").read_text()
        steps = STEPS.replace("PLATFORM", f"{platform:#x}ul").replace("FRAME_BUFFER", f"{frame_buffer:#x}ul")
        text = _replaced(text, "/* All that must not be overwritten is reserved now", steps)
        self.sound = _replaced(text, "\tadd_firmware_memory();\n", CALLS + "\tadd_firmware_memory();\n")
        self.write(self.sound)

    def write(self, text: str) -> None:
        """Make `text` the file with the boot's steps."""
        (self.folder / "main.c").write_text(text)

    def changed(self, *pairs: tuple[str, str]) -> str:
        """Return that file with each of the texts in place of another."""
        text = self.sound
        for old, new in pairs:
            text = _replaced(text, old, new)
        return text

    def build(self, kernel: Path, *pairs: tuple[str, str]) -> Path:
        """Build the kernel with texts replaced, and return it, put at `kernel`."""
        self.write(self.changed(*pairs))
        kernel.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.make(), kernel)
        return kernel

    def make(self) -> Path:
        """Build the kernel of the sources as they are, and return where it is."""
        target = vmlinux(build=self.folder / "build")
        words = ["make", "-s", "-C", str(self.folder), f"-j{os.cpu_count() or 1}", f"ARCH={DEFAULT_ARCH}"]
        done = subprocess.run(
            [*words, str(target.relative_to(self.folder))], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return target


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the sources"
    return text.replace(old, new)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages made by the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def made_package(folder: Path, size: int) -> Path:
    """Build a package like those of debug symbols, of bytes that do not compress."""
    tree = folder / "tree"
    files = {"usr/lib/debug/boot/vmlinux-6": os.urandom(size), "boot/vmlinuz-6": b"image", "boot/other": b"not wanted"}
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "DEBIAN").mkdir()
    control = "Package: linux-image-6\nVersion: 6-1\nArchitecture: all\nInstalled-Size: 8192\n"
    control += "Maintainer: n <n@n.invalid>\nDescription: n\n"
    (tree / "DEBIAN" / "control").write_text(control)
    deb = folder / "linux-image-6_6-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, stdout=subprocess.DEVNULL)
    return deb

# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of scripts/get-kernel: bring a kernel or a source into the cache, or say what it holds."""

from __future__ import annotations

import argparse
import signal
import sys

from gdb_lmb.core.errors import LmbError, UsageError
from gdb_lmb.kernels import stock
from gdb_lmb.kernels.cache import KernelFiles, drift
from gdb_lmb.kernels.names import KERNELS, SOURCES, row_of
from gdb_lmb.report.progress import PROGRESS


def list_names() -> str:
    """Return a line for each name: what the cache holds of it."""
    lines = []
    for name in (*KERNELS, *SOURCES):
        files = stock.cached(name) if name in KERNELS else stock.cached_source(name)
        told = "not in the cache"
        if files is not None:
            told = files.version
            if isinstance(files, KernelFiles):
                told += f", {(files.image.stat().st_size + files.vmlinux.stat().st_size) >> 20} MiB"
            told += drift(files)
        lines.append(f"{name:28} {told}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Do what scripts/get-kernel is asked for; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/get-kernel",
        description="Bring a distribution kernel and its debug symbols, or what builds its memblock in user space, "
        "into the cache, signatures checked.",
        epilog=f"names: {', '.join([*KERNELS, *SOURCES])}",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="suite, flavour and architecture")
    parser.add_argument("--cached", action="store_true", help="be content with what the cache holds, however old")
    parser.add_argument("--list", action="store_true", help="show the known names and what the cache holds")
    options = parser.parse_args(argv)
    if options.list or options.name is None:
        print(list_names())
        return 0
    try:

        def tell(text: str) -> None:
            PROGRESS.clear()
            print(f"get-kernel: {text}", file=sys.stderr)

        if options.name in SOURCES:
            get = stock.find_source if options.cached else stock.get_source
            source = get(options.name, notice=tell)
            print(f"source={source.tree}\nversion={source.version}")
            return 0
        row_of(options.name)
        find = stock.find_kernel if options.cached else stock.get_kernel
        files = find(options.name, notice=tell)
    except LmbError as error:
        PROGRESS.clear()
        print(f"get-kernel: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 4
    except KeyboardInterrupt:
        PROGRESS.clear()
        print("get-kernel: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    print(f"image={files.image}\nvmlinux={files.vmlinux}\nversion={files.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""Start gdb: what it must not read, what it must find, the lmb commands in it, and its index of a large program.

To read half a gigabyte of debug information takes gdb seconds, each time, and again when the symbols are moved; with
the index that it can keep it takes a fifth of that. gdb files it by build id, which a stripped file shares with its
origin, and newer gdbs pass over what older ones wrote, or take from it what is not all there. So each file has a folder
of its own in our cache for each gdb.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gdb_lmb
from gdb_lmb.core.errors import InfrastructureError, UsageError
from gdb_lmb.kernels.cache import cache_folder
from gdb_lmb.report.terminal import COUNT_VARIABLE, PLAIN, TERMINAL_VARIABLE, Terminal
from gdb_lmb.runner.elf import DEBUG_FOLDERS
from gdb_lmb.runner.process import RunFolder

if TYPE_CHECKING:
    from gdb_lmb.runner.mi import Mi

PATH_VARIABLE = "GDB_LMB_PATH"
# The file that gets the number of operations that a trace has recorded.
COUNT_FILE = "count"
# Where the lmb commands make files that go with the run.
_FOLDER_VARIABLE = "GDB_LMB_TEMPORARY"
# What the lmb commands import only where it is needed. It may be imported before: see commands/load_ahead.py.
_AHEAD_VARIABLE = "GDB_LMB_AHEAD"
_FOR_LMB = ("gdb_lmb.allocators.lmb.allocator", "gdb_lmb.allocators.lmb.log", "gdb_lmb.programs.bare.program")
_FOR_LINUX = ("gdb_lmb.allocators.memblock.allocator", "gdb_lmb.programs.linux.program")
_FOR_TABLES = ("tabulate",)
# Variables for this Python, or for a shell's, would break gdb's; and its messages are looked at.
_KEPT_FROM_GDB = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "DEBUGINFOD_URLS", "LANGUAGE", "NO_COLOR")
_PLAIN = re.compile(r"/[A-Za-z0-9._/+@=,:-]+")
_SETTINGS = (
    "auto-load no",
    "confirm off",
    "pagination off",
    "height 0",
    "breakpoint pending off",
    "debuginfod enabled off",
    "history save off",
    # A busy machine, or a dump of the guest's memory, may keep QEMU from answering for longer than gdb's 2 s;
    # after that gdb takes late answers for those to its next questions. Our own deadlines are the runner's.
    "remotetimeout 20",
)
# Smaller programs are read in no time.
LARGE_BYTES = 64 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_VERSION_CHARACTERS = 60
# How long an unused index is kept.
UNUSED_S = 90 * 86400


def extension() -> Path:
    """Return the file that gdb sources to get the lmb commands."""
    return Path(gdb_lmb.__file__).resolve().parent / "commands" / "load.py"


def python_path() -> str:
    """Return the folders that gdb's Python has to add to find this package and tabulate."""
    folders = [Path(gdb_lmb.__file__).resolve().parent.parent]
    found = importlib.util.find_spec("tabulate")
    if found is not None and found.origin is not None:
        origin = Path(found.origin).resolve()
        folders.append(origin.parent.parent if origin.name == "__init__.py" else origin.parent)
    return os.pathsep.join(dict.fromkeys(str(folder) for folder in folders))


def start_gdb(folder: RunFolder, gdb: str, program: Path, terminal: Terminal | None = PLAIN) -> Mi:
    """Start `gdb`, which is to read `program`, without start-up files, in English, without the network.

    Its output goes to a pipe, so the lmb commands are told what `terminal` shows it in the end, or that programs read
    it (None). Its Python begins to import them at once; `load_extension()` is to follow.
    Raises: InfrastructureError if it cannot be started.
    """
    ahead = [*_FOR_LMB, *(_FOR_LINUX if is_large(program) else ()), *(_FOR_TABLES if terminal is not None else ())]
    terminal = terminal or PLAIN
    shown = {
        "tty": terminal.width is not None,
        "color": terminal.color,
        "unicode": terminal.unicode,
    }
    environment = {name: value for name, value in os.environ.items() if name not in _KEPT_FROM_GDB} | {
        PATH_VARIABLE: python_path(),
        _FOLDER_VARIABLE: str(folder.path),
        TERMINAL_VARIABLE: " ".join(word for word, there in shown.items() if there),
        _AHEAD_VARIABLE: " ".join(ahead),
        COUNT_VARIABLE: str(folder.path / COUNT_FILE),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
    }
    settings = (*_SETTINGS, f"width {terminal.width or 0}", f"style enabled {'on' if terminal.color else 'off'}")
    commands = (*(f"set {setting}" for setting in settings), f"source {extension().with_name('load_ahead.py')}")
    # As arguments, each of which would be a question and an answer; an older gdb may lack one, and goes on.
    words = [gdb, "-nx", "-q", "--interpreter=mi3", *(word for command in commands for word in ("-iex", command))]
    child = folder.spawn("gdb", words, pipes=True, environment=environment)
    # gdb takes longer to start than this to import.
    from gdb_lmb.runner.mi import Mi

    return Mi(child)


def plain_name(file: Path, link: Path) -> str:
    """Return a name of `file` that MI can carry: its own, else that of a symbolic `link` made for it."""
    name = str(file.absolute())
    if _PLAIN.fullmatch(name):
        return name
    # gdb takes such a command's argument apart in a way of its own, which loses quotes and bytes.
    link.symlink_to(name)
    return str(link)


def open_program(mi: Mi, program: Path, folder: Path, timeout_s: float) -> None:
    """Have gdb read `program` and take its architecture from it.

    Raises: UsageError if gdb cannot.
    """
    if is_large(program):
        # The first line has the version and the distribution's: "GNU gdb (Debian 16.3-1) 16.3".
        index = index_folder(program, mi.execute("-gdb-version", timeout_s).console.partition("\n")[0])
        if index is not None:
            # An older gdb lacks the second, and then keeps none.
            for setting in (f"directory {plain_name(index, folder / 'index')}", "enabled on"):
                mi.execute(f"-gdb-set index-cache {setting}", timeout_s)
    # A gdb that was built locally looks for debug files below its own folder.
    shown = mi.execute("-gdb-show debug-file-directory", timeout_s).payload.get("value")
    known = shown.split(os.pathsep) if shown else []
    ours = [str(folder) for folder in DEBUG_FOLDERS if str(folder) not in known]
    if ours:
        mi.execute(f"-gdb-set debug-file-directory {os.pathsep.join([*known, *ours])}", timeout_s)
    name = plain_name(program, folder / "program")
    reply = mi.execute(f"-file-exec-and-symbols {name}", timeout_s)
    if reply.kind != "done":
        raise UsageError(f"gdb cannot read {program}: {reply.error}")


def load_extension(mi: Mi, timeout_s: float) -> None:
    """Load the lmb commands.

    Raises: InfrastructureError with what gdb said: without them there can be no verdict.
    """
    reply = mi.console(f"source {extension()}", timeout_s)
    if reply.kind != "done" or reply.failed:
        why = reply.error or (reply.log.strip().splitlines() or ["for no reason it gave"])[-1]
        raise InfrastructureError(f"gdb cannot load the lmb commands: {why}")


def is_large(program: Path) -> bool:
    """Tell whether gdb takes long to read `program`."""
    return program.is_file() and program.stat().st_size >= LARGE_BYTES


def index_folder(program: Path, version: str) -> Path | None:
    """Return where the gdb of this `version` shall keep its index of `program`; None where nothing can be kept."""
    try:
        status = program.stat()
        indexes = cache_folder() / "gdb-index"
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        name = "-".join(f"{part:x}" for part in key)
        folder = indexes / f"{name}-{_UNSAFE.sub('_', version)[:_VERSION_CHARACTERS]}"
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for other in indexes.iterdir():
            with contextlib.suppress(OSError):
                if other.stat().st_mtime < time.time() - UNUSED_S:
                    shutil.rmtree(other)
    except OSError:
        return None
    return folder

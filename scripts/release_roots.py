# SPDX-License-Identifier: GPL-2.0-or-later
"""Roots of Debian's releases in the cache, in layers that are made once and never written to again.

`roots/RELEASE-base-KEY` is what debootstrap makes, `-packages-` what scripts/setup installs above it, and `-venv-` its
virtual environment. Each is keyed by what it is made of. A run mounts them read only, with a folder of its own on top
for what it writes, in namespaces of its own (scripts/enter-root); so two runs share them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from release_settings import HOME, Settings

from gdb_lmb.kernels.apt import KEYRING

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = f"{HOME}/gdb-lmb"
"""Where the checkout is inside."""

HOSTS = Path("/etc/hosts")

KEEP = 2
"""So many roots of a release are kept: those used last."""

KEEP_UNUSED_S = 30 * 24 * 3600
STEP_LIMIT_S = 1200
RETRY_S = 10
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What is made or run in namespaces ends with us.
NAMESPACES = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child",
              "--propagation", "private"]  # fmt: skip


class RootError(Exception):
    """A root that cannot be made, and why."""


def say(text: str) -> None:
    """Write a line about what is done."""
    print(f"== {text}", file=sys.stderr, flush=True)


def key_of(*parts: str) -> str:
    """Return a short name for contents."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@dataclass
class Roots:
    """The folder of all roots."""

    folder: Path
    _held: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folder; what is in it is for root only, since settings may hold passwords."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    @contextlib.contextmanager
    def _lock(self, name: str, what: str = "") -> Iterator[None]:
        with (self.folder / f"{name}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if what:
                    say(f"waiting for another run that makes {what}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def hold(self, name: str) -> bool:
        """Keep a layer from being removed for as long as this process lives; tell whether it is there."""
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not (self.folder / name).is_dir():  # removed while we waited
            os.close(descriptor)
            return False
        os.utime(self.folder / name)
        self._held.append(descriptor)
        return True

    def release(self) -> None:
        """Let go of all layers."""
        while self._held:
            os.close(self._held.pop())

    @contextlib.contextmanager
    def work(self) -> Iterator[str]:
        """Yield the name of a new folder to work in, which is removed afterwards."""
        # Between its making and its lock nobody may take it for one whose run has died.
        with self._lock("roots"):
            path = Path(tempfile.mkdtemp(prefix="work-", dir=self.folder))
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield path.name
        finally:
            remove(path)
            os.close(descriptor)

    def layer(self, name: str, what: str, step: Step, settings: Settings, lowers: list[str]) -> None:
        """See that a layer is there, above `lowers`. Raises: RootError where it cannot be made."""
        with self._lock(name, what):
            if self.hold(name):
                return
            say(f"making {what}")
            try:
                self._make(name, step, settings, lowers)
            except RootError as error:
                # Archives are out of reach for moments.
                say(f"{error}; trying once more")
                time.sleep(RETRY_S)
                self._make(name, step, settings, lowers)
            self.hold(name)

    def _make(self, name: str, step: Step, settings: Settings, lowers: list[str]) -> None:
        with self.work() as work:
            step.run(self, work, settings, lowers)
            (self.folder / work / "upper").rename(self.folder / name)

    def last_used(self, prefix: str) -> str | None:
        """Return the name of the layer used last of those whose name begins so."""
        paths = sorted(self.folder.glob(f"{prefix}*/"), key=lambda path: path.stat().st_mtime, reverse=True)
        return next((path.name for path in paths if self.hold(path.name)), None)

    def prune(self, release: str) -> None:
        """Remove what runs that died have left, and roots that are not used any more, but none in use.

        A layer's name ends with its key after those of the layers below it.
        """
        with self._lock("roots"):
            last_used = {path: path.stat().st_mtime for path in self.folder.glob("*-*/")}
            newest = sorted(last_used, key=lambda path: last_used[path], reverse=True)
            keep: set[str] = set()
            for kind in ("packages", "venv"):
                keep.update(path.name for path in [p for p in newest if p.name.startswith(f"{release}-{kind}-")][:KEEP])
            keys = tuple(name.split("-", 2)[2] for name in keep if "-packages-" in name)
            for path in newest:
                name, _, rest = path.name.partition("-")
                kind, _, key = rest.partition("-")
                below = kind == "base" and any(above.startswith(key) for above in keys)
                above = kind == "venv" and not key.startswith(keys)
                dropped = name == release and not below and (above or path.name not in keep)
                if name == "work" or dropped or last_used[path] < time.time() - KEEP_UNUSED_S:
                    self._remove_unless_held(path)

    def _remove_unless_held(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.name.startswith("work-"):
                say(f"removing {path}, which is not used any more")
            remove(path)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a root, never what is mounted in it. Raises: RootError where something is."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    inside = [line.split()[4] for line in mounts if line.split()[4].startswith(f"{path}/")]
    if inside:
        raise RootError(f"{inside[0]} is mounted in {path}: not removing it")
    subprocess.run(["rm", "-rf", "--one-file-system", "--", path], check=False)


@dataclass(frozen=True)
class Step:
    """A command in a root, or `debootstrap` on it."""

    command: list[str]
    limit_s: float = STEP_LIMIT_S
    debootstrap: bool = False

    def run(self, roots: Roots, work: str, settings: Settings, lowers: list[str]) -> None:
        """Run it quietly, with a word about how far it is every few seconds; print all of it where it fails."""
        upper = roots.folder / work / "upper"
        if self.debootstrap:
            upper.mkdir(parents=True)
            words = [*NAMESPACES, *self.command[:-1], str(upper), settings.archive, self.command[-1]]
            status = self._follow(roots, work, words, _debootstrap_environment(roots.folder / work, settings))
        else:
            written = put_files(upper, settings, hosts=True)
            checkout = upper / CHECKOUT.lstrip("/")
            copy_checkout(checkout)
            words, environment = enter(work, lowers, settings, self.command, PIP_NO_CACHE_DIR="1")
            status = self._follow(roots, work, words, environment)
            # A layer is kept: without passwords, and without a checkout that changes.
            for path in written:
                path.unlink(missing_ok=True)
            for path in checkout.iterdir():
                if path.name != ".venv":
                    remove(path)
        if status:
            raise RootError(f"{self.command[0]} failed" if status != 124 else f"{self.command[0]} took too long")

    def _follow(self, roots: Roots, work: str, words: list[str], environment: dict[str, str]) -> int:
        log = roots.folder / work / "log"
        start = told = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(
                words, cwd=roots.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
            try:
                while process.poll() is None:
                    now = time.monotonic()
                    if now > start + self.limit_s:
                        return 124
                    if now > told + 15:
                        told = now
                        lines = log.read_bytes().splitlines()
                        print(f"   {now - start:4.0f} s: {lines[-1].decode(errors='replace')[:100] if lines else ''}",
                              file=sys.stderr, flush=True)  # fmt: skip
                    time.sleep(0.1)
            finally:
                end(process)
        if process.returncode:
            sys.stderr.write(log.read_text(errors="replace")[-4000:])
        return process.returncode


def end(process: subprocess.Popen[bytes]) -> None:
    """End a namespace and all that runs in it."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait()


def _debootstrap_environment(work: Path, settings: Settings) -> dict[str, str]:
    """Return an environment in which wget finds what apt is told about reaching the archive."""
    home = work / "home"
    home.mkdir()
    own = Path.home() / ".wgetrc"
    (home / ".wgetrc").write_text((own.read_text() if own.is_file() else "") + settings.wgetrc())
    (home / ".netrc").touch(mode=0o600)
    (home / ".netrc").write_text(settings.netrc())
    return {**os.environ, "HOME": str(home), "LC_ALL": "C", "DEBOOTSTRAP_DIR": "/usr/share/debootstrap"}


def put_files(upper: Path, settings: Settings, *, hosts: bool) -> list[Path]:
    """Write what a root needs to reach the network, and return what was written.

    That the tests do without /etc/hosts, which no release brings, is to stay so.
    """
    files = dict(settings.files)
    if hosts and HOSTS.is_file():
        files["/etc/hosts"] = HOSTS.read_bytes()
    for name, data in files.items():
        path = upper / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600 if "auth.conf" in name or name.endswith("netrc") else 0o644)
        path.write_bytes(data)
    return [upper / name.lstrip("/") for name in files]


def copy_checkout(target: Path) -> None:
    """Copy what git knows or would add, so that nothing of the checkout can be changed from inside."""
    words = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, check=False, capture_output=True) if shutil.which("git") else None
    if listed is None or listed.returncode:
        # An unpacked release: there is no git, and nothing but what was built here to leave out.
        shutil.copytree(ROOT, target, symlinks=True, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns(".venv*", "build", "__pycache__", ".*_cache"))  # fmt: skip
        return
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def enter(
    work: str, lowers: list[str], settings: Settings, command: list[str], binds: tuple[str, ...] = (), **more: str
) -> tuple[list[str], dict[str, str]]:
    """Return the command line and environment that run `command` in a root, in the checkout."""
    inside = {"HOME": HOME, "PATH": _SYSTEM_PATH, "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb"),
              **settings.environment, **more}  # fmt: skip
    environment = {
        **os.environ,
        "BINDS": "\n".join([*settings.folders, *binds]),
        "INSIDE": "\n".join(f"{name}={value}" for name, value in inside.items() if "\n" not in value),
    }
    script = str(ROOT / "scripts" / "enter-root")
    return [*NAMESPACES, script, work, ":".join(lowers), CHECKOUT, *command], environment


def base_step(release: str) -> Step:
    """Return the step that makes the base of a release; they all have the same script in debootstrap."""
    return Step(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", f"--keyring={KEYRING}", release,
         "/usr/share/debootstrap/scripts/sid"],
        debootstrap=True,
    )  # fmt: skip

# SPDX-License-Identifier: GPL-2.0-or-later
"""The lane of one release of Debian: scripts/test --release RELEASE.

In a root of that release: the demo, the plain lane, and the tests marked `release` on kernels of the cache. Exit
status 0: all passed, or what failed does not count (scripts/releases.ini says when); 1: something failed; 4: there is
no root to run it in, or no kernel.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import NoReturn

from release_roots import (
    CHECKOUT,
    ROOT,
    RootError,
    Roots,
    Step,
    base_step,
    copy_checkout,
    end,
    enter,
    key_of,
    put_files,
    say,
)
from release_settings import Settings, machine_settings

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.kernels.cache import cache_folder
from gdb_lmb.kernels.stock import find_kernel

FORMAT = "1"
"""To be changed with how a layer is made."""

KERNELS = ("debian:6.1-cloud-amd64", "debian:7-cloud-amd64")
INI = ROOT / "scripts" / "releases.ini"
LIMIT_S = 3600
VERSIONS = {
    "gdb": ("gdb --version", r"GNU gdb .*\s(\S+)$"),
    "QEMU": ("qemu-system-x86_64 --version", r"version (\S+)"),
    "Python": ("python3 --version", r"Python (\S+)"),
    "gcc": ("gcc -dumpfullversion", r"(\S+)"),
}


def make_root(roots: Roots, release: str, settings: Settings, held_to: dict[str, str]) -> list[str]:
    """Return the layers of a root, topmost first, made where they are not in the cache. Raises: RootError."""
    base = key_of(FORMAT, release, repr(held_to))
    packages = f"{base}-{key_of((ROOT / 'scripts' / 'setup').read_text())}"
    lowers: list[str] = []

    def lay(name: str, what: str, step: Step) -> None:
        roots.layer(name, what, step, settings, lowers)
        lowers.insert(0, name)

    lay(f"{release}-base-{base}", f"the base of {release} with debootstrap (a minute or two)", base_step(release))
    install = Step(["bash", "-c", "scripts/setup packages && apt-get clean"])
    what = f"{release} with the packages of scripts/setup (a minute or two)"
    try:
        lay(f"{release}-packages-{packages}", what, install)
    except RootError as error:
        # What scripts/setup installs seldom changes when it does.
        older = roots.last_used(f"{release}-packages-{base}-")
        if older is None:
            raise
        say(f"{error}: taking the root that was made for another version of scripts/setup")
        packages = older.split("-", 2)[2]
        lowers.insert(0, older)
    requirements = [(ROOT / name).read_text() for name in ("pyproject.toml", "scripts/constraints.txt")]
    venv = f"{packages}-{key_of(*requirements)}"
    lay(f"{release}-venv-{venv}", f"the virtual environment in {release} (a minute)", Step(["scripts/setup", "venv"]))
    return lowers


def versions(roots: Roots, work: str, lowers: list[str], settings: Settings) -> dict[str, str]:
    """Return the versions of what a root has."""
    script = "; ".join(f"{command} | head -1" for command, _ in VERSIONS.values())
    words, environment = enter(work, lowers, settings, ["sh", "-c", script])
    done = subprocess.run(words, cwd=roots.folder, env=environment, check=False, text=True, capture_output=True)
    return {name: version_in(name, line) for name, line in zip(VERSIONS, done.stdout.splitlines(), strict=False)}


def version_in(program: str, line: str) -> str:
    """Return the version that a program tells in its first line."""
    found = re.search(VERSIONS[program][1], line)
    return found[1] if found else "unknown"


def run_steps(roots: Roots, work: str, lowers: list[str], settings: Settings, words: list[str]) -> list[str]:
    """Run the demo and the tests, each whatever the others come to; return what failed."""
    cpus = str(len(os.sched_getaffinity(0)))
    pytest = [f"{CHECKOUT}/.venv/bin/python", "-m", "pytest", "-n", cpus, "-m", "release"]
    steps = {
        "demo": ["scripts/demo"],
        "plain": ["scripts/test", *words],
        "kernels": ["bash", "-c", f'PATH={CHECKOUT}/.venv/bin:$PATH exec "$@"', "bash", *pytest],
    }
    failed = []
    kernels = str(cache_folder() / "kernels")
    more = {"GDB_LMB_CACHE": str(cache_folder()), "CI": os.environ.get("CI", "")}
    for name, command in steps.items():
        start = time.monotonic()
        line, environment = enter(work, lowers, settings, command, (kernels,), **more)
        process = subprocess.Popen(line, cwd=roots.folder, env=environment, stdin=subprocess.DEVNULL)
        try:
            status = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            status = 124
        finally:
            end(process)
        came_to = "passed" if status == 0 else f"FAILED with status {status}"
        say(f"{name} {came_to} in {time.monotonic() - start:.0f} s")
        if status:
            failed.append(name)
    return failed


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind, so that nothing is left mounted, running or lying about."""
    sys.exit(128 + number)


def lane(release: str, held_to: dict[str, str], words: list[str]) -> int:
    """Run the lane of `release`, which must pass where it has the versions it is `held_to`; return the exit status."""
    roots = Roots(cache_folder() / "roots")
    try:
        settings = machine_settings(release)
        # None of them is removed from the cache while this process lives.
        kept = [find_kernel(name, notice=say) for name in KERNELS]
        lowers = make_root(roots, release, settings, held_to)
    except (RootError, InfrastructureError) as error:
        say(f"{release}: NOT TESTED, there is no root or no kernel to be had: {error}")
        return 0 if held_to else 4
    roots.prune(release)
    with roots.work() as work:
        upper = roots.folder / work / "upper"
        put_files(upper, settings, hosts=False)
        copy_checkout(upper / CHECKOUT.lstrip("/"))
        found = versions(roots, work, lowers, settings)
        text = ", ".join(f"{name} {version}" for name, version in found.items())
        say(f"{release} has {text}; kernels {', '.join(files.version for files in kept)}")
        failed = run_steps(roots, work, lowers, settings, words)
    if not failed:
        say(f"{release}: passed with {text}")
        return 0
    others = [f"{name} {version}" for name, version in held_to.items() if found.get(name) != version]
    if others:
        say(f"{release}: {', '.join(failed)} failed with {text}; not counted, held only to {', '.join(others)}")
        return 0
    say(f"{release}: {', '.join(failed)} failed with {text}")
    return 1


def main() -> int:
    """Read the command line and run the lane; return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminated)
    config = configparser.ConfigParser()
    config.optionxform = str  # type: ignore[assignment,method-assign]
    config.read_string(INI.read_text())
    parser = argparse.ArgumentParser(prog="scripts/test --release", description=__doc__)
    parser.add_argument("release", choices=config.sections())
    options, words = parser.parse_known_args()
    return lane(options.release, dict(config[options.release]), words)


if __name__ == "__main__":
    sys.exit(main())

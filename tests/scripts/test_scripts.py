# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/setup, and what sources it, on machines that lack something: apt, sudo and the network are stubs here."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.helpers.tool import ROOT

# What the scripts themselves run before anything is installed.
TOOLS = ("bash", "cat", "dirname", "env", "flock", "gcc", "make", "mkdir", "mktemp", "mv", "nproc", "rm", "sha256sum",
         "sleep", "uname", "unshare")  # fmt: skip

# What every lane needs and this machine lacks, and the packages that have it.
LACKING = {"gdb": "gdb", "qemu-system-x86_64": "qemu-system-x86", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
           "qemu-system-aarch64": "qemu-system-arm", "gdb-multiarch": "gdb-multiarch",
           "powerpc-linux-gnu-gcc": "gcc-powerpc-linux-gnu", "powerpc64-linux-gnu-gcc": "gcc-powerpc64-linux-gnu",
           "qemu-system-ppc": "qemu-system-ppc", "riscv64-linux-gnu-gcc": "gcc-riscv64-linux-gnu",
           "qemu-system-riscv64": "qemu-system-riscv64"}  # fmt: skip
PACKAGES = " ".join(LACKING.values())

LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)"


@dataclass
class Machine:
    """A copy of the scripts, and the only commands that are there."""

    checkout: Path
    commands: Path

    def stub(self, name: str, text: str) -> None:
        """Put a shell script there as a command."""
        path = self.commands / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """Run a script; return its status and what it wrote."""
        done = subprocess.run(
            ["bash", *words], cwd=self.checkout, text=True, check=False, timeout=240, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"PATH": str(self.commands), "HOME": str(self.checkout), "APT_LOCK_TIMEOUT_S": "2", **environment},
        )  # fmt: skip
        return done.returncode, done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without gdb and QEMU, whose user is not root, with an apt that installs them."""
    checkout, commands = tmp_path / "checkout", tmp_path / "commands"
    commands.mkdir()
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None, name
        (commands / name).symlink_to(found)
    made = Machine(checkout, commands)
    made.stub("id", "echo 1000")
    made.stub("python3", "exit 0")
    made.stub("sudo", '[ "$1" = -n ] && shift; exec "$@"')
    made.stub("true", "exit 0")
    made.stub("apt-get", f'[ "$1" = update ] || for name in {" ".join(LACKING)}; do '
              f'echo > {commands}/$name; /bin/chmod +x {commands}/$name; done')  # fmt: skip
    return made


APT_LINE = "have root run: apt-get install --no-install-recommends "


@pytest.mark.parametrize("sudo", ["none", "asks for a password"])
@pytest.mark.parametrize("script", ["scripts/test", "scripts/test --kernels"])
def test_who_may_not_install_is_told_the_one_line(machine: Machine, sudo: str, script: str) -> None:
    if sudo == "none":
        (machine.commands / "sudo").unlink()
    else:
        machine.stub("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    status, out = machine.run(*script.split())
    assert status == 4
    assert out.startswith(f"== missing Debian packages; {APT_LINE}{PACKAGES}")
    assert ("zsh fish" in out) == ("--kernels" in script)
    assert out.count("\n") == 1


@pytest.mark.usefixtures("checkout")
def test_the_demo_needs_nothing_of_other_architectures(machine: Machine) -> None:
    """No compiler and no QEMU of theirs, and no reader of device trees."""
    (machine.commands / "uname").unlink()
    machine.stub("uname", "echo x86_64")
    machine.stub("apt-helper", "exit 100")
    out = machine.run("scripts/demo")[1]
    assert out.startswith("== installing Debian packages: gdb qemu-system-x86\n== building the fixture kernel\n")
    # On another machine the kernel of its own needs a device tree, and the demo what the tests need.
    machine.stub("uname", "echo aarch64")
    (machine.commands / "qemu-system-aarch64").unlink()
    out = machine.run("scripts/demo")[1]
    assert out.startswith("== installing Debian packages: qemu-system-arm\n== fetching libfdt")


def test_without_apt_the_packages_are_named(machine: Machine) -> None:
    (machine.commands / "apt-get").unlink()
    status, out = machine.run("scripts/test")
    assert status == 4
    assert out.startswith(f"== missing, by Debian's names: {PACKAGES}; there is no apt-get here")
    assert out.count("\n") == 1


def test_what_is_missing_is_installed(machine: Machine) -> None:
    assert machine.run("scripts/setup", "packages") == (0, f"== installing Debian packages: {PACKAGES}\n")
    assert machine.run("scripts/setup", "packages") == (0, "")


@pytest.mark.parametrize("lane", ["--kernels", "--soak"])
def test_each_package_is_a_word_of_its_own(machine: Machine, lane: str) -> None:
    machine.stub("apt-get", f"[ $1 = update ] || printf '%s\\n' \"$@\" > {machine.checkout}/words")
    machine.run("scripts/test", lane)
    words = (machine.checkout / "words").read_text().splitlines()
    assert {"gdb", "clang", "libclang-rt-dev", "zsh"} <= set(words)
    assert not [word for word in words if " " in word]


def test_lists_that_another_apt_holds_are_waited_for(machine: Machine) -> None:
    held = machine.checkout / "held"
    held.write_text("")
    apt = (machine.commands / "apt-get").read_text()
    busy = f"if [ $1 = update ] && [ -e {held} ]; then rm {held}; echo '{LOCKED}' >&2; exit 100; fi"
    machine.stub("apt-get", f"{busy}\n{apt}")
    status, out = machine.run("scripts/setup", "packages")
    assert (status, out.splitlines()[1:]) == (0, ["== waiting for another apt, at most 2 s"])


def test_lists_that_another_apt_holds_for_ever(machine: Machine) -> None:
    machine.stub("apt-get", f"echo '{LOCKED}' >&2; exit 100")
    status, out = machine.run("scripts/setup", "packages")
    assert status == 4
    assert out.splitlines()[-1].startswith("== another apt holds its lists for more than 2 s; run this again")


def test_one_archive_out_of_reach_is_not_the_end(machine: Machine) -> None:
    apt = (machine.commands / "apt-get").read_text()
    machine.stub("apt-get", f"if [ $1 = update ]; then echo 'E: no archive.invalid' >&2; exit 100; fi\n{apt}")
    status, out = machine.run("scripts/setup", "packages")
    assert status == 0
    assert "E: no archive.invalid\n== apt-get update failed; trying with the lists that are there\n" in out


@pytest.mark.parametrize("fails", ["exit 100", "exit 0"], ids=["apt fails", "apt does nothing"])
def test_packages_that_cannot_be_had(machine: Machine, fails: str) -> None:
    machine.stub("apt-get", f"[ $1 = update ] || {fails}")
    status, out = machine.run("scripts/setup", "packages")
    assert status == 4
    assert "gdb qemu-system-x86" in out.splitlines()[-1]
    assert ("is the archive within reach?" in out) == (fails == "exit 100")


# -- libfdt --------------------------------------------------------------------------------------------------


def test_libfdt_is_fetched_once(machine: Machine) -> None:
    """From the archive that apt knows; what does not have the hash, or cannot be had, leaves nothing behind."""
    folder, cache = machine.checkout / "dtc-1.7.2" / "libfdt", machine.checkout / "cache"
    folder.mkdir(parents=True)
    (folder / "fdt.c").touch()
    with tarfile.open(machine.checkout / "source", "w:xz") as archive:
        archive.add(folder, "dtc-1.7.2/libfdt")
    (machine.checkout / ".venv" / "bin").mkdir(parents=True)
    python = machine.checkout / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    words, environment = ("scripts/setup", "libfdt"), {"GDB_LMB_CACHE": str(cache)}
    machine.stub("apt-helper", "exit 100")
    status, out = machine.run(*words, **environment)
    assert (status, list(cache.iterdir())) == (4, [])
    assert "== libfdt could not be fetched from http" in out
    machine.stub(
        "apt-helper", f'[[ $2 = http*/device-tree-compiler_* && $4 = SHA256:* ]] && cat {machine.checkout}/source >"$3"'
    )
    assert machine.run(*words, **environment) == (0, "== fetching libfdt: device-tree-compiler 1.7.2 of Debian\n")
    assert [str(path.relative_to(cache)) for path in cache.rglob("*")] == ["libfdt", "libfdt/fdt.c"]
    machine.stub("apt-helper", "exit 100")
    assert machine.run(*words, **environment) == (0, "")
    (cache / "libfdt" / "fdt.c").unlink()
    (cache / "libfdt").rmdir()
    python.write_text("#!/bin/bash\n")  # which finds no archive of Debian's
    status, out = machine.run(*words, **environment)
    assert (status, list(cache.iterdir())) == (4, [])
    assert "== libfdt could not be fetched from Debian, which apt has no source of: run this again when it is" in out


# -- the virtual environment ---------------------------------------------------------------------------------


@pytest.fixture
def checkout(machine: Machine) -> Path:
    """A checkout with a virtual environment of one package, which has one tool."""
    root = machine.checkout
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True, timeout=60)
    packages = next((root / ".venv").glob("lib/python*/site-packages"))
    (root / ".venv" / "bin" / "tool").touch()
    (packages / "tool-1.dist-info").mkdir()
    (packages / "tool-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tool\nVersion: 1\n")
    rows = "../../../bin/tool,,\ntool-1.dist-info/METADATA,,\ntool-1.dist-info/RECORD,,\n__pycache__/tool.pyc,,\n"
    (packages / "tool-1.dist-info" / "RECORD").write_text(rows)
    stamp = subprocess.run(
        ["bash", "-c", "set -- venv; . <(sed '/^if .*BASH_SOURCE/,$d' scripts/setup); ROOT=$PWD; venv_stamp"],
        cwd=root, check=True, text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (root / ".venv" / ".gdb-lmb-stamp").write_text(stamp.stdout)
    return root


OFFLINE = {"PIP_NO_INDEX": "1"}


def test_a_whole_environment_is_left_alone(machine: Machine, checkout: Path) -> None:
    assert machine.run("scripts/setup", "venv", **OFFLINE) == (0, "")
    # The next run may make it anew.
    with (checkout / ".venv.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.fixture
def without_pip(checkout: Path) -> None:
    """Have the environment made anew without pip, which is most of the time; installing then fails at once."""
    setup = checkout / "scripts" / "setup"
    setup.write_text(setup.read_text().replace("-m venv --clear", "-m venv --without-pip --clear"))


@pytest.mark.parametrize("gone", ["bin/tool", "bin/python", ".gdb-lmb-stamp"])
@pytest.mark.usefixtures("without_pip")
def test_an_environment_that_lacks_something_is_made_anew(machine: Machine, checkout: Path, gone: str) -> None:
    (checkout / ".venv" / gone).unlink()
    for _ in range(2):  # what could not be made is not taken for whole the next time
        status, out = machine.run("scripts/setup", "venv")
        assert (status, out.splitlines()[0][:43]) == (4, "== making the virtual environment .venv: py")


def test_offline_at_the_first_run(machine: Machine, checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    status, out = machine.run("scripts/setup", "venv", **OFFLINE)
    lines = out.splitlines()
    assert lines[0].startswith("== making the virtual environment .venv")
    # Without the network: pip's own words, then what to do.
    assert status == 4
    assert "hatchling" in lines[1]
    assert lines[-1].startswith("== the packages of pyproject.toml and scripts/constraints.txt could not be installed")


@pytest.mark.parametrize("file", ["pyproject.toml", "scripts/constraints.txt"])
@pytest.mark.usefixtures("without_pip")
def test_other_requirements_make_it_anew(machine: Machine, checkout: Path, file: str) -> None:
    with (checkout / file).open("a") as out:
        out.write("\n")
    assert "== making the virtual environment" in machine.run("scripts/setup", "venv")[1]


def test_it_is_not_made_anew_while_another_run_uses_it(machine: Machine, checkout: Path) -> None:
    (checkout / ".venv" / "bin" / "tool").unlink()
    with (checkout / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        second = subprocess.Popen(
            ["bash", "scripts/setup", "venv"], cwd=checkout, text=True, stderr=subprocess.PIPE,
            env={"PATH": str(machine.commands), **OFFLINE},
        )  # fmt: skip
        assert second.stderr is not None
        assert "waiting for another run that uses .venv" in second.stderr.readline()
        # The other run ends, having made it whole.
        (checkout / ".venv" / "bin" / "tool").touch()
    assert (second.communicate(timeout=60)[1], second.returncode) == ("", 0)


def test_every_development_tool_has_one_version() -> None:
    """What the tests run with, and all it takes along, has the version of the constraints."""
    constraints = (ROOT / "scripts" / "constraints.txt").read_text()
    pins = dict(line.split("==") for line in constraints.splitlines() if "==" in line)
    wanted = [("gdb-lmb", "dev")]
    seen: dict[str, str] = {}
    while wanted:
        name, extra = wanted.pop()
        found = distribution(name)
        seen[found.metadata["Name"].lower().replace("_", "-")] = found.version
        for needed in map(Requirement, found.requires or ()):
            applies = needed.marker is None or needed.marker.evaluate({"extra": extra})
            if applies and needed.name.lower() not in seen:
                wanted.append((needed.name, ""))
    del seen["gdb-lmb"]
    assert seen == {name: pins.get(name) for name in seen}


# -- .ci/run ------------------------------------------------------------------------------------------------

PASSES = "echo '===== 3 passed in 1.00s ====='"
FAILS = "echo '=== short test summary info ==='; echo 'FAILED test_x'; echo '== 1 failed, 2 passed in 1.00s =='; exit 1"


def run_ci(folder: Path, *, limit_s: int = 60, **lanes: str) -> tuple[int, list[str]]:
    """Run .ci/run on a stub of scripts/test that does for each lane what is said here."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci")
    (folder / "scripts").mkdir()
    rows = "".join(f"'{lane}') {text};;\n" for lane, text in lanes.items())
    script = folder / "scripts" / "test"
    lane = "lane=plain; for word; do lane=${word#--}; done"
    script.write_text(f"#!/bin/bash\n{lane}\ncase $lane in\n{rows}*) {PASSES};;\nesac\n")
    script.chmod(0o755)
    environment = {**os.environ, "CI_LIMIT_S": str(limit_s)}
    done = subprocess.run([folder / ".ci" / "run"], capture_output=True, text=True, check=False, timeout=120,
                          env=environment)  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def table_of(lines: list[str]) -> dict[str, str]:
    """Return what the table at the end says of each lane."""
    rows = lines[len(lines) - lines[::-1].index("== lanes") :]
    return {row.split()[0]: row.split(maxsplit=2)[2] for row in rows[:4]}


def test_ci_runs_every_lane_plain_first(tmp_path: Path) -> None:
    status, lines = run_ci(tmp_path, plain="echo first; echo '===== 7 passed in 2.00s ====='")
    assert status == 0
    assert lines.index("first") < lines.index("===== 3 passed in 1.00s =====")
    assert table_of(lines) == dict.fromkeys(("plain", "kernels", "trixie", "sid"), "passed")
    assert lines[-1] == "===== 7 passed in 2.00s ====="


@pytest.mark.parametrize("lane", ["plain", "kernels", "trixie", "sid"])
def test_ci_fails_where_one_lane_does_and_runs_the_others(tmp_path: Path, lane: str) -> None:
    status, lines = run_ci(tmp_path, **{lane: FAILS})
    assert status == 1
    others = {name for name, came_to in table_of(lines).items() if came_to == "passed"}
    assert others == {"plain", "kernels", "trixie", "sid"} - {lane}
    assert lines.count("FAILED test_x") == 2, "once where it happened, once at the end"
    assert lines[-1] == "== 1 failed, 2 passed in 1.00s =="


def test_ci_tells_what_could_not_be_fetched_from_what_fails(tmp_path: Path) -> None:
    status, lines = run_ci(tmp_path, kernels="echo 'no archive'; exit 4", sid="echo '== sid: gdb 99, not 18.1'")
    assert status == 4
    assert table_of(lines)["kernels"].startswith("NOT RUN")
    assert table_of(lines)["sid"] == "passed (gdb 99, not 18.1)"
    assert lines.count("no archive") == 2
    assert lines[-1] == "===== 3 passed in 1.00s ====="


def test_ci_ends_a_lane_that_hangs(tmp_path: Path) -> None:
    status, lines = run_ci(tmp_path, limit_s=1, trixie="sleep 600")
    assert status == 1
    assert "trixie" in table_of(lines) and "cut off" in table_of(lines)["trixie"]

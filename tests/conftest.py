# SPDX-License-Identifier: GPL-2.0-or-later
"""What several test files need: the fixture kernels, built once.

Nothing here skips: a missing compiler, gdb or QEMU is a failure that names the tool.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixture_kernels import ARCHES, BUILD, make_words, vmlinux
from hypothesis import settings

from tests.helpers.json_log import LOGS, JsonLog
from tests.helpers.tool import Tool

ROOT = Path(__file__).resolve().parent.parent

# A shell starts what it puts in the background with Ctrl-C ignored, and so would be all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Of a busy machine an example may take any time.
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")


@pytest.fixture(autouse=True)
def no_tool_outlives_its_test(all_json_follows_its_schema: None) -> Iterator[None]:
    """End what a test that failed, or ran into its time limit, has not seen to its end."""
    yield
    Tool.end_all()


@pytest.fixture(scope="session", autouse=True)
def json_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JsonLog]:
    """Keep all JSON that is written from now on, by whatever process the tests start."""
    log = JsonLog(tmp_path_factory.mktemp("json"))
    LOGS.append(log)
    yield log
    # What guests of whole modules wrote at their end.
    assert log.refused() == []


@pytest.fixture(autouse=True)
def all_json_follows_its_schema(json_log: JsonLog) -> Iterator[None]:
    """Hold what was written during a test against the schemas, when its processes have ended."""
    yield
    assert json_log.refused() == []


@pytest.fixture(scope="session")
def fixture_build() -> Path:
    """Build kernels and host libraries (seconds, incremental); return the output folder."""
    BUILD.mkdir(exist_ok=True)
    # Several test processes may start together; make itself does not lock.
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for arch in ARCHES:
            done = subprocess.run(
                make_words(f"-j{os.cpu_count() or 1}", "all", arch=arch),
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"make ARCH={arch} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return BUILD


@pytest.fixture(scope="session")
def fixture_kernel(fixture_build: Path) -> Path:
    """The fixture kernel with a static array of 64 entries, for the default architecture."""
    return vmlinux(build=fixture_build)


@pytest.fixture(scope="session")
def klimit_kernel(fixture_build: Path) -> Path:
    """The fixture kernel whose first block is the page after the BSS, for the default architecture."""
    return vmlinux(klimit=True, build=fixture_build)


PROVES_NOTHING = ("skipped", "xfailed", "xpassed")


def _why_nothing_is_proved(config: pytest.Config) -> str | None:
    """Return why a run in which no test failed proves nothing, None where it does or where it is not CI's.

    With pytest-xdist, only the process that collects what the others report has a reporter.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None or config.option.collectonly:
        return None
    counts = [f"{len(reporter.stats[kind])} {kind}" for kind in PROVES_NOTHING if reporter.stats.get(kind)]
    if counts:
        return ", ".join(counts)
    return None if reporter.stats.get("passed") else "no test passed"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a CI run in which a test was skipped or expected to fail, or none ran."""
    if exitstatus == pytest.ExitCode.OK and _why_nothing_is_proved(session.config) is not None:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why `pytest_sessionfinish` fails the run."""
    why = _why_nothing_is_proved(terminalreporter.config)
    if why:
        terminalreporter.write_line(f"FAILED: in CI each test must run and pass: {why}", red=True)

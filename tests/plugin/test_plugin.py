# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin of pytest, in a pytest of its own each time, on the real fixture kernel."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import gdb_lmb.plugin
from gdb_lmb.plugin.targets import Target, matrix

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.kernel

SOUND = """
    from gdb_lmb.plugin import Lmb
    from gdb_lmb.core.snapshot import Snapshot

    def test_reserved(lmb: Lmb) -> None:
        assert lmb.check().findings == ()
        snapshot = lmb.dump()
        assert isinstance(snapshot, Snapshot) and len(snapshot.reserved.base) > 3
        lmb.snapshot()

    def test_named(lmb: Lmb) -> None:
        lmb.snapshot(match="early")
"""


@pytest.fixture
def project(pytester: pytest.Pytester, fixture_kernel: Path) -> pytest.Pytester:
    """A project with the fixture kernel in its configuration."""
    pytester.makeini(f"[pytest]\nlmb_kernel = {fixture_kernel}\n")
    return pytester


def run(project: pytest.Pytester, *words: str) -> tuple[dict[str, int], str]:
    """Run pytest; return what it counts and prints. In this process, whose timers are not the inner one's."""
    plugins = ["-p", "gdb_lmb.plugin", "-p", "no:cacheprovider", "-p", "no:timeout", "-p", "no:faulthandler"]
    done = project.runpytest_inprocess(*plugins, "-rA", *words)
    return done.parseoutcomes(), "\n".join([*done.outlines, *done.errlines])


def goldens(project: pytest.Pytester) -> dict[str, bytes]:
    folder = project.path / "goldens"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pip_makes_it_known_to_pytest() -> None:
    (found,) = entry_points(group="pytest11", name="gdb_lmb.plugin")
    assert found.load() is gdb_lmb.plugin


def test_goldens_are_written_only_when_asked(project: pytest.Pytester) -> None:
    project.makepyfile(test_boot=SOUND)
    counts, out = run(project)
    assert counts == {"failed": 2}
    assert re.search(
        r"there is no golden .*/goldens/test_boot/test_reserved/golden\.golden: --lmb-update writes it", out
    )
    assert not (project.path / "goldens").exists()

    counts, out = run(project, "--lmb-update")
    assert counts == {"passed": 2}
    before = goldens(project)
    assert set(before) == {"test_boot/test_reserved/golden.golden", "test_boot/test_named/early.golden"}
    assert out.count("written: ") == 2

    # Two processes of pytest-xdist: each boots its own kernel.
    counts, out = run(project, "-n", "2")
    assert counts == {"passed": 2}
    assert goldens(project) == before
    assert "goldens of gdb-lmb" not in out


def test_a_change_fails_in_words_and_changes_no_golden(project: pytest.Pytester) -> None:
    project.makepyfile(test_boot=SOUND)
    assert run(project, "--lmb-update")[0] == {"passed": 2}
    before = goldens(project)
    (project.path / "initrd").write_bytes(bytes(1 << 20))
    counts, out = run(project, "--lmb-initrd", "initrd", "--lmb-prune")
    assert counts == {"failed": 2}
    assert re.search(r"reserved \[0x[0-9a-f]+, 0x[0-9a-f]+\) by reserve_initrd, 1 MiB, appeared", out)
    assert "none is removed after a run of a part, or one that failed" in out
    after = goldens(project)
    assert {name: after.pop(f"{name}.new") != content for name, content in before.items()} == dict.fromkeys(
        before, True
    )
    assert after == before


def test_damage_and_death_are_failures_and_infrastructure_is_an_error(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_boot="""
        def test_check(lmb):
            lmb.check()
    """
    )
    counts, out = run(project, "--lmb-append", "lmb.fault=overlap@9")
    assert (counts, "overlap: reserved[2] overlaps reserved[1]" in out) == ({"failed": 1}, True)
    counts, out = run(project, "--lmb-append", "lmb.fault=overlap@9", "--lmb-until", "lmb_scenario_done")
    assert (counts, "the guest panicked before it reached lmb_scenario_done" in out) == ({"failed": 1}, True)
    counts, out = run(project, "--lmb-qemu", "/bin/false")
    assert counts == {"errors": 1}
    counts, out = run(project, "--lmb-kernel", "no-such-kernel")
    assert (counts, "no-such-kernel" in out) == ({"errors": 1}, True)


def test_unused_and_unknown_goldens(project: pytest.Pytester) -> None:
    project.makepyfile(test_boot=SOUND, test_other="def test_nothing(): pass")
    assert run(project, "--lmb-update")[0] == {"passed": 3}
    content = goldens(project)["test_boot/test_named/early.golden"]
    left = ["test_boot/test_named/late.golden", "test_boot/test_gone/early.golden", "test_gone/test_named/early.golden"]
    for name in left:
        path = project.path / "goldens" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    kept = goldens(project)

    # Only the tests that ran are asked, and a run of a part removes nothing.
    for words in (["-k", "reserved"], ["test_boot.py::test_reserved"]):
        counts, out = run(project, "--lmb-prune", *words)
        assert counts["passed"] == 1
        assert "late.golden" not in out
        assert goldens(project) == kept
    for words in ([], ["-n", "2"]):
        _, out = run(project, *words)
        assert re.search(r"unused: no test that ran has used it: .*/test_boot/test_named/late\.golden", out)
        assert re.search(r"unknown: there is no such test: .*/test_boot/test_gone/early\.golden", out)
        assert re.search(r"unknown: there is no such test: .*/test_gone/test_named/early\.golden", out)
        assert out.count("early.golden") == 2
    # One that fails removes nothing either.
    project.makepyfile(test_other="def test_nothing(): assert False")
    assert run(project, "--lmb-prune")[0] == {"passed": 2, "failed": 1}
    assert goldens(project) == kept
    project.makepyfile(test_other="def test_nothing(): pass")
    counts, out = run(project, "--lmb-prune")
    assert out.count("removed: ") == 3
    assert set(goldens(project)) == set(kept) - set(left)


def test_a_matrix_has_ids_for_people(project: pytest.Pytester, fixture_kernel: Path) -> None:
    project.makepyfile(
        test_boot=f"""
        import pytest

        APPEND = {{"plain": "", "few": "lmb.static=16"}}

        @pytest.mark.lmb(kernel={str(fixture_kernel)!r}, memory=["128M", "256M"], append=APPEND)
        def test_matrix(lmb):
            assert lmb.target.memory in ("128M", "256M")
            lmb.snapshot()
    """
    )
    counts, out = run(project, "--lmb-update")
    assert counts == {"passed": 4}
    names = {f"vmlinux-{memory}-{append}" for memory in ("128M", "256M") for append in ("plain", "few")}
    assert set(re.findall(r"PASSED test_boot\.py::test_matrix\[(.*)\]", out)) == names
    assert set(goldens(project)) == {f"test_boot/test_matrix/{name}.golden" for name in names}
    # One cell of the matrix is a part of a test.
    (project.path / "goldens" / "test_boot" / "test_matrix" / "more.golden").write_bytes(b"")
    assert "more.golden" not in run(project, "test_boot.py::test_matrix[vmlinux-128M-few]")[1]


def test_ids() -> None:
    found = matrix(Target("base"), {
        "kernel": ["/a/vmlinux-6.1", "debian:6.12-cloud-amd64"], "append": ["", "nokaslr console=ttyS0"], "smp": 2,
    })  # fmt: skip
    assert list(found) == [
        "vmlinux-6.1-no_append-2cpus",
        "vmlinux-6.1-nokaslr_console=ttyS0-2cpus",
        "debian:6.12-cloud-amd64-no_append-2cpus",
        "debian:6.12-cloud-amd64-nokaslr_console=ttyS0-2cpus",
    ]
    assert list(found.values())[1] == Target("/a/vmlinux-6.1", append="nokaslr console=ttyS0", smp="2")
    for axes in ({"moon": 1}, {"kernel": []}, {"kernel": ["/a/vmlinux", "/b/vmlinux"]}):
        with pytest.raises(pytest.UsageError):
            matrix(Target("base"), axes)


def test_tests_without_it_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    counts, out = run(pytester)
    assert (counts, "goldens" in out) == ({"passed": 1}, False)


@pytest.mark.parametrize("match", ["../up", "", ".hidden", "a/b"])
def test_a_golden_has_a_plain_name(project: pytest.Pytester, match: str) -> None:
    project.makepyfile(test_boot=f"def test_named(lmb):\n    lmb.snapshot(match={match!r})")
    counts, out = run(project, "--lmb-update")
    assert (counts, "give a file's name" in out) == ({"failed": 1}, True)
    assert not (project.path / "goldens").exists()

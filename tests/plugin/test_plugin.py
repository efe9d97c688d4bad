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
        assert re.search(r"unused: no test that passed has used it: .*/test_boot/test_named/late\.golden", out)
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


SHARED = """
    import pytest

    @pytest.mark.lmb(AXIS)
    def test_shared(lmb):
        lmb.snapshot(match="c")
"""


def share(project: pytest.Pytester, *, agree: bool) -> None:
    """Make a test with the cases plain and few, whose golden is the same one."""
    (project.path / "small").write_bytes(bytes(1 << 20))
    (project.path / "large").write_bytes(bytes(3 << 20))
    axis = 'append={"plain": "", "few": "lmb.static=16"}' if agree else 'initrd={"plain": "small", "few": "large"}'
    project.makepyfile(test_boot=SHARED.replace("AXIS", axis))


@pytest.mark.parametrize("words", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_cases_that_differ_share_no_golden(project: pytest.Pytester, words: list[str]) -> None:
    share(project, agree=False)
    counts, out = run(project, "--lmb-update", *words)
    assert counts == {"passed": 1, "failed": 1}
    (done,) = re.findall(r"PASSED test_boot\.py::test_shared\[(.*)\]", out)
    other = {"plain": "few", "few": "plain"}[done]
    path = project.path / "goldens" / "test_boot" / "test_shared" / "c.golden"
    assert (
        f"{path} would be of test_boot.py::test_shared[{other}], but test_boot.py::test_shared[{done}] has used it in "
        "this run, and differs: leave match out (then each case has a golden), or give each a name of its own" in out
    )
    # It is the one's that passed, and stays that.
    counts, out = run(project, *words)
    assert counts == {"passed": 1, "failed": 1}
    assert re.findall(r"PASSED test_boot\.py::test_shared\[(.*)\]", out) == [done]
    # Also where that one has only agreed with it.
    before = goldens(project)
    counts, out = run(project, "--lmb-update", *words)
    assert counts == {"passed": 1, "failed": 1}
    if not words:
        assert goldens(project) == before


@pytest.mark.parametrize("words", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_cases_that_agree_share_a_golden(project: pytest.Pytester, words: list[str]) -> None:
    share(project, agree=True)
    assert run(project, "--lmb-update", *words)[0] == {"passed": 2}
    assert set(goldens(project)) == {"test_boot/test_shared/c.golden"}
    assert run(project, *words)[0] == {"passed": 2}
    # Renewed too: the second agrees with what the first has written.
    (project.path / "initrd").write_bytes(bytes(1 << 20))
    assert run(project, "--lmb-initrd", "initrd", "--lmb-update", *words)[0] == {"passed": 2}
    assert run(project, "--lmb-initrd", "initrd", *words)[0] == {"passed": 2}


def test_an_actual_state_is_that_of_the_test_that_tells_of_it(project: pytest.Pytester) -> None:
    share(project, agree=False)
    assert run(project, "--lmb-update", "-k", "plain")[0] == {"passed": 1, "deselected": 1}
    (project.path / "small").write_bytes(bytes(2 << 20))
    counts, out = run(project)
    assert counts == {"failed": 2}
    new = project.path / "goldens" / "test_boot" / "test_shared" / "c.golden.new"
    told = out.partition("short test summary info")[0]  # which in CI has all of it once more
    assert told.count(f"the actual state is in {new} (gdb-lmb accept ") == 1
    assert f"the actual state is kept nowhere: {new} is that of test_boot.py::test_shared[plain]" in out
    assert 'size = "0x200000"' in new.read_text() and 'size = "0x300000"' not in new.read_text()


def test_the_name_of_a_golden_tells_ids_apart(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_boot="""
        import pytest

        @pytest.mark.parametrize("word", ["x/y", "x_y", "a b", ".z", "m%2Fn", "m=1,n+2@h:3"])
        def test_word(lmb, word):
            lmb.snapshot()
    """
    )
    assert run(project, "--lmb-update")[0] == {"passed": 6}
    names = ("x%2Fy", "x_y", "a%20b", "%2Ez", "m%252Fn", "m=1,n+2@h:3")
    assert set(goldens(project)) == {f"test_boot/test_word/{name}.golden" for name in names}
    assert run(project)[0] == {"passed": 6}


def test_a_bracket_in_a_folder_is_no_parameter(project: pytest.Pytester) -> None:
    folder = project.mkdir("of[x]")
    (folder / "test_inner.py").write_text(
        "class TestMine:\n    def test_a(self, lmb): lmb.snapshot()\ndef test_b(lmb): lmb.snapshot()\n"
    )
    assert run(project, "--lmb-update")[0] == {"passed": 2}
    found = sorted(str(path.relative_to(folder / "goldens")) for path in folder.rglob("*.golden"))
    assert found == ["test_inner/TestMine.test_a/golden.golden", "test_inner/test_b/golden.golden"]


@pytest.mark.parametrize("line", [
    "assert False", "pytest.skip()", "pytest.xfail()", "lmb.command('lmb-no-such')",
])  # fmt: skip
def test_of_a_test_that_did_not_come_to_its_golden_none_is_called_so(project: pytest.Pytester, line: str) -> None:
    text = "import pytest\n\ndef test_early(lmb):\n    pass\n    lmb.snapshot()\n"
    project.makepyfile(test_boot=text)
    assert run(project, "--lmb-update")[0] == {"passed": 1}
    project.makepyfile(test_boot=text.replace("pass", line))
    for words in ([], ["-n", "2"], ["--lmb-prune"]):
        _, out = run(project, *words)
        assert "unused:" not in out
    assert set(goldens(project)) == {"test_boot/test_early/golden.golden"}
    # A test that passes without it says that it is not used.
    project.makepyfile(test_boot=text.replace("lmb.snapshot()", ""))
    assert "unused: no test that passed has used it: " in run(project)[1]


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

# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb snapshot`, `check` and `accept` on fixture kernels: ten kinds of change, each in words written by hand."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from gdb_lmb.cli import main
from tests.helpers.minimal import GOLDEN
from tests.helpers.seeded import CALLS, Sources

pytestmark = pytest.mark.kernel

Capture = pytest.CaptureFixture[str]

PLATFORM, FRAME_BUFFER = 0x2000000, 0x3000000
RANGE = r"\[0x[0-9a-f]+, 0x[0-9a-f]+\)"
EXPLAINED = r"gdb-lmb: artefacts are in .*/vmlinux\.golden\.failed"
RESERVE_PLATFORM = "must(lmb_reserve, 0x2000000ul, 4 * PAGE_SIZE, 0);"


FAULT = ("--append", "lmb.fault=overlap@9", "--until", "lmb_ready")


class Seed(NamedTuple):
    """What is changed in the kernel, or in how it is booted; the exit status; patterns of the lines of all changes."""

    replaced: tuple[tuple[str, str], ...]
    status: int
    words: tuple[str, ...]
    options: tuple[str, ...] = ()


SEEDS = {
    "moved by a page": Seed(
        ((RESERVE_PLATFORM, RESERVE_PLATFORM.replace("0x2000000", "0x2001000")),),
        1,
        (r"reserved \[0x2000000, 0x2004000\) by reserve_platform moved up by 4 KiB to \[0x2001000, 0x2005000\)",),
    ),
    "dropped": Seed(
        (("\treserve_platform();\n", ""), ("static noinline __init void reserve_platform(",
                                           "__attribute__((unused)) static noinline __init void reserve_platform(")),
        1,
        (r"reserved \[0x2000000, 0x2004000\) by reserve_platform, 16 KiB, vanished",),
    ),
    "split": Seed(
        ((RESERVE_PLATFORM, "must(lmb_reserve, 0x2000000ul, PAGE_SIZE, 0);\n\t"
                            "must(lmb_reserve, 0x2002000ul, 2 * PAGE_SIZE, 0);"),),
        1,
        (r"reserved \[0x2000000, 0x2004000\) by reserve_platform was split into \[0x2000000, 0x2001000\) and "
         r"\[0x2002000, 0x2004000\), without 4 KiB of it",),
    ),
    "flags": Seed(
        ((RESERVE_PLATFORM, RESERVE_PLATFORM.replace("PAGE_SIZE, 0", "PAGE_SIZE, 1")),),
        1,
        (r"reserved \[0x2000000, 0x2004000\) by reserve_platform has flags HOTPLUG, and had -",),
    ),
    "initrd grown": Seed(
        (),
        1,
        (rf"reserved {RANGE} by reserve_initrd grew by 8 KiB to {RANGE}",),
        ("--initrd", "larger"),
    ),
    "memory map changed": Seed(
        (),
        1,
        (r"memory \[0x100000, 0xffe0000\) shrank by 1 MiB to \[0x100000, 0xfee0000\)",
         rf"reserved {RANGE} by alloc_mem_map shrank by 16 KiB to {RANGE}"),
        ("--qemu-arg=-m", "--qemu-arg=255M"),
    ),
    "new allocation": Seed(
        (("\talloc_mem_map();\n", "\talloc_more();\n\talloc_mem_map();\n"),
         ("static noinline __init void alloc_log_buf(void)",
          "static noinline __init void alloc_more(void)\n{\n\tphys_addr_t base;\n\n"
          "\tmust(lmb_alloc, 2 * PAGE_SIZE, PAGE_SIZE, 0, 0, 0, &base);\n\t*(volatile char *)arch_va(base) = 0;\n}\n\n"
          "static noinline __init void alloc_log_buf(void)")),
        1,
        (rf"reserved {RANGE} by alloc_more, 8 KiB, appeared",),
    ),
    "order": Seed(
        ((CALLS, "\treserve_frame_buffer();\n\treserve_platform();\n"),),
        1,
        (r"reserved \[0x2000000, 0x2004000\) by reserve_platform is taken after \[0x3000000, 0x3008000\) by "
         r"reserve_frame_buffer, and was taken before it",),
    ),
    "hang": Seed(
        (("static noinline __init void alloc_log_buf(void)\n{\n", "static noinline __init void alloc_log_buf(void)\n{\n"
          "\tfor (;;)\n\t\tbarrier();\n"),),
        3,
        (r"gdb-lmb: the guest halted for good in alloc_log_buf at .*, before it reached lmb_ready",
         r"gdb-lmb: the guest's console ends with:", EXPLAINED),
        ("--timeout", "60"),
    ),
    "panic": Seed(
        ((RESERVE_PLATFORM, 'panic("no platform");'),),
        3,
        (r"gdb-lmb: the guest panicked before it reached lmb_ready, called from reserve_platform, .*",
         r"gdb-lmb: the guest's console ends with:", EXPLAINED),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(tmp_path_factory.mktemp("seeded") / "sources", PLATFORM, FRAME_BUFFER)


@pytest.fixture(scope="module")
def golden(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the golden of the sound kernel, beside which are two initial RAM disks."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "initrd").write_bytes(bytes(1 << 20))
    (folder / "larger").write_bytes(bytes((1 << 20) + 8192))
    kernel = sources.build(folder / "vmlinux")
    path = folder / "vmlinux.golden"
    assert main(["snapshot", str(kernel), "-o", str(path), "--initrd", str(folder / "initrd")]) == 0
    return path


# The others take as long again, and are for the lane of kernels.
PLAIN_LANE = ("moved by a page", "split", "initrd grown", "new allocation", "panic")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in PLAIN_LANE else pytest.mark.long) for name in SEEDS]
)
def test_a_seeded_change(name: str, sources: Sources, golden: Path, tmp_path: Path, capfd: Capture) -> None:
    seed, before = SEEDS[name], golden.read_bytes()
    kernel = sources.build(tmp_path / "vmlinux", *seed.replaced)
    new = golden.with_name("vmlinux.golden.new")
    new.unlink(missing_ok=True)
    options = [str(golden.parent / word) if word == "larger" else word for word in seed.options]
    words = ["check", str(kernel), "--golden", str(golden), "--initrd", str(golden.parent / "initrd"), *options]
    assert main(words) == seed.status
    out, err = capfd.readouterr()
    told = out.splitlines() if seed.status == 1 else [line for line in err.splitlines() if not line.startswith("  | ")]
    lines = [line for line in told if not line.startswith("note: ")]
    if seed.status == 1:
        last = lines.pop()
        count = f"{len(seed.words)} change{'s'[: len(seed.words) > 1]} at lmb_ready, against {golden}; "
        assert last == f"{count}the actual state is in {new} (gdb-lmb accept {golden})"
    assert [line for line, pattern in zip(lines, seed.words, strict=True) if not re.fullmatch(pattern, line)] == []
    assert golden.read_bytes() == before
    assert new.exists() == (seed.status == 1)


def test_what_was_accepted_is_the_golden(sources: Sources, golden: Path, tmp_path: Path, capfd: Capture) -> None:
    """Nothing is lost that a person has written, and a check never makes or writes a golden."""
    seed = SEEDS["dropped"]
    kernel = str(sources.build(tmp_path / "vmlinux", *seed.replaced))
    mine, new = tmp_path / "mine", tmp_path / "mine.new"
    lines = golden.read_text().splitlines()
    at = next(at for at, line in enumerate(lines) if "reserve_frame_buffer" in line)
    lines[at] += "  # for the console"
    lines.insert(at, "  # the second step")
    mine.write_text("\n".join(lines) + "\n")
    check = ["check", kernel, "--golden", str(mine), "--initrd", str(golden.parent / "initrd")]
    assert main(check) == 1
    assert main(["accept", str(mine)]) == 0
    out, err = capfd.readouterr()
    assert re.search(r"^reserved \[0x2000000, 0x2004000\) by reserve_platform, 16 KiB, vanished$", out, re.M)
    assert re.search(r"^  reserve_platform +16 KiB +0 bytes +-16 KiB$", out, re.M)
    assert not new.exists() and err.endswith(f"gdb-lmb: {mine} replaced by mine.new\n")
    kept = mine.read_text().splitlines()
    at = next(at for at, line in enumerate(kept) if "reserve_frame_buffer" in line)
    assert kept[at - 1] == "  # the second step" and kept[at].endswith("},  # for the console")
    assert main(check) == 0
    assert not new.exists()
    assert main(["accept", str(mine)]) == 2
    mine.unlink()
    assert main(check) == 2
    assert main([*check, "--bisect"]) == 128
    assert not mine.exists() and not new.exists()
    assert "a check never makes one: gdb-lmb snapshot " in capfd.readouterr().err


def test_two_stops_in_one_boot(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "two.golden"
    kernel = str(fixture_kernel)
    assert main(["snapshot", kernel, "--until", "alloc_log_buf", "--until", "lmb_ready", "-o", str(path)]) == 0
    assert main(["check", kernel, "--golden", str(path)]) == 0
    assert main(["check", kernel, "--golden", str(path), "--until", "panic"]) == 2
    assert main(["check", kernel, "--golden", str(path), "--until", "lmb_ready", "--append", "lmb.bottom_up"]) == 1
    out, err = capfd.readouterr()
    assert re.search(r"^no change from .*: \d+ regions at alloc_log_buf, lmb_ready$", out, re.M)
    assert f"{path} has no stop at panic, but at alloc_log_buf, lmb_ready" in err
    assert "the search for free memory goes bottom-up, and went top-down" in out
    # The stop that was not looked at is as it was.
    sections = [file.read_text().split("[[stop]]") for file in (path, tmp_path / "two.golden.new")]
    assert sections[0][1] == sections[1][1] and sections[0][2] != sections[1][2]


def test_a_check_goes_by_the_order_of_the_golden(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    path, kernel = tmp_path / "two.golden", str(fixture_kernel)
    in_order = ["--until", "lmb_ready", "--until", "lmb_scenario_done"]
    turned = [*in_order[2:], *in_order[:2]]
    assert main(["snapshot", kernel, "-o", str(path), *turned]) == 3
    assert not path.exists()
    err = capfd.readouterr().err
    assert ", before it reached lmb_ready" in err.splitlines()[0]
    assert err.splitlines()[0].endswith("; it had been at lmb_scenario_done before")
    assert main(["snapshot", kernel, "-o", str(path), *in_order]) == 0
    capfd.readouterr()
    assert main(["check", kernel, "--golden", str(path), *turned]) == 0
    out, _ = capfd.readouterr()
    assert re.fullmatch(r"no change from .*: \d+ regions at lmb_ready, lmb_scenario_done\n", out)


@pytest.mark.parametrize("command", [["snapshot", "-o"], ["check", "--golden"]], ids=["snapshot", "check"])
def test_a_stop_that_is_given_twice(command: list[str], tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "golden"
    path.write_text(GOLDEN)
    until = ["--until", "lmb_ready"] * 2
    assert main([command[0], "no-kernel", command[1], str(path), *until]) == 2
    assert capfd.readouterr() == ("", "gdb-lmb: --until lmb_ready is given twice: once is enough\n")


def test_what_the_rules_ignore_is_told(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    """Of a golden with nothing in it all 7 regions, with 16 owners, and the limit have changed."""
    path = tmp_path / "vmlinux.golden"
    for kinds, status, words in (
        (["appeared", "limit"], 0, f"no change from {path}: 16 regions at lmb_ready, 8 changes ignored by its rules"),
        (["appeared"], 1, f"1 change, 7 more ignored by its rules at lmb_ready, against {path}; "),
    ):
        rules = ", ".join(f'{{ kind = "{kind}" }}' for kind in kinds)
        path.write_text(f"{GOLDEN}[rules]\nignore = [{rules}]\n")
        assert main(["check", str(fixture_kernel), "--golden", str(path)]) == status
        assert capfd.readouterr().out.splitlines()[-1].startswith(words)


@pytest.mark.parametrize("mode", [0o640, 0o600])
def test_a_golden_that_is_a_link_is_renewed_where_it_is(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    target, link = tmp_path / "there" / "b.golden", tmp_path / "a.golden"
    target.parent.mkdir()
    target.write_text(GOLDEN)
    target.chmod(mode)
    link.symlink_to("there/b.golden")
    new = GOLDEN.replace("lmb_ready", "elsewhere")
    (tmp_path / "a.golden.new").write_text(new)
    assert main(["accept", str(link)]) == 0
    assert link.is_symlink() and target.read_text() == new
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.golden", "b.golden", "there"]
    # Where it cannot be renamed, as into another file system, it is copied.
    (tmp_path / "a.golden.new").write_text(GOLDEN)
    whole = os.replace

    def across(one: str, other: str, **_: object) -> None:
        if str(one).endswith(".new"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        whole(one, other)

    monkeypatch.setattr(os, "replace", across)
    assert main(["accept", str(link)]) == 0
    assert link.is_symlink() and target.read_text() == GOLDEN
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.golden", "b.golden", "there"]
    # What has become a link itself does not take the place of a file.
    (tmp_path / "elsewhere").write_text(new)
    (tmp_path / "a.golden.new").symlink_to("elsewhere")
    assert main(["accept", str(link)]) == 0
    assert not target.is_symlink() and target.read_text() == new == (tmp_path / "elsewhere").read_text()
    assert not (tmp_path / "a.golden.new").is_symlink()


def test_no_golden_is_made_of_a_boot_with_a_finding(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "golden"
    assert main(["snapshot", str(fixture_kernel), *FAULT, "-o", str(path)]) == 1
    assert not path.exists()
    assert "is not written, since a golden is of a boot that is sound" in capfd.readouterr().err
    assert main(["snapshot", str(fixture_kernel), "-o", str(path)]) == 0
    assert main(["check", str(fixture_kernel), "--golden", str(path), *FAULT]) == 1
    assert not (tmp_path / "golden.new").exists()
    assert "finding: " in capfd.readouterr().out


def test_a_stop_inside_the_allocator_proves_nothing(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "golden"
    assert main(["snapshot", str(fixture_kernel), "--until", "lmb_next_gap", "-o", str(path)]) == 5
    assert not path.exists() and "not verified: torn: " in capfd.readouterr().err
    path.write_text(GOLDEN.replace("lmb_ready", "lmb_next_gap"))
    assert main(["check", str(fixture_kernel), "--golden", str(path)]) == 5
    assert not (tmp_path / "golden.new").exists()
    assert capfd.readouterr().out == f"not verified: torn at lmb_next_gap; not compared with {path}\n"


def test_traces_and_goldens_are_compared(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    """A trace ends with the lists as they were at the hand-over; its owners are those of the guest's own log."""
    trace, path = tmp_path / "trace", tmp_path / "golden"
    assert main(["trace", str(fixture_kernel), "-o", str(trace)]) == 0
    assert main(["snapshot", str(fixture_kernel), "-o", str(path)]) == 0
    capfd.readouterr()
    assert main(["diff", str(trace), str(path)]) == 0
    assert capfd.readouterr().out.endswith(f"no change from {trace} to {path}\n")
    lines = trace.read_text().splitlines(keepends=True)
    trace.write_text("".join(lines[:-1]))
    assert main(["diff", str(trace), str(path)]) == 5
    assert main(["diff", str(path), str(tmp_path / "none")]) == 2
    err = capfd.readouterr().err
    assert f"not verified: {trace}: cut off after record " in err and "cannot read " in err


def test_traces_with_another_size_of_ram(fixture_kernel: Path, tmp_path: Path, capfd: Capture) -> None:
    """What lies at the end of RAM has not moved, and the memory map may have grown."""
    before, after = tmp_path / "256M", tmp_path / "512M"
    for path in (before, after):
        assert main(["trace", str(fixture_kernel), "--memory", path.name, "-o", str(path)]) == 0
    capfd.readouterr()
    assert main(["diff", str(before), str(after)]) == 0
    out = capfd.readouterr().out.splitlines()
    assert out[:2] == [
        "note: the kernel is 512M, and was 256M",
        "note: RAM ends at 0x1ffe0000, and ended at 0xffe0000: sizes may grow with it, and addresses count from its "
        "end",
    ]
    assert out[-1] == f"no change from {before} to {after}"
    assert [line.split()[0] for line in out if line.endswith("+4 MiB")] == ["alloc_mem_map", "all"]


def test_a_trace_tells_what_lay_where(fixture_kernel: Path, tmp_path: Path) -> None:
    """Such as the image, also where the trace is saved later, or made of the kernel's own log."""
    path, copy, log = (tmp_path / name for name in ("trace", "copy", "log"))
    saves = [f"lmb-trace save {copy}", f"lmb-trace save {log} --from-log"]
    assert main(["trace", str(fixture_kernel), "-o", str(path), "--", "lmb-check", *saves]) == 0
    for one in (path, copy, log):
        roles = json.loads(one.read_text().splitlines()[-1])["end"]["roles"]
        assert [row["base"] for row in roles if row["role"] == "kernel image"] == ["0x1000000"]


BISECT = [
    (("--no-such-option",), 128),
    (("--until", "nowhere"), 128),
    (("--qemu", "/nonexistent/qemu"), 125),
    (("--qemu-arg=-no-such-option",), 125),
    (("--gdb", "/nonexistent/gdb"), 125),
]


@pytest.mark.parametrize(("options", "status"), BISECT, ids=[row[0][0] for row in BISECT])
def test_what_a_bisection_must_not_blame_a_commit_for(
    options: tuple[str, ...], status: int, fixture_kernel: Path, tmp_path: Path, capfd: Capture
) -> None:
    path = tmp_path / "golden"
    path.write_text(GOLDEN)
    assert main(["check", str(fixture_kernel), "--golden", str(path), "--bisect", *options]) == status
    assert not (tmp_path / "golden.new").exists()

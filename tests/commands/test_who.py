# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-who`, `lmb-free`, `lmb-dump --owners` and the convenience functions on the fixture kernel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.gdb_words import python_failed

pytestmark = pytest.mark.kernel

DIRECT_MAP = 0xFFFF888000000000
KERNEL_MAP = 0xFFFFFFFF80000000
NEW = ("lmb-whatif", "lmb-free", "lmb-who")


def who(guest: GuestSession, what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(guest.command(f"lmb-who {what} --json"))
    return found


def value(guest: GuestSession, expression: str) -> int:
    return int(guest.command(f"output/u {expression}"))


def owner(guest: GuestSession, what: str) -> str:
    return str(who(guest, what)["parts"][0]["owners"][0]["owner"])


def test_who_reserved_what(fixture_kernel: Path, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"i" * 123456)
    with GuestSession(fixture_kernel, QemuOptions(initrd=initrd)) as guest:
        guest.run_until("lmb_ready")
        # The guest's own variables, which its own code has filled in, say what lies where.
        found = who(guest, "lmb_log")
        part = found["parts"][0]
        assert int(part["base"], 16) == value(guest, "(unsigned long)&lmb_log") - KERNEL_MAP
        assert part["symbol"] == "lmb_log" and "kernel image: bss" in [place["what"] for place in part["places"]]
        assert found["history"] == "the guest's operation log" and found["note"] is None
        assert part["owners"][0]["callers"][0]["function"] == "reserve_kernel_image"
        assert part["owners"][0]["callers"][0]["file"] == "main.c"
        for variable, function in (("mem_map", "alloc_mem_map"), ("per_cpu_areas[2]", "setup_per_cpu_areas")):
            va = value(guest, f"(unsigned long){variable}")
            guest.command(f"set $there = {variable}")
            assert owner(guest, "$there").startswith(f"{function}+")
            # As a number, in the direct map, and physical: the same.
            assert owner(guest, hex(va)) == owner(guest, hex(va - DIRECT_MAP)) == owner(guest, "$there")
            assert guest.command(f"output $lmb_owner({variable})").strip('"').startswith(f"{function}+")
        base, size = (value(guest, f"boot_info.initrd.{part}") for part in ("base", "size"))
        part = who(guest, f"{base:#x}+{size:#x}")["parts"][0]
        assert {"base": hex(base), "size": hex(size), "what": "initrd"} in part["places"]
        assert part["owners"][-1]["owner"].startswith("reserve_initrd+")
        # Merged with what lies beside it: the region is larger than either piece.
        assert len(part["owners"]) == 1 and int(part["stretch"]["size"], 16) > size
        assert not guest.verdict().checks
        # All of it at once, in ascending order.
        roles = json.loads(guest.command("lmb-dump --json --roles"))["roles"]
        assert {"base": hex(base), "size": hex(size), "role": "initrd"} in roles
        places = [(int(row["base"], 16), int(row["size"], 16)) for row in roles]
        assert [low for low, _ in places] == sorted(low for low, _ in places)
        image, end = (value(guest, f"(unsigned long)&{label}") - KERNEL_MAP for label in ("_text", "_end"))
        images = [place for place, row in zip(places, roles, strict=True) if row["role"] == "kernel image"]
        assert min(low for low, _ in images) <= image and max(low + size for low, size in images) >= end
        with pytest.raises(CommandError, match="--roles goes with --json"):
            guest.command("lmb-dump --roles")


def trace_file(path: Path, *, whole: bool) -> Path:
    """Write a trace in which others than the guest's own log has reserve the same; `whole`: with its end."""
    header = {"schema": "gdb-lmb/trace/1", "layout": "lmb-list", "arch": "x86_64", "byte_order": "little", "bits": 64,
              "page_size": "0x1000", "source": "log", "lost": 0, "generation": {}, "initial": None}  # fmt: skip
    call = {"op": "reserve", "base": "0x0", "size": "0x1000", "flags": "0x0", "result": 0, "phase": "by hand"}
    lines: list[dict[str, Any]] = [
        header,
        {"seq": 1, "op": "init", "base": "0x0", "size": "0x1000", "flags": "0x40", "align": "0x28", "min": "0x28",
         "max": "0x40", "result": 0, "callers": ["0x1111"], "phase": None},
        {"seq": 2, **call, "callers": ["0x1111"]},
        {"seq": 3, **call, "base": "0x1000", "size": "0x2000", "callers": ["0x2222", "0x3333"]},
        {"symbols": {"0x2222": {"function": "lmb_reserve", "offset": 5, "file": "lmb.c", "line": 1},
                     "0x3333": {"function": "by_hand", "offset": 7, "file": "hand.c", "line": 42}}},
        {"end": {"records": 3, "final": None}},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[: None if whole else 4]))
    return path


def test_a_saved_trace_tells(fixture_kernel: Path, tmp_path: Path) -> None:
    whole, cut = trace_file(tmp_path / "whole", whole=True), trace_file(tmp_path / "cut off", whole=False)
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        found = json.loads(guest.command(f"lmb-who 0x0-0x3000 --trace {whole} --json"))
        assert found["history"] == f"the trace in {whole}" and found["note"] is None
        assert [(o["base"], o["size"], o["owner"], o["phase"]) for o in found["parts"][0]["owners"]] == [
            ("0x0", "0x1000", "0x1111", "by hand"), ("0x1000", "0x2000", "by_hand+0x7 (hand.c:42)", "by hand"),
        ]  # fmt: skip
        assert [caller["pc"] for caller in found["parts"][0]["owners"][1]["callers"]] == ["0x3333"]
        text = guest.command(f"lmb-who 0x1000 --trace '{cut}'")
        assert "cut off after record 3" in text and "owner     [0x1000, 0x3000) 0x2222" in text
        # What the trace does not know of is nobody's, not made up.
        text = guest.command(f"lmb-dump reserved --owners --trace {whole}")
        assert "nobody that the history tells of" in text and "by_hand+0x7 (hand.c:42)" in text
        # The trace that lmb-trace keeps comes before the guest's own log.
        script = tmp_path / "keep.py"
        script.write_text(
            "from types import SimpleNamespace\n"
            "from gdb_lmb.commands.base import SESSION\n"
            "from gdb_lmb.allocators.lmb.operations import OPERATIONS\n"
            "from gdb_lmb.core.operation import Record, Symbol, TraceHeader\n"
            "SESSION.trace = SimpleNamespace(\n"
            "    header=TraceHeader('lmb-list', 'x86_64', 'little', 64, 4096),\n"
            "    records=[Record(9, OPERATIONS['reserve'].call('reserve', base=0, size=0x1000), 0, (0x5,))],\n"
            "    symbols={0x5: Symbol('kept', 2)},\n"
            ")\n"
        )
        guest.command(f"source {script}")
        assert guest.command("output $lmb_owner(5)") == '"kept+0x2"'
        assert who(guest, "5")["history"] == "the trace of this session"


def test_a_trace_of_mid_boot_does_not_hide_what_the_log_knows(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("alloc_log_buf")
        log = "lmb_log.ring[11]"
        assert "alloc_page_table" in guest.command(f"info symbol {log}.caller")
        taken = guest.command(f"output/x {log}.result")
        guest.command("lmb-trace start --until lmb_ready")
        guest.run_on("lmb_ready")
        text = guest.command(f"lmb-who {taken}")
        assert "before the history begins" not in text
        assert re.search(r"^  owner     \[0x.*\) alloc_page_table\+0x", text, re.M)
        assert re.search(r"^  when      operation 12 of the guest's log, alloc\(size=", text, re.M)
        assert "history   the trace of this session and the guest's operation log" in text
        # What was traced is told as before, with all its callers.
        own = guest.command("output/x lmb_log.ring[lmb_log.nr - 2].result")
        assert re.search(
            r"^  when      operation 1, alloc\(.*\n  from      setup_memory\+0x", guest.command(f"lmb-who {own}"), re.M
        )


def test_regions_free_memory_and_none(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        regions = json.loads(guest.command("lmb-dump --json"))
        first = regions["reserved"]["regions"][0]
        end = int(first["base"], 16) + int(first["size"], 16)
        assert guest.command("output $lmb_region(0)") == f'"reserved [{first["base"]}, {end:#x})"'
        assert guest.command(f"output $lmb_region({end:#x})").startswith(f'"free [{end:#x}, ')
        assert guest.command("output $lmb_region(0xa0000)") == '"not memory"'
        assert guest.command("output $lmb_owner(0xa0000)") == '"nobody: not memory"'
        assert guest.command(f"output $lmb_owner({end:#x})") == '"nobody"'
        guest.command("set $owner = $lmb_owner(&lmb)")
        assert guest.command('printf "%s\\n", $owner').startswith("reserve_kernel_image+")
        # In a breakpoint's condition, where gdb says that the guest still runs.
        guest.command('break lmb_scenario_done if $_streq($lmb_region(0xa0000), "not memory")')
        guest.command("continue")
        assert "lmb_scenario_done" in guest.command("backtrace 1")
        data = who(guest, "0-16M")
        assert [part["state"] for part in data["parts"]][:3] == ["reserved", "handed over", "not memory"]
        assert {"base": "0xf0000", "size": "0x10000", "type": 2} in data["parts"][2]["firmware"]
        assert data["below"] is None and data["above"]["state"] == "reserved"


def test_growth_is_the_allocators_own(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.scenario=random lmb.static=8 lmb.ops=500")) as guest:
        guest.run_until("lmb_ready")
        block = json.loads(guest.command("lmb-dump --json"))["blocks"][2]
        part = who(guest, block["base"])["parts"][0]
        assert part["owners"][0]["owner"] == "the allocator itself: block 2 of entries"
        assert part["places"][-1] == {"base": block["base"], "size": "0x1000", "what": "block 2 of entries"}
        dumped = json.loads(guest.command("lmb-dump --owners --json"))
        assert dumped["owners"]["history"] == "the guest's operation log"
        for region, pieces in zip(dumped["reserved"]["regions"], dumped["owners"]["reserved"], strict=True):
            # Without a gap, from the region's base to its end; and somebody owns each byte.
            at = int(region["base"], 16)
            for piece in pieces:
                assert int(piece["base"], 16) == at and not piece["owner"].startswith("nobody")
                at += int(piece["size"], 16)
            assert at == int(region["base"], 16) + int(region["size"], 16)
        # Each of the blocks after block 0 is in exactly one piece.
        own = [p["owner"] for pieces in dumped["owners"]["reserved"] for p in pieces if "itself" in p["owner"]]
        assert len(own) == len(set(own)) == len(dumped["blocks"]) - 1
        text = guest.command("lmb-dump reserved --owners --all")
        assert re.search(r"^ +\d+ +0x\w+ +0x\w+ +32 KiB +\d+ +setup_per_cpu_areas\+0x\w+ \(main\.c:\d+\)$", text, re.M)


def test_free_is_what_the_guest_would_give(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="6G")) as guest:
        guest.run_until("lmb_ready")
        free = json.loads(guest.command("lmb-free --json"))
        assert free["closed"] is False and free["torn"] is False
        holes = {(int(h["base"], 16), int(h["base"], 16) + int(h["size"], 16)) for h in free["holes"]}
        assert sum(end - base for base, end in holes) == int(free["free"], 16)
        for base, end in holes:
            assert guest.command(f"output $lmb_region({base:#x})") == f'"free [{max(base, 0):#x}, {end:#x})"'
        top = max(holes)[1]
        assert {fit["max"] for fit in free["largest"]} == {free["max"], "0x100000", "0x1000000", "0x100000000"}
        assert top > 4 << 30
        # The largest allocation is given, at that base, and a byte more is not.
        for fit in free["largest"]:
            size = int(fit["size"], 16)
            ask = f"--align {fit['align']} --max {fit['max']} --json"
            if size:
                assert json.loads(guest.command(f"lmb-whatif alloc {size} {ask}"))["result"] == fit["base"]
            assert json.loads(guest.command(f"lmb-whatif alloc {size + 1} {ask}"))["errno"] == "ENOMEM"
        text = guest.command("lmb-free --align 2M --min 16M --max 4G")
        assert re.search(r"^ +2 MiB +[\d.]+ GiB at 0x40000000$", text, re.M) and "fragmentation: " in text
        guest.run_until("lmb_scenario_done")
        assert guest.command("lmb-free").startswith("handed over: the allocator is closed")


BAD = [
    ("lmb-whatif alloc 4K --align 3K", "returns", None),
    ("lmb-whatif alloc", None, "alloc takes SIZE"),
    ("lmb-whatif mark 0x3000 4K", None, "mark takes --flags, one of HOTPLUG, MIRROR and NOMAP"),
    ("lmb-whatif clear 0x3000 --flags NOMAP", None, "clear takes BASE and SIZE, A-B or A\\+SIZE"),
    ("lmb-whatif alloc 1 2", None, "alloc takes SIZE"),
    ("lmb-whatif free 4K", None, "free takes BASE and SIZE, A-B or A\\+SIZE"),
    ("lmb-whatif alloc 4K+4K", None, "SIZE '4K\\+4K' is not a number"),
    ("lmb-whatif free 8K-4K", None, "the range 8K-4K is empty"),
    ("lmb-whatif alloc -1", None, "'-1' is negative, but must be 0 or more"),
    ("lmb-whatif alloc 4K --min -1", None, "--min '-1' is negative, but must be 0 or more"),
    ("lmb-whatif alloc 4K --nid -1", None, "--nid '-1' is negative, but must be 0 or more"),
    ("lmb-whatif alloc 4K --flags -1", None, "--flags '-1' is neither a number nor one of"),
    ("lmb-whatif", None, "operation is missing: one of alloc, reserve, add, free, remove"),
    ("lmb-whatif grow 1", None, "'grow' is not one of alloc, reserve, add, free, remove"),
    ("lmb-whatif free 0 1 --flags 1", None, "free takes no --flags"),
    ("lmb-whatif reserve 0 1 --align 4K", None, "reserve takes no --align"),
    ("lmb-whatif alloc 1 --nid 0", None, "knows no nodes"),
    ("lmb-whatif alloc lmb_free_all()", None, "is not a number"),
    ("lmb-whatif alloc $nothing", None, r"\$nothing is not set in gdb"),
    ("lmb-whatif alloc lmb", None, "has an address but no size"),
    ("lmb-whatif reserve lmb_none 1", None, 'No symbol "lmb_none"'),
    ("lmb-whatif alloc 1 --flags WRONG", None, "one of HOTPLUG, MIRROR, NOMAP"),
    ("lmb-whatif alloc 0x10000000000000000", None, "does not fit in 64 bits"),
    ("lmb-free --align 3", None, "not a power of two"),
    ("lmb-free --align 0", None, "not a power of two"),
    ("lmb-free 5", None, "'5' is one word too many"),
    ("lmb-free --min 4M --max 2M", None, "--min 0x400000 is not below --max 0x200000: nothing lies between"),
    ("lmb-free --min 4M --max 4M", None, "--min 0x400000 is not below --max 0x400000"),
    ("lmb-free --max 0", None, "--min 0x0 is not below --max 0x0"),
    ("lmb-free --min -4K", None, "--min '-4K' is negative"),
    ("lmb-free --min --json", None, "--min needs a value"),
    ("lmb-free --align", None, "--align needs a value"),
    ("lmb-free --algin 4K", None, "unknown option '--algin', did you mean --align"),
    ("lmb-free --align nan", None, "'nan' is a name"),
    ("lmb-who", None, r"ADDRESS\|SYMBOL\|RANGE is missing"),
    ("lmb-who -1", None, "'-1' is negative, but must be 0 or more"),
    ("lmb-who -4K", None, "'-4K' is negative, but must be 0 or more"),
    ("lmb-who -x", None, "unknown option '-x'"),
    ("lmb-who 1 2", None, "'2' is one word too many"),
    ("lmb-who 4K--1", None, "address '-1' is negative"),
    ("lmb-who 0x1000+-1", None, "'0x1000\\+' is not a number"),
    ("lmb-who sizeof(struct", None, "is not a number"),
    ("lmb-who sizeof(struct lmb", None, "is not a number"),
    ("lmb-who sizeof(lmb_free_all())", None, "is not a number"),
    ("lmb-dump --json --kernel", None, "--json and --kernel exclude each other"),
    ("lmb-map -1", None, "'-1' is negative"),
    ("lmb-map 8-4", None, "the range 8-4 is empty"),
    ("lmb-map 1 2 3", None, "one word too many"),
    ("lmb-dump nonsense", None, "'nonsense' is not one of memory, reserved, free, blocks, firmware, all"),
    ("lmb-check --josn", None, "unknown option '--josn', did you mean --json"),
    ("lmb-attach --timeout 5", None, "it needs --wait"),
    ("lmb-attach --wait --timeout 0", None, "more than 0"),
    ("lmb-attach --wait --timeout 0x", None, "is not a time"),
    ("lmb-attach --wait --timeout -3", None, "'-3' is negative"),
    ("lmb-who 5-3", None, "the range 5-3 is empty"),
    ("lmb-who lmb.memory", None, "is not a number"),
    ("lmb-who 0 --trace /nowhere", None, "cannot read /nowhere: No such file"),
    ("lmb-who 0 --trace /dev/null", None, "this is no trace"),
    ("lmb-dump --owners --kernel", None, "no owners"),
    ("lmb-dump --trace /nowhere", None, "--trace goes with --owners"),
    ("output $lmb_region()", None, "it takes one address"),
    ("output $lmb_owner(lmb)", None, "type struct lmb is no address"),
    ("output $lmb_region((char *)0x10)", None, "not known at this stop"),
]


def test_two_words_do_the_same_as_one(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        for line in ("dump reserved --entries", "check", "who 0x1000 + 4K", "free --align 2M", "whatif alloc 64K"):
            assert guest.command(f"lmb {line}") == guest.command(f"lmb-{line}")
        with pytest.raises(CommandError, match=r"^'lmb free --align 3' failed: lmb-free: --align 0x3 "):
            guest.command("lmb free --align 3")
        assert [check.command for check in guest.verdict().checks] == ["lmb-dump"] * 2 + ["lmb-check"] * 2


def test_numbers_are_written_alike_everywhere(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        size = int(guest.command("output sizeof(struct lmb)"))
        guest.command("set $base = 0x1000000")
        asked = who(guest, f"0x1000000+{size}")
        for same in ("0x1000000+sizeof(struct lmb)", "0x1000000 + sizeof (struct lmb)", "16M+sizeof(struct lmb)",
                     f"$base - {(16 << 20) + size}", "'$base+sizeof(struct  lmb)'"):  # fmt: skip
            assert who(guest, same) == asked, same
        alone = who(guest, "sizeof(struct lmb)")
        assert (alone["base"], alone["size"]) == (hex(size), "0x1")
        assert who(guest, "sizeof (struct lmb)") == who(guest, str(size)) == alone
        whatif = guest.command("lmb-whatif reserve 0x5000 12K")
        for same in ("0x5000+12K", "0x5000 + 12K", "20K-0x8000", "0x5000 - 32K"):
            assert guest.command(f"lmb-whatif reserve {same}") == whatif, same
        wanted = guest.command(f"lmb-whatif alloc {size}")
        assert guest.command("lmb-whatif alloc sizeof(struct lmb)") == wanted
        assert guest.command("lmb-whatif alloc sizeof (struct lmb) --align 1") == guest.command(
            f"lmb-whatif alloc {size} --align 1"
        )
        guest.command("set $align = 0x1000")
        for same in ("0x1000", "4096", "4K", "$align"):
            assert guest.command(f"lmb-free --align {same} --max 16M") == guest.command(
                "lmb-free --align 4k --max $base"
            )


def test_bad_input_and_a_guest_left_alone(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.scenario=random lmb.static=8 lmb.ops=300")) as guest:
        guest.run_until("lmb_ready")
        # All of the kernel's image but the page below its stack, which is not mapped, and its registers.
        dump = "dump binary memory {0} &_text &boot_stack_guard"
        rest = "append binary memory {0} &boot_stack &_end"
        before, after = (fixture_kernel.parent / f"image-{which}-{id(guest)}" for which in ("before", "after"))
        try:
            guest.command(dump.format(before))
            guest.command(rest.format(before))
            registers = guest.command("info registers")
            lists = guest.command("lmb-dump --json")
            for command, wanted, message in BAD:
                if wanted is not None:
                    assert "fails with -EINVAL (-22): align 0xc00 is no power of two" in guest.command(command)
                    continue
                with pytest.raises(CommandError, match=message) as error:
                    guest.command(command)
                assert len(str(error.value).splitlines()) == 1 and not python_failed(str(error.value))
            for command in ("lmb-whatif alloc 64K", "lmb-whatif remove 0x3000 4K", "lmb-whatif add 8G 1M", "lmb-free",
                            "lmb-whatif free &lmb 4K", "lmb-whatif reserve 0x5000 12K", "lmb-who lmb"):  # fmt: skip
                assert guest.command(command) == guest.command(command)
            guest.command(dump.format(after))
            guest.command(rest.format(after))
            assert before.read_bytes() == after.read_bytes()
        finally:
            before.unlink(missing_ok=True)
            after.unlink(missing_ok=True)
        assert guest.command("info registers") == registers and guest.command("lmb-dump --json") == lists
        assert "clean" in guest.command("lmb-check")


def test_states_that_cannot_be_gone_on_from(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        for command in ("lmb-whatif alloc 1", "lmb-free", "lmb-who 0"):
            with pytest.raises(CommandError, match=f"{command.split()[0]}: the kernel is not there yet: "):
                guest.command(command)
        guest.run_until("lmb_init")
        for command in ("lmb-whatif alloc 1", "lmb-free", "lmb-who 0", "output $lmb_region(0)"):
            with pytest.raises(CommandError, match="LMB is not initialised at this stop"):
                guest.command(command)
        # At its very entry an operation has changed nothing; a few instructions on it may have.
        guest.run_until("lmb_add")
        assert "fails with -ENOMEM" in guest.command("lmb-whatif alloc 1")
        guest.command("stepi 12")
        with pytest.raises(CommandError, match=r"the stop is inside lmb_\w+, so the lists may be between two states"):
            guest.command("lmb-whatif alloc 1")
        assert guest.command("lmb-free").startswith("torn: the stop is inside lmb_")
        assert guest.command("lmb-who 0").startswith("torn: the stop is inside lmb_")
        guest.run_until("lmb_ready")
        guest.command("set var lmb.reserved.regions.next->next = 0")
        with pytest.raises(CommandError, match="no model goes on from here: the reserved list's links are damaged"):
            guest.command("lmb-whatif alloc 1")
        assert guest.command("lmb-free").startswith("warning: 1 finding; lmb-check lists them\nfree in [0x1000, ")
        assert who(guest, "lmb")["parts"][0]["state"] == "reserved"


def test_help_and_completion(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        assert set(NEW) <= {line.split(" -- ")[0] for line in guest.command("apropos lmb").splitlines()}
        for name in NEW:
            text = guest.command(f"help {name}").splitlines()
            assert len(text[0]) < 70 and text[0].endswith(".") and text[1] == ""
            assert text[2].startswith(f"Usage: {name}")
            assert any(line.startswith(f"Example: {name}") for line in text)
            assert all(len(line) <= 79 for line in text)
        assert guest.command("complete lmb-whatif re").splitlines() == ["lmb-whatif remove", "lmb-whatif reserve"]
        assert guest.command("complete lmb-free --ali") == "lmb-free --align\n"
        assert guest.command("complete lmb-who 0 --t") == "lmb-who 0 --trace\n"
        for name in ("lmb_region", "lmb_owner"):
            assert guest.command(f"help function {name}").startswith(f"$lmb_{name[4:]}(ADDR): ")

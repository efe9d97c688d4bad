# SPDX-License-Identifier: GPL-2.0-or-later
"""Every field of the fixture kernel's LMB changed: on its bytes as gdb reads them plainly, and some in the guest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.allocators.lmb.program import LmbProgram, Table
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.words import FINDING
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.changes import differing, write
from tests.helpers.image import ABIS, Image
from tests.helpers.lmb_changes import CHANGES, HANDED_OVER, LOG, PAGE, LmbImage, wrong_rows

pytestmark = pytest.mark.kernel

IN_GDB = Path(__file__).parent.parent / "helpers" / "lmb_image_in_gdb.py"
ITEMS = {"lmb_log": "ring", "lmb_handover": "ranges", "firmware_map": "ranges"}


def read_image(guest: GuestSession, path: Path) -> LmbImage:
    guest.command(f'set var $image_file = "{path}"')
    guest.command(f"source {IN_GDB}")
    data = json.loads(path.read_text())
    structs = {
        name: Struct(name, size, {one: Field(at, bytes_, bool(signed)) for one, (at, bytes_, signed) in of.items()}, 8)
        for name, (size, of) in data["structs"].items()
    }

    def table(name: str, of: str) -> Table:
        return Table(data["tables"][name], structs[of], structs[f"{of}.{ITEMS[of]}"], ITEMS[of])

    program = LmbProgram(
        arch="test", byte_order="little", lmb_va=data["lmb"], lmb=structs["lmb"], region=structs["lmb_region"],
        block=structs["lmb_block"], page_size=4096, static_entries=tuple(data["static"]),
        log=table("log", "lmb_log"), handover=table("handover", "lmb_handover"),
        firmware=table("firmware", "firmware_map"), image=(range(*data["image"]),),
        ops={int(at): name.removeprefix("LMB_OP_").lower() for at, name in data["ops"].items()},
    )  # fmt: skip
    segments = {int(at, 16): bytearray.fromhex(raw) for at, raw in data["segments"].items()}
    return LmbImage(Image(ABIS["x86_64"], program, segments, data["lists"]))


@pytest.fixture(scope="module")
def guest(fixture_kernel: Path) -> Iterator[GuestSession]:
    """A guest with several blocks, stopped at `lmb_ready`; tests leave it as it was."""
    options = QemuOptions(append="lmb.scenario=fill lmb.ops=40 lmb.static=8 lmb.block_size=512")
    with GuestSession(fixture_kernel, options) as session:
        session.run_until("lmb_ready")
        yield session


@pytest.fixture(scope="module")
def ready(guest: GuestSession, tmp_path_factory: pytest.TempPathFactory) -> LmbImage:
    return read_image(guest, tmp_path_factory.mktemp("image") / "ready")


def test_changes_of_the_bytes(ready: LmbImage) -> None:
    assert wrong_rows(ready, CHANGES) == {}


def test_changes_of_the_bytes_after_the_hand_over(fixture_kernel: Path, tmp_path: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.scenario=fill lmb.ops=40")) as guest:
        guest.run_until("lmb_scenario_done")
        done = read_image(guest, tmp_path / "done")
    assert wrong_rows(done, HANDED_OVER) == {}


def codes(guest: GuestSession, options: str = "") -> set[str]:
    found = json.loads(guest.command(f"lmb-check --json {options}"))["findings"]
    return {one["code"] for one in found if one["severity"] == FINDING}


def test_changes_in_the_guest(guest: GuestSession, ready: LmbImage) -> None:
    """The first row of each kind, and all of those whose code depends on what the whole tool knows of the guest."""
    rows = {(code, log, name.split()[0].rstrip("0123456789")): (name, change, code, log)
            for name, change, code, log in reversed(CHANGES)}  # fmt: skip
    wrong = {}
    for name, change, code, log in [*rows.values()][::4]:
        change(ready)
        changed = {va: bytes(data) for va, data in ready.image.segments.items()}
        ready.restore()
        runs = differing(ready.whole, changed)
        write(guest, changed, runs)
        bare, logged = codes(guest, "--no-log"), codes(guest)
        write(guest, ready.whole, runs)
        told = bare & {*code.split("|")} if code else bare <= REQUIRED
        if not told or (log and LOG not in logged):
            wrong[name] = (code, log, bare, logged)
    assert wrong == {}
    assert codes(guest) == set()


REQUIRED = {"required-unreserved", "required-not-memory", "required-overlap"}
"""What no image tells: the other code of a change that is sound by the lists alone."""


def physical(guest: GuestSession, va: str) -> int:
    return int(guest.command(f"monitor gva2gpa {int(guest.command(f'output/d (long)({va})')):#x}").split()[-1], 16)


def test_what_is_taken_out_is_found_without_the_log(fixture_kernel: Path, tmp_path: Path) -> None:
    """Each place is cut out of its region by gdb, found, and put back; the lists are sound all the while."""
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bytes(5000))
    with GuestSession(fixture_kernel, QemuOptions(initrd=initrd)) as guest:
        guest.run_until("lmb_ready")
        places = {
            "kernel image": physical(guest, "&_image_start"),
            "the stack's page": physical(guest, "$sp") & -PAGE,
            "the page of struct lmb": physical(guest, "&lmb") & -PAGE,
            "the early page tables": physical(guest, "&__early_page_tables_start"),
            "the page tables' root": int(guest.command("output/x $cr3"), 16) & -PAGE,
            "initrd": int(guest.command("output/x boot_info.initrd.base"), 16),
            "boot loader's data": int(guest.command("output/x boot_info.boot_data[0].base"), 16),
        }
        image = read_image(guest, tmp_path / "image")
        for what, at in places.items():
            for name, code in (("reserved", "required-unreserved"), ("memory", "required-not-memory")):
                if (what, name) == ("boot loader's data", "memory"):
                    continue  # firmware may keep it where no RAM is
                regions = range(image.get(f"{name}.cnt"))
                base, size = next(
                    (f"{name}[{i}].base", f"{name}[{i}].size")
                    for i in regions
                    if 0 <= at - image.get(f"{name}[{i}].base") < image.get(f"{name}[{i}].size")
                )
                if at == image.get(base):
                    cut = min(PAGE, image.get(size) - 1)
                    image.set(base, at + cut)
                    image.set(size, image.get(size) - cut)
                else:
                    cut = image.get(base) + image.get(size) - at
                    image.set(size, image.get(size) - cut)
                image.set(f"{name}.total_size", image.get(f"{name}.total_size") - cut)
                runs = differing(image.whole, image.image.segments)
                write(guest, image.image.segments, runs)
                found = json.loads(guest.command("lmb-check --json --no-log"))["findings"]
                write(guest, image.whole, runs)
                image.restore()
                messages = [one["message"] for one in found if one["code"] == code]
                assert any(message.startswith(f"[{at:#x}, ") for message in messages), (what, name, found)
                assert {one["code"] for one in found if one["severity"] == FINDING} == {code}, (what, name, found)
        for i in range(image.get("memory.cnt")):
            image.set(f"memory[{i}].flags", 4)
        write(guest, image.image.segments, differing(image.whole, image.image.segments))
        assert "required-not-memory" in codes(guest, "--no-log")
        write(guest, image.whole, differing(image.whole, image.image.segments))
        assert codes(guest) == set()

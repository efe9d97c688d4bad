# SPDX-License-Identifier: GPL-2.0-or-later
"""Every field of memblock changed on images of stock kernels, read plainly by gdb, and some in the guests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.allocators.memblock.decode import MemblockProgram
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.words import FINDING
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.session import GuestSession
from tests.helpers.changes import differing, write
from tests.helpers.memblock_changes import CHANGES, SOUND, MemblockImage
from tests.helpers.stock import AMD64, boot
from tests.helpers.stock_arm64 import guest_of

pytestmark = pytest.mark.stock

IN_GDB = Path(__file__).parent.parent / "helpers" / "memblock_image_in_gdb.py"
PAGE = 4096
# So that memory has two regions on arm64 too.
TWO_NODES = (
    "-object", "memory-backend-ram,id=a,size=256M", "-object", "memory-backend-ram,id=b,size=256M",
    "-numa", "node,memdev=a", "-numa", "node,memdev=b",
)  # fmt: skip
ARM64 = "debian:6.12-cloud-arm64"


@pytest.fixture(scope="module", params=[*AMD64, ARM64])
def guest(request: pytest.FixtureRequest) -> Iterator[GuestSession]:
    """A stock kernel at `memblock_free_all`, with KASLR off; tests leave it as it was."""
    kernel = find_kernel(request.param, notice=print)
    with guest_of(kernel, "nokaslr", words=TWO_NODES) if request.param == ARM64 else boot(kernel, "nokaslr") as session:
        session.command("lmb-attach --wait")
        session.run_until("memblock_free_all")
        yield session


@pytest.fixture(scope="module")
def stock_image(guest: GuestSession, tmp_path_factory: pytest.TempPathFactory) -> MemblockImage:
    """The memblock of the guest, from its bytes."""
    path = tmp_path_factory.mktemp("image") / "memblock.json"
    guest.command(f'set var $image_file = "{path}"')
    guest.command(f"source {IN_GDB}")
    data = json.loads(path.read_text())
    structs = {
        name: Struct(
            name, size, {member: Field(at, bytes_, bool(signed)) for member, (at, bytes_, signed) in of.items()}
        )
        for name, (size, of) in data["structs"].items()
    }
    # CONFIG_NODES_SHIFT of Debian's configurations, x86's and arm64's.
    segments = {int(at, 16): bytearray.fromhex(raw) for at, raw in data["segments"].items()}
    program = MemblockProgram(
        arch="test", byte_order="little", memblock_va=next(iter(segments)), memblock=structs["memblock"],
        type=structs["memblock_type"], region=structs["memblock_region"], page_size=PAGE,
        flag_names={bit: name for name, bit in data["flags"].items()}, init_arrays=data["arrays"],
        no_node=1 << (10 if data["ram"] else 4),
        rooms=data["rooms"], names=data["names"], image=tuple(data["image"]),
    )  # fmt: skip
    # By hand: e820__memblock_setup() trims each range of RAM to whole pages; arm64 adds whole pages.
    trimmed = sum(-base % PAGE + end % PAGE for base, end in data["ram"] or ())
    limits = None if data["mapped"] is None else frozenset({(1 << 64) - 1, 1 << 20, data["mapped"] * PAGE})
    nodes = frozenset(node for node in range(64) if data["nodes"] >> node & 1)
    return MemblockImage(program, segments, trimmed=trimmed, nodes=nodes, limits=limits)


def test_changes(stock_image: MemblockImage) -> None:
    wrong = {}
    for name, change, code in CHANGES:
        changed = stock_image.copy()
        change(changed)
        found = changed.codes()
        if found if code == SOUND else code not in found:
            wrong[name] = (code, found)
    assert wrong == {}


def test_changes_in_the_guest(guest: GuestSession, stock_image: MemblockImage) -> None:
    """The first row of each code, and then of each list and each field."""
    whole = {va: bytes(data) for va, data in stock_image.segments.items()}
    assert found_in(guest) == set()
    wrong = {}
    rows = {(code, re.split(r"[ \[]", name)[0]): (name, change, code) for name, change, code in reversed(CHANGES)}
    assert len(rows) > 20
    for name, change, code in rows.values():
        changed = stock_image.copy()
        change(changed)
        runs = differing(whole, changed.segments)
        write(guest, changed.segments, runs)
        found = found_in(guest)
        write(guest, whole, runs)
        if found if code == SOUND else code not in found:
            wrong[name] = (code, found)
    assert wrong == {}
    assert found_in(guest) == set()


def found_in(guest: GuestSession) -> set[str]:
    """Return the codes of the findings."""
    found = json.loads(guest.command("lmb-check --json"))["findings"]
    return {one["code"] for one in found if one["severity"] == FINDING}

# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock kernels that die before their place, without a console: by Linux's own panic, parked, and in the firmware."""

from __future__ import annotations

import re

import pytest

from gdb_lmb.cli import main
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession, NotReachedError

pytestmark = pytest.mark.stock

# The kernel, a function that allocates memory or panics, and the callers that are told; the sizes are the kernel's own.
PANICS = [
    ("debian:7-cloud-amd64", "e820__reserve_resources", "__memblock_alloc_or_panic, e820__reserve_resources"),
    ("debian:6.12-cloud-arm64", "request_standard_resources", "request_standard_resources, setup_arch"),
]


@pytest.mark.parametrize(("name", "function", "callers"), PANICS, ids=[name for name, *_ in PANICS])
def test_a_failed_allocation_is_named_by_its_size(name: str, function: str, callers: str) -> None:
    kernel = find_kernel(name, notice=print)
    with GuestSession(kernel.image, QemuOptions(memory="512M"), symbols=kernel.vmlinux, timeout_s=120) as guest:
        guest.run_until(function)
        guest.command("set var memblock.current_limit = 0x2000")
        with pytest.raises(NotReachedError) as caught:
            guest.run_until("memblock_free_all")
        why = str(caught.value)
        assert why.startswith(f"the guest panicked before it reached memblock_free_all, called from {callers}")
        size = re.search(
            rf": {function}: Failed to allocate (0x)?\d+ bytes; the largest allocation possible was 0 b", why
        )
        assert size is not None, why
        assert caught.value.console == b""
        # Commands run on it; the limit is damage too.
        assert "bad-limit" in guest.command("lmb-check")
        if "arm64" in name:
            # As `cpu_park_loop()`, which is inlined: wfe, wfi, and a jump back. With interrupts on something may come.
            for at, word in enumerate((0xD503205F, 0xD503207F, 0x17FFFFFE)):
                guest.command(f"set var *(unsigned int *)($pc + {4 * at}) = {word:#x}")
            guest.command("set $cpsr = $cpsr | 0xc0")
            with pytest.raises(NotReachedError, match="halted for good in "):
                guest.run_until("kernel_init")
            guest.command("set $cpsr = $cpsr & ~0xc0")
            with pytest.raises(NotReachedError, match="did not reach kernel_init within 2 s"):
                guest.run_until("kernel_init", timeout_s=2)


def test_a_triple_fault_of_the_decompressor(capfd: pytest.CaptureFixture[str]) -> None:
    """With less memory than the image takes."""
    assert main(["run", "debian:6.1-cloud-amd64", "--memory", "24M", "--", "print 1"]) == 3
    out, err = capfd.readouterr()
    assert out == "$1 = 1\n"
    assert re.search(r"the guest had a triple fault before it reached the kernel's first instruction, in 0x\w+\n", err)

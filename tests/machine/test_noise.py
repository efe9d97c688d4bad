# SPDX-License-Identifier: GPL-2.0-or-later
"""What gdb prints of stops that nobody asked for does not reach the user; what the user's own commands print does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.runner.base import WithoutInterrupt
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession


def test_the_interrupt_is_left_out_and_nothing_else() -> None:
    heard: list[str] = []
    take = WithoutInterrupt(heard.append)
    stop = ("\nProgram", " received signal ", "SIGINT", ", Interrupt.\n", "halt () at a.c:4\n", "4\t\tfor (;;)\n")
    for text in ("Continuing.\n", "mine\n", *stop, "lmb-trace: interrupted after 3 operations\n"):
        take(text)
    assert heard == ["Continuing.\n", "mine\n", "lmb-trace: interrupted after 3 operations\n"]


@pytest.mark.kernel
def test_an_interrupt_of_ours_is_not_shown(fixture_kernel: Path) -> None:
    heard: list[str] = []
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        guest.command("lmb-trace start --until lmb_init")
        with pytest.raises(CommandError, match=r"the guest has halted for good and was interrupted in arch_halt at 0x"):
            guest.command("continue", heard.append)
        text = "".join(heard)
        assert "received signal" not in text and "arch_halt" not in text
        assert text.strip() == "Continuing."
        # The user's own stop and interrupt are shown as ever.
        guest.command("lmb-trace stop")
        assert "arch_halt" in guest.command("frame")
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_init")
        guest.command("break lmb_add")
        assert "Breakpoint" in guest.command("continue")
        # One with commands of its own, which pygdbmi cannot read.
        script = guest.folder / "commands"
        script.write_text("commands\nsilent\necho hit\\n\nend\n")
        guest.command(f"source {script}")
        assert "hit\n" in guest.command("continue")


@pytest.mark.kernel
def test_the_way_to_a_place_prints_nothing(fixture_kernel: Path, tmp_path: Path) -> None:
    script = tmp_path / "watch.py"
    script.write_text(
        "from gdb_lmb.machine import run_control\n"
        "seen = []\n"
        "def look(reached):\n"
        "    seen.append(reached)\n"
        "    return run_control.Slice((), 0.01) if len(seen) < 10 else None\n"
        "run_control.run_watched(run_control.Slice((), 0.01), look)\n"
    )
    # Operations enough for any machine: a guest that has halted for good is interrupted by the runner.
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.scenario=random lmb.ops=1000000")) as guest:
        guest.run_until("lmb_init")
        assert guest.command(f"source {script}").strip() == ""
        assert guest.command("info breakpoints").startswith("No breakpoints")

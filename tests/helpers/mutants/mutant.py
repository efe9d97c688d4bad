# SPDX-License-Identifier: GPL-2.0-or-later
"""What a mutant is: exact text of one C file and what takes its place, and the boots that must show it.

Not unified diffs: those need `patch` or git, which a fresh Debian lacks, and find a place near the one meant
where the source has moved on. Here the text must be there, once, or the test fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Boot:
    """One boot of the random scenario: words for the command line, RAM as QEMU's `-m`, whether there is an initrd."""

    append: str
    memory: str = "24M"
    initrd: bool = False

    @property
    def command_line(self) -> str:
        """The whole command line; of two equal words the kernel takes the last."""
        return f"lmb.scenario=random lmb.static=8 lmb.ops=1500 {self.append}"


# Little RAM, so that allocations meet full and exactly filled holes; blocks of five entries, so that the lists
# grow every few operations. The blocks lie outside the arena of the random operations, though.
TOP_DOWN = Boot("lmb.seed=1 lmb.block_size=256")
BOTTOM_UP = Boot("lmb.seed=2 lmb.block_size=256 lmb.bottom_up")
# The arena reaches to the end of RAM, where the blocks go too: when a growth comes decides what comes after it.
WIDE = Boot("lmb.seed=1 lmb.ops=4000", memory="128M")
BOOTS = (TOP_DOWN, BOTTOM_UP, WIDE)

# One block takes a quarter of the arena: operations meet it all the time (rule 8), and growth their ranges (rule 6).
# Top-down it touches the image's reservation; bottom-up it is a reserved region of its own.
_HUGE = "lmb.block_size=4194304"
HUGE = Boot(f"lmb.seed=1 lmb.ops=300 {_HUGE}")
HUGE_ALONE = Boot(f"lmb.seed=3 lmb.ops=300 {_HUGE} lmb.bottom_up")
# The boot itself leaves one free entry of eight: the next operation that needs one must grow. Seed and static are
# chosen so that this is a split (seed 21), which lies where the block would go, or such an allocation (seed 6).
FIRST_SPLIT = Boot(f"lmb.seed=21 lmb.ops=1 {_HUGE}")
FIRST_ALLOC = Boot(f"lmb.seed=6 lmb.ops=3 {_HUGE}")

# Why page 0 does not show in this guest. On the host it does: test_differential finds both mutants that allocate
# it, `make -C vmlinux-fixtures check` the one that hands it over.
PAGE_0 = "QEMU puts a PVH table into page 0, which the boot reserves first of all and never frees"


@dataclass(frozen=True)
class Mutant:
    """One broken rule.

    `rule` is the number in the design, 0 for "what always holds between two operations"; `breaks` says in words
    what is broken; `edits` are (text, replacement) pairs in `source`; `codes` are findings that there must be.

    `boots` are tried in turn until one shows findings, at `lmb_ready` or after the hand-over. `panics` is what
    the guest says when the mutant stops it before `lmb_ready`: there `lmb-check` runs where it stopped.
    `equivalent` says why the guest's state can never differ from the design's: then no boot may show a finding.
    """

    name: str
    rule: int
    breaks: str
    source: str
    edits: tuple[tuple[str, str], ...]
    codes: tuple[str, ...] = ("log-divergence",)
    boots: tuple[Boot, ...] = BOOTS
    panics: str = ""
    equivalent: str = ""
    klimit: bool = False


def mutate(fixtures: Path, folder: Path, mutant: Mutant | None) -> None:
    """Make `folder` hold the allocator's sources from `fixtures`, with the mutant's edits.

    A file that is so already is not touched, so that make compiles what differs only.
    Raises: ValueError if a text to replace is not there exactly once, or the file is not.
    """
    sources = [*fixtures.glob("lmb*.c"), *fixtures.glob("lmb*.h")]
    if mutant is not None and mutant.source not in {source.name for source in sources}:
        raise ValueError(f"{mutant.name}: there is no {mutant.source}")
    for source in sources:
        text = source.read_text()
        for before, after in mutant.edits if mutant is not None and mutant.source == source.name else ():
            if text.count(before) != 1:
                raise ValueError(
                    f"{mutant.name}: {source.name} has this text {text.count(before)} times, not once:\n{before}"
                )
            text = text.replace(before, after)
        copy = folder / source.name
        if not copy.exists() or copy.read_text() != text:
            copy.write_text(text)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The C allocator under clang's libFuzzer, with the byte map of host/fuzz.c as its judge: a minute in the soak lane."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest
from fixture_kernels import FIXTURES, make_words

from tests.helpers.mutants import ALL, mutate
from tests.helpers.soak import ROUNDS, SEED

pytestmark = [pytest.mark.random, pytest.mark.long]

LENGTH = "-max_total_time=60" if ROUNDS > 1 else "-runs=100"


def built(folder: Path, variant: str, *words: str) -> Path:
    fuzzer = folder / "host" / f"fuzzer-{variant}"
    done = subprocess.run(
        make_words(f"O={folder}", *words, fuzzer), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return fuzzer


def run(fuzzer: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a fuzzer in its own folder, where it leaves what it found."""
    # Histories of some length to begin with: it would take long to find any from nothing.
    corpus = fuzzer.parent / "corpus"
    corpus.mkdir()
    chance = random.Random(SEED)
    for number in range(30):
        (corpus / str(number)).write_bytes(chance.randbytes(1500))
    return subprocess.run(
        [fuzzer, corpus, f"-seed={SEED % (1 << 31) + 1}", "-max_len=1500", *words],
        cwd=fuzzer.parent, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("variant", ["64-static", "64-klimit", "32-static", "32-klimit"])
def test_nothing_is_found(tmp_path: Path, variant: str) -> None:
    done = run(built(tmp_path, variant), LENGTH)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None and int(runs[1]) >= 100


@pytest.mark.parametrize("name", ["mark-replaces-flags", "reserve-takes-a-block", "grows-into-the-range"])
def test_a_mutant_is_found(tmp_path: Path, name: str) -> None:
    sources = tmp_path / "lmb"
    sources.mkdir()
    mutate(FIXTURES, sources, next(mutant for mutant in ALL if mutant.name == name))
    done = run(built(tmp_path, "64-static", f"LMB_DIR={sources}"), "-runs=20000")
    assert done.returncode != 0
    assert "libfuzzer: " in done.stdout

# SPDX-License-Identifier: GPL-2.0-or-later
"""The README and the pages: complete, short where they must be, linked, and the same as the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import doc_commands
import pytest
from bench_docs import write_block
from transcripts import DOCS, PAGES, read_page

from gdb_lmb.cli.help import topics
from gdb_lmb.commands import MODULES
from tests.helpers.rooms import ROOMS

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
PACKAGE = ROOT / "gdb_lmb"


def name_of(path: Path) -> str:
    return path.stem


# -- README ------------------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= 150


def test_the_examples_of_the_readme_are_short() -> None:
    page = read_page(ROOT / "README.md")
    task = page.lines.index("## Three tasks") + 1
    examples = [block for block in page.blocks if block.info.startswith("console") and block.line < task]
    assert [block.info for block in examples] == ["console stock", "console"]
    assert all(len(block.lines) <= 15 for block in examples)


def test_the_readme_lists_every_topic() -> None:
    assert sorted(re.findall(r"^\| \[([a-z-]+)\]\(gdb_lmb/docs/\1\.md\)", README, re.M)) == topics()


# -- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=name_of)
def test_a_page_begins_with_its_topic(path: Path) -> None:
    title = path.read_text().partition("\n")[0]
    assert re.fullmatch(rf"# {path.stem}: \S.*", title, re.I), title


def anchor(heading: str) -> str:
    """Return what a forge makes of a heading: the anchor that a link names."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        name, _, part = target.partition("#")
        there = path.parent / name if name else path
        assert there.is_file(), target
        if part:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.M)
            assert part in map(anchor, headings), target


def test_no_page_is_left_alone() -> None:
    linked = {target for path in PAGES for target in re.findall(r"([a-z-]+)\.md[)#]", path.read_text())}
    assert set(topics()) <= linked


# -- commands ----------------------------------------------------------------------------------------------------------


def test_the_commands_page_is_what_their_help_says() -> None:
    assert doc_commands.PAGE.read_text() == doc_commands.page(), "scripts/docs --write makes it anew"


def test_the_commands_page_has_every_command() -> None:
    names = re.findall(r"^### `(.*)`$", doc_commands.PAGE.read_text(), re.M)
    assert {name for name in names if name.startswith("lmb-")} == {f"lmb-{name}" for name in MODULES} - {"lmb-prefix"}
    assert "gdb-lmb run" in names and "gdb-lmb help" in names


# -- findings ----------------------------------------------------------------------------------------------------------

MADE = ("Check", "Finding")
"""What takes a code as its first argument."""

NOT_VERIFIED = {
    "torn",
    "freed",
    "uncompared",
    "log-wrapped",
    "trace-not-compared",
    "callers-unknown",
    "generation-unknown",
}


def codes_in_code() -> set[str]:
    """Return what is given to a `Check` or a `Finding` as its code: a literal, or what the name given is set to."""
    out: set[str] = set()
    # The runner's Check is one command's row of a verdict.
    for path in (path for path in PACKAGE.rglob("*.py") if path.parent.name != "runner"):
        names: dict[str, set[str]] = {}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign):
                target, value = node.targets[0], node.value
                if isinstance(target, ast.Tuple) and isinstance(value, (ast.Tuple, ast.IfExp)):
                    target = target.elts[0]
                if isinstance(target, ast.Name):
                    texts = {part.value for part in ast.walk(value) if isinstance(part, ast.Constant)}
                    names.setdefault(target.id, set()).update(text for text in texts if isinstance(text, str))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MADE and node.args:
                given = node.args[0]
                if isinstance(given, ast.Constant):
                    out.add(str(given.value))
                elif isinstance(given, ast.Name):
                    out |= names.get(given.id, set())
    return out


def test_the_findings_page_has_the_codes_of_the_code() -> None:
    text = (DOCS / "findings.md").read_text()
    described = re.findall(r"^### `([a-z-]+)`$", text, re.M)
    assert len(described) == len(set(described))
    assert set(described) - NOT_VERIFIED == codes_in_code()
    assert set(described) >= NOT_VERIFIED


def test_each_finding_has_an_example() -> None:
    text = (DOCS / "findings.md").read_text()
    for code, section in re.findall(r"^### `([a-z-]+)`\n(.*?)(?=^##|\Z)", text, re.M | re.S):
        if code in NOT_VERIFIED:
            continue
        assert re.search(rf"^(finding|note): {code}: ", section, re.M) or code == "trace-divergence", code
        assert section.strip().rpartition("```")[2].strip(), f"{code}: it does not say what to do"


def test_what_is_not_verified_is_named_in_the_code() -> None:
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert [code for code in sorted(NOT_VERIFIED) if f'"{code}"' not in source] == []


FILES = ("checks.py",)
"""What has one of that name in each package."""


# -- architecture ------------------------------------------------------------------------------------------------------


def test_the_rooms_are_those_of_the_code() -> None:
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| `([a-z]+)` \|", text.partition("## The rooms")[2].partition("\n## ")[0], re.M)
    assert rows == [room for room in ROOMS if room != "__main__"]


@pytest.mark.parametrize("topic", ["architecture", "porting"])
def test_files_that_are_named_are_there(topic: str) -> None:
    named = re.findall(r"`((?:[a-z_]+/)*[a-z0-9_*]+\.(?:py|c|h))`", (DOCS / f"{topic}.md").read_text())
    assert named
    for name in named:
        assert any(list(folder.glob(name)) for folder in (PACKAGE, ROOT, ROOT / "vmlinux-fixtures")) or name in FILES, (
            name
        )


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_every_json_format_is_described() -> None:
    named: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        named |= set(re.findall(r'"(gdb-lmb/[a-z-]+/\d+)"', path.read_text()))
    described = set(re.findall(r"^## (gdb-lmb/[a-z-]+/\d+)$", (DOCS / "json.md").read_text(), re.M))
    assert len(named) > 10
    # The file of a trace is described where tracing is.
    assert described | {"gdb-lmb/trace/1"} == named
    assert "`gdb-lmb/trace/1`" in (DOCS / "tracing.md").read_text()


# -- benchmarks --------------------------------------------------------------------------------------------------------


def test_a_bench_writes_between_its_comments(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# x\n<!-- bench -->\nold\n<!-- /bench -->\nend\n")
    write_block("bench", "| new |", page)
    assert page.read_text() == "# x\n<!-- bench -->\n| new |\n<!-- /bench -->\nend\n"
    with pytest.raises(SystemExit, match="0 places are marked bench-stock"):
        write_block("bench-stock", "", page)


@pytest.mark.parametrize("name", ["bench", "bench-stock", "bench-check", "bench-replay"])
def test_each_bench_has_its_place(name: str) -> None:
    text = (DOCS / "benchmarks.md").read_text()
    assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1

# SPDX-License-Identifier: GPL-2.0-or-later
"""The pipelines in docs/ci.md: each is valid by its server's schema, and gdb-lmb takes the command lines in them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gdb_lmb.cli.common import build_parser

PAGE = Path(__file__).resolve().parent.parent.parent / "gdb_lmb" / "docs" / "ci.md"
SCHEMAS = {"GitHub Actions": "vendor.github-workflows", "GitLab CI": "vendor.gitlab-ci"}
# What reads a job with LAVA's own schema: in the system's Python, for which Debian has it.
LAVA = """
import json, sys
from lava_common.schemas import validate, extra_checks
job = json.load(sys.stdin)
validate(job)
extra_checks(job)
"""


def pipeline(heading: str) -> str:
    """Return the only YAML below a heading of the page."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(r"^```yaml\n(.*?)^```$", section, re.M | re.S)
    return str(found)


def refused(text: str, schema: str, folder: Path) -> str:
    """Return why a server's schema refuses a file, "" where it does not."""
    (folder / "pipeline.yml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, folder / "pipeline.yml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("heading", SCHEMAS)
def test_a_pipeline_is_what_its_server_takes(heading: str, tmp_path: Path) -> None:
    text = pipeline(heading)
    assert refused(text, SCHEMAS[heading], tmp_path) == ""
    # And the schema refuses what is wrong.
    wrong = text.replace("runs-on:", "run-on:").replace("when: always", "when: never mind")
    assert wrong != text
    assert refused(wrong, SCHEMAS[heading], tmp_path)


def texts(value: Any) -> list[str]:
    """Return all strings in a document."""
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in values for text in texts(part)]


@pytest.mark.parametrize("heading", [*SCHEMAS, "LAVA"])
def test_gdb_lmb_takes_the_commands(heading: str) -> None:
    lines = [text for text in texts(YAML(typ="safe").load(pipeline(heading))) if text.startswith("gdb-lmb ")]
    assert len(lines) == 1
    words = shlex.split(re.sub(r"\$\{\{.*?\}\}", "512M", lines[0]).replace("|| status=$?", ""))
    found = build_parser(words[1]).parse_args(words[1:])
    assert (found.command_name, found.golden.name, bool(found.report)) == ("check", "early-memory.golden", True)


def handed_on(heading: str) -> set[str]:
    """Return the files that the jobs before the one that boots hand on to it, or that it gets itself."""
    document = YAML(typ="safe").load(pipeline(heading))
    if heading == "LAVA":
        (line,) = (text for text in texts(document) if "curl " in text)
        return set(line.partition("for file in ")[2].partition(";")[0].split())
    if heading == "GitLab CI":
        return {path for need in document["early-memory"]["needs"] for path in document[need]["artifacts"]["paths"]}
    needed = document["jobs"][document["jobs"]["early-memory"]["needs"]]["steps"]
    (uploaded,) = (step["with"] for step in needed if "upload-artifact" in step.get("uses", ""))
    steps = document["jobs"]["early-memory"]["steps"]
    assert [step["with"] for step in steps if "download-artifact" in step.get("uses", "")] == [
        {"name": uploaded["name"]}
    ]
    return set(uploaded["path"].split())


@pytest.mark.parametrize("heading", [*SCHEMAS, "LAVA"])
def test_each_file_of_the_commands_is_there(heading: str) -> None:
    """In the repository, of which a job has ci/, or of a build."""
    (line,) = (text for text in texts(YAML(typ="safe").load(pipeline(heading))) if text.startswith("gdb-lmb "))
    words = line.split()
    needed = {words[2], words[words.index("--symbols") + 1], words[words.index("--golden") + 1]}
    assert {name for name in needed - handed_on(heading) if not name.startswith("ci/")} == set()
    assert len(needed) == 3


@pytest.mark.stock
def test_a_job_is_what_lava_takes() -> None:
    """In the lane that installs Debian's lava-common."""

    def why_refused(job: Any) -> str:
        done = subprocess.run(["/usr/bin/python3", "-c", LAVA], input=json.dumps(job), capture_output=True, text=True,
                              timeout=60, check=False)  # fmt: skip
        return done.stderr

    job = YAML(typ="safe").load(pipeline("LAVA"))
    assert why_refused(job) == ""
    assert "Invalid" in why_refused({**job, "device": "moon"})

# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of checks as JUnit's XML, as Jenkins reads it: a kernel that failed is a `failure`, infrastructure an
`error`, and what could not be verified `skipped`.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gdb_lmb.core.suite import CaseResult, SuiteResult
from gdb_lmb.core.words import printable
from gdb_lmb.report.suite_text import KERNELS, LINE, UNKNOWN, details, name_of, problems


def write(suite: SuiteResult) -> str:
    """Return the report, an XML document."""
    counts = {
        "tests": len(suite.cases),
        "failures": sum(case.outcome in KERNELS for case in suite.cases),
        "errors": sum(case.outcome in UNKNOWN for case in suite.cases),
    }
    attributes = {name: str(count) for name, count in counts.items()}
    attributes |= {"name": printable(suite.name, LINE), "time": _time(sum(case.seconds for case in suite.cases))}
    root = Element("testsuites", attributes)
    skipped = sum(case.outcome == "not verified" for case in suite.cases)
    inner = SubElement(root, "testsuite", attributes | {"skipped": str(skipped)})
    properties = SubElement(inner, "properties")
    for name, value in suite.properties.items():
        SubElement(properties, "property", {"name": printable(name, LINE), "value": printable(value, LINE)})
    for case in suite.cases:
        _case(inner, case, suite.name)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(inner: Element, case: CaseResult, suite: str) -> None:
    names = {"name": name_of(case), "classname": printable(suite, LINE), "time": _time(case.seconds)}
    element = SubElement(inner, "testcase", names)
    text = "\n".join(details(case))
    if case.passed:
        if text:
            SubElement(element, "system-out").text = text
        return
    tag = "failure" if case.outcome in KERNELS else "error" if case.outcome in UNKNOWN else "skipped"
    message = "; ".join(problem.text for problem in problems(case)[:3])
    SubElement(element, tag, {"type": case.outcome, "message": message}).text = text


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"

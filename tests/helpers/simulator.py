# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's memblock simulator, tools/testing/memblock: built with an exported test in it, and run.

Needs the packages libasan and liburcu-dev, as the simulator's own makefile says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_TIMEOUT_S = 600

_MAIN = """\
#include "tests/common.h"
int memblock_{name}_checks(void);
int main(int argc, char **argv)
{{
	parse_args(argc, argv);
	return memblock_{name}_checks();
}}
"""

# What the simulator uses of tools/testing/selftests/kselftest.h, which may not have been kept.
_KSELFTEST = """\
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#endif
static inline void ksft_test_result_pass(const char *text) { printf("ok %s", text); }
static inline void ksft_test_result_fail(const char *text) { printf("not ok %s", text); }
"""


class Simulator:
    """A copy of a kernel's source tree, in which one test after the other can be built."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.home = folder / "tree" / "tools" / "testing" / "memblock"
        shutil.copytree(source, folder / "tree", symlinks=True)
        kselftest = self.home.parent / "selftests" / "kselftest.h"
        if not kselftest.exists():
            kselftest.parent.mkdir(parents=True, exist_ok=True)
            kselftest.write_text(_KSELFTEST)

    def run(self, name: str, text: str, *settings: str, cflags: str = "") -> subprocess.CompletedProcess[str]:
        """Build the exported test `name` alone, and run it; a build that fails is returned instead."""
        (self.home / "tests" / f"{name}.c").write_text(text)
        (self.home / "main.c").write_text(_MAIN.format(name=name))
        made = self._make(*settings, f"TEST_OFILES=tests/common.o tests/{name}.o", cflags=cflags)
        return made if made.returncode else self._main()

    def run_among_the_others(self, name: str, text: str, *settings: str) -> subprocess.CompletedProcess[str]:
        """Add the test to the simulator's own, as the exported file says, and run them all."""
        (self.home / "tests" / f"{name}.c").write_text(text)
        makefile, main = self.home / "Makefile", self.home / "main.c"
        makefile.write_text(makefile.read_text().replace("tests/common.o", f"tests/common.o tests/{name}.o", 1))
        declared = f"int memblock_{name}_checks(void);\n\nint main("
        called = f"\tmemblock_{name}_checks();\n\n\treturn 0;"
        main.write_text(main.read_text().replace("int main(", declared, 1).replace("\n\treturn 0;", called, 1))
        made = self._make(*settings)
        return made if made.returncode else self._main()

    def _make(self, *settings: str, cflags: str = "") -> subprocess.CompletedProcess[str]:
        subprocess.run(["make", "-s", "clean"], cwd=self.home, check=True, timeout=_TIMEOUT_S, capture_output=True)
        return subprocess.run(
            ["make", "-s", *settings, "main"], cwd=self.home, env=_environment(cflags), text=True, capture_output=True,
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip

    def _main(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["./main", "-v"], cwd=self.home, text=True, capture_output=True, timeout=_TIMEOUT_S,
                              check=False)  # fmt: skip


def _environment(cflags: str) -> dict[str, str]:
    # The makefile adds to what the environment says.
    return {**os.environ, "CFLAGS": f"-Werror=implicit-function-declaration {cflags}".strip()}

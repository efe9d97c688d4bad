# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own word on a guest, by its monitor: why it does not run any more, and the registers of one that runs.

Nothing depends on it: where QEMU does not answer, nothing is known.
"""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

_ANSWER_S = 1.0
_PIECE_BYTES = 1 << 16
_WORD = re.compile(r"\b0x([0-9a-f]+)")


class Monitor:
    """A client of the monitor at a unix socket. `ended` is the reason of QEMU's SHUTDOWN event, None before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link: socket.socket | None = None
        self._data = b""
        self._asked = 0
        self._lost = False
        self.ended: str | None = None

    def ask(self, command: str, **arguments: Any) -> Any | None:
        """Execute a QMP command and return its result, None where there is none; takes the events before it.

        An answer that comes too late, as on a busy machine, is passed over by the next one.
        """
        if self._lost:
            return None
        deadline = time.monotonic() + _ANSWER_S
        try:
            if self._link is None:
                self._link = socket.socket(socket.AF_UNIX)
                self._link.settimeout(_ANSWER_S)
                self._link.connect(str(self._path))
                self._execute("qmp_capabilities", {}, deadline)
            return self._execute(command, arguments, deadline)
        except TimeoutError:
            return None
        except (OSError, ValueError, LookupError):
            self._lost = True
            self.close()
            return None

    def text(self, command: str) -> str | None:
        """Execute a command of QEMU's human monitor and return what it prints, None where there is no answer."""
        answer = self.ask("human-monitor-command", **{"command-line": command})
        return answer if isinstance(answer, str) else None

    def registers(self) -> str | None:
        """Return what `info registers` prints of all CPUs, None where there is no answer."""
        return self.text("info registers -a")

    def is_stopping(self) -> bool:
        """Tell whether the guest does not run, or QEMU has no time to say so; False where QEMU cannot be asked."""
        status = self.ask("query-status")
        return not self._lost and (status is None or not status.get("running", True))

    def words(self, va: int, count: int) -> tuple[int, ...]:
        """Return `count` words of 32 bits at a virtual address of the first CPU's, none that cannot be read."""
        text = self.text(f"x /{count}wx {va:#x}")
        lines = () if text is None else text.splitlines()
        return tuple(int(word, 16) for line in lines for word in _WORD.findall(line.partition(":")[2]))

    def close(self) -> None:
        """Disconnect."""
        if self._link is not None:
            self._link.close()

    # Raises: OSError, ValueError, LookupError.
    def _execute(self, command: str, arguments: dict[str, Any], deadline: float) -> Any | None:
        assert self._link is not None
        self._asked += 1
        request = {"execute": command, "arguments": arguments, "id": self._asked}
        self._link.sendall(json.dumps(request).encode() + b"\n")
        while True:
            line, end, rest = self._data.partition(b"\n")
            if not end:
                self._link.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self._link.recv(_PIECE_BYTES)
                if not piece:
                    raise ConnectionResetError("QEMU closed its monitor")
                self._data += piece
                continue
            self._data = rest
            answer = json.loads(line)
            if answer.get("event") == "SHUTDOWN":
                self.ended = str(answer["data"]["reason"])
            if answer.get("id") == self._asked:
                return answer.get("return")

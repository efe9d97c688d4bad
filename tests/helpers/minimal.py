# SPDX-License-Identifier: GPL-2.0-or-later
"""The least that is a golden: at one stop of the fixture kernel nothing is held."""

from __future__ import annotations

GOLDEN = """\
schema = "gdb-lmb/snapshot/2"
stop = [{ at = "lmb_ready", current_limit = "0x0", memory = [], reserved = [] }]
[environment]
kernel = "vmlinux"
arch = "x86_64"
byte_order = "little"
bits = 64
page_size = "0x1000"
layout = "lmb-list"
"""

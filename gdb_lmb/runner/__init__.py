# SPDX-License-Identifier: GPL-2.0-or-later
"""Start QEMU and gdb, talk MI, take the verdict, and leave nothing behind.

The ways in: `session.GuestSession` boots a kernel, `attach.AttachedSession` visits a running QEMU. What
they have in common is in `base`. Beneath them: `mi` and `mi_records` (gdb/MI by pygdbmi), `gdb_process` and `qemu`,
`process` (children and the folder of a run), `reaper` and `leash` (small programs of their own), `rsp` (the
raw gdbstub), `elf` and `machines` (what the kernel's file says), `verdict` (JSON to exit status), `text`
(what a terminal may see).

This file imports nothing: `reaper` and `leash` are started for every run, and their start is waited for.
"""

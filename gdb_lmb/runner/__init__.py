# SPDX-License-Identifier: GPL-2.0-or-later
"""Start QEMU and gdb, talk MI, read the results, and leave nothing behind.

The ways in: `session.GuestSession` boots a kernel, `existing.AttachedSession` connects to a running QEMU,
`existing.CoreSession` opens a dump. What they have in common is in `base`. Beneath them: `mi` and `mi_records` (gdb/MI
by pygdbmi), `gdb_process` and `qemu`, `process` (children and the folder of a run), `reaper` (two small programs of
their own), `rsp` (the remote protocol), `endpoints` (how a gdbstub is named, and who has it), `elf` and `kernel_image`
(what the kernel's file says), `boot_files` (its symbols, and whether they belong to it), `results` (the commands' JSON
as typed values).

This file imports nothing: the programs in `reaper` are started for every run in a bare interpreter.
"""

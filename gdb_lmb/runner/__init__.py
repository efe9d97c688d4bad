# SPDX-License-Identifier: GPL-2.0-or-later
"""Start QEMU and gdb, talk MI, read the results, and leave nothing behind.

The ways in: `session.GuestSession` boots a kernel, `attach.AttachedSession` connects to a running QEMU,
`core.CoreSession` opens a dump. What they have in common is in `base`. Beneath them: `mi` and `mi_records` (gdb/MI by
pygdbmi), `gdb_process` and `qemu`, `process` (children and the folder of a run), `reaper` and `pdeathsig` (small
programs of their own), `rsp` (the remote protocol), `endpoints` and `probe` (how a gdbstub is named, who has it,
whether its machine ran), `elf`, `kernel_image` and `machines` (what the kernel's file says), `boot_files` and
`matching` (its symbols, and whether they belong to it), `results` (the commands' JSON as typed values).

This file imports nothing: `reaper` and `pdeathsig` are started for every run in a bare interpreter.
"""

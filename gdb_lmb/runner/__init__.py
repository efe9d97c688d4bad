# SPDX-License-Identifier: GPL-2.0-or-later
"""Start QEMU and gdb, talk MI, take the verdict, and leave nothing behind.

The ways in: `session.GuestSession` boots a kernel, `attach.AttachedSession` visits a running QEMU. What
they have in common is in `base`. Beneath them: `mi` and `mi_records` (gdb/MI by pygdbmi), `gdb_process` and `qemu`,
`process` (children and the folder of a run), `reaper` and `pdeathsig` (small programs of their own), `rsp` (the
raw gdbstub), `endpoints`, `sockets` and `probe` (how a stub is named, who has it, whether its machine ran), `elf`
and `machines` (what the kernel's file says), `verdict` (JSON to exit status), `text` (what a terminal may see).

Kernels of distributions: `names` (the table), `stock` and `sources` (what the cache holds), `fetch` (the way
there), `apt` and `package` beneath it, `kernel_package` and `source_package` (what is kept), `get_kernel` (the
command).

Values that are needed before gdb starts are named tuples: what makes dataclasses takes 5 ms to import.
This file imports nothing: `reaper` and `pdeathsig` are started for every run, while others wait.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens as files, schema `gdb-lmb/snapshot/2`: TOML, with one region a line, for people to read, review and comment.

What people write into one stays in it when it is renewed: comments above a region and at its line's end go where the
region goes, the rules stay as they are. JSON of schema `gdb-lmb/snapshot/1`, by `lmb-dump --json`, is read as a golden
of one stop.
"""

GOLDEN_SCHEMA = "gdb-lmb/snapshot/2"

# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged memory: whatever the guest holds, the outcome is a bounded, orderly report.

More than 10,000 images, each damaged by its own seeded generator, are decoded, checked, replayed and
reported. A failure names its seed: `reproduce("x86_64-static", 1234)` makes that image again. What
hypothesis finds it shrinks by itself. The same kinds of damage are then done to a live guest.
"""

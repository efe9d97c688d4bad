/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state that faults damage, as it was before. */
#ifndef FIXTURE_FAULT_UNDO_H
#define FIXTURE_FAULT_UNDO_H

void fault_save(void);
void fault_undo(void);

#endif

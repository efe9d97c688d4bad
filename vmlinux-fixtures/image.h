/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the linker put the kernel. */
#ifndef FIXTURE_IMAGE_H
#define FIXTURE_IMAGE_H

void find_image(unsigned long map);

#endif

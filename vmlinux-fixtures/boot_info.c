// SPDX-License-Identifier: GPL-2.0-or-later
/* What the boot loader and the firmware said. */
#include "boot_info.h"

struct boot_info boot_info;
struct firmware_map firmware_map;
char boot_command_line[COMMAND_LINE_SIZE];

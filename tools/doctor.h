/* SPDX-License-Identifier: MIT */
#ifndef C2_TOOLS_DOCTOR_H
#define C2_TOOLS_DOCTOR_H

#include "tools/cmd.h"

int doctor_run(struct cmd_ctx *x, int argc, char **argv);

#endif

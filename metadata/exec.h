/* SPDX-License-Identifier: MIT */
/*
 * Runs the jobs of a replica (bft.h) on an application (replica.h). All jobs of an executor run on
 * one thread, in order; everything between two checkpoints is one transaction of the application,
 * so what is on disk is always exactly a checkpoint, and the write-ahead log covers the rest. A
 * checkpoint that is held stays in that transaction: what is on disk can go on being served.
 */
#ifndef C2_METADATA_EXEC_H
#define C2_METADATA_EXEC_H

#include "metadata/bft.h"
#include "metadata/replica.h"

struct bft_exec;

/* Takes the application over. */
struct bft_exec *bft_exec_new(struct replica_app *app);
/* On the thread that runs the jobs; what was not checkpointed is forgotten. NULL is fine. */
void bft_exec_free(struct bft_exec *x);
void bft_exec_run(struct bft_exec *x, struct bft_job *job);
/* Of the state on disk, MSG_DIGEST_LEN bytes, until the next job; NULL = not known. On the thread
 * that runs the jobs. */
const uint8_t *bft_exec_committed(const struct bft_exec *x);

#endif

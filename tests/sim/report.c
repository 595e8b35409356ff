/* SPDX-License-Identifier: MIT */
#include "tests/sim/report.h"

#include <stdio.h>

#include "base/mark.h"

static const char *const kinds[] = {
    /* what it led to */
    "bft: leaves a view",
    "bft: enters a view",
    "bft: the primary is slow",
    "bft: fetches the state",
    "bft: fetches a newer state",
    "bft: fetches a state that is not stable yet",
    "bft: a held checkpoint becomes durable",
    "bft: decided without the batch",
    "bft: a fast read waits",
    "sim: commands with one signature",
    "sim: a fast read",
    "sim: a fast read is ordered instead",
    "sim: a new epoch",
    "sim: a lock is taken",
    "sim: a stale holder is fenced",
    "sim: evidence against a liar",
    /* crashes, disks, network */
    "sim: a replica crashes",
    "sim: a replica crashes right after it has signed",
    "sim: write torn by a power cut",
    "sim: name lost in a power cut",
    "sim: the log's end is torn",
    "sim: fsync failed",
    "sim: a store is lost",
    "sim: a log is lost",
    "sim: a bit of a log is flipped",
    "sim: the log is damaged",
    "sim: a link is cut",
    "sim: one stays apart",
    /* lies */
    "sim: a client lies",
    "sim: twins",
    "sim: lie: silence",
    "sim: lie: one is excluded",
    "sim: lie: slow on purpose",
    "sim: lie: a message is changed",
    "sim: lie: an old message again",
    "sim: lie: two proposals",
    "sim: lie: two votes",
    "sim: lie: a wrong body",
    "sim: lie: a hidden certificate",
    "sim: lie: a false certificate",
    "sim: lie: an invented certificate",
    "sim: lie: an invented checkpoint",
    "sim: lie: a view out of nothing",
    "sim: lie: a new view without what was prepared",
    "sim: lie: a proposal beyond the end of an epoch",
    "sim: lie: a state before anybody asked",
    "sim: lie: a wrong state",
    "sim: lie: numbers at their limits",
    "sim: lie: a flood",
    "sim: lie: a wrong answer",
};

_Static_assert(C2_ARRAY_LEN(kinds) <= SIM_REPORT_KINDS, "as many as there is room for");

void
sim_report_add(struct sim_report *r)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++)
        r->hits[i] += c2_mark_count(kinds[i]);
}

uint64_t
sim_report_print(const struct sim_report *r, const struct sim_tally *tally, uint64_t seeds,
                 uint64_t elapsed_ns, uint64_t batches_min)
{
    uint64_t missing = 0;
    double seconds = (double)elapsed_ns / 1e9;
    printf("%14llu seeds\n%14llu batches, agreed and executed\n%14llu events\n",
           (unsigned long long)seeds, (unsigned long long)tally->batches,
           (unsigned long long)tally->events);
    printf("%14.0f batches per second, in %.0f s\n", (double)tally->batches / seconds, seconds);
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++) {
        printf("%14llu %s\n", (unsigned long long)r->hits[i], kinds[i]);
        missing += r->hits[i] == 0;
    }
    if (tally->batches < batches_min) {
        printf("c2sim: fewer than %llu batches\n", (unsigned long long)batches_min);
        return missing + 1;
    }
    if (missing > 0)
        printf("c2sim: %llu kinds never happened\n", (unsigned long long)missing);
    return missing;
}

/* SPDX-License-Identifier: MIT */
#include "tests/sim/report.h"

#include <stdio.h>

#include "base/mark.h"

enum {
    IN_RUN = 1,    /* a full run must have it: often enough not to depend on single seeds */
    IN_REPORT = 2, /* told of a long run of the replicated service, which must have it too */
    IN_BOTH = IN_RUN | IN_REPORT,
};

static const struct {
    const char *mark;
    unsigned where;
} kinds[] = {
    /* what it led to */
    { "bft: leaves a view", IN_REPORT },
    { "bft: enters a view", IN_REPORT },
    { "bft: the primary is slow", IN_REPORT },
    { "bft: fetches the state", IN_BOTH },
    { "bft: fetches a newer state", IN_REPORT },
    { "bft: fetches a state that is not stable yet", IN_REPORT },
    { "bft: a held checkpoint becomes durable", IN_REPORT },
    { "bft: decided without the batch", IN_BOTH },
    { "bft: a fast read waits", IN_BOTH },
    { "sim: commands with one signature", IN_BOTH },
    { "sim: a fast read", IN_BOTH },
    { "sim: a fast read is ordered instead", IN_BOTH },
    { "sim: a new epoch", IN_BOTH },
    { "sim: a lock is taken", IN_BOTH },
    { "sim: a stale holder is fenced", IN_BOTH },
    { "sim: evidence against a liar", IN_BOTH },
    /* crashes, disks, network */
    { "sim: a replica crashes", IN_BOTH },
    { "sim: a replica crashes right after it has signed", IN_REPORT },
    { "sim: power is cut everywhere at once", IN_BOTH },
    { "sim: write torn by a power cut", IN_BOTH },
    { "sim: name lost in a power cut", IN_BOTH },
    { "sim: the log's end is torn", IN_BOTH },
    { "sim: fsync failed", IN_BOTH },
    { "sim: a store is lost", IN_REPORT },
    { "sim: a log is lost", IN_REPORT },
    { "sim: a bit of a log is flipped", IN_REPORT },
    { "sim: the log is damaged", IN_REPORT },
    { "sim: a link is cut", IN_BOTH },
    { "sim: one stays apart", IN_BOTH },
    /* lies */
    { "sim: a client lies", IN_BOTH },
    { "sim: a client without rights is refused", IN_BOTH },
    { "sim: a client without rights reads nothing", IN_BOTH },
    { "sim: twins", IN_BOTH },
    { "sim: lie: silence", IN_BOTH },
    { "sim: lie: one is excluded", IN_BOTH },
    { "sim: lie: slow on purpose", IN_BOTH },
    { "sim: lie: a message is changed", IN_BOTH },
    { "sim: lie: an old message again", IN_BOTH },
    { "sim: lie: two proposals", IN_BOTH },
    { "sim: lie: two votes", IN_BOTH },
    { "sim: lie: a wrong body", IN_BOTH },
    { "sim: lie: a hidden certificate", IN_BOTH },
    { "sim: lie: a false certificate", IN_BOTH },
    { "sim: lie: an invented certificate", IN_BOTH },
    { "sim: lie: an invented checkpoint", IN_REPORT },
    { "sim: lie: a view out of nothing", IN_BOTH },
    { "sim: lie: a new view without what was prepared", IN_REPORT },
    { "sim: lie: a proposal beyond the end of an epoch", IN_REPORT },
    { "sim: lie: a state before anybody asked", IN_REPORT },
    { "sim: lie: a wrong state", IN_BOTH },
    { "sim: lie: numbers at their limits", IN_BOTH },
    { "sim: lie: a flood", IN_BOTH },
    { "sim: lie: a wrong answer", IN_BOTH },
    /* the file system, its providers and the clients of units */
    { "put: an earlier attempt had arrived", IN_RUN },
    { "put: a seat is late", IN_RUN },
    { "put: persists", IN_RUN },
    { "get: from direct to decoding", IN_RUN },
    { "list: does not wait for the last seat", IN_RUN },
    { "unit: a claim is newer than all metadata", IN_RUN },
    { "unit: metadata does not verify", IN_RUN },
    { "unit: metadata was collected meanwhile", IN_RUN },
    { "unit: the value is gone, is there a newer one?", IN_RUN },
    { "unit: the lock was lost before the metadata", IN_RUN },
    { "unit: two try to lock at the same time", IN_RUN },
    { "sim: an answer that nobody waits for", IN_RUN },
    { "sim: deadline of a request", IN_RUN },
    { "sim: an operation failed in a storm", IN_RUN },
    { "sim: a crash lost what was not promised", IN_RUN },
    { "fetch: read back from the journal", IN_RUN },
    { "txg: manifest written", IN_RUN },
    { "txg: stable state of a held file", IN_RUN },
    { "gc: condemned", IN_RUN },
    { "gc: a seat has not confirmed", IN_RUN },
    { "gc: orphans deleted", IN_RUN },
    { "compact: a piece", IN_RUN },
    { "compact: a crowded file", IN_RUN },
    { "sim: a change of providers", IN_RUN },
    { "sim: a change of providers is refused", IN_RUN },
    { "sim: a change of providers goes on after a crash", IN_RUN },
    { "sim: a provider more", IN_RUN },
};

_Static_assert(C2_ARRAY_LEN(kinds) <= SIM_KINDS_MAX, "as many as there is room for");

void
sim_report_add(struct sim_report *r)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++)
        r->hits[i] += c2_mark_count(kinds[i].mark);
}

void
sim_report_join(struct sim_report *sum, const struct sim_report *r)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++)
        sum->hits[i] += r->hits[i];
}

uint64_t
sim_report_check(const struct sim_report *r)
{
    uint64_t missing = 0;
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++) {
        if ((kinds[i].where & IN_RUN) == 0 || r->hits[i] > 0)
            continue;
        fprintf(stderr, "c2sim: never reached: %s\n", kinds[i].mark);
        missing++;
    }
    return missing;
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
        if ((kinds[i].where & IN_REPORT) == 0)
            continue;
        printf("%14llu %s\n", (unsigned long long)r->hits[i], kinds[i].mark);
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

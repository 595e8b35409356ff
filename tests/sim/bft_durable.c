/* SPDX-License-Identifier: MIT */
/*
 * A vote leaves only after its record is on the disk: checked at every PREPARE and COMMIT of a
 * correct replica, whatever becomes of them. What a crash makes of a vote that left too early is a
 * matter of chance. And no crash loses the record of a vote that was sent, also not one that was
 * only read from the page cache when the replica started again.
 */
#include <string.h>

#include "base/alloc.h"
#include "metadata/wal_record.h"
#include "tests/sim/bft_scene.h"

#define RING  ((size_t)2 * MSG_WINDOW_MAX)
#define VIEWS 8 /* records about one number that are remembered */

/* A record; the newer ones of a number may be lost in a crash, then an older one counts again. */
struct bs_logged {
    uint64_t n; /* 0 = none */
    uint64_t view, lsn;
    uint32_t epoch;
    uint8_t digest[MSG_DIGEST_LEN];
};

/* VIEWS of them. */
static struct bs_logged *
place(struct bs_proc *p, bool commit, uint64_t n)
{
    if (p->logged == NULL)
        p->logged = c2_calloc(2 * RING * VIEWS, sizeof *p->logged);
    return &p->logged[((commit ? RING : 0) + n % RING) * VIEWS];
}

static const struct bs_logged *
find(struct bs_proc *p, bool commit, const struct bs_logged *wanted)
{
    const struct bs_logged *l = place(p, commit, wanted->n);
    for (unsigned i = 0; i < VIEWS; i++) {
        if (l[i].n == wanted->n && l[i].epoch == wanted->epoch && l[i].view == wanted->view &&
            memcmp(l[i].digest, wanted->digest, MSG_DIGEST_LEN) == 0)
            return &l[i];
    }
    return NULL;
}

/* In the place of the oldest. */
static void
keep(struct bs_logged *list, const struct bs_logged *l)
{
    struct bs_logged *oldest = list;
    for (unsigned i = 1; i < VIEWS; i++) {
        bool older = list[i].n == 0 || (oldest->n != 0 && list[i].lsn < oldest->lsn);
        if (older)
            oldest = &list[i];
    }
    *oldest = *l;
}

void
bs_durable_append(struct bs_proc *p, unsigned type, struct c2_slice bytes, uint64_t lsn)
{
    struct wal_record rec;
    struct msg_proposal proposal;
    struct msg_head h;
    bool commit = type == WAL_PREPARED;
    if (p->faulty || (type != WAL_PROPOSAL && !commit))
        return;
    SIM_CHECK(p->s->w, wal_record_read(type, bytes, &rec) == C2_E_OK, "a malformed record");
    struct bs_logged l = { .n = rec.n, .view = rec.view, .lsn = lsn, .epoch = rec.epoch };
    memcpy(l.digest, rec.digest, MSG_DIGEST_LEN);
    if (!commit) {
        SIM_CHECK(p->s->w, msg_read_proposal(rec.proposal, &h, &proposal) == C2_E_OK,
                  "a malformed proposal in the log");
        l.n = proposal.n;
        l.view = proposal.view;
        memcpy(l.digest, proposal.digest, MSG_DIGEST_LEN);
    }
    if (find(p, commit, &l) == NULL) /* else the first one is enough */
        keep(place(p, commit, l.n), &l);
}

void
bs_durable_synced(struct bs_proc *p, uint64_t lsn)
{
    p->durable_lsn = lsn;
}

void
bs_durable_opened(struct bs_proc *p, uint64_t last_lsn)
{
    SIM_CHECK(p->s->w, p->voted_lsn <= last_lsn || p->rotten,
              "replica %u has lost record %llu after it has sent its vote", p->index,
              (unsigned long long)p->voted_lsn);
    p->durable_lsn = last_lsn;
    for (size_t i = 0; p->logged != NULL && i < 2 * RING * VIEWS; i++) {
        if (p->logged[i].lsn > last_lsn)
            p->logged[i].n = 0;
    }
}

void
bs_durable_voted(struct bs_proc *p, const struct msg_head *h, const struct msg_votes *v)
{
    for (uint32_t i = 0; i < v->count; i++) {
        struct bs_logged vote = { .n = v->vote[i].n, .view = v->view, .epoch = h->epoch };
        memcpy(vote.digest, v->vote[i].digest, MSG_DIGEST_LEN);
        const struct bs_logged *l = find(p, h->type == MSG_COMMIT, &vote);
        SIM_CHECK(p->s->w, l != NULL && l->lsn <= p->durable_lsn,
                  "replica %u sends a %s for view %llu, %llu that is not on its disk", p->index,
                  msg_type_name(h->type), (unsigned long long)vote.view,
                  (unsigned long long)vote.n);
        p->voted_lsn = C2_MAX(p->voted_lsn, l->lsn);
    }
}

void
bs_durable_done(struct bs_proc *p)
{
    c2_free(p->logged);
}

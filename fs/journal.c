/* SPDX-License-Identifier: MIT */
/*
 * The journal while it runs. A group goes
 *
 *   queue -> batch (sealed on the pool, or on the loop when small) -> one pwrite -> [fdatasync]
 *
 * Two batches exist, so that one is sealed while the other is written; they are formed one after
 * the other because each commit frame names the one before. A small batch is not formed while
 * another is being written: what arrives meanwhile shares the next one. Order is kept: batches are
 * written in the order they are formed.
 *
 * Out of space. No room for the queue (size_max, or no new file): the queue fails, batches go on.
 * A write ran out of space: its half-written tail is cut, and all that is outstanding fails once
 * every request has come back. The next append goes on after the last good group. Any other error
 * is final: after a failed write nobody knows what the file holds.
 */
#include "fs/journal_state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"

/* A batch takes more groups until it has this many bytes. */
#define BATCH_BYTES_MAX ((size_t)4 << 20)
/* Offsets in a segment are 32 bits in the commit frames. */
#define SEGMENT_SIZE_MAX ((uint64_t)1 << 30)

static struct journal_group
group_of(const struct journal_append *a)
{
    struct journal_group g = { .seq = a->seq };
    g.meta = a->meta;
    g.pieces = a->pieces;
    g.npieces = a->npieces;
    return g;
}

static size_t
append_size(const struct journal_append *a)
{
    struct journal_group g = group_of(a);
    return journal_group_size(&g);
}

void
journal_move_all(struct c2_list *from, struct c2_list *to)
{
    while (!c2_list_empty(from)) {
        struct c2_link *k = from->head.next;
        c2_list_remove(from, k);
        c2_list_append(to, k);
    }
}

/* The last thing a step does: a callback may close the journal. */
void
journal_complete_appends(struct c2_list *appends, enum c2_err err)
{
    while (!c2_list_empty(appends)) {
        struct journal_append *a = C2_LIST_FIRST(appends, struct journal_append, link);
        c2_list_remove(appends, &a->link);
        a->err = err;
        if (err != C2_E_OK) {
            c2_free(a->locs);
            a->locs = NULL;
        }
        a->done(a);
    }
}

uint64_t
journal_settled(const struct journal *j)
{
    uint64_t settled = j->seq;
    const struct c2_list *lists[4] = { &j->queue, &j->failed, &j->batches[0].appends,
                                       &j->batches[1].appends };
    for (size_t i = 0; i < C2_ARRAY_LEN(lists); i++) {
        const struct journal_append *a = C2_LIST_FIRST(lists[i], struct journal_append, link);
        if (a != NULL)
            settled = C2_MIN(settled, a->seq - 1);
    }
    return settled;
}

static bool
out_of_space(enum c2_err err)
{
    return err == C2_E_NO_SPACE || err == C2_E_QUOTA;
}

static void
break_journal(struct journal *j, enum c2_err err, const char *what)
{
    if (j->err != C2_E_OK)
        return;
    j->err = err;
    c2_log(ERROR, "journal", "%s failed err=%s, no more changes are accepted", what,
           c2_err_name(err));
}

/* ---- a new segment ------------------------------------------------------------------------- */

static void
segment_ready(struct journal *j)
{
    struct journal_segment *s = j->opening;
    j->opening = NULL;
    c2_free(j->open_path);
    j->open_path = NULL;
    s->size = s->end = JOURNAL_HEADER_AREA;
    j->segments = c2_realloc(j->segments, j->nsegments + 1, sizeof(struct journal_segment *));
    j->segments[j->nsegments++] = s;
    j->current = s;
    j->dir_dirty = true;
    journal_drop_unneeded(j);
    journal_step(j);
}

static void
segment_failed(struct journal *j, enum c2_err err)
{
    struct journal_segment *s = j->opening;
    struct c2_list full;
    c2_list_init(&full);
    if (s->file >= 0)
        journal_file_drop(j->env, s->file, j->open_path);
    else
        c2_free(j->open_path);
    j->open_path = NULL;
    j->opening = NULL;
    journal_segment_free(s);
    if (out_of_space(err))
        journal_move_all(&j->queue, &full);
    else
        break_journal(j, err, "making a segment");
    journal_step(j);
    journal_complete_appends(&full, C2_E_NO_SPACE);
}

/* OPEN -> PWRITE of the header -> SYNC: groups are written only after a header that lasts. A header
 * that cannot be read is therefore torn when nothing follows it, and damaged when something does.
 */
static void
segment_step(struct c2_disk_req *io)
{
    struct journal *j = C2_CONTAINER_OF(io, struct journal, open_io);
    struct journal_segment *s = j->opening;
    if (io->verb == C2_DISK_OPEN && io->err == C2_E_OK)
        s->file = io->file;
    if (io->err != C2_E_OK || j->err != C2_E_OK) {
        segment_failed(j, io->err != C2_E_OK ? io->err : j->err);
        return;
    }
    if (io->verb == C2_DISK_SYNC) {
        segment_ready(j);
        return;
    }
    bool opened = io->verb == C2_DISK_OPEN;
    if (opened) {
        journal_header_encode(s, j->header);
        j->header_iov = c2_slice(j->header, sizeof j->header);
    } else {
        j->stats.syncs++;
    }
    j->open_io = (struct c2_disk_req){ .verb = opened ? C2_DISK_PWRITE : C2_DISK_SYNC,
                                       .file = s->file,
                                       .iov = &j->header_iov,
                                       .niov = 1,
                                       .done = segment_step };
    c2_disk(j->env, &j->open_io);
}

static void
open_segment(struct journal *j)
{
    uint8_t salt[16];
    c2_random(j->env, salt, sizeof salt);
    j->opening = journal_segment_new(j->key, j->next_id++, salt);
    j->opening->file = -1;
    j->open_path = journal_segment_path(j->dir, j->opening->id);
    j->open_io = (struct c2_disk_req){ .verb = C2_DISK_OPEN,
                                       .flags = C2_DISK_CREATE | C2_DISK_EXCL,
                                       .path = j->open_path,
                                       .done = segment_step };
    c2_disk(j->env, &j->open_io);
}

/* ---- forming and sealing ------------------------------------------------------------------- */

/* On the pool or on the loop: touches the batch and what its appends borrow. */
static void
seal(struct c2_work *w)
{
    struct journal_batch *b = C2_CONTAINER_OF(w, struct journal_batch, work);
    b->sealer.out = b->data;
    C2_LIST_FOREACH (&b->appends, struct journal_append, a, link) {
        struct journal_group g = group_of(a);
        journal_group_seal(&b->sealer, &g, a->locs);
    }
    C2_ASSERT(b->sealer.out == b->data + b->len);
}

static void
note_sealed(struct journal_batch *b)
{
    b->state = BATCH_SEALED;
    memcpy(b->journal->chain, b->sealer.chain, JOURNAL_CHAIN_LEN);
}

static void
sealed(struct c2_work *w)
{
    struct journal_batch *b = C2_CONTAINER_OF(w, struct journal_batch, work);
    note_sealed(b);
    journal_step(b->journal);
}

/* Moves the queue's first groups into the batch, at least one. */
static void
take_appends(struct journal *j, struct journal_batch *b, uint64_t room)
{
    C2_LIST_FOREACH (&j->queue, struct journal_append, a, link) {
        size_t size = append_size(a);
        uint64_t len = b->len + size;
        bool more_fits =
            len <= BATCH_BYTES_MAX && len <= room && b->offset + len <= j->segment_size;
        if (!c2_list_empty(&b->appends) && !more_fits)
            return;
        c2_list_remove(&j->queue, &a->link);
        c2_list_append(&b->appends, &a->link);
        a->locs = c2_calloc(a->npieces, sizeof *a->locs);
        b->len += size;
        b->segment->counter += a->npieces + 1;
        j->chain_seq = a->seq;
    }
}

static void
form_batch(struct journal *j, struct journal_batch *b, uint64_t room)
{
    struct journal_segment *s = j->current;
    b->segment = s;
    b->offset = s->end;
    b->len = 0;
    b->sealer = (struct journal_sealer){ .segment = s, .offset = b->offset };
    b->sealer.counter = s->counter;
    b->sealer.chain_seq = j->chain_seq;
    b->sealer.synced_seq = j->stats.synced_seq;
    memcpy(b->sealer.chain, j->chain, sizeof j->chain);
    take_appends(j, b, room);
    s->end += b->len;
    s->uses++;
    if (b->cap < b->len) {
        c2_free(b->data);
        b->cap = C2_MAX(b->len, JOURNAL_INLINE_MAX);
        b->data = c2_alloc(b->cap);
    }
    j->next_batch ^= 1;
    b->state = BATCH_SEALING;
    b->work = (struct c2_work){ .run = seal, .done = sealed };
    if (b->len > JOURNAL_INLINE_MAX) {
        c2_work(j->env, &b->work);
    } else {
        seal(&b->work);
        note_sealed(b);
    }
}

static bool
fits_segment(const struct journal *j, size_t size)
{
    const struct journal_segment *s = j->current;
    return s != NULL && (s->end == JOURNAL_HEADER_AREA || s->end + size <= j->segment_size);
}

/* While a batch is being written, another is sealed only when that takes a while. */
static bool
worth_sealing_now(const struct journal *j)
{
    size_t total = 0;
    C2_LIST_FOREACH (&j->queue, struct journal_append, a, link) {
        total += append_size(a);
        if (total > JOURNAL_INLINE_MAX)
            return true;
    }
    return false;
}

/* Makes a batch of what is queued, or a segment for it. False: nothing more can be done now. What
 * finds no room moves to `full`. */
static bool
form(struct journal *j, struct c2_list *full)
{
    struct journal_batch *b = &j->batches[j->next_batch];
    const struct journal_batch *other = &j->batches[j->next_batch ^ 1];
    const struct journal_append *first = C2_LIST_FIRST(&j->queue, struct journal_append, link);
    if (first == NULL || j->opening != NULL || b->state != BATCH_IDLE ||
        other->state == BATCH_SEALING)
        return false;
    if (other->state != BATCH_IDLE && !worth_sealing_now(j))
        return false;
    size_t size = append_size(first);
    uint64_t used = journal_used_bytes(j);
    bool fits = fits_segment(j, size);
    uint64_t need = size + (fits ? 0 : JOURNAL_HEADER_AREA);
    if (used + need > j->size_max) {
        if (j->current != NULL && j->current->end > JOURNAL_HEADER_AREA &&
            journal_droppable(j, j->current)) {
            C2_MARK("journal: committed segment gives up its place");
            journal_drop_segment(j, j->current);
            return true;
        }
        C2_MARK("journal: size_max reached");
        journal_move_all(&j->queue, full);
        return false;
    }
    if (!fits) {
        open_segment(j);
        return false;
    }
    form_batch(j, b, j->size_max - used);
    return true;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void
batch_written(struct journal *j, struct journal_batch *b, struct c2_list *finished)
{
    struct journal_segment *s = b->segment;
    s->size = b->offset + b->len;
    s->dirty = true;
    s->last_seq = b->sealer.chain_seq;
    j->written_seq = b->sealer.chain_seq;
    memcpy(j->written_chain, b->sealer.chain, sizeof j->written_chain);
    j->stats.bytes_written += b->len;
    journal_note_age(j, j->written_seq);
    C2_LIST_FOREACH (&b->appends, struct journal_append, a, link) {
        c2_list_remove(&b->appends, &a->link);
        s->holds += a->npieces;
        j->stats.appends++;
        c2_list_append(a->sync ? &j->wait_sync : finished, &a->link);
    }
    if (b->cap > BATCH_BYTES_MAX) {
        c2_free(b->data);
        b->data = NULL;
        b->cap = 0;
    }
    b->segment = NULL;
    b->state = BATCH_IDLE;
    journal_release_use(j, s);
}

static void
fail_batch(struct journal *j, struct journal_batch *b)
{
    journal_move_all(&b->appends, &j->failed);
    b->segment->end = b->segment->size;
    b->segment->uses--;
    b->segment = NULL;
    b->state = BATCH_IDLE;
}

static void
cut_done(struct c2_disk_req *io)
{
    struct journal *j = C2_CONTAINER_OF(io, struct journal, cut_io);
    struct journal_segment *s = j->cut_segment;
    j->cut_segment = NULL;
    journal_release_use(j, s);
    if (io->err != C2_E_OK) /* stale frames would lie behind later ones */
        break_journal(j, io->err, "cutting the tail");
    journal_step(j);
}

static void
start_cut(struct journal *j, struct journal_segment *s)
{
    C2_MARK("journal: half-written tail is cut");
    j->cutting = true;
    j->cut_segment = s;
    s->uses++;
    j->cut_io = (struct c2_disk_req){
        .verb = C2_DISK_TRUNCATE, .file = s->file, .offset = s->size, .done = cut_done
    };
    c2_disk(j->env, &j->cut_io);
}

static void
write_done(struct c2_disk_req *io)
{
    struct journal_batch *b = C2_CONTAINER_OF(io, struct journal_batch, io);
    struct journal *j = b->journal;
    struct journal_segment *s = b->segment;
    struct c2_list finished;
    c2_list_init(&finished);
    if (io->err == C2_E_OK && j->err == C2_E_OK) {
        batch_written(j, b, &finished);
    } else {
        fail_batch(j, b);
        if (out_of_space(io->err) && j->err == C2_E_OK)
            start_cut(j, s);
        else if (io->err != C2_E_OK)
            break_journal(j, io->err, "writing");
    }
    journal_step(j);
    journal_complete_appends(&finished, C2_E_OK);
}

static void
start_write(struct journal *j)
{
    struct journal_batch *ready = NULL;
    for (size_t i = 0; i < 2; i++) {
        /* When both are sealed, the one to be formed next is the older one. */
        struct journal_batch *b = &j->batches[j->next_batch ^ i];
        if (b->state == BATCH_WRITING)
            return;
        if (ready == NULL && b->state == BATCH_SEALED)
            ready = b;
    }
    if (ready == NULL)
        return;
    ready->state = BATCH_WRITING;
    ready->iov = c2_slice(ready->data, ready->len);
    ready->io = (struct c2_disk_req){ .verb = C2_DISK_PWRITE,
                                      .file = ready->segment->file,
                                      .offset = ready->offset,
                                      .iov = &ready->iov,
                                      .niov = 1,
                                      .done = write_done };
    c2_disk(j->env, &ready->io);
}

/* ---- the one step -------------------------------------------------------------------------- */

/* While cutting or broken: true when every request has come back. */
static bool
quiet(struct journal *j)
{
    bool busy = j->opening != NULL || j->cut_segment != NULL;
    for (size_t i = 0; i < 2; i++) {
        struct journal_batch *b = &j->batches[j->next_batch ^ i];
        if (b->state == BATCH_SEALED)
            fail_batch(j, b);
        busy = busy || b->state != BATCH_IDLE;
    }
    return !busy;
}

static void
fail_outstanding(struct journal *j)
{
    struct c2_list failed, syncs;
    enum c2_err err = j->err != C2_E_OK ? j->err : C2_E_NO_SPACE;
    c2_list_init(&failed);
    c2_list_init(&syncs);
    if (j->err != C2_E_OK) {
        journal_move_all(&j->wait_sync, &failed);
        journal_move_all(&j->syncs, &syncs);
    }
    journal_move_all(&j->failed, &failed);
    journal_move_all(&j->queue, &failed);
    j->cutting = false;
    j->chain_seq = j->written_seq;
    memcpy(j->chain, j->written_chain, sizeof j->chain);
    journal_sync_step(j);
    journal_complete_appends(&failed, err);
    journal_complete_syncs(&syncs, err);
}

void
journal_step(struct journal *j)
{
    struct c2_list full;
    c2_list_init(&full);
    if (j->err != C2_E_OK || j->cutting) {
        if (quiet(j))
            fail_outstanding(j);
        return;
    }
    while (form(j, &full)) {
    }
    start_write(j);
    journal_sync_step(j);
    journal_complete_appends(&full, C2_E_NO_SPACE);
}

static void
kicked(struct c2_task *t)
{
    struct journal *j = C2_CONTAINER_OF(t, struct journal, kick);
    if (j->closed)
        c2_free(j);
    else
        journal_step(j);
}

void
journal_append_start(struct journal *j, struct journal_append *a)
{
    size_t bytes = a->meta.len;
    C2_ASSERT(a->done != NULL && a->npieces <= JOURNAL_PIECES_MAX && !j->closed);
    for (size_t i = 0; i < a->npieces; i++) {
        C2_ASSERT(a->pieces[i].len <= JOURNAL_PIECE_MAX);
        bytes += a->pieces[i].len;
    }
    C2_ASSERT(bytes <= JOURNAL_GROUP_BYTES_MAX);
    a->seq = ++j->seq;
    a->locs = NULL;
    c2_list_append(&j->queue, &a->link);
    c2_defer(j->env, &j->kick);
}

/* ---- life ---------------------------------------------------------------------------------- */

struct journal *
journal_new(struct c2_env *env, const struct journal_config *config,
            const struct journal_start *start, uint64_t trimmed_seq)
{
    struct journal *j = c2_calloc(1, sizeof *j);
    struct c2_list *lists[] = { &j->queue,
                                &j->failed,
                                &j->wait_sync,
                                &j->syncs,
                                &j->ages,
                                &j->covered_appends,
                                &j->covered_syncs,
                                &j->batches[0].appends,
                                &j->batches[1].appends };
    for (size_t i = 0; i < C2_ARRAY_LEN(lists); i++)
        c2_list_init(lists[i]);
    j->batches[0].journal = j->batches[1].journal = j;
    j->env = env;
    j->dir = c2_strdup(config->dir);
    j->key = c2_secret_alloc(C2_KEY_LEN);
    memcpy(j->key, config->key, C2_KEY_LEN);
    j->size_max = config->size_max;
    j->segment_size = config->segment_size == 0 ? JOURNAL_SEGMENT_SIZE : config->segment_size;
    C2_ASSERT(j->segment_size <= SEGMENT_SIZE_MAX);
    j->kick.run = kicked;
    j->segments = start->segments;
    j->nsegments = start->nsegments;
    j->next_id = start->next_id;
    j->seq = start->last_seq;
    j->written_seq = j->chain_seq = start->chain_seq;
    j->stats.synced_seq = j->stats.trimmed_seq = trimmed_seq;
    j->replaying = true;
    j->dir_dirty = true; /* nobody knows what an earlier process synced */
    for (size_t i = 0; i < j->nsegments; i++)
        j->segments[i]->dirty = true;
    memcpy(j->chain, start->chain, sizeof j->chain);
    memcpy(j->written_chain, start->chain, sizeof j->written_chain);
    if (j->chain_seq > trimmed_seq)
        journal_note_age(j, j->chain_seq);
    return j;
}

void
journal_close(struct journal *j)
{
    if (j == NULL)
        return;
    C2_ASSERT(c2_list_empty(&j->queue) && c2_list_empty(&j->failed));
    C2_ASSERT(c2_list_empty(&j->wait_sync) && c2_list_empty(&j->syncs));
    C2_ASSERT(!j->syncing && j->opening == NULL && j->reads == 0);
    for (size_t i = 0; i < 2; i++) {
        C2_ASSERT(j->batches[i].state == BATCH_IDLE);
        c2_free(j->batches[i].data);
    }
    journal_free_files(j);
    c2_secret_free(j->key, C2_KEY_LEN);
    c2_free(j->dir);
    j->closed = true;
    if (!c2_link_linked(&j->kick.link))
        c2_free(j);
}

/* SPDX-License-Identifier: MIT */
/*
 * An upload:
 *
 *   QUEUED --turn--> READ BACK (pieces that only the journal has) --> PUT --> chunks know their
 * object
 *
 * A put persists until enough seats have acknowledged, so an outage costs no repeated uploads. An
 * upload that ends with an error all the same is queued again under a new object id, after a pause.
 *
 * A piece that cannot be read back, tried often enough, is lost (fs/lost.h): the upload goes on
 * without it, so that it blocks nothing behind it.
 */
#include "fs/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fs/txg.h"

#define RETRY_NS      (5 * C2_NS_PER_S)
#define READS_DAMAGED 3  /* what is read there is wrong, so often */
#define READS_FAILED  60 /* the disk answers with an error: it may come back */

struct upload {
    struct fs *fs;
    struct c2_link link;      /* in jobs or active */
    struct fs_chunk **chunks; /* one reference each */
    size_t n;
    uint64_t bytes;
    struct c2_slice *slices;
    bool *uses_mem;         /* the slice is the chunk's own memory */
    struct c2_blob **blobs; /* read back from the journal, NULL otherwise */
    uint32_t *cuts;
    size_t ncuts;
    size_t next;
    unsigned reads; /* failed ones of the chunk at hand */
    struct journal_read read;
    struct ds_put put;
};

struct fs_packer {
    struct fs *fs;
    struct c2_list queue; /* fs_chunk.pack_link, one reference each */
    struct c2_list jobs, active;
    uint64_t queued_bytes, job_bytes, active_bytes;
    struct c2_timer retry;
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct fs_pack_stats stats;
};

static void start_jobs(struct fs_packer *p);

/* ---- one upload ----------------------------------------------------------------------------- */

static void
upload_free(struct upload *u)
{
    for (size_t k = 0; k < u->n; k++) {
        c2_blob_unref(u->blobs[k]);
        fs_source_unref(&u->chunks[k]->source);
    }
    c2_free(u->chunks);
    c2_free(u->slices);
    c2_free(u->uses_mem);
    c2_free(u->blobs);
    c2_free(u->cuts);
    c2_free(u);
}

static void
succeed(struct upload *u)
{
    struct fs *fs = u->fs;
    struct fs_packer *p = fs->packer;
    struct fs_object *o = fs_object_get(fs, &u->put.ref);
    o->placed = u->put.placed;
    o->placed_known = true;
    o->stored_bytes = u->put.stored_bytes;
    uint64_t off = 0;
    for (size_t k = 0; k < u->n; k++) {
        struct fs_chunk *c = u->chunks[k];
        fs_source_ref(&o->source);
        c->object = o;
        c->object_off = off;
        c->uploading = false;
        off += c->len;
        fs_chunk_drop_mem(fs, c);
        fs_chunk_leave_journal(fs, c);
    }
    p->stats.objects++;
    p->stats.object_bytes += u->bytes;
    p->stats.stored_bytes += u->put.stored_bytes;
    p->stats.last_error = C2_E_OK;
    fs_source_unref(&o->source);
}

static void
try_again(struct c2_timer *t)
{
    start_jobs(C2_CONTAINER_OF(t, struct fs_packer, retry));
}

static void
upload_end(struct upload *u, enum c2_err err)
{
    struct fs *fs = u->fs;
    struct fs_packer *p = fs->packer;
    c2_list_remove(&p->active, &u->link);
    p->active_bytes -= u->bytes;
    for (size_t k = 0; k < u->n; k++) {
        if (u->uses_mem[k])
            fs_chunk_unuse_mem(fs, u->chunks[k]);
        u->uses_mem[k] = false;
    }
    if (err == C2_E_OK) {
        if (u->n > 0)
            succeed(u);
        upload_free(u);
        start_jobs(p);
        fs_txg_progress(fs);
        fs_unblock(fs);
    } else if (p->stopping) {
        for (size_t k = 0; k < u->n; k++)
            u->chunks[k]->uploading = false;
        upload_free(u);
    } else {
        c2_log(ERROR, "pack", "upload of %zu pieces, %llu bytes failed: err=%s, trying again", u->n,
               (unsigned long long)u->bytes, c2_err_name(err));
        p->stats.last_error = err;
        u->next = 0;
        p->job_bytes += u->bytes;
        c2_list_prepend(&p->jobs, &u->link);
        c2_timer_arm(fs->part.env, &p->retry, c2_now_ns(fs->part.env) + RETRY_NS);
    }
    if (p->stopping && c2_list_empty(&p->active) && p->stopped != NULL) {
        void (*stopped)(void *arg) = p->stopped;
        p->stopped = NULL;
        stopped(p->stopped_arg);
    }
}

static void
put_done(struct ds_put *put)
{
    struct upload *u = C2_CONTAINER_OF(put, struct upload, put);
    upload_end(u, put->err);
}

static void
start_put(struct upload *u)
{
    struct fs *fs = u->fs;
    u->put = (struct ds_put){ .kind = DS_KIND_OBJECT,
                              .data = u->slices,
                              .ndata = u->n,
                              .cuts = u->cuts,
                              .ncuts = u->ncuts,
                              .persist = true,
                              .done = put_done };
    u->put.oid.sid = fs->part.session;
    u->put.oid.seq = fs->next_object++;
    c2_random(fs->part.env, u->put.oid.rnd, sizeof(u->put.oid.rnd));
    ds_put_start(fs->part.ds, &u->put);
}

/* Where the data of another file begins. */
static void
set_cuts(struct upload *u)
{
    u->ncuts = 0;
    u->bytes = 0;
    for (size_t k = 0; k < u->n; k++) {
        const struct fs_chunk *c = u->chunks[k];
        if (k > 0 && (c->ino != u->chunks[k - 1]->ino || c->ino == 0))
            u->cuts[u->ncuts++] = (uint32_t)u->bytes;
        u->bytes += c->len;
    }
}

static void read_back(struct upload *u);

static bool
lost_for_good(const struct upload *u, enum c2_err err)
{
    bool disk = err == C2_E_IO || err == C2_E_NOMEM;
    return err != C2_E_CANCELED && u->reads >= (disk ? READS_FAILED : READS_DAMAGED);
}

/* The chunk at hand is lost, the others go on. */
static void
lose(struct upload *u)
{
    struct fs *fs = u->fs;
    struct fs_chunk *c = u->chunks[u->next];
    size_t after = u->n - u->next - 1;
    u->n--;
    memmove(&u->chunks[u->next], &u->chunks[u->next + 1], after * sizeof(struct fs_chunk *));
    memmove(&u->slices[u->next], &u->slices[u->next + 1], after * sizeof(u->slices[0]));
    memmove(&u->uses_mem[u->next], &u->uses_mem[u->next + 1], after * sizeof(u->uses_mem[0]));
    memmove(&u->blobs[u->next], &u->blobs[u->next + 1], after * sizeof(struct c2_blob *));
    u->reads = 0;
    fs->packer->active_bytes -= c->len;
    set_cuts(u);
    fs_chunk_lose(fs, c);
    fs_source_unref(&c->source);
    if (u->n == 0)
        upload_end(u, C2_E_OK);
    else
        read_back(u);
}

static void
was_read(struct journal_read *r)
{
    struct upload *u = C2_CONTAINER_OF(r, struct upload, read);
    struct fs_chunk *c = u->chunks[u->next];
    if (r->err == C2_E_OK && r->data->len != c->len)
        r->err = C2_E_DAMAGED;
    if (u->fs->packer->stopping) { /* a piece that is lost is found again by the next mount */
        c2_blob_unref(r->data);
        r->err = C2_E_CANCELED;
        r->data = NULL;
    }
    if (r->err != C2_E_OK) {
        c2_blob_unref(r->data);
        u->reads++;
        if (lost_for_good(u, r->err))
            lose(u);
        else
            upload_end(u, r->err);
        return;
    }
    u->reads = 0;
    u->blobs[u->next] = r->data;
    u->slices[u->next] = c2_blob_slice(r->data);
    u->next++;
    read_back(u);
}

static void
read_back(struct upload *u)
{
    for (; u->next < u->n; u->next++) {
        struct fs_chunk *c = u->chunks[u->next];
        if (c->mem != NULL) {
            if (!u->uses_mem[u->next])
                fs_chunk_use_mem(u->fs, c);
            u->uses_mem[u->next] = true;
            u->slices[u->next] = c2_slice(c->mem, c->len);
            continue;
        }
        if (u->blobs[u->next] != NULL)
            continue;
        u->read = (struct journal_read){ .loc = c->loc, .done = was_read };
        journal_read_start(u->fs->journal, &u->read);
        return;
    }
    start_put(u);
}

static void
start_jobs(struct fs_packer *p)
{
    uint64_t limit = C2_MAX((uint64_t)p->fs->conf.upload_parallel * p->fs->conf.pack_size,
                            (uint64_t)FS_UPLOAD_BYTES_MIN);
    while (!p->stopping && !c2_list_empty(&p->jobs) && !c2_timer_armed(&p->retry)) {
        struct upload *u = C2_LIST_FIRST(&p->jobs, struct upload, link);
        bool room =
            p->active.count < p->fs->conf.upload_parallel && p->active_bytes + u->bytes <= limit;
        if (!room && !c2_list_empty(&p->active))
            return;
        c2_list_remove(&p->jobs, &u->link);
        p->job_bytes -= u->bytes;
        c2_list_append(&p->active, &u->link);
        p->active_bytes += u->bytes;
        read_back(u);
    }
}

/* ---- building uploads ----------------------------------------------------------------------- */

/* Takes over the references of the chunks. */
static void
new_job(struct fs_packer *p, struct fs_chunk **chunks, size_t n)
{
    struct upload *u = c2_calloc(1, sizeof(*u));
    u->fs = p->fs;
    u->n = n;
    u->chunks = c2_calloc(n, sizeof(struct fs_chunk *));
    u->slices = c2_calloc(n, sizeof(*u->slices));
    u->uses_mem = c2_calloc(n, sizeof(*u->uses_mem));
    u->blobs = c2_calloc(n, sizeof(struct c2_blob *));
    u->cuts = c2_calloc(n, sizeof(*u->cuts));
    for (size_t k = 0; k < n; k++)
        u->chunks[k] = chunks[k];
    set_cuts(u);
    p->job_bytes += u->bytes;
    c2_list_append(&p->jobs, &u->link);
}

void
fs_pack_add(struct fs *fs, struct fs_chunk *c)
{
    struct fs_packer *p = fs->packer;
    if (c->uploading || c->object != NULL)
        return;
    C2_ASSERT(c->mem != NULL || c->journaled);
    c->frozen = true;
    c->uploading = true;
    fs_source_ref(&c->source);
    p->queued_bytes += c->len;
    c2_list_append(&p->queue, &c->pack_link);
}

static int
by_place(const void *va, const void *vb)
{
    const struct fs_chunk *a = *(struct fs_chunk *const *)va;
    const struct fs_chunk *b = *(struct fs_chunk *const *)vb;
    if (a->dir_ino != b->dir_ino)
        return a->dir_ino < b->dir_ino ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

void
fs_pack_flush(struct fs *fs)
{
    struct fs_packer *p = fs->packer;
    size_t n = p->queue.count, first = 0;
    if (n == 0)
        return;
    struct fs_chunk **all = c2_calloc(n, sizeof(struct fs_chunk *));
    n = 0;
    C2_LIST_FOREACH (&p->queue, struct fs_chunk, c, pack_link) {
        c2_list_remove(&p->queue, &c->pack_link);
        all[n++] = c;
    }
    p->queued_bytes = 0;
    qsort(all, n, sizeof(all[0]), by_place);
    while (first < n) {
        size_t last = first;
        uint64_t bytes = 0;
        while (last < n && last - first < FS_PACK_CHUNKS_MAX &&
               (last == first || bytes + all[last]->len <= fs->conf.pack_size))
            bytes += all[last++]->len;
        new_job(p, all + first, last - first);
        first = last;
    }
    c2_free(all);
    start_jobs(p);
}

/* A copy within the file has it there twice. */
static bool
is_in(struct fs_chunk *const *run, size_t n, const struct fs_chunk *c)
{
    for (size_t k = 0; k < n; k++) {
        if (run[k] == c)
            return true;
    }
    return false;
}

void
fs_pack_stream(struct fs *fs, struct fs_inode *i)
{
    struct fs_packer *p = fs->packer;
    const struct fs_map *m = i->map;
    uint64_t size = i->attr.size >= FS_LARGE_FILE ? FS_LARGE_OBJECT : fs->conf.pack_size;
    if (i->attr.size < i->stream_off)
        i->stream_off = 0;
    if (i->attr.size - i->stream_off < size + FS_CHUNK_SIZE_MAX)
        return;
    struct fs_chunk *run[FS_LARGE_OBJECT / FS_CHUNK_SIZE_MAX];
    size_t n = 0;
    uint64_t bytes = 0;
    size_t k = fs_map_find(m, i->stream_off);
    for (; k < m->n && bytes < size && n < C2_ARRAY_LEN(run); k++) {
        const struct fs_extent *e = &m->e[k];
        struct fs_chunk *c = e->source->kind == FS_SOURCE_CHUNK
                                 ? C2_CONTAINER_OF(e->source, struct fs_chunk, source)
                                 : NULL;
        bool fit = c != NULL && c->len == FS_CHUNK_SIZE_MAX && e->len == c->len && !c->uploading &&
                   c->object == NULL && !is_in(run, n, c);
        if (!fit && n > 0)
            break;
        if (!fit) {
            i->stream_off = e->off + e->len;
            continue;
        }
        run[n++] = c;
        bytes += c->len;
    }
    if (bytes < size) {
        /* Not a whole object in a row; what stands alone waits for the transaction group. */
        if (k < m->n && n > 0)
            i->stream_off = m->e[k].off;
        return;
    }
    for (size_t j = 0; j < n; j++) {
        run[j]->frozen = true;
        run[j]->uploading = true;
        fs_source_ref(&run[j]->source);
    }
    i->stream_off = m->e[k - 1].off + m->e[k - 1].len;
    new_job(p, run, n);
    start_jobs(p);
}

static void
add_content(struct fs *fs, const struct fs_inode *i)
{
    struct fs_packer *p = fs->packer;
    for (size_t k = 0; k < i->map->n && p->queued_bytes < fs->conf.pack_size; k++) {
        if (i->map->e[k].source->kind == FS_SOURCE_CHUNK)
            fs_pack_add(fs, C2_CONTAINER_OF(i->map->e[k].source, struct fs_chunk, source));
    }
}

void
fs_pack_held(struct fs *fs)
{
    struct fs_packer *p = fs->packer;
    if (p->active.count + p->jobs.count >= fs->conf.upload_parallel)
        return; /* the clouds have enough to do */
    C2_LIST_FOREACH (&fs->commit_inodes, struct fs_inode, i, commit_link) {
        if (i->map != NULL && fs_inode_held(fs, i))
            add_content(fs, i);
        if (p->queued_bytes >= fs->conf.pack_size)
            break;
    }
    fs_pack_flush(fs);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct fs_packer *
fs_packer_new(struct fs *fs)
{
    struct fs_packer *p = c2_calloc(1, sizeof(*p));
    p->fs = fs;
    p->retry.fire = try_again;
    c2_list_init(&p->queue);
    c2_list_init(&p->jobs);
    c2_list_init(&p->active);
    return p;
}

void
fs_packer_stop(struct fs *fs, void (*done)(void *arg), void *arg)
{
    struct fs_packer *p = fs->packer;
    p->stopping = true;
    p->stopped = done;
    p->stopped_arg = arg;
    c2_timer_stop(fs->part.env, &p->retry);
    if (c2_list_empty(&p->active)) {
        p->stopped = NULL;
        done(arg);
        return;
    }
    C2_LIST_FOREACH (&p->active, struct upload, u, link) {
        if (u->next == u->n)
            ds_put_cancel(fs->part.ds, &u->put);
    }
}

void
fs_packer_free(struct fs_packer *p)
{
    if (p == NULL)
        return;
    C2_ASSERT(c2_list_empty(&p->active));
    while (!c2_list_empty(&p->queue)) {
        struct fs_chunk *c = C2_LIST_FIRST(&p->queue, struct fs_chunk, pack_link);
        c2_list_remove(&p->queue, &c->pack_link);
        fs_source_unref(&c->source);
    }
    while (!c2_list_empty(&p->jobs)) {
        struct upload *u = C2_LIST_FIRST(&p->jobs, struct upload, link);
        c2_list_remove(&p->jobs, &u->link);
        upload_free(u);
    }
    c2_free(p);
}

void
fs_pack_stats(const struct fs *fs, struct fs_pack_stats *ret_stats)
{
    const struct fs_packer *p = fs->packer;
    *ret_stats = p->stats;
    ret_stats->waiting_bytes = p->queued_bytes + p->job_bytes + p->active_bytes;
}

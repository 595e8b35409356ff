/* SPDX-License-Identifier: MIT */
/*
 * Keeps the account of a mount (fs/usage.h): looks at the counters of the providers every minute
 * and writes the file when something has changed.
 *
 *   READ ──► IDLE ──minute, end──► WRITE ──► IDLE, or ended
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fs/usage.h"
#include "fs/wire_up_impl.h"

struct wire_usage {
    struct wire *w;
    char *path;
    struct usage table;
    struct usage_counts seen[DS_SEATS_MAX]; /* of the provider in that seat */
    const struct provider *who[DS_SEATS_MAX];
    struct c2_timer minute;
    struct c2_disk_req disk;
    struct c2_buf file;
    struct c2_slice file_slice;
    uint64_t proofs; /* version of the client's evidence that the table has */
    bool busy;       /* with the disk */
    bool dirty;      /* differs from the file */
    void (*ended)(void *arg);
    void *ended_arg;
};

static void save(struct wire_usage *u);

static void
next_minute(struct wire_usage *u)
{
    c2_timer_arm(u->w->env, &u->minute, c2_now_ns(u->w->env) + USAGE_SAVE_NS);
}

static void
idle(struct wire_usage *u)
{
    u->busy = false;
    if (u->ended == NULL) {
        next_minute(u);
    } else if (u->dirty) {
        save(u);
    } else {
        void (*ended)(void *arg) = u->ended;
        void *arg = u->ended_arg;
        c2_buf_done(&u->file);
        c2_free(u->path);
        c2_free(u);
        ended(arg);
    }
}

static void
sample(struct wire_usage *u)
{
    const struct volume *v = u->w->volume;
    for (unsigned seat = 0; seat < DS_SEATS_MAX; seat++) {
        const struct provider *p = v->providers[seat];
        if (p == NULL || p->stats == NULL)
            continue;
        struct usage_counts now = { .up = p->stats->bytes_up, .down = p->stats->bytes_down };
        for (unsigned k = 0; k < C2_MIN((unsigned)PROV_VERB_COUNT, USAGE_VERBS); k++)
            now.requests[k] = p->stats->requests[k];
        if (u->who[seat] != p)
            u->seen[seat] = (struct usage_counts){ 0 };
        u->who[seat] = p;
        struct usage_counts more = usage_since(&now, &u->seen[seat]);
        u->seen[seat] = now;
        if (usage_is_zero(&more))
            continue;
        usage_add(&u->table, c2_wall_ns(u->w->env), p->name, &more);
        u->dirty = true;
    }
}

/* In the order in which they came. */
static void
take_proofs(struct wire_usage *u)
{
    size_t n;
    uint64_t version;
    const struct ds_evidence *e = ds_client_evidence(u->w->volume->ds, &n, &version);
    if (version == u->proofs)
        return;
    for (size_t k = 0; k < n; k++)
        usage_add_proof(&u->table, &e[k]);
    u->proofs = version;
    u->dirty = true;
}

static void
saved(struct c2_disk_req *d)
{
    struct wire_usage *u = C2_CONTAINER_OF(d, struct wire_usage, disk);
    if (d->err != C2_E_OK)
        c2_log(WARN, "usage", "file=%s err=%s the account of requests is not saved", u->path,
               c2_err_name(d->err));
    idle(u);
}

static void
save(struct wire_usage *u)
{
    u->busy = true;
    u->dirty = false;
    c2_buf_clear(&u->file);
    usage_encode(&u->table, &u->file);
    u->file_slice = c2_buf_slice(&u->file);
    u->disk = (struct c2_disk_req){
        .verb = C2_DISK_WRITE, .path = u->path, .iov = &u->file_slice, .niov = 1, .done = saved
    };
    c2_disk(u->w->env, &u->disk);
}

static void
minute_over(struct c2_timer *t)
{
    struct wire_usage *u = C2_CONTAINER_OF(t, struct wire_usage, minute);
    sample(u);
    take_proofs(u);
    if (u->dirty)
        save(u);
    else
        next_minute(u);
}

static void
loaded(struct c2_disk_req *d)
{
    struct wire_usage *u = C2_CONTAINER_OF(d, struct wire_usage, disk);
    enum c2_err err = d->err;
    if (err == C2_E_OK)
        err = usage_decode(c2_blob_slice(d->reply), &u->table);
    if (err != C2_E_OK && err != C2_E_NOT_FOUND)
        c2_log(WARN, "usage", "file=%s err=%s the account of requests begins anew", u->path,
               c2_err_name(err));
    c2_blob_unref(d->reply);
    idle(u);
}

void
wire_usage_start(struct wire *w)
{
    struct wire_usage *u = c2_calloc(1, sizeof(*u));
    u->w = w;
    u->path = c2_asprintf("%s/usage", w->cache_dir);
    u->minute.fire = minute_over;
    u->busy = true;
    u->disk = (struct c2_disk_req){
        .verb = C2_DISK_READ, .path = u->path, .len_max = USAGE_FILE_MAX, .done = loaded
    };
    c2_disk(w->env, &u->disk);
    w->usage = u;
}

void
wire_usage_end(struct wire *w, void (*ended)(void *arg), void *arg)
{
    struct wire_usage *u = w->usage;
    w->usage = NULL;
    if (u == NULL) {
        ended(arg);
        return;
    }
    c2_timer_stop(w->env, &u->minute);
    if (!u->busy) {
        sample(u);
        take_proofs(u);
    }
    u->ended = ended;
    u->ended_arg = arg;
    if (!u->busy)
        idle(u);
}

void
wire_evidence_request(struct wire *w, struct ctl_call *call)
{
    struct c2_buf body = { 0 };
    struct wire_usage *u = w->usage;
    if (u != NULL && !u->busy)
        take_proofs(u);
    for (size_t k = u == NULL ? 0 : u->table.nproofs; k-- > 0;)
        usage_proof_encode(&u->table.proof[k], &body);
    ctl_result(call, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
}

void
wire_usage_request(struct wire *w, struct ctl_call *call)
{
    static const char *const names[] = {
        "put", "get", "head", "delete", "delete_many", "list", NULL
    };
    struct c2_buf body = { 0 }, name = { 0 };
    struct wire_usage *u = w->usage;
    if (u != NULL && !u->busy)
        sample(u);
    /* The newest first: an answer has a bounded number of counters. */
    size_t rows = u == NULL ? 0 : C2_MIN(u->table.n, (size_t)CTL_COUNTERS_MAX / (USAGE_VERBS + 2));
    for (size_t k = 0; k < rows; k++) {
        const struct usage_row *r = &u->table.row[u->table.n - 1 - k];
        for (unsigned v = 0; v <= USAGE_VERBS + 1; v++) {
            const char *what = v < USAGE_VERBS ? names[v] : v == USAGE_VERBS ? "up" : "down";
            uint64_t value = v < USAGE_VERBS    ? r->counts.requests[v]
                             : v == USAGE_VERBS ? r->counts.up
                                                : r->counts.down;
            c2_buf_clear(&name);
            c2_buf_printf(&name, "%s/%s/%s", r->month, r->provider, what);
            ctl_counter_add(&body, c2_buf_cstr(&name), value);
        }
    }
    ctl_result(call, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
    c2_buf_done(&name);
}

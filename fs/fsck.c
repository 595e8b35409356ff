/* SPDX-License-Identifier: MIT */
/*
 *   HOLD (the mount's commits and collectors come to rest) --> CONFIG --> NAMES (windows of inodes,
 *        for each: I, D, G) --> OBJECTS (windows of objects, for each: O, R, K, [every share],
 *        I, G) --> DAMAGE (D, twice) --> SUMS --> release --> MEND (fsck_mend.c) --> done
 *
 * The store is released early when the mount cannot wait: its journal is half full.
 */
#include "fs/fsck_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/garbage.h"
#include "fs/txg.h"
#include "fs/volume.h"

#define HOLD_POLL_NS    (10 * C2_NS_PER_MS)
#define HOLD_MAX_NS     (120 * C2_NS_PER_S)
#define JOURNAL_PERCENT 50

enum { KEY_V, KEY_C, KEY_J, KEY_BYTES, KEY_FILES, CONFIG_KEYS };

/* ---- findings ------------------------------------------------------------------------------- */

void
fsck_problem(struct fsck *f, enum fsck_class class, const char *fmt, ...)
{
    char text[FS_FSCK_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    f->k->counts.problems++;
    f->k->counts.lost += class == FSCK_LOST;
    f->k->found(f->k, text);
}

struct fsck_fix *
fsck_fix(struct fsck *f, enum fsck_fix_kind kind)
{
    if (!f->k->repair || f->k->fs == NULL || f->nfixes == FSCK_FIXES_MAX)
        return NULL;
    if ((f->nfixes & (f->nfixes - 1)) == 0)
        f->fixes = c2_realloc(f->fixes, f->nfixes == 0 ? 1 : 2 * f->nfixes, sizeof(*f->fixes));
    struct fsck_fix *fix = &f->fixes[f->nfixes++];
    *fix = (struct fsck_fix){ .kind = kind };
    return fix;
}

/* ---- the end -------------------------------------------------------------------------------- */

void
fsck_release(struct fsck *f)
{
    struct fs *fs = f->k->fs;
    if (!f->holding)
        return;
    f->holding = false;
    fs->store_held--;
    fs_txg_progress(fs);
}

void
fsck_end(struct fsck *f, enum c2_err err)
{
    struct fs_fsck *k = f->k;
    C2_ASSERT(!f->asking && !f->getting && f->checking == 0);
    fsck_release(f);
    c2_timer_stop(k->env, &f->timer);
    coord_req_done(&f->req);
    fsck_objects_free(f);
    c2_map_done(&f->by_id);
    for (size_t n = 0; n < f->nfixes; n++)
        c2_free(f->fixes[n].name);
    c2_free(f->fixes);
    c2_free(f->nodes);
    fsck_damage_free(f);
    c2_free(f->folders);
    k->own = NULL;
    k->err = f->canceled ? C2_E_CANCELED : err;
    c2_free(f);
    k->done(k);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void
answered(struct coord_req *r)
{
    struct fsck *f = C2_CONTAINER_OF(r, struct fsck, req);
    f->asking = false;
    f->then(f, f->canceled ? C2_E_CANCELED : r->err);
}

void
fsck_ask(struct fsck *f, fsck_step *then)
{
    f->req.deadline_ns = C2_NEVER;
    f->req.done = answered;
    f->then = then;
    f->asking = true;
    coord_submit(f->k->coord, &f->req);
}

static void page_read(struct fsck *f, enum c2_err err);

static void
ask_page(struct fsck *f)
{
    f->slices[0] = ck_slice(&f->prefix);
    f->req = (struct coord_req){ .verb = COORD_RANGE,
                                 .keys = f->slices,
                                 .nkeys = 1,
                                 .after = ck_slice(&f->cursor),
                                 .limit = FSCK_PAGE };
    fsck_ask(f, page_read);
}

/* Whether the mount can go on without commits. */
static enum c2_err
may_go_on(const struct fsck *f)
{
    const struct fs *fs = f->k->fs;
    if (f->canceled)
        return C2_E_CANCELED;
    if (fs == NULL)
        return C2_E_OK;
    struct journal_stats s;
    journal_stats(fs->journal, &s);
    if (fs->fenced)
        return C2_E_FENCED;
    return s.used_bytes > s.size_max / 100 * JOURNAL_PERCENT ? C2_E_BUSY : C2_E_OK;
}

void
fsck_walk_on(struct fsck *f)
{
    enum c2_err err = may_go_on(f);
    if (err != C2_E_OK)
        fsck_end(f, err);
    else if (f->more)
        ask_page(f);
    else
        f->walked(f, C2_E_OK);
}

static void
page_read(struct fsck *f, enum c2_err err)
{
    struct coord_req *r = &f->req;
    f->more = r->more && r->nentries > 0;
    for (size_t n = 0; err == C2_E_OK && n < r->nentries; n++) {
        const struct c2_slice key = r->entries[n].key;
        if (!f->visit(f, &r->entries[n])) {
            f->more = false;
            f->cut_short = true;
            break;
        }
        f->cursor.len = C2_MIN(key.len, sizeof(f->cursor.bytes));
        memcpy(f->cursor.bytes, key.data, f->cursor.len);
    }
    coord_req_done(r);
    *r = (struct coord_req){ 0 };
    if (err != C2_E_OK)
        fsck_end(f, err);
    else if (f->nfiles > 0)
        fsck_read_files(f);
    else
        fsck_walk_on(f);
}

void
fsck_walk(struct fsck *f, char letter, const struct ck *after, fsck_visit *visit, fsck_step *then)
{
    f->prefix = ck_letter(letter);
    f->cursor = after == NULL ? f->prefix : *after;
    f->cursor.bytes[0] = (uint8_t)letter;
    f->visit = visit;
    f->walked = then;
    f->cut_short = false;
    ask_page(f);
}

/* ---- configuration -------------------------------------------------------------------------- */

static C2_RESULT
open_key(struct fsck *f, size_t n, struct c2_buf *plain)
{
    const struct coord_entry *e = &f->req.entries[n];
    if (e->version == 0)
        return C2_E_NOT_FOUND;
    return keys_open(f->k->keys, e->key, e->value, plain);
}

static void
check_seats(struct fsck *f, const struct volume_config *c)
{
    unsigned voters = volume_config_voters(c);
    if (voters < 2 * c->f + 1)
        fsck_problem(f, FSCK_STAYS,
                     "configuration: %u of %u seats have a provider, at least %u must", voters,
                     c->n, 2 * c->f + 1);
    for (unsigned s = 0; s < c->n; s++) {
        const struct volume_seat *seat = &c->seats[s];
        if (seat->state == VOLUME_SEAT_EMPTY)
            continue;
        if (seat->provider[0] == '\0' || seat->url[0] == '\0')
            fsck_problem(f, FSCK_STAYS, "configuration: seat %u names no provider", s);
        else if (volume_config_seat(c, seat->provider) != s)
            fsck_problem(f, FSCK_STAYS, "configuration: provider %s has two seats", seat->provider);
    }
}

static void
check_config(struct fsck *f)
{
    struct volume_config c;
    struct volume_id id;
    struct c2_buf plain = { 0 };
    const struct coord_entry *v = &f->req.entries[KEY_V];
    bool known = v->version != 0 && volume_id_decode(v->value, &id) == C2_E_OK;
    if (!known)
        fsck_problem(f, FSCK_LOST, "configuration: the volume's identity (V) cannot be read");
    enum c2_err err = open_key(f, KEY_C, &plain);
    if (err == C2_E_OK)
        err = volume_config_decode(c2_buf_slice(&plain), &c);
    c2_buf_done(&plain);
    if (err != C2_E_OK) {
        fsck_problem(f, FSCK_LOST, "configuration: the list of providers (C) cannot be read: %s",
                     c2_err_text(err));
        return;
    }
    if (known && (memcmp(id.uuid, c.uuid, sizeof(c.uuid)) != 0 || id.keyless != c.keyless ||
                  id.format_version != c.format_version))
        fsck_problem(f, FSCK_STAYS, "configuration: V and C are of different volumes");
    check_seats(f, &c);
}

static void
read_sums(struct fsck *f)
{
    static const uint8_t nobody[FS_DEVICE_ID_LEN];
    struct fs_position at;
    struct c2_buf plain = { 0 };
    enum c2_err err = open_key(f, KEY_J, &plain);
    if (err == C2_E_OK)
        err = fs_position_decode(c2_buf_slice(&plain), c2_slice(NULL, 0), nobody, &at);
    c2_buf_done(&plain);
    if (err == C2_E_OK)
        f->next_ino = at.next_ino;
    else
        fsck_problem(f, FSCK_LOST, "the next inode number (J) cannot be read: %s",
                     c2_err_text(err));
    for (size_t n = 0; n < 2; n++) {
        const struct coord_entry *e = &f->req.entries[KEY_BYTES + n];
        int64_t value = e->value.len == 8 ? (int64_t)c2_get_u64(e->value.data) : 0;
        *(n == 0 ? &f->used_bytes : &f->used_files) = value;
        f->used_version[n] = e->version;
    }
}

static void
config_read(struct fsck *f, enum c2_err err)
{
    if (err != C2_E_OK) {
        fsck_end(f, err);
        return;
    }
    /* A volume without V and C was made without fs/volume_format.c: by a test. */
    if (f->req.entries[KEY_V].version != 0 || f->req.entries[KEY_C].version != 0)
        check_config(f);
    read_sums(f);
    coord_req_done(&f->req);
    f->req = (struct coord_req){ 0 };
    fsck_names_start(f);
}

static void
read_config(struct fsck *f)
{
    f->keys[KEY_V] = ck_letter('V');
    f->keys[KEY_C] = ck_letter('C');
    f->keys[KEY_J] = ck_letter('J');
    f->keys[KEY_BYTES] = ck_usage("bytes");
    f->keys[KEY_FILES] = ck_usage("files");
    for (size_t n = 0; n < CONFIG_KEYS; n++)
        f->slices[n] = ck_slice(&f->keys[n]);
    f->req = (struct coord_req){ .verb = COORD_GET, .keys = f->slices, .nkeys = CONFIG_KEYS };
    fsck_ask(f, config_read);
}

/* ---- sums ----------------------------------------------------------------------------------- */

static void
check_counter(struct fsck *f, const char *name, int64_t stored, int64_t sum)
{
    if (stored == sum)
        return;
    fsck_problem(f, FSCK_MENDABLE, "usage: the volume counts %lld %s, the inodes say %lld",
                 (long long)stored, name, (long long)sum);
    struct fsck_fix *fix = fsck_fix(f, FSCK_PUT_COUNTER);
    if (fix == NULL)
        return;
    fix->key = ck_usage(name);
    fix->version = f->used_version[strcmp(name, "bytes") != 0];
    fix->number = sum;
    fix->used = strcmp(name, "bytes") == 0 ? &f->used_bytes : &f->used_files;
}

void
fsck_sums_start(struct fsck *f)
{
    check_counter(f, "bytes", f->used_bytes, f->sum_bytes);
    check_counter(f, "files", f->used_files, f->sum_files);
    if (f->next_ino != 0 && f->next_ino <= f->ino_max) {
        fsck_problem(f, FSCK_MENDABLE,
                     "inode %llu is in use, and the next one to be given out is %llu",
                     (unsigned long long)f->ino_max, (unsigned long long)f->next_ino);
        struct fsck_fix *fix = fsck_fix(f, FSCK_NEXT_INO);
        if (fix != NULL)
            fix->number = (int64_t)f->ino_max + 1;
    }
    fsck_mend_start(f);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static void
hold(struct c2_timer *t)
{
    struct fsck *f = C2_CONTAINER_OF(t, struct fsck, timer);
    struct fs_fsck *k = f->k;
    enum c2_err err = may_go_on(f);
    bool quiet = k->fs == NULL ||
                 (!fs_txgs_committing(k->fs) && fs_garbage_idle(k->fs) && fs_gc_idle(k->fs));
    if (err == C2_E_OK && !quiet && c2_now_ns(k->env) >= f->hold_deadline_ns)
        err = C2_E_BUSY;
    if (err != C2_E_OK)
        fsck_end(f, err);
    else if (quiet)
        read_config(f);
    else
        c2_timer_arm(k->env, &f->timer, c2_now_ns(k->env) + HOLD_POLL_NS);
}

void
fs_fsck_start(struct fs_fsck *k)
{
    struct fsck *f = c2_calloc(1, sizeof(*f));
    uint64_t seed;
    C2_ASSERT(k->found != NULL && k->done != NULL);
    c2_random(k->env, &seed, sizeof(seed));
    f->k = k;
    k->own = f;
    k->err = C2_E_OK;
    k->counts = (struct fs_fsck_counts){ 0 };
    f->timer.fire = hold;
    f->nobody = (struct fs_source){ .kind = FS_SOURCE_OBJECT, .refs = 1 };
    f->lost = f->nobody;
    c2_map_init(&f->by_id, seed);
    c2_list_init(&f->objects);
    f->holding = k->fs != NULL;
    if (f->holding)
        k->fs->store_held++;
    f->hold_deadline_ns = c2_now_ns(k->env) + HOLD_MAX_NS;
    c2_timer_arm(k->env, &f->timer, c2_now_ns(k->env));
}

/* Shares that are being read end by themselves, soon when the client quiesces. */
void
fs_fsck_cancel(struct fs_fsck *k)
{
    struct fsck *f = k->own;
    C2_ASSERT(f != NULL);
    f->canceled = true;
    if (f->asking)
        coord_cancel(k->coord, &f->req);
    else if (f->getting)
        ds_get_cancel(k->ds, &f->get);
    else if (c2_timer_armed(&f->timer))
        c2_timer_arm(k->env, &f->timer, c2_now_ns(k->env));
    else
        fsck_mend_stop(f);
}

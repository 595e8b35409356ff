/* SPDX-License-Identifier: MIT */
#include "tests/lib/journal_rig.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* ---- a journal in a test environment --------------------------------------------------------- */

enum c2_err
jr_group_found(struct journal_replay *r, uint64_t seq, struct c2_slice meta,
               const struct journal_loc *locs, size_t nlocs)
{
    struct jr_found *f = C2_CONTAINER_OF(r, struct jr_found, replay);
    assert_true(f->count < JR_GROUPS_MAX);
    if (f->count > 0)
        assert_true(seq > f->seqs[f->count - 1]);
    f->seqs[f->count] = seq;
    f->nlocs[f->count] = nlocs;
    if (nlocs > 0)
        f->locs[f->count] = locs[0];
    snprintf(f->metas[f->count], sizeof f->metas[0], "%.*s", (int)C2_MIN(meta.len, (size_t)31),
             (const char *)meta.data);
    f->count++;
    return f->answer;
}

void
jr_opened(struct journal_open *o)
{
    *(bool *)o->priv = true;
}

void
jr_open_after(struct journal_rig *r, uint64_t after_seq)
{
    struct journal_open o = { .config = r->config, .replay = &r->found.replay };
    memset(&r->found, 0, sizeof r->found);
    r->found.replay.group = jr_group_found;
    r->found.replay.after_seq = after_seq;
    r->flag = false;
    o.done = jr_opened;
    o.priv = &r->flag;
    journal_open_start(test_env_env(r->env), &o);
    assert_false(r->flag);
    test_env_run_until(r->env, &r->flag);
    r->journal = o.journal;
    r->open_err = o.err;
    c2_free(r->open_error);
    r->open_error = o.error;
    assert_int_equal(o.err == C2_E_OK, o.journal != NULL);
    assert_int_equal(o.err == C2_E_OK, o.error == NULL);
}

void
jr_open(struct journal_rig *r)
{
    jr_open_after(r, 0);
    if (r->open_err != C2_E_OK)
        fail_msg("%s", r->open_error);
}

void
jr_close(struct journal_rig *r)
{
    journal_close(r->journal);
    r->journal = NULL;
    test_env_run_idle(r->env);
}

void
jr_reopen(struct journal_rig *r)
{
    jr_close(r);
    jr_open(r);
}

struct journal_rig *
jr_new(void)
{
    struct journal_rig *r = c2_calloc(1, sizeof *r);
    r->env = test_env_new(7);
    r->config.dir = test_env_path(r->env, "journal");
    memset(r->config.key, 0x5a, sizeof r->config.key);
    r->config.size_max = 1u << 30;
    return r;
}

void
jr_free(struct journal_rig *r)
{
    if (r->journal != NULL)
        jr_close(r);
    test_env_run_idle(r->env);
    c2_free((void *)(uintptr_t)r->config.dir);
    c2_free(r->open_error);
    test_env_free(r->env);
    c2_free(r);
}

/* ---- appends --------------------------------------------------------------------------------- */

static void
write_done(struct journal_append *a)
{
    struct jr_write *w = C2_CONTAINER_OF(a, struct jr_write, a);
    assert_false(w->done);
    w->done = true;
}

void
jr_write_init(struct jr_write *w, const char *meta)
{
    memset(w, 0, sizeof *w);
    snprintf(w->meta, sizeof w->meta, "%s", meta);
    w->a.meta = c2_slice_str(w->meta);
    w->a.pieces = w->pieces;
    w->a.done = write_done;
}

void
jr_write_start(struct journal_rig *r, struct jr_write *w)
{
    journal_append_start(r->journal, &w->a);
    assert_false(w->done);
}

void
jr_write_free(struct jr_write *w)
{
    c2_free(w->a.locs);
    w->a.locs = NULL;
}

/* Appends a group of a meta and a piece (may be empty) and returns the sequence number. */
uint64_t
jr_append(struct journal_rig *r, const char *meta, struct c2_slice piece)
{
    struct jr_write w;
    jr_write_init(&w, meta);
    w.pieces[0] = piece;
    w.a.npieces = piece.data == NULL ? 0 : 1;
    jr_write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.a.err, C2_E_OK);
    uint64_t seq = w.a.seq;
    jr_write_free(&w);
    return seq;
}

uint64_t
jr_append_meta(struct journal_rig *r, const char *meta)
{
    return jr_append(r, meta, c2_slice(NULL, 0));
}

enum c2_err
jr_append_fails(struct journal_rig *r, size_t piece_len)
{
    struct jr_write w;
    uint8_t *bytes = c2_calloc(1, piece_len);
    jr_write_init(&w, "refused");
    w.pieces[0] = c2_slice(bytes, piece_len);
    w.a.npieces = 1;
    jr_write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    if (w.a.err != C2_E_OK)
        assert_null(w.a.locs);
    jr_write_free(&w);
    c2_free(bytes);
    return w.a.err;
}

void
jr_sync_done(struct journal_sync *s)
{
    C2_CONTAINER_OF(s, struct jr_sync, s)->done = true;
}

enum c2_err
jr_sync_all(struct journal_rig *r)
{
    struct jr_sync s = { .s.done = jr_sync_done };
    journal_sync_start(r->journal, &s.s);
    assert_false(s.done);
    test_env_run_until(r->env, &s.done);
    return s.s.err;
}

void
jr_read_done(struct journal_read *r)
{
    C2_CONTAINER_OF(r, struct jr_reading, r)->done = true;
}

enum c2_err
jr_read_piece(struct journal_rig *r, struct journal_loc loc, struct c2_blob **ret_data)
{
    struct jr_reading x = { .r = { .loc = loc, .done = jr_read_done } };
    journal_read_start(r->journal, &x.r);
    assert_false(x.done);
    test_env_run_until(r->env, &x.done);
    *ret_data = x.r.data;
    return x.r.err;
}

void
jr_assert_piece(struct journal_rig *r, struct journal_loc loc, const void *bytes, size_t len)
{
    struct c2_blob *data;
    assert_int_equal(jr_read_piece(r, loc, &data), C2_E_OK);
    assert_int_equal(data->len, len);
    assert_memory_equal(data->data, bytes, len);
    c2_blob_unref(data);
}

struct journal_stats
jr_stats(const struct journal_rig *r)
{
    struct journal_stats s;
    journal_stats(r->journal, &s);
    return s;
}

/* ---- files ----------------------------------------------------------------------------------- */

char *
jr_segment_path(const struct journal_rig *r, uint64_t id)
{
    return journal_segment_path(r->config.dir, id);
}

bool
jr_segment_exists(const struct journal_rig *r, uint64_t id)
{
    char *path = jr_segment_path(r, id);
    bool exists = test_disk_exists(path);
    c2_free(path);
    return exists;
}

struct c2_buf
jr_segment_read(const struct journal_rig *r, uint64_t id)
{
    struct c2_buf b = { 0 };
    char *path = jr_segment_path(r, id);
    FILE *f = fopen(path, "rbe");
    assert_non_null(f);
    for (int c = getc(f); c != EOF; c = getc(f)) {
        uint8_t byte = (uint8_t)c;
        c2_buf_append(&b, &byte, 1);
    }
    fclose(f);
    c2_free(path);
    return b;
}

void
jr_segment_write(const struct journal_rig *r, uint64_t id, const void *data, size_t len)
{
    char *path = jr_segment_path(r, id);
    test_disk_write_file(path, data, len);
    c2_free(path);
}

void
jr_segment_flip(const struct journal_rig *r, uint64_t id, size_t at)
{
    struct c2_buf b = jr_segment_read(r, id);
    assert_true(at < b.len);
    b.data[at] ^= 0x10;
    jr_segment_write(r, id, b.data, b.len);
    c2_buf_done(&b);
}

void
jr_fill(uint8_t *out, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(seed + i * 7 + i / 251);
}

enum c2_err
jr_fail_verb(void *arg, const struct c2_disk_req *q)
{
    const struct c2_disk_req *want = arg;
    return q->verb == want->verb ? want->err : C2_E_OK;
}

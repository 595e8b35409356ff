/* SPDX-License-Identifier: MIT */
/*
 * c2fsctl fsck of a mounted volume. The answer's body: bytes (a list of counters), bytes (a line of
 * text for each problem, as far as they fit), bytes (the damaged files, fs_fsck_damage_encode, as
 * far as they fit), bytes (the mount point).
 */
#include <string.h>

#include "base/alloc.h"
#include "fs/wire_up_impl.h"

#define TEXT_MAX    (CTL_ANSWER_MAX / 2)
#define DAMAGED_MAX (CTL_ANSWER_MAX / 4)
#define PROGRESS_NS (500 * C2_NS_PER_MS)

struct wire_fsck {
    struct wire *w;
    struct ctl_call *call;
    struct fs_fsck fsck;
    struct c2_buf text, damaged;
    struct c2_timer tick;
    bool canceled;
};

static void
add_counts(const struct fs_fsck_counts *c, struct c2_buf *out)
{
    ctl_counter_add(out, "inodes", c->inodes);
    ctl_counter_add(out, "entries", c->entries);
    ctl_counter_add(out, "folders", c->folders);
    ctl_counter_add(out, "open_orphans", c->open_orphans);
    ctl_counter_add(out, "garbage", c->garbage);
    ctl_counter_add(out, "objects", c->objects);
    ctl_counter_add(out, "dead", c->dead);
    ctl_counter_add(out, "condemned", c->condemned);
    ctl_counter_add(out, "problems", c->problems);
    ctl_counter_add(out, "repaired", c->repaired);
    ctl_counter_add(out, "lost", c->lost);
    ctl_counter_add(out, "damaged", c->damaged);
    ctl_counter_add(out, "aside", c->aside);
    ctl_counter_add(out, "unknown", c->unknown);
    ctl_counter_add(out, "verified", c->verified);
    ctl_counter_add(out, "shares_bad", c->shares_bad);
    ctl_counter_add(out, "shares_unknown", c->shares_unknown);
    ctl_counter_add(out, "bytes", c->bytes);
}

static void
found(struct fs_fsck *k, const char *text)
{
    struct wire_fsck *x = k->priv;
    if (x->text.len + strlen(text) < TEXT_MAX) {
        c2_buf_puts(&x->text, text);
        c2_buf_puts(&x->text, "\n");
    }
}

static void
damaged(struct fs_fsck *k, const struct fs_fsck_damage *d)
{
    struct wire_fsck *x = k->priv;
    size_t before = x->damaged.len;
    fs_fsck_damage_encode(d, &x->damaged);
    if (x->damaged.len > DAMAGED_MAX)
        x->damaged.len = before;
}

static const char *
why(enum c2_err err)
{
    if (err == C2_E_CANCELED)
        return "the mount is ending";
    if (err == C2_E_BUSY)
        return "too much is being written: uploads cannot wait until everything was looked at\n"
               "hint: try again when the mount is quiet, or without the mount";
    return c2_err_text(err);
}

static void
ended(struct fs_fsck *k)
{
    struct wire_fsck *x = k->priv;
    struct wire *w = x->w;
    struct c2_buf counters = { 0 }, body = { 0 };
    add_counts(&k->counts, &counters);
    c2_wr_bytes(&body, c2_buf_slice(&counters));
    c2_wr_bytes(&body, c2_buf_slice(&x->text));
    c2_wr_bytes(&body, c2_buf_slice(&x->damaged));
    c2_wr_bytes(&body, c2_slice_str(w->mountpoint));
    c2_timer_stop(w->env, &x->tick);
    w->fsck = NULL;
    ctl_result(x->call, k->err, k->err == C2_E_OK ? NULL : why(k->err), c2_buf_slice(&body));
    c2_buf_done(&counters);
    c2_buf_done(&body);
    c2_buf_done(&x->text);
    c2_buf_done(&x->damaged);
    c2_free(x);
}

static void
tell_progress(struct c2_timer *t)
{
    struct wire_fsck *x = C2_CONTAINER_OF(t, struct wire_fsck, tick);
    const struct fs_fsck_counts *c = &x->fsck.counts;
    if (ctl_client_is_gone(x->call)) { /* commits wait while it looks, and nobody wants to know */
        x->canceled = true;
        fs_fsck_cancel(&x->fsck);
        return;
    }
    ctl_progress(x->call, c->inodes + c->entries + c->verified, c->bytes);
    c2_timer_arm(x->w->env, t, c2_now_ns(x->w->env) + PROGRESS_NS);
}

void
wire_fsck_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    const struct c2_slice none = { 0 };
    bool repair = c2_slice_equal(q->text, c2_slice_str("repair"));
    if (w->state != WIRE_SERVING || w->fsck != NULL) {
        ctl_result(call, w->fsck != NULL ? C2_E_BUSY : C2_E_NOT_MOUNTED,
                   w->fsck != NULL ? "another fsck is at work\n"
                                     "hint: it ends with the command that has started it"
                                   : "the mount is ending",
                   none);
        return;
    }
    if (repair && (w->read_only || w->fs->fenced)) {
        ctl_result(call, C2_E_READ_ONLY, "the mount is read-only, nothing can be repaired", none);
        return;
    }
    struct wire_fsck *x = c2_calloc(1, sizeof(*x));
    x->w = w;
    x->call = call;
    x->tick.fire = tell_progress;
    x->fsck = (struct fs_fsck){ .env = w->env,
                                .coord = w->volume->coord,
                                .keys = w->volume->keys,
                                .ds = w->volume->ds,
                                .fs = w->fs,
                                .repair = repair,
                                .deep = c2_slice_equal(q->text2, c2_slice_str("deep")),
                                .found = found,
                                .damaged = damaged,
                                .done = ended,
                                .priv = x };
    w->fsck = x;
    tell_progress(&x->tick);
    fs_fsck_start(&x->fsck);
}

bool
wire_fsck_ended(struct wire *w)
{
    struct wire_fsck *x = w->fsck;
    if (x == NULL)
        return true;
    if (!x->canceled) {
        x->canceled = true;
        fs_fsck_cancel(&x->fsck); /* may end it at once */
    }
    return w->fsck == NULL;
}

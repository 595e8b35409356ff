/* SPDX-License-Identifier: MIT */
/*
 * c2fsctl verify: a request names some inodes, the answer has a verdict for each.
 */
#include "base/alloc.h"
#include "base/wire.h"
#include "fs/file_check.h"
#include "fs/wire_up_impl.h"

#define PROGRESS_NS (500 * C2_NS_PER_MS)

struct wire_verify {
    struct wire *w;
    struct c2_link link; /* in w->verifies */
    struct ctl_call *call;
    struct fs_file_check check;
    uint64_t inos[CTL_VERIFY_FILES];
    enum ctl_verdict verdict[CTL_VERIFY_FILES];
    struct c2_timer tick;
    bool canceled;
};

static void
ended(struct fs_file_check *c)
{
    struct wire_verify *x = c->priv;
    struct wire *w = x->w;
    struct c2_buf body = { 0 }, name = { 0 };
    for (size_t n = 0; n < c->n; n++) {
        c2_buf_clear(&name);
        c2_buf_printf(&name, "%llu", (unsigned long long)c->inos[n]);
        ctl_counter_add(&body, c2_buf_cstr(&name), x->verdict[n]);
    }
    ctl_counter_add(&body, "objects", c->objects);
    ctl_counter_add(&body, "bytes", c->bytes);
    ctl_counter_add(&body, "shares_bad", c->shares_bad);
    ctl_counter_add(&body, "shares_unknown", c->shares_unknown);
    c2_timer_stop(w->env, &x->tick);
    c2_list_remove(&w->verifies, &x->link);
    ctl_result(x->call, c->err,
               c->err == C2_E_OK         ? NULL
               : c->err == C2_E_CANCELED ? "the mount is ending"
                                         : c2_err_text(c->err),
               c2_buf_slice(&body));
    c2_buf_done(&name);
    c2_buf_done(&body);
    c2_free(x);
}

static void
tell_progress(struct c2_timer *t)
{
    struct wire_verify *x = C2_CONTAINER_OF(t, struct wire_verify, tick);
    if (ctl_client_is_gone(x->call)) { /* what it reads costs money */
        x->canceled = true;
        fs_file_check_cancel(&x->check);
        return;
    }
    ctl_progress(x->call, x->check.objects, x->check.bytes);
    c2_timer_arm(x->w->env, t, c2_now_ns(x->w->env) + PROGRESS_NS);
}

void
wire_verify_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    const struct c2_slice none = { 0 };
    size_t n = q->text.len / sizeof(uint64_t);
    if (w->state != WIRE_SERVING) {
        ctl_result(call, C2_E_NOT_MOUNTED, "the mount is ending", none);
        return;
    }
    if (n == 0 || n > CTL_VERIFY_FILES || q->text.len % sizeof(uint64_t) != 0) {
        ctl_result(call, C2_E_INVALID, "no list of inodes", none);
        return;
    }
    struct wire_verify *x = c2_calloc(1, sizeof(*x));
    x->w = w;
    x->call = call;
    x->tick.fire = tell_progress;
    for (size_t k = 0; k < n; k++)
        x->inos[k] = c2_get_u64(q->text.data + k * sizeof(uint64_t));
    x->check = (struct fs_file_check){
        .fs = w->fs, .inos = x->inos, .n = n, .verdict = x->verdict, .done = ended, .priv = x
    };
    c2_list_append(&w->verifies, &x->link);
    tell_progress(&x->tick);
    fs_file_check_start(&x->check);
}

bool
wire_verify_ended(struct wire *w)
{
    C2_LIST_FOREACH (&w->verifies, struct wire_verify, x, link) {
        if (x->canceled)
            continue;
        x->canceled = true;
        fs_file_check_cancel(&x->check); /* may end it at once */
    }
    return c2_list_empty(&w->verifies);
}

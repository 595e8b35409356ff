/* SPDX-License-Identifier: MIT */
/*
 * The probe: a table of moves, made one after the other.
 *
 *   start --> move --> judge --> move --> ... --> end --> done
 *
 * A move that does not turn out as it must fails its check; the check's other moves are left out,
 * the other checks still run. Without a first object nothing else makes sense, and behind the
 * deadline nothing is started any more. Keys look like the ones C2FS uses, so that a provider is
 * not refused for what it will never be asked.
 */
#include "backends/registry.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_NS   (60 * C2_NS_PER_S)
#define SKEW_MAX_NS   ((int64_t)(60 * C2_NS_PER_S))
#define BODY_LEN      1000
#define NKEYS         6
#define NAME_MAX_LEN  8
#define KEY_LEN       (PROV_PROBE_PREFIX_MAX + 64)
#define PAGES_MAX     (2 * NKEYS)
#define SAMPLES_MAX   16
#define REPLY_LEN_MAX (64u * 1024) /* so that a longer answer than BODY_LEN is noticed as such */

static const char *const key_names[NKEYS] = { "00", "01", "02/00", "02/01", "03", "04" };

/* Which of the two bodies; NONE where a move has none to send or to compare with. */
enum { BODY_NONE, BODY_A, BODY_B };

struct move {
    enum prov_check check;
    enum prov_verb verb;
    unsigned key; /* index of key_names */
    unsigned body;
    bool if_absent;
    uint64_t offset, len;
    enum c2_err want;
    unsigned nlisted; /* LIST: how many of the keys must be there */
    size_t page;      /* LIST */
};

#define EVERYTHING 1000

static const struct move moves[] = {
    { PROV_CHECK_PUT, PROV_PUT, .key = 0, .body = BODY_A },
    { PROV_CHECK_PUT, PROV_PUT, .key = 1, .body = BODY_A },
    { PROV_CHECK_PUT, PROV_PUT, .key = 2, .body = BODY_A },
    { PROV_CHECK_PUT, PROV_PUT, .key = 3, .body = BODY_A },
    { PROV_CHECK_PUT, PROV_PUT, .key = 4, .body = BODY_A },
    { PROV_CHECK_GET, PROV_GET, .key = 0, .body = BODY_A },
    { PROV_CHECK_RANGE, PROV_GET, .key = 0, .body = BODY_A, .offset = 10, .len = 20 },
    { PROV_CHECK_RANGE, PROV_GET, .key = 0, .body = BODY_A, .offset = 990, .len = 100 },
    { PROV_CHECK_RANGE, PROV_GET, .key = 0, .offset = BODY_LEN, .len = 10, .want = C2_E_RANGE },
    { PROV_CHECK_HEAD, PROV_HEAD, .key = 0 },
    { PROV_CHECK_OVERWRITE, PROV_PUT, .key = 1, .body = BODY_B },
    { PROV_CHECK_OVERWRITE, PROV_GET, .key = 1, .body = BODY_B },
    { PROV_CHECK_IF_ABSENT, PROV_PUT, .key = 5, .body = BODY_A, .if_absent = true },
    { PROV_CHECK_IF_ABSENT, PROV_PUT, .key = 5, .body = BODY_B, .if_absent = true,
      .want = C2_E_EXISTS },
    { PROV_CHECK_IF_ABSENT_GUARD, PROV_GET, .key = 5, .body = BODY_A },
    { PROV_CHECK_LIST, PROV_LIST, .nlisted = NKEYS, .page = EVERYTHING },
    { PROV_CHECK_LIST_PAGING, PROV_LIST, .nlisted = NKEYS, .page = 2 },
    { PROV_CHECK_DELETE, PROV_DELETE, .key = 0 },
    { PROV_CHECK_DELETE, PROV_DELETE, .key = 0 },
    { PROV_CHECK_DELETE, PROV_DELETE_MANY, .key = 0 },
    { PROV_CHECK_NOT_FOUND, PROV_GET, .key = 0, .want = C2_E_NOT_FOUND },
    { PROV_CHECK_NOT_FOUND, PROV_HEAD, .key = 1, .want = C2_E_NOT_FOUND },
    { PROV_CHECK_LIST_AFTER_DELETE, PROV_LIST, .nlisted = 0, .page = EVERYTHING },
};

static const struct {
    const char *name, *title;
    bool required;
} about[PROV_CHECK_COUNT] = {
    [PROV_CHECK_PUT] = { "put", "write objects", true },
    [PROV_CHECK_GET] = { "get", "read an object back", true },
    [PROV_CHECK_RANGE] = { "range", "read parts of an object", true },
    [PROV_CHECK_HEAD] = { "head", "ask for an object's size", true },
    [PROV_CHECK_OVERWRITE] = { "overwrite", "replace an object and read the new one", true },
    [PROV_CHECK_IF_ABSENT] = { "if_absent", "refuse to create a key twice", false },
    [PROV_CHECK_IF_ABSENT_GUARD] = { "if_absent_guard", "keep the object that was there", false },
    [PROV_CHECK_LIST] = { "list", "list what was just written, in order", true },
    [PROV_CHECK_LIST_PAGING] = { "list_paging", "list in pages", true },
    [PROV_CHECK_DELETE] = { "delete", "delete, singly and many at once", true },
    [PROV_CHECK_NOT_FOUND] = { "not_found", "say plainly that a key is not there", true },
    [PROV_CHECK_LIST_AFTER_DELETE] = { "list_after_delete", "no longer list what was deleted",
                                       false },
    [PROV_CHECK_CLOCK] = { "clock", "agree with this machine on the time", false },
};

struct probe {
    struct prov_probe *p; /* the caller's */
    struct c2_env *env;
    struct prov_req r;
    size_t move;
    bool canceled;
    struct c2_task task; /* the first move, so that done never runs inside start */
    struct c2_blob *body[3];
    char base[KEY_LEN]; /* "prefix/probe/0123456789abcdef/" */
    char key[NKEYS][KEY_LEN + NAME_MAX_LEN];
    const char *doomed[NKEYS];
    char after[PROV_KEY_MAX + 1]; /* paging: the last key so far */
    unsigned nlisted, npages;
    uint64_t sent_ns;
    uint64_t put_ns[SAMPLES_MAX], get_ns[SAMPLES_MAX];
    size_t nput, nget;
};

static void next(struct probe *s);

/* ---- the end ---- */

static int
compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t
median(uint64_t *samples, size_t n)
{
    if (n == 0)
        return 0;
    qsort(samples, n, sizeof(samples[0]), compare_u64);
    return samples[n / 2];
}

static void
judge_clock(struct prov_probe *p)
{
    struct prov_probe_check *c = &p->checks[PROV_CHECK_CLOCK];
    c->ran = p->clock_known;
    if (llabs(p->clock_skew_ns) <= SKEW_MAX_NS)
        return;
    c->err = C2_E_CONFIG;
    snprintf(c->detail, sizeof(c->detail),
             "the cloud's clock is %" PRId64 " s %s ours: check that NTP runs here",
             (int64_t)llabs(p->clock_skew_ns) / (int64_t)C2_NS_PER_S,
             p->clock_skew_ns > 0 ? "ahead of" : "behind");
}

static void
finish(struct probe *s)
{
    struct prov_probe *p = s->p;
    judge_clock(p);
    p->latency_put_ns = median(s->put_ns, s->nput);
    p->latency_get_ns = median(s->get_ns, s->nget);
    p->err = C2_E_OK;
    for (unsigned i = 0; i < PROV_CHECK_COUNT && p->err == C2_E_OK; i++) {
        if (p->checks[i].required)
            p->err = p->checks[i].err;
    }
    if (s->canceled)
        p->err = C2_E_CANCELED;
    c2_blob_unref(s->body[BODY_A]);
    c2_blob_unref(s->body[BODY_B]);
    c2_free(s);
    p->private_state = NULL;
    p->done(p);
}

/* ---- judging a move ---- */

static void
fail(struct probe *s, enum c2_err err, const char *detail)
{
    struct prov_probe_check *c = &s->p->checks[moves[s->move].check];
    C2_ASSERT(err != C2_E_OK);
    c->err = err;
    snprintf(c->detail, sizeof(c->detail), "%s", detail);
}

static void
judge_get(struct probe *s, const struct move *m)
{
    uint64_t len = m->len > 0 ? C2_MIN(m->len, BODY_LEN - m->offset) : BODY_LEN;
    struct c2_slice want = c2_slice(s->body[m->body]->data + m->offset, (size_t)len);
    if (!c2_slice_equal(c2_blob_slice(s->r.reply), want))
        fail(s, C2_E_CORRUPT, "other bytes came back than were written");
}

/* One page; true when another one must be asked for. */
static bool
judge_list(struct probe *s, const struct move *m)
{
    for (size_t i = 0; i < s->r.nentries; i++) {
        const struct prov_list_entry *e = &s->r.entries[i];
        bool expected = s->nlisted < m->nlisted && strcmp(e->key, s->key[s->nlisted]) == 0;
        if (!expected || e->size != BODY_LEN) {
            fail(s, C2_E_PROTOCOL,
                 m->nlisted == 0 ? "a deleted key is still listed"
                                 : "the list is not what was written, in byte order");
            return false;
        }
        snprintf(s->after, sizeof(s->after), "%s", e->key);
        s->nlisted++;
    }
    if (s->r.truncated && s->r.nentries > 0 && ++s->npages < PAGES_MAX)
        return true;
    if (s->nlisted != m->nlisted || s->r.truncated)
        fail(s, C2_E_PROTOCOL, "the list lacks keys that were just written");
    return false;
}

/* Layers copy the capabilities when they are built; the bottom learns. */
static bool
has_if_absent(const struct provider *p)
{
    while (p->inner != NULL)
        p = p->inner;
    return (p->caps & PROV_CAP_IF_ABSENT) != 0;
}

static void
judge_error(struct probe *s, const struct move *m)
{
    if (m->want == C2_E_EXISTS && s->r.err == C2_E_OK)
        fail(s, C2_E_UNSUPPORTED,
             "a conditional write replaced the object: two writers that create "
             "the same key do not notice each other");
    else if (s->r.err == C2_E_OK)
        fail(s, C2_E_PROTOCOL, "the cloud accepted what it should have refused");
    else
        fail(s, s->r.err, s->r.detail[0] != '\0' ? s->r.detail : c2_err_text(s->r.err));
}

static bool
judge(struct probe *s, const struct move *m)
{
    s->p->checks[m->check].ran = true;
    if (s->r.err != m->want)
        judge_error(s, m);
    else if (m->want == C2_E_EXISTS && !has_if_absent(s->p->provider))
        fail(s, C2_E_UNSUPPORTED,
             "no conditional writes here: asking first leaves a gap in which "
             "two writers can create the same key");
    else if (m->want != C2_E_OK)
        return false;
    else if (m->verb == PROV_GET)
        judge_get(s, m);
    else if (m->verb == PROV_LIST)
        return judge_list(s, m);
    else if (m->verb == PROV_HEAD && s->r.size != BODY_LEN)
        fail(s, C2_E_PROTOCOL, "the size is not the one that was written");
    return false;
}

static void
take_measures(struct probe *s, const struct move *m)
{
    struct prov_probe *p = s->p;
    uint64_t now_ns = c2_now_ns(s->env);
    if (s->r.err == C2_E_OK && m->verb == PROV_PUT && s->nput < SAMPLES_MAX)
        s->put_ns[s->nput++] = now_ns - s->sent_ns;
    if (s->r.err == C2_E_OK && m->verb == PROV_GET && s->nget < SAMPLES_MAX)
        s->get_ns[s->nget++] = now_ns - s->sent_ns;
    if (s->r.server_wall_ns != 0 && !p->clock_known) {
        /* HTTP's Date has whole seconds: half of one is the best guess for the rest. */
        bool whole = s->r.server_wall_ns % C2_NS_PER_S == 0;
        uint64_t cloud_ns = s->r.server_wall_ns + (whole ? C2_NS_PER_S / 2 : 0);
        p->clock_known = true;
        p->clock_skew_ns = (int64_t)(cloud_ns - c2_wall_ns(s->env));
    }
}

static void
moved(struct prov_req *r)
{
    struct probe *s = C2_CONTAINER_OF(r, struct probe, r);
    const struct move *m = &moves[s->move];
    if (s->canceled) {
        prov_req_done(&s->r);
        finish(s);
        return;
    }
    take_measures(s, m);
    bool again = judge(s, m);
    prov_req_done(&s->r);
    if (!again) {
        s->move++;
        s->nlisted = s->npages = 0;
        s->after[0] = '\0';
    }
    next(s);
}

/* ---- making a move ---- */

static void
submit(struct probe *s, const struct move *m)
{
    s->r = (struct prov_req){
        .verb = m->verb,
        .key = m->verb == PROV_LIST ? s->base : s->key[m->key],
        .deadline_ns = s->p->deadline_ns,
        .body = m->verb == PROV_PUT ? s->body[m->body] : NULL,
        .if_absent = m->if_absent,
        .offset = m->offset,
        .len = m->len,
        .body_len_max = REPLY_LEN_MAX,
        .list_after = s->after[0] != '\0' ? s->after : NULL,
        .list_max = m->verb == PROV_LIST ? m->page : 0,
        .done = moved,
    };
    if (m->verb == PROV_DELETE_MANY) {
        s->r.keys = s->doomed;
        s->r.nkeys = NKEYS;
    }
    s->sent_ns = c2_now_ns(s->env);
    prov_submit(s->p->provider, &s->r);
}

static bool
is_left_out(const struct probe *s, const struct move *m)
{
    const struct prov_probe_check *checks = s->p->checks;
    if (checks[m->check].err != C2_E_OK)
        return true;
    /* Without a conditional write there is nothing to guard. */
    return m->check == PROV_CHECK_IF_ABSENT_GUARD && checks[PROV_CHECK_IF_ABSENT].err != C2_E_OK;
}

static void
next(struct probe *s)
{
    bool nothing_there = s->p->checks[PROV_CHECK_PUT].err != C2_E_OK && s->nput == 0;
    bool late = c2_now_ns(s->env) >= s->p->deadline_ns;
    while (s->move < C2_ARRAY_LEN(moves) && is_left_out(s, &moves[s->move]))
        s->move++;
    if (s->move == C2_ARRAY_LEN(moves) || nothing_there || s->canceled) {
        finish(s);
    } else if (late) {
        s->p->checks[moves[s->move].check].ran = true;
        fail(s, C2_E_TIMEOUT, "the probe took too long");
        finish(s);
    } else {
        submit(s, &moves[s->move]);
    }
}

static void
begin(struct c2_task *t)
{
    next(C2_CONTAINER_OF(t, struct probe, task));
}

static void
build_keys(struct probe *s, const char *prefix)
{
    uint8_t random[8];
    char hex[2 * sizeof(random) + 1];
    c2_random(s->env, random, sizeof(random));
    c2_hex_encode(random, sizeof(random), hex);
    snprintf(s->base, sizeof(s->base), "%.*s%sprobe/%s/", PROV_PROBE_PREFIX_MAX, prefix,
             prefix[0] != '\0' ? "/" : "", hex);
    for (size_t i = 0; i < NKEYS; i++) {
        snprintf(s->key[i], sizeof(s->key[i]), "%s%.*s", s->base, NAME_MAX_LEN, key_names[i]);
        s->doomed[i] = s->key[i];
    }
}

void
prov_probe_start(struct prov_probe *p)
{
    C2_ASSERT(p->private_state == NULL && p->done != NULL && p->provider != NULL);
    C2_ASSERT(strlen(p->key_prefix) <= PROV_PROBE_PREFIX_MAX);
    struct probe *s = c2_calloc(1, sizeof(*s));
    s->p = p;
    s->env = p->provider->env;
    s->task.run = begin;
    build_keys(s, p->key_prefix);
    for (unsigned i = BODY_A; i <= BODY_B; i++) {
        s->body[i] = c2_blob_new(BODY_LEN);
        c2_random(s->env, s->body[i]->data, BODY_LEN);
    }
    memset(p->checks, 0, sizeof(p->checks));
    for (unsigned i = 0; i < PROV_CHECK_COUNT; i++) {
        p->checks[i].name = about[i].name;
        p->checks[i].title = about[i].title;
        p->checks[i].required = about[i].required;
    }
    p->err = C2_E_OK;
    p->clock_known = false;
    p->clock_skew_ns = 0;
    if (p->deadline_ns == C2_NEVER)
        p->deadline_ns = c2_now_ns(s->env) + DEADLINE_NS;
    p->private_state = s;
    c2_defer(s->env, &s->task);
}

const char *
prov_probe_reason(const struct prov_probe *p)
{
    for (unsigned k = 0; k < PROV_CHECK_COUNT; k++) {
        const struct prov_probe_check *c = &p->checks[k];
        if (c->required && c->ran && c->err != C2_E_OK)
            return c->detail;
    }
    return c2_err_text(p->err);
}

void
prov_probe_cancel(struct prov_probe *p)
{
    struct probe *s = p->private_state;
    C2_ASSERT(s != NULL);
    s->canceled = true;
    if (s->r.depth > 0)
        prov_cancel(p->provider, &s->r);
}

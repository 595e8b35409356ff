/* SPDX-License-Identifier: MIT */
/*
 * The long probe: one line after the other, each with requests that block.
 *
 * A line fails with the first answer that is not what it must be, and the others still run. Behind
 * the deadline of all of it requests fail at once, so it ends whatever the provider does.
 */
#include "tools/provider_full.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_loop.h"
#include "base/str.h"

#define DEADLINE_NS  (300 * C2_NS_PER_S)
#define OBJECTS      20u
#define SMALL_BYTES  4096u
#define RANGED_BYTES (200u << 10)
#define PAGE         7u
#define RACES        5u
#define RACERS       8u
#define KEY_LEN      96
#define REPLY_MAX    (1u << 20) /* so that a longer answer than expected is noticed as such */

/* Names as C2FS has them, the kind whose order goes wrong: a folder sorts with its slash. */
static const char *const names[OBJECTS] = { "-0",  "-a", "0",   "0-",  "0-a", "00",   "000",
                                            "00a", "0a", "1-0", "1/-", "1/0", "1/00", "1/a",
                                            "10",  "1a", "a",   "a-",  "a0",  "aa" };

static const struct {
    const char *name, *title;
    bool required;
} about[FULL_COUNT] = {
    [FULL_READ_AFTER_WRITE] = { "read_after_write",
                                "read each of 20 objects right after writing it", true },
    [FULL_LIST_AFTER_WRITE] = { "list_after_write", "list each of them right after writing it",
                                true },
    [FULL_READ_AFTER_REPLACE] = { "read_after_replace", "read what replaced an object, 20 times",
                                  true },
    [FULL_LIST_ORDER] = { "list_order", "list in byte order, in pages, from any key on", true },
    [FULL_RANGES] = { "ranges", "read first, last and inner bytes of an object", true },
    [FULL_CREATE_RACE] = { "create_race", "let one of 8 writers create a key", false },
    [FULL_DELETE_MANY] = { "delete_many", "delete 20 objects and an absent one at once", true },
    [FULL_READ_AFTER_DELETE] = { "read_after_delete", "neither read nor list what was deleted",
                                 false },
    [FULL_MD5] = { "checksum_md5", "refuse a body that its Content-MD5 does not match", false },
    [FULL_SHA256] = { "checksum_sha256",
                      "refuse a body that its x-amz-checksum-sha256 does not match", false },
    [FULL_PAYLOAD] = { "checksum_signed", "refuse a body that is not the signed one", false },
    [FULL_TLS] = { "tls", "show a certificate that verifies, by TLS 1.2 or 1.3", true },
    [FULL_TLS_NOBODY] = { "tls_unknown_ca", "be refused when nobody vouches for its certificate",
                          true },
    [FULL_TLS_OTHER_HOST] = { "tls_other_host", "be refused under another host's name", true },
    [FULL_REDIRECT] = { "redirect", "not send us elsewhere (we would not go)", false },
};

struct run {
    struct c2_os *os;
    struct c2_env *env;
    struct provider *p;
    struct provider_full *f; /* the caller's */
    uint64_t deadline_ns;
    char base[KEY_LEN / 2]; /* "v1/probe/full-0123456789abcdef/" */
    char key[OBJECTS][KEY_LEN];
    struct c2_blob *body[OBJECTS];
    uint64_t put_ns[OBJECTS], get_ns[OBJECTS];
    unsigned nput, nget;
};

/* ---- requests -------------------------------------------------------------------------------- */

struct call {
    struct prov_req r;
    bool done;
};

static void
call_done(struct prov_req *r)
{
    C2_CONTAINER_OF(r, struct call, r)->done = true;
}

static void
submit(struct run *x, struct call *c, const struct prov_req *r)
{
    c->r = *r;
    c->done = false;
    c->r.deadline_ns = x->deadline_ns;
    c->r.done = call_done;
    if (r->verb == PROV_GET)
        c->r.body_len_max = C2_MAX(r->body_len_max, (size_t)REPLY_MAX);
    prov_submit(x->p, &c->r);
}

/* The caller ends it with prov_req_done(&c->r). */
static enum c2_err
call(struct run *x, struct call *c, const struct prov_req *r)
{
    submit(x, c, r);
    c2_os_run_until(x->os, &c->done);
    return c->r.err;
}

static void
wrong(struct run *x, enum full_check line, enum c2_err err, const char *detail)
{
    struct prov_probe_check *c = &x->f->line[line];
    C2_ASSERT(err != C2_E_OK);
    if (c->err != C2_E_OK)
        return; /* the first one tells */
    c->err = err;
    (void)snprintf(c->detail, sizeof(c->detail), "%s", detail);
}

/* True when a request ended as it had to; else the line has failed. */
static bool
as_wanted(struct run *x, enum full_check line, const struct prov_req *r, enum c2_err want)
{
    x->f->line[line].ran = true;
    if (r->err == want)
        return true;
    if (r->err == C2_E_OK)
        wrong(x, line, C2_E_PROTOCOL, "the cloud accepted what it should have refused");
    else
        wrong(x, line, r->err, r->detail[0] != '\0' ? r->detail : c2_err_text(r->err));
    return false;
}

static bool
put(struct run *x, enum full_check line, const char *key, struct c2_blob *body)
{
    struct call c;
    (void)call(x, &c, &(struct prov_req){ .verb = PROV_PUT, .key = key, .body = body });
    bool good = as_wanted(x, line, &c.r, C2_E_OK);
    prov_req_done(&c.r);
    return good;
}

/* `want`: the bytes; NULL = there must be nothing. */
static bool
get(struct run *x, enum full_check line, const char *key, const struct c2_blob *want)
{
    struct call c;
    (void)call(x, &c, &(struct prov_req){ .verb = PROV_GET, .key = key });
    bool good = as_wanted(x, line, &c.r, want != NULL ? C2_E_OK : C2_E_NOT_FOUND);
    if (good && want != NULL && !c2_slice_equal(c2_blob_slice(c.r.reply), c2_blob_slice(want))) {
        wrong(x, line, C2_E_CORRUPT, "other bytes came back than were written last");
        good = false;
    }
    prov_req_done(&c.r);
    return good;
}

/* ---- objects, lists, deletion ---------------------------------------------------------------- */

/* Keys from `first` on, in pages; all of those must come, and nothing else. */
static bool
list(struct run *x, enum full_check line, const bool there[OBJECTS], unsigned first, size_t page)
{
    unsigned at = first;
    for (bool more = true; more;) {
        struct call c;
        (void)call(x, &c,
                   &(struct prov_req){ .verb = PROV_LIST,
                                       .key = x->base,
                                       .list_after = at > 0 ? x->key[at - 1] : NULL,
                                       .list_max = page });
        bool good = as_wanted(x, line, &c.r, C2_E_OK);
        more = good && c.r.truncated && c.r.nentries > 0;
        for (size_t i = 0; good && i < c.r.nentries; i++) {
            while (at < OBJECTS && !there[at])
                at++;
            good = at < OBJECTS && strcmp(c.r.entries[i].key, x->key[at]) == 0 &&
                   c.r.entries[i].size == SMALL_BYTES;
            at++;
        }
        prov_req_done(&c.r);
        if (!good) {
            wrong(x, line, C2_E_PROTOCOL, "the list is not what is stored, in byte order");
            return false;
        }
    }
    while (at < OBJECTS && !there[at])
        at++;
    if (at < OBJECTS)
        wrong(x, line, C2_E_PROTOCOL, "the list lacks an object that is stored");
    return at >= OBJECTS;
}

static void
write_and_look(struct run *x)
{
    bool there[OBJECTS] = { false };
    for (unsigned i = 0; i < OBJECTS; i++) {
        unsigned k = i * 7 % OBJECTS; /* not in their order */
        uint64_t begin = c2_now_ns(x->env);
        if (!put(x, FULL_READ_AFTER_WRITE, x->key[k], x->body[k]))
            return;
        there[k] = true;
        x->put_ns[x->nput++] = c2_now_ns(x->env) - begin;
        begin = c2_now_ns(x->env);
        if (get(x, FULL_READ_AFTER_WRITE, x->key[k], x->body[k]))
            x->get_ns[x->nget++] = c2_now_ns(x->env) - begin;
        (void)list(x, FULL_LIST_AFTER_WRITE, there, 0, PROV_LIST_MAX);
    }
    for (unsigned i = 0; i < OBJECTS; i++) { /* the last one is put back */
        struct c2_blob *other = x->body[(i + 1) % OBJECTS];
        const char *key = x->key[0];
        if (!put(x, FULL_READ_AFTER_REPLACE, key, other) ||
            !get(x, FULL_READ_AFTER_REPLACE, key, other))
            break;
    }
    for (unsigned first = 0; first < OBJECTS; first += 3)
        (void)list(x, FULL_LIST_ORDER, there, first, PAGE);
}

static void
delete_and_look(struct run *x)
{
    static const bool nothing_there[OBJECTS];
    const char *doomed[OBJECTS + 1];
    char absent[KEY_LEN];
    struct call c;
    for (unsigned i = 0; i < OBJECTS; i++)
        doomed[i] = x->key[i];
    (void)snprintf(absent, sizeof(absent), "%sff", x->base);
    doomed[OBJECTS] = absent;
    (void)call(
        x, &c,
        &(struct prov_req){ .verb = PROV_DELETE_MANY, .keys = doomed, .nkeys = OBJECTS + 1 });
    bool good = as_wanted(x, FULL_DELETE_MANY, &c.r, C2_E_OK);
    prov_req_done(&c.r);
    if (!good)
        return;
    for (unsigned i = 0; i < OBJECTS; i++)
        (void)get(x, FULL_READ_AFTER_DELETE, x->key[i], NULL);
    (void)list(x, FULL_READ_AFTER_DELETE, nothing_there, 0, PROV_LIST_MAX);
}

static void
erase(struct run *x, const char *key)
{
    struct call c;
    (void)call(x, &c, &(struct prov_req){ .verb = PROV_DELETE, .key = key });
    prov_req_done(&c.r);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void
ranges(struct run *x)
{
    static const struct {
        uint64_t offset, len;
        enum c2_err want;
    } parts[] = {
        { 0, 1, C2_E_OK },
        { RANGED_BYTES - 1, 1, C2_E_OK },
        { 65535, 2, C2_E_OK },
        { 65536, 65536, C2_E_OK },
        { RANGED_BYTES - 10, 100, C2_E_OK },
        { 100000, 0, C2_E_OK },
        { RANGED_BYTES, 1, C2_E_RANGE },
        { RANGED_BYTES + 1000, 0, C2_E_RANGE },
    };
    char key[KEY_LEN];
    struct c2_blob *body = c2_blob_new(RANGED_BYTES);
    c2_random(x->env, body->data, body->len);
    (void)snprintf(key, sizeof(key), "%sranged", x->base);
    bool good = put(x, FULL_RANGES, key, body);
    for (size_t i = 0; good && i < C2_ARRAY_LEN(parts); i++) {
        struct call c;
        uint64_t offset = parts[i].offset;
        (void)call(x, &c,
                   &(struct prov_req){
                       .verb = PROV_GET, .key = key, .offset = offset, .len = parts[i].len });
        good = as_wanted(x, FULL_RANGES, &c.r, parts[i].want);
        if (good && parts[i].want == C2_E_OK) {
            uint64_t rest = RANGED_BYTES - offset;
            uint64_t len = parts[i].len > 0 ? C2_MIN(parts[i].len, rest) : rest;
            if (!c2_slice_equal(c2_blob_slice(c.r.reply),
                                c2_slice(body->data + offset, (size_t)len)))
                wrong(x, FULL_RANGES, C2_E_CORRUPT, "a range has other bytes than were written");
        }
        prov_req_done(&c.r);
    }
    erase(x, key);
    c2_blob_unref(body);
}

/* ---- conditional writes ---------------------------------------------------------------------- */

/* Layers copy the capabilities when they are built; the bottom learns. */
static unsigned
caps(const struct provider *p)
{
    while (p->inner != NULL)
        p = p->inner;
    return p->caps;
}

/* Which of the racers' bodies the key has; RACERS = none of them. */
static unsigned
holder(struct run *x, const char *key)
{
    struct call c;
    unsigned found = 0;
    enum c2_err err = call(x, &c, &(struct prov_req){ .verb = PROV_GET, .key = key });
    while (found < RACERS && (err != C2_E_OK || !c2_slice_equal(c2_blob_slice(c.r.reply),
                                                                c2_blob_slice(x->body[found]))))
        found++;
    prov_req_done(&c.r);
    return found;
}

static void
race(struct run *x, const char *key)
{
    struct call c[RACERS];
    unsigned winners = 0, winner = RACERS;
    for (unsigned i = 0; i < RACERS; i++)
        submit(x, &c[i],
               &(struct prov_req){
                   .verb = PROV_PUT, .key = key, .body = x->body[i], .if_absent = true });
    for (unsigned i = 0; i < RACERS; i++) {
        c2_os_run_until(x->os, &c[i].done);
        if (c[i].r.err == C2_E_OK) {
            winners++;
            winner = i;
        } else if (c[i].r.err != C2_E_EXISTS) {
            (void)as_wanted(x, FULL_CREATE_RACE, &c[i].r, C2_E_OK);
        }
        prov_req_done(&c[i].r);
    }
    unsigned has = holder(x, key);
    if (winners > 1)
        wrong(x, FULL_CREATE_RACE, C2_E_UNSUPPORTED, "several writers created the same key");
    else if (has == RACERS || (winners == 1 && has != winner))
        wrong(x, FULL_CREATE_RACE, C2_E_CORRUPT, "the key has not what its creator wrote");
}

static void
create_races(struct run *x)
{
    struct prov_probe_check *line = &x->f->line[FULL_CREATE_RACE];
    if ((caps(x->p) & PROV_CAP_IF_ABSENT) == 0)
        return;
    line->ran = true;
    for (unsigned i = 0; i < RACES && line->err == C2_E_OK; i++) {
        char key[KEY_LEN];
        (void)snprintf(key, sizeof(key), "%srace-%u", x->base, i);
        race(x, key);
        erase(x, key);
    }
}

/* ---- checksums ------------------------------------------------------------------------------- */

static void
checksum(struct run *x, enum full_check line, enum prov_tamper tamper)
{
    char key[KEY_LEN];
    struct call c;
    (void)snprintf(key, sizeof(key), "%schecksum-%u", x->base, (unsigned)line);
    if (!put(x, line, key, x->body[0]))
        return;
    enum c2_err err = call(
        x, &c,
        &(struct prov_req){ .verb = PROV_PUT, .key = key, .body = x->body[1], .tamper = tamper });
    if (err == C2_E_OK)
        wrong(x, line, C2_E_UNSUPPORTED,
              "it was stored: damage on the way shows only when it is read");
    else if (c2_err_class(err) == C2_CLASS_RETRY)
        (void)as_wanted(x, line, &c.r, C2_E_CORRUPT);
    prov_req_done(&c.r);
    if (x->f->line[line].err == C2_E_OK)
        (void)get(x, line, key, x->body[0]); /* what was there before is there */
    erase(x, key);
}

static void
checksums(struct run *x)
{
    if ((caps(x->p) & PROV_CAP_LOCAL) != 0)
        return;
    checksum(x, FULL_MD5, PROV_TAMPER_MD5);
    checksum(x, FULL_SHA256, PROV_TAMPER_SHA256);
    checksum(x, FULL_PAYLOAD, PROV_TAMPER_PAYLOAD);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

struct looking {
    struct prov_tls_look l;
    bool done;
};

static void
looked(struct prov_tls_look *l)
{
    C2_CONTAINER_OF(l, struct looking, l)->done = true;
}

static void
must_be_refused(struct run *x, enum full_check line, enum c2_err err, const char *believed)
{
    x->f->line[line].ran = true;
    if (err == C2_E_OK)
        wrong(x, line, C2_E_TLS, believed);
    else if (err != C2_E_TLS)
        wrong(x, line, err, c2_err_text(err));
}

static void
judge_tls(struct run *x, const struct prov_tls_look *l)
{
    struct prov_probe_check *tls = &x->f->line[FULL_TLS], *redirect = &x->f->line[FULL_REDIRECT];
    if (!l->network)
        return;
    if (l->err == C2_E_OK) {
        redirect->ran = true;
        if (l->status / 100 == 3)
            (void)snprintf(redirect->detail, sizeof(redirect->detail), "%u to %.100s, not followed",
                           l->status, l->location);
    }
    if (!l->tls) {
        (void)snprintf(tls->detail, sizeof(tls->detail),
                       "plain http:// to this machine or a trusted network: nothing is encrypted");
        return;
    }
    tls->ran = true;
    if (l->err != C2_E_OK) {
        wrong(x, FULL_TLS, l->err, l->detail);
        return;
    }
    (void)snprintf(x->f->tls, sizeof(x->f->tls), "%s", l->version);
    (void)snprintf(tls->detail, sizeof(tls->detail), "%s", l->version);
    must_be_refused(x, FULL_TLS_NOBODY, l->nobody, "a certificate that nobody vouches for passed");
    must_be_refused(x, FULL_TLS_OTHER_HOST, l->other_host,
                    "its certificate is good for any name: who made it?");
}

static void
look_at_tls(struct run *x, const struct c2_conf *conf, const char *name)
{
    struct looking k = { .l = { .done = looked } };
    enum c2_err err = prov_tls_look_start(x->env, x->os, conf, name, &k.l);
    if (err != C2_E_OK) {
        x->f->line[FULL_TLS].ran = true;
        wrong(x, FULL_TLS, err, c2_err_text(err));
        return;
    }
    c2_os_run_until(x->os, &k.done);
    judge_tls(x, &k.l);
}

/* ---- latency and speed ----------------------------------------------------------------------- */

static int
compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static struct full_latency
quantiles(uint64_t *samples, unsigned n)
{
    struct full_latency l = { .n = n };
    if (n == 0)
        return l;
    qsort(samples, n, sizeof(samples[0]), compare_u64);
    l.p50_ns = C2_MAX(samples[n / 2], 1);
    l.p95_ns = C2_MAX(samples[(n * 95 - 1) / 100], 1);
    return l;
}

/* How long it took, 0 when it failed. */
static uint64_t
timed(struct run *x, const struct prov_req *r)
{
    struct call c;
    uint64_t begin = c2_now_ns(x->env);
    bool good = call(x, &c, r) == C2_E_OK;
    prov_req_done(&c.r);
    return good ? C2_MAX(c2_now_ns(x->env) - begin, 1) : 0;
}

static void
speed(struct run *x)
{
    char key[KEY_LEN];
    struct c2_blob *body = c2_blob_new(FULL_SPEED_BYTES);
    c2_random(x->env, body->data, body->len);
    (void)snprintf(key, sizeof(key), "%sspeed", x->base);
    x->f->put_8mib_ns = timed(x, &(struct prov_req){ .verb = PROV_PUT, .key = key, .body = body });
    x->f->get_8mib_ns = timed(
        x, &(struct prov_req){ .verb = PROV_GET, .key = key, .body_len_max = FULL_SPEED_BYTES });
    erase(x, key);
    c2_blob_unref(body);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void
prepare(struct run *x)
{
    uint64_t id;
    c2_random(x->env, &id, sizeof(id));
    (void)snprintf(x->base, sizeof(x->base), "%s/probe/full-%016llx/", PROV_PROBE_PREFIX,
                   (unsigned long long)id);
    for (unsigned i = 0; i < OBJECTS; i++) {
        (void)snprintf(x->key[i], sizeof(x->key[i]), "%s%s", x->base, names[i]);
        x->body[i] = c2_blob_new(SMALL_BYTES);
        c2_random(x->env, x->body[i]->data, SMALL_BYTES);
    }
    for (unsigned i = 0; i < FULL_COUNT; i++) {
        x->f->line[i].name = about[i].name;
        x->f->line[i].title = about[i].title;
        x->f->line[i].required = about[i].required;
    }
}

C2_RESULT
provider_full_run(struct c2_os *os, const struct c2_conf *conf, const char *name,
                  struct provider *p, struct provider_full *ret_full)
{
    struct run *x = c2_calloc(1, sizeof(*x));
    *ret_full = (struct provider_full){ 0 };
    x->os = os;
    x->env = c2_os_env(os);
    x->p = p;
    x->f = ret_full;
    x->deadline_ns = c2_now_ns(x->env) + DEADLINE_NS;
    prepare(x);
    look_at_tls(x, conf, name);
    write_and_look(x);
    ranges(x);
    create_races(x);
    checksums(x);
    delete_and_look(x);
    ret_full->put = quantiles(x->put_ns, x->nput);
    ret_full->get = quantiles(x->get_ns, x->nget);
    enum c2_err err = C2_E_OK;
    for (unsigned i = 0; i < FULL_COUNT && err == C2_E_OK; i++)
        err = ret_full->line[i].required ? ret_full->line[i].err : C2_E_OK;
    if (err == C2_E_OK)
        speed(x);
    for (unsigned i = 0; i < OBJECTS; i++)
        c2_blob_unref(x->body[i]);
    c2_free(x);
    return err;
}

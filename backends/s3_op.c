/* SPDX-License-Identifier: MIT */
/*
 * The verbs of a provider as signed calls:
 *
 *   PUT           [HASH ->] PUT -> end
 *                            | 501 to If-None-Match: remembered, then
 *                           LOOK: is the key there? yes: EXISTS; no: PUT without condition
 *   GET           GET -> end
 *   HEAD          HEAD -> end
 *                  | 404 before any answer proved that the bucket exists
 *                 PROVE: its answer has a body that tells no key from no bucket -> end
 *   DELETE        DELETE -> end
 *   DELETE_MANY   MANY -> end
 *                  | 501, 405: remembered, then
 *                 SINGLES: one key after the other -> end
 *   LIST          LIST (again, while pages have nothing for us) -> end
 *
 * Integrity of a PUT. The payload is signed with the caller's SHA-256 where there is one: a server
 * that checks it (AWS, Ceph, Swift) refuses bytes that changed on the way. Without one, TLS
 * protects the way and the payload stays unsigned, because a second hash over everything costs as
 * much as all the rest; over plain HTTP it is hashed on the pool first. The ETag is not compared:
 * it is the MD5 of the body only with some kinds of server-side encryption, and a lying server can
 * compute it without storing anything.
 *
 * A conditional PUT is sent once and never repeated here: if its answer is lost, UNREACHABLE tells
 * the layers above that its end is open. So EXISTS means that somebody else wrote the key, or an
 * earlier request for the same PUT.
 */
#include "backends/s3_op.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sm.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIST_PAGES_MAX   1000
#define LOOK_LEN_MAX     4096 /* bytes=0-0 is one byte; the rest is for servers that know no range */
#define TIMEOUT_NS       (60 * C2_NS_PER_S)
#define SLOW_BYTES_PER_S (64u << 10) /* a line as slow as that is no fault */

enum op_state {
    OP_NEW,
    OP_HASH,
    OP_PUT,
    OP_LOOK,
    OP_GET,
    OP_HEAD,
    OP_PROVE,
    OP_DELETE,
    OP_MANY,
    OP_SINGLES,
    OP_LIST,
    OP_END,
};

#define TO(state) C2_SM_TO(OP_##state)

static const struct c2_sm_state op_states[] = {
    [OP_NEW] = { "new", TO(HASH) | TO(PUT) | TO(LOOK) | TO(GET) | TO(HEAD) | TO(DELETE) | TO(MANY) |
                            TO(SINGLES) | TO(LIST) },
    [OP_HASH] = { "hash", TO(PUT) | TO(LOOK) | TO(END) },
    [OP_PUT] = { "put", TO(LOOK) | TO(END) },
    [OP_LOOK] = { "look", TO(PUT) | TO(END) },
    [OP_GET] = { "get", TO(END) },
    [OP_HEAD] = { "head", TO(PROVE) | TO(END) },
    [OP_PROVE] = { "prove", TO(END) },
    [OP_DELETE] = { "delete", TO(END) },
    [OP_MANY] = { "many", TO(SINGLES) | TO(END) },
    [OP_SINGLES] = { "singles", TO(SINGLES) | TO(END) },
    [OP_LIST] = { "list", TO(LIST) | TO(END) },
    [OP_END] = { "end", 0 },
};

struct op {
    struct prov_call up; /* first */
    struct s3 *s3;
    struct c2_sm sm;
    struct s3_call call;
    struct c2_work hash;
    uint64_t started_ns;
    bool canceled;
    bool looked; /* PUT: LOOK found nothing */
    char *key;   /* owned; with the target's prefix */
    uint8_t sha256[C2_SHA256_LEN];
    char sha256_hex[2 * C2_SHA256_LEN + 1];
    char range[64];
    char max_keys[16];
    struct c2_buf body; /* DELETE_MANY */
    struct c2_buf md5;
    char *token; /* owned; LIST: of the page to ask for */
    char *after; /* owned; LIST */
    unsigned npages;
    size_t next_key;   /* SINGLES */
    enum c2_err worst; /* SINGLES: the first failure */
    char worst_detail[160];
};

static void step(struct op *op);
static void next_single(struct op *op);

/* ---- the end ---- */

static void
finish(struct op *op)
{
    struct prov_req *r = op->up.r;
    c2_sm_go(&op->sm, OP_END);
    op->s3->outstanding--;
    prov_call_pop(&op->up);
    s3_call_done(&op->call);
    c2_buf_done(&op->body);
    c2_buf_done(&op->md5);
    c2_free(op->key);
    c2_free(op->token);
    c2_free(op->after);
    c2_free(op);
    r->done(r);
}

static void
fail(struct op *op, enum c2_err err, const char *detail)
{
    prov_req_fail(op->up.r, err, "%s", detail);
    finish(op);
}

/* Ends with what the call ended with. */
static void
finish_as_call(struct op *op)
{
    if (op->call.err == C2_E_OK)
        finish(op);
    else
        fail(op, op->call.err, op->call.detail);
}

/* ---- calls ---- */

static void
call_done(struct s3_call *c)
{
    struct op *op = C2_CONTAINER_OF(c, struct op, call);
    struct prov_req *r = op->up.r;
    r->http_status = c->http.head.status;
    r->retry_after_ns = c->retry_after_ns;
    if (c->server_wall_ns != 0)
        r->server_wall_ns = c->server_wall_ns;
    step(op);
}

/* A fresh call in the op's only slot. */
static struct s3_call *
prepare(struct op *op, enum http_method method, const char *key)
{
    s3_call_done(&op->call);
    op->call = (struct s3_call){
        .client = &op->s3->client,
        .method = method,
        .key = key,
        .payload_hash = S3_EMPTY_SHA256,
        .reply_len_max = HTTP_ERROR_BODY_MAX,
        .done = call_done,
    };
    return &op->call;
}

/* Of the next call. A list has one time for all its pages: a server could go on with empty ones. */
static uint64_t
call_deadline_ns(const struct op *op)
{
    const struct prov_req *r = op->up.r;
    uint64_t limit_ns = op->s3->timeout_ns;
    if (r->deadline_ns != C2_NEVER && limit_ns == 0)
        return r->deadline_ns;
    size_t bytes = op->call.body.len + (r->verb == PROV_GET ? op->call.reply_len_max : 0);
    uint64_t start_ns = r->verb == PROV_LIST ? op->started_ns : c2_now_ns(op->s3->p.env);
    limit_ns = (limit_ns != 0 ? limit_ns : TIMEOUT_NS) + bytes / SLOW_BYTES_PER_S * C2_NS_PER_S;
    return C2_MIN(r->deadline_ns, start_ns + limit_ns);
}

static void
launch(struct op *op, enum op_state state)
{
    if (op->canceled) {
        fail(op, C2_E_CANCELED, "canceled");
        return;
    }
    c2_sm_go(&op->sm, state);
    op->call.deadline_ns = call_deadline_ns(op);
    s3_call_start(&op->call);
}

static void
set_key(struct op *op, const char *key)
{
    c2_free(op->key);
    op->key = c2_asprintf("%s%s", op->s3->client.target.prefix, key);
}

/* ---- PUT ---- */

static void
start_put(struct op *op)
{
    struct prov_req *r = op->up.r;
    struct s3_call *c = prepare(op, HTTP_PUT, op->key);
    c->body = c2_blob_slice(r->body);
    c->content_type = "application/octet-stream";
    c->payload_hash = op->sha256_hex[0] != '\0' ? op->sha256_hex : S3_UNSIGNED_PAYLOAD;
    s3_call_tamper(c, r->tamper);
    c->if_none_match = r->if_absent && (op->s3->p.caps & PROV_CAP_IF_ABSENT) != 0;
    launch(op, OP_PUT);
}

/* Is the key there? A one-byte GET, because its 404 has a body that says what is missing. */
static void
start_look(struct op *op, enum op_state state)
{
    struct s3_call *c = prepare(op, HTTP_GET, op->key);
    c->range = "bytes=0-0";
    c->reply_len_max = LOOK_LEN_MAX;
    launch(op, state);
}

static void
start_put_or_look(struct op *op)
{
    bool can_tell = (op->s3->p.caps & PROV_CAP_IF_ABSENT) != 0;
    if (op->up.r->if_absent && !can_tell && !op->looked)
        start_look(op, OP_LOOK);
    else
        start_put(op);
}

static void
hash_body(struct c2_work *w)
{
    struct op *op = C2_CONTAINER_OF(w, struct op, hash);
    c2_sha256(c2_blob_slice(op->up.r->body), op->sha256);
}

static void
hash_done(struct c2_work *w)
{
    struct op *op = C2_CONTAINER_OF(w, struct op, hash);
    c2_hex_encode(op->sha256, sizeof(op->sha256), op->sha256_hex);
    start_put_or_look(op);
}

static void
begin_put(struct op *op)
{
    const struct prov_req *r = op->up.r;
    if (r->body_sha256 != NULL) {
        c2_hex_encode(r->body_sha256, C2_SHA256_LEN, op->sha256_hex);
    } else if (!op->s3->client.target.tls) {
        c2_sm_go(&op->sm, OP_HASH);
        op->hash.run = hash_body;
        op->hash.done = hash_done;
        c2_work(op->s3->p.env, &op->hash);
        return;
    }
    start_put_or_look(op);
}

static void
put_answered(struct op *op)
{
    const struct s3_call *c = &op->call;
    if (c->if_none_match && c->err == C2_E_UNSUPPORTED) {
        C2_MARK("s3: conditional PUT not supported");
        c2_log(DEBUG, "s3", "provider=%s has no conditional PUT, asking first", op->s3->p.name);
        op->s3->p.caps &= ~(unsigned)PROV_CAP_IF_ABSENT;
        start_put_or_look(op);
    } else if (c->if_none_match && c->err == C2_E_PRECONDITION) {
        fail(op, C2_E_EXISTS, "key exists");
    } else {
        finish_as_call(op);
    }
}

/* The three ways in which the answer to start_look says that there is an object. */
static bool
look_found(const struct op *op)
{
    return op->call.err == C2_E_OK || op->call.err == C2_E_RANGE || op->call.err == C2_E_TOO_LARGE;
}

static void
look_answered(struct op *op)
{
    if (look_found(op)) {
        fail(op, C2_E_EXISTS, "key exists");
    } else if (op->call.err == C2_E_NOT_FOUND) {
        op->looked = true;
        start_put(op);
    } else {
        finish_as_call(op);
    }
}

/* ---- GET, HEAD ---- */

static void
begin_get(struct op *op)
{
    const struct prov_req *r = op->up.r;
    struct s3_call *c = prepare(op, HTTP_GET, op->key);
    c->reply_len_max = r->body_len_max;
    if (r->len > 0) {
        snprintf(op->range, sizeof(op->range), "bytes=%" PRIu64 "-%" PRIu64, r->offset,
                 r->offset + r->len - 1);
        c->reply_len_max = (size_t)C2_MIN(r->len, (uint64_t)r->body_len_max);
    } else if (r->offset > 0) {
        snprintf(op->range, sizeof(op->range), "bytes=%" PRIu64 "-", r->offset);
    }
    c->range = op->range[0] != '\0' ? op->range : NULL;
    launch(op, OP_GET);
}

static void
get_answered(struct op *op)
{
    struct prov_req *r = op->up.r;
    struct s3_call *c = &op->call;
    if (c->err == C2_E_TOO_LARGE && c->reply_len_max < r->body_len_max) {
        fail(op, C2_E_PROTOCOL, "the answer is longer than the range that was asked for");
    } else if (c->err != C2_E_OK) {
        finish_as_call(op);
    } else {
        if (s3_get_check(r, &c->http.head, c->http.reply->len) == C2_E_OK) {
            r->reply = c->http.reply;
            c->http.reply = NULL;
        }
        finish(op);
    }
}

static void
begin_head(struct op *op)
{
    prepare(op, HTTP_HEAD, op->key);
    launch(op, OP_HEAD);
}

static void
head_answered(struct op *op)
{
    struct prov_req *r = op->up.r;
    const struct s3_call *c = &op->call;
    if (c->err == C2_E_OK) {
        const char *length = http_head_get(&c->http.head, "content-length");
        if (length == NULL || c2_u64_parse(c2_slice_str(length), UINT64_MAX, &r->size) != C2_E_OK)
            fail(op, C2_E_PROTOCOL, "no valid Content-Length");
        else
            finish(op);
    } else if (c->http.head.status != 404) {
        finish_as_call(op);
    } else if (op->s3->client.bucket_seen) {
        fail(op, C2_E_NOT_FOUND, "no such key");
    } else {
        start_look(op, OP_PROVE);
    }
}

static void
prove_answered(struct op *op)
{
    if (look_found(op))
        fail(op, C2_E_UNAVAILABLE, "HEAD and GET give different answers");
    else
        finish_as_call(op);
}

/* ---- DELETE, DELETE_MANY ---- */

static void
begin_delete(struct op *op)
{
    prepare(op, HTTP_DELETE, op->key);
    launch(op, OP_DELETE);
}

static void
delete_answered(struct op *op)
{
    if (op->call.err == C2_E_NOT_FOUND)
        finish(op);
    else
        finish_as_call(op);
}

static void
build_delete_body(struct op *op)
{
    uint8_t md5[16];
    s3_xml_delete(op->s3->client.target.prefix, op->up.r->keys, op->up.r->nkeys, &op->body);
    c2_md5(c2_buf_slice(&op->body), md5); /* S3 insists on it for this request */
    c2_base64_encode(c2_slice(md5, sizeof(md5)), &op->md5);
    c2_sha256(c2_buf_slice(&op->body), op->sha256);
    c2_hex_encode(op->sha256, sizeof(op->sha256), op->sha256_hex);
}

static void
begin_delete_many(struct op *op)
{
    if (op->s3->delete_many_off) {
        next_single(op);
        return;
    }
    build_delete_body(op);
    struct s3_call *c = prepare(op, HTTP_POST, NULL);
    c->query[0] = (struct s3_pair){ "delete", "" };
    c->nquery = 1;
    c->body = c2_buf_slice(&op->body);
    c->payload_hash = op->sha256_hex;
    c->content_md5 = c2_buf_cstr(&op->md5);
    c->content_type = "application/xml";
    c->reply_len_max = S3_XML_DOCUMENT_MAX;
    launch(op, OP_MANY);
}

static void
many_answered(struct op *op)
{
    struct s3_call *c = &op->call;
    struct s3_delete_result result;
    char detail[160];
    if (c->err == C2_E_UNSUPPORTED) {
        C2_MARK("s3: multi-delete not supported");
        c2_log(DEBUG, "s3", "provider=%s has no multi-delete, deleting one by one instead",
               op->s3->p.name);
        op->s3->delete_many_off = true;
        next_single(op);
    } else if (c->err != C2_E_OK) {
        finish_as_call(op);
    } else if (s3_xml_delete_result(c2_blob_slice(c->http.reply), &result) != C2_E_OK) {
        fail(op, C2_E_PROTOCOL, "the result of the deletion is not valid");
    } else if (result.nerrors > 0) {
        snprintf(detail, sizeof(detail), "%zu keys not deleted, the first because of %.40s: %.50s",
                 result.nerrors, result.first.code, result.first.message);
        /* 500 stands for a failure whose code says nothing to us. */
        fail(op, s3_error_of(500, result.first.code), detail);
    } else {
        finish(op);
    }
}

static void
next_single(struct op *op)
{
    const struct prov_req *r = op->up.r;
    if (op->next_key < r->nkeys) {
        set_key(op, r->keys[op->next_key++]);
        prepare(op, HTTP_DELETE, op->key);
        launch(op, OP_SINGLES);
    } else if (op->worst != C2_E_OK) {
        fail(op, op->worst, op->worst_detail);
    } else {
        finish(op);
    }
}

static void
single_answered(struct op *op)
{
    const struct s3_call *c = &op->call;
    bool good = c->err == C2_E_OK || c->err == C2_E_NOT_FOUND;
    if (!good && op->worst == C2_E_OK) {
        op->worst = c->err;
        snprintf(op->worst_detail, sizeof(op->worst_detail), "%s", c->detail);
    }
    next_single(op);
}

/* ---- LIST ---- */

static void
next_page(struct op *op)
{
    const struct prov_req *r = op->up.r;
    struct s3_call *c = prepare(op, HTTP_GET, NULL);
    if (op->npages++ == 0) {
        set_key(op, r->key);
        snprintf(op->max_keys, sizeof(op->max_keys), "%zu", r->list_max);
        if (r->list_after != NULL)
            op->after = c2_asprintf("%s%s", op->s3->client.target.prefix, r->list_after);
    }
    c->query[c->nquery++] = (struct s3_pair){ "list-type", "2" };
    c->query[c->nquery++] = (struct s3_pair){ "encoding-type", "url" };
    c->query[c->nquery++] = (struct s3_pair){ "max-keys", op->max_keys };
    c->query[c->nquery++] = (struct s3_pair){ "prefix", op->key };
    if (op->token != NULL)
        c->query[c->nquery++] = (struct s3_pair){ "continuation-token", op->token };
    else if (op->after != NULL)
        c->query[c->nquery++] = (struct s3_pair){ "start-after", op->after };
    c->reply_len_max = S3_XML_DOCUMENT_MAX;
    launch(op, OP_LIST);
}

static void
page_answered(struct op *op)
{
    struct prov_req *r = op->up.r;
    char *token = NULL;
    if (op->call.err != C2_E_OK) {
        finish_as_call(op);
        return;
    }
    if (s3_list_take_page(r, op->s3->client.target.prefix, c2_blob_slice(op->call.http.reply),
                          &token) != C2_E_OK) {
        finish(op);
        return;
    }
    c2_free(op->token);
    op->token = token;
    if (token == NULL) {
        prov_list_finish(r);
        finish(op);
    } else if (op->npages == LIST_PAGES_MAX) {
        fail(op, C2_E_PROTOCOL, "too many pages without a key");
    } else {
        C2_MARK("s3: next page of an empty one");
        next_page(op);
    }
}

/* ---- the machine ---- */

static void
step(struct op *op)
{
    switch ((enum op_state)op->sm.state) {
    case OP_PUT:
        put_answered(op);
        return;
    case OP_LOOK:
        look_answered(op);
        return;
    case OP_GET:
        get_answered(op);
        return;
    case OP_HEAD:
        head_answered(op);
        return;
    case OP_PROVE:
        prove_answered(op);
        return;
    case OP_DELETE:
        delete_answered(op);
        return;
    case OP_MANY:
        many_answered(op);
        return;
    case OP_SINGLES:
        single_answered(op);
        return;
    case OP_LIST:
        page_answered(op);
        return;
    case OP_NEW:
    case OP_HASH:
    case OP_END:
    default:
        C2_UNREACHABLE();
    }
}

void
s3_op_start(struct s3 *s3, struct prov_req *r)
{
    static void (*const begin[PROV_VERB_COUNT])(struct op *) = {
        [PROV_PUT] = begin_put,   [PROV_GET] = begin_get,
        [PROV_HEAD] = begin_head, [PROV_DELETE] = begin_delete,
        [PROV_LIST] = next_page,  [PROV_DELETE_MANY] = begin_delete_many,
    };
    struct op *op = c2_calloc(1, sizeof(*op));
    op->s3 = s3;
    op->started_ns = c2_now_ns(s3->p.env);
    c2_sm_init(&op->sm, op_states, OP_NEW);
    prov_call_push(&op->up, &s3->p, r, NULL);
    s3->outstanding++;
    if (r->verb != PROV_LIST && r->verb != PROV_DELETE_MANY)
        set_key(op, r->key);
    begin[r->verb](op);
}

void
s3_op_cancel(struct s3 *s3, struct prov_req *r)
{
    struct op *op = prov_call_find(&s3->p, r);
    op->canceled = true;
    if (op->sm.state != OP_HASH)
        s3_call_cancel(&op->call);
}

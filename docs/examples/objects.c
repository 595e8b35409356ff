/* SPDX-License-Identifier: MIT */
/*
 * Immutable objects, several at the same time: requests are started, the loop runs, completions
 * come. The program remembers the reference (72 bytes) of each object; whoever has the reference
 * can tell the object from any forgery.
 *
 *     cc objects.c -o objects $(pkg-config --cflags --libs depsky)
 *     ./objects COUNT BYTES URL URL URL URL
 *
 * Writes COUNT objects of BYTES random bytes, reads the second half of each back, deletes them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <depsky/clouds.h>

#define COUNT_MAX 64

struct program {
    struct ds_clouds *clouds;
    size_t count, len;
    size_t left;  /* requests that are under way */
    bool idle;    /* there is none */
    unsigned bad; /* failures */
    struct object {
        struct program *program;
        struct c2_blob *content;
        struct c2_slice piece; /* of content; the put borrows it until it is done */
        struct ds_put put;
        struct ds_get get;
    } object[COUNT_MAX];
};

static void
ended(struct program *p, const char *what, enum c2_err err)
{
    if (err != C2_E_OK) {
        fprintf(stderr, "objects: %s: %s\n", what, c2_err_text(err));
        p->bad++;
    }
    p->idle = --p->left == 0;
}

/* A completion finds its own state around the request that it is given. */
static void
put_done(struct ds_put *put)
{
    struct object *o = C2_CONTAINER_OF(put, struct object, put);
    ended(o->program, "put", put->err);
}

static void
get_done(struct ds_get *get)
{
    struct object *o = C2_CONTAINER_OF(get, struct object, get);
    enum c2_err err = get->err;
    if (err == C2_E_OK) {
        struct c2_slice want = c2_slice(o->content->data + get->offset, get->data->len);
        if (!c2_slice_equal(want, c2_blob_slice(get->data)))
            err = C2_E_CORRUPT; /* cannot happen: every byte was verified */
        c2_blob_unref(get->data);
    }
    ended(o->program, "get", err);
}

static void
wait_for_all(struct program *p)
{
    while (!p->idle)
        c2_os_run_until(ds_clouds_os(p->clouds), &p->idle);
}

static void
put_all(struct program *p, uint64_t session)
{
    p->left = p->count;
    p->idle = false;
    for (size_t i = 0; i < p->count; i++) {
        struct object *o = &p->object[i];
        o->program = p;
        o->content = c2_blob_new(p->len);
        c2_random(ds_clouds_env(p->clouds), o->content->data, p->len);
        o->piece = c2_blob_slice(o->content);
        /* (session, counter, random) is never used again with other bytes. */
        o->put = (struct ds_put){ .kind = DS_KIND_OBJECT,
                                  .oid = { .sid = session, .seq = i },
                                  .data = &o->piece,
                                  .ndata = 1,
                                  .done = put_done };
        c2_random(ds_clouds_env(p->clouds), o->put.oid.rnd, sizeof(o->put.oid.rnd));
        ds_put_start(ds_clouds_client(p->clouds), &o->put);
    }
    wait_for_all(p);
}

static void
get_all(struct program *p)
{
    p->left = p->count;
    p->idle = false;
    for (size_t i = 0; i < p->count; i++) {
        struct object *o = &p->object[i];
        o->get = (struct ds_get){ .kind = DS_KIND_OBJECT,
                                  .ref = o->put.ref,
                                  .placed = o->put.placed,
                                  .offset = p->len / 2,
                                  .done = get_done };
        ds_get_start(ds_clouds_client(p->clouds), &o->get);
    }
    wait_for_all(p);
}

static void
delete_all(struct program *p)
{
    struct ds_oid oids[COUNT_MAX];
    for (size_t i = 0; i < p->count; i++)
        oids[i] = p->object[i].put.oid;
    struct ds_delete delete = { .kind = DS_KIND_OBJECT, .oids = oids, .noids = p->count };
    enum c2_err err = ds_wait_delete(p->clouds, &delete);
    if (err != C2_E_OK) /* a cloud that is down keeps its part; ask again when it is back */
        printf("deleted, but not yet everywhere: %s\n", c2_err_text(err));
}

int
main(int argc, char **argv)
{
    struct program p = { 0 };
    if (argc == 7) {
        p.count = strtoul(argv[1], NULL, 10);
        p.len = strtoul(argv[2], NULL, 10);
    }
    if (p.count < 1 || p.count > COUNT_MAX || p.len < 2 || p.len > DS_OBJECT_SIZE_MAX) {
        fprintf(stderr, "usage: objects COUNT BYTES URL URL URL URL\n");
        return 2;
    }
    struct ds_clouds_config config;
    char *error;
    uint64_t session;
    ds_clouds_config_default(&config);
    config.urls = (const char *const *)argv + 3;
    config.nurls = 4;
    if (ds_clouds_open(&config, &p.clouds, &error) != C2_E_OK) {
        fprintf(stderr, "objects: %s\n", error);
        c2_free(error);
        return 1;
    }
    c2_random(ds_clouds_env(p.clouds), &session, sizeof(session));
    put_all(&p, session);
    if (p.bad == 0)
        get_all(&p);
    delete_all(&p);
    for (size_t i = 0; i < p.count; i++)
        c2_blob_unref(p.object[i].content);
    ds_clouds_close(p.clouds);
    printf("%zu objects, %u failures\n", p.count, p.bad);
    return p.bad > 0;
}

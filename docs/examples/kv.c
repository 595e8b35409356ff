/* SPDX-License-Identifier: MIT */
/*
 * A key-value store on replicas of which some may lie: one blocking call after the other, and
 * events.
 *
 *     cc kv.c -o kv $(pkg-config --cflags --libs c2coord)
 *     ./kv CONFIG|local:PATH put KEY VALUE
 *     ./kv CONFIG|local:PATH get KEY
 *     ./kv CONFIG|local:PATH count KEY        adds 1, says the sum
 *     ./kv CONFIG|local:PATH exclusive KEY    reads a number, adds 1, writes it, under a lock
 *     ./kv CONFIG|local:PATH watch PREFIX N   prints N changes
 *
 * CONFIG is the client.conf that c2fsctl meta init has written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/wire.h>
#include <metadata/coord_service.h>

#define PATIENCE_NS (30 * C2_NS_PER_S)

static int
fail(const char *what, enum c2_err err, const char *detail)
{
    fprintf(stderr, "kv: %s: %s\n", what, detail != NULL ? detail : c2_err_text(err));
    return 1;
}

/* Every request may wait for replicas, so it gets a deadline. */
static enum c2_err
ask(struct coord_service *s, struct coord_req *r)
{
    r->deadline_ns = c2_now_ns(coord_service_env(s)) + PATIENCE_NS;
    return coord_wait(s, r);
}

static int
put(struct coord_service *s, const char *key, const char *value)
{
    struct coord_op op = { .kind = COORD_PUT };
    op.key = c2_slice_str(key);
    op.value = c2_slice_str(value);
    struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    enum c2_err err = ask(s, &r);
    if (err == C2_E_OK)
        printf("version %llu\n", (unsigned long long)r.version);
    coord_req_done(&r);
    return err == C2_E_OK ? 0 : fail("put", err, NULL);
}

static int
get(struct coord_service *s, const char *key)
{
    struct c2_slice k = c2_slice_str(key);
    struct coord_req r = { .verb = COORD_GET, .keys = &k, .nkeys = 1 };
    enum c2_err err = ask(s, &r);
    if (err == C2_E_OK && r.entries[0].version == 0)
        err = C2_E_NOT_FOUND;
    if (err == C2_E_OK)
        printf("%.*s\n", (int)r.entries[0].value.len, (const char *)r.entries[0].value.data);
    coord_req_done(&r);
    return err == C2_E_OK ? 0 : fail("get", err, NULL);
}

/* A counter needs no lock: it is 8 bytes to which anybody adds. */
static int
count(struct coord_service *s, const char *key)
{
    struct coord_op op = { .kind = COORD_ADD, .number = 1 };
    op.key = c2_slice_str(key);
    struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    enum c2_err err = ask(s, &r);
    coord_req_done(&r);
    if (err != C2_E_OK)
        return fail("count", err, NULL);
    struct coord_req g = { .verb = COORD_GET, .keys = &op.key, .nkeys = 1 };
    err = ask(s, &g);
    if (err == C2_E_OK && g.entries[0].value.len != 8)
        err = C2_E_CONFLICT; /* somebody else has deleted it meanwhile */
    if (err == C2_E_OK)
        printf("%lld\n", (long long)c2_get_u64(g.entries[0].value.data));
    coord_req_done(&g);
    return err == C2_E_OK ? 0 : fail("count", err, NULL);
}

/* A lock is a key that dies with our session. Its version is the token: a change that names it
 * cannot be made by somebody who has lost the lock without knowing. */
static enum c2_err
lock(struct coord_service *s, const char *name, uint64_t session, uint64_t *ret_token)
{
    struct coord_cond free = { .kind = COORD_ABSENT };
    struct coord_op take = { .kind = COORD_PUT_EPHEMERAL, .number = (int64_t)session };
    free.key = take.key = c2_slice_str(name);
    enum c2_err err = C2_E_CONFLICT;
    while (err == C2_E_CONFLICT) { /* a program with more to do would watch the key */
        struct coord_req r = { .verb = COORD_TXN, .conds = &free, .nconds = 1 };
        r.ops = &take;
        r.nops = 1;
        err = ask(s, &r);
        *ret_token = r.version;
        coord_req_done(&r);
    }
    return err;
}

static enum c2_err
add_one(struct coord_service *s, const char *key, const char *name, uint64_t token)
{
    char text[32] = "";
    struct c2_slice k = c2_slice_str(key);
    struct coord_req g = { .verb = COORD_GET, .keys = &k, .nkeys = 1 };
    enum c2_err err = ask(s, &g);
    if (err == C2_E_OK)
        snprintf(text, sizeof text, "%.*s", (int)g.entries[0].value.len,
                 g.entries[0].value.len > 0 ? (const char *)g.entries[0].value.data : "");
    coord_req_done(&g);
    if (err != C2_E_OK)
        return err;
    snprintf(text, sizeof text, "%ld", strtol(text, NULL, 10) + 1);
    struct coord_cond ours = { .kind = COORD_VERSION_EQ, .number = token };
    struct coord_op change = { .kind = COORD_PUT, .key = k };
    ours.key = c2_slice_str(name);
    change.value = c2_slice_str(text);
    struct coord_req r = { .verb = COORD_TXN, .conds = &ours, .nconds = 1 };
    r.ops = &change;
    r.nops = 1;
    err = ask(s, &r);
    coord_req_done(&r);
    if (err == C2_E_OK)
        printf("%s\n", text);
    return err;
}

static int
exclusive(struct coord_service *s, const char *key)
{
    char name[COORD_KEY_MAX + 1];
    uint64_t token = 0;
    snprintf(name, sizeof name, "lock/%s", key);
    struct coord_req o = { .verb = COORD_SESSION_OPEN, .ttl_ns = 10 * C2_NS_PER_S };
    enum c2_err err = ask(s, &o);
    uint64_t session = o.session;
    coord_req_done(&o);
    if (err == C2_E_OK)
        err = lock(s, name, session, &token);
    if (err == C2_E_OK)
        err = add_one(s, key, name, token);
    struct coord_req c = { .verb = COORD_SESSION_CLOSE, .session = session };
    if (session != 0 && ask(s, &c) != C2_E_OK) /* the lock goes with it */
        fprintf(stderr, "kv: the lock stays for some seconds\n");
    coord_req_done(&c);
    return err == C2_E_OK ? 0 : fail("exclusive", err, NULL);
}

/* Changes come on the loop, while it runs. */
struct watcher {
    struct coord_watch w;
    long left;
    bool over;
};

static void
changed(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    struct watcher *x = C2_CONTAINER_OF(w, struct watcher, w);
    printf("%s %.*s version %llu\n", deleted ? "deleted" : "set", (int)key.len,
           (const char *)key.data, (unsigned long long)version);
    fflush(stdout);
    x->over = x->over || --x->left <= 0;
}

static void
reload(struct coord_watch *w)
{
    (void)w;
    printf("reload\n"); /* from now on; what was there before is to be read */
    fflush(stdout);
}

static int
watch(struct coord_service *s, const char *prefix, const char *n)
{
    struct watcher x = { .w = { .event = changed, .reload = reload } };
    x.w.prefix = c2_slice_str(prefix);
    x.left = strtol(n, NULL, 10);
    coord_watch(coord_service_coord(s), &x.w);
    c2_os_run_until(coord_service_os(s), &x.over);
    coord_unwatch(coord_service_coord(s), &x.w);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr,
                "usage: kv CONFIG|local:PATH put|get|count|exclusive|watch KEY [VALUE|N]\n");
        return 2;
    }
    struct coord_service_config config = { .config_file = NULL };
    if (strncmp(argv[1], "local:", 6) == 0) {
        config.service = argv[1];
    } else {
        config.config_file = argv[1];
    }
    struct coord_service *s = NULL;
    char *error = NULL;
    enum c2_err err = coord_service_open(&config, &s, &error);
    if (err == C2_E_NOT_FOUND && config.service != NULL) { /* the folder has no store yet */
        c2_free(error);
        config.create = true;
        err = coord_service_open(&config, &s, &error);
    }
    if (err != C2_E_OK) {
        int code = fail(argv[1], err, error);
        c2_free(error);
        return code;
    }
    int code = 2;
    if (strcmp(argv[2], "put") == 0 && argc == 5)
        code = put(s, argv[3], argv[4]);
    else if (strcmp(argv[2], "get") == 0)
        code = get(s, argv[3]);
    else if (strcmp(argv[2], "count") == 0)
        code = count(s, argv[3]);
    else if (strcmp(argv[2], "exclusive") == 0)
        code = exclusive(s, argv[3]);
    else if (strcmp(argv[2], "watch") == 0 && argc == 5)
        code = watch(s, argv[3], argv[4]);
    coord_service_close(s);
    return code;
}

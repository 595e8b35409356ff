/* SPDX-License-Identifier: MIT */
/*
 * The blocking calls of libdepsky. The caller's request is copied into one whose completion sets a
 * flag, and copied back: what callers see is `err` and the results.
 */
#include "depsky/clouds.h"

static void
run_until(struct ds_clouds *c, const bool *done)
{
    while (!*done) /* the request is on the stack: a stop of the loop must not leave it there */
        c2_os_run_until(ds_clouds_os(c), done);
}

/* NOLINTBEGIN(bugprone-macro-parentheses): tags of structs */
/* Defines wait_NAME: runs `start(target, request)` to its end. */
#define WAIT(name, request, target, start)                                                         \
    struct waiting_##name {                                                                        \
        struct request r;                                                                          \
        bool done;                                                                                 \
    };                                                                                             \
                                                                                                   \
    static void name##_done(struct request *r)                                                     \
    {                                                                                              \
        C2_CONTAINER_OF(r, struct waiting_##name, r)->done = true;                                 \
    }                                                                                              \
                                                                                                   \
    static void wait_##name(struct ds_clouds *c, target *to, struct request *r)                    \
    {                                                                                              \
        struct waiting_##name w = { .r = *r };                                                     \
        w.r.done = name##_done;                                                                    \
        start(to, &w.r);                                                                           \
        run_until(c, &w.done);                                                                     \
        w.r.done = r->done;                                                                        \
        w.r.priv = r->priv;                                                                        \
        *r = w.r;                                                                                  \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

WAIT(put, ds_put, struct ds_client, ds_put_start)
WAIT(get, ds_get, struct ds_client, ds_get_start)
WAIT(delete, ds_delete, struct ds_client, ds_delete_start)
WAIT(list, ds_list, struct ds_client, ds_list_start)
WAIT(check, ds_check, struct ds_client, ds_check_start)
WAIT(rebuild, ds_rebuild, struct ds_client, ds_rebuild_start)
WAIT(probe, ds_probe, struct ds_client, ds_probe_start)
WAIT(unit_write, ds_unit_write, struct ds_unit, ds_unit_write_start)
WAIT(unit_read, ds_unit_read, struct ds_unit, ds_unit_read_start)
WAIT(unit_versions, ds_unit_versions, struct ds_unit, ds_unit_versions_start)
WAIT(unit_lock, ds_unit_lock, struct ds_unit, ds_unit_lock_start)
WAIT(unit_renew, ds_unit_lock, struct ds_unit, ds_unit_renew_start)
WAIT(unit_unlock, ds_unit_unlock, struct ds_unit, ds_unit_unlock_start)
WAIT(unit_gc, ds_unit_gc, struct ds_unit, ds_unit_gc_start)
WAIT(unit_delete, ds_unit_gc, struct ds_unit, ds_unit_delete_start)
WAIT(unit_list, ds_unit_list, struct ds_client, ds_unit_list_start)

C2_RESULT
ds_wait_put(struct ds_clouds *c, struct ds_put *r)
{
    wait_put(c, ds_clouds_client(c), r);
    return r->err;
}

C2_RESULT
ds_wait_get(struct ds_clouds *c, struct ds_get *r)
{
    wait_get(c, ds_clouds_client(c), r);
    return r->err;
}

C2_RESULT
ds_wait_delete(struct ds_clouds *c, struct ds_delete *r)
{
    wait_delete(c, ds_clouds_client(c), r);
    return r->err;
}

C2_RESULT
ds_wait_list(struct ds_clouds *c, struct ds_list *r)
{
    wait_list(c, ds_clouds_client(c), r);
    return r->err;
}

C2_RESULT
ds_wait_rebuild(struct ds_clouds *c, struct ds_rebuild *r)
{
    wait_rebuild(c, ds_clouds_client(c), r);
    return r->err;
}

void
ds_wait_check(struct ds_clouds *c, struct ds_check *r)
{
    wait_check(c, ds_clouds_client(c), r);
}

void
ds_wait_probe(struct ds_clouds *c, struct ds_probe *r)
{
    wait_probe(c, ds_clouds_client(c), r);
}

C2_RESULT
ds_wait_unit_write(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_write *r)
{
    wait_unit_write(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_read(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_read *r)
{
    wait_unit_read(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_versions(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_versions *r)
{
    wait_unit_versions(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_lock(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_lock *r)
{
    wait_unit_lock(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_renew(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_lock *r)
{
    wait_unit_renew(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_unlock(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_unlock *r)
{
    wait_unit_unlock(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_gc(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_gc *r)
{
    wait_unit_gc(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_delete(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_gc *r)
{
    wait_unit_delete(c, u, r);
    return r->err;
}

C2_RESULT
ds_wait_unit_list(struct ds_clouds *c, struct ds_unit_list *r)
{
    wait_unit_list(c, ds_clouds_client(c), r);
    return r->err;
}

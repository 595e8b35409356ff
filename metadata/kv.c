/* SPDX-License-Identifier: MIT */
/*
 * Durability is LMDB's: a commit writes new pages, fdatasyncs them, then writes the other one of
 * two meta pages with O_DSYNC. A crash or an error before that last write leaves the previous
 * commit, untouched. No NOSYNC or WRITEMAP mode is ever used. When the last write itself fails,
 * LMDB refuses every later transaction, so an error can never be taken for a state. A process that
 * was killed in that write may have left a meta page that is in the page cache only: it is made
 * durable before anybody acts on it, as when a log is trimmed for what the state has. So are the
 * names of a new file and its folder, which LMDB does not sync.
 *
 * `active` counts open transactions, so that the map is never moved below one: kv_grow replaces 0
 * by GROWING, kv_begin waits the few microseconds that takes.
 */
#include "metadata/kv.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <lmdb.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "base/os_lock.h"

#define GROWING       (-1)
#define PATH_TEXT_MAX 4096
#define PROBE_LEN     (1u << 20)
#define READERS_MAX   64
#define MAP_SIZE_MIN  ((uint64_t)64 << 20) /* an open asks for less and less, down to this */

static const char *const table_names[KV_TABLES] = {
    [KV_META] = "meta",       [KV_DATA] = "data",     [KV_EPHEMERAL] = "ephemeral",
    [KV_SESSION] = "session", [KV_EXPIRY] = "expiry", [KV_LOG] = "log",
    [KV_DIRTY] = "dirty",     [KV_TREE] = "tree",     [KV_LEAF] = "leaf",
};

struct kv {
    MDB_env *env; /* owned */
    char *path;   /* owned; the folder */
    MDB_dbi dbi[KV_TABLES];
    uint64_t map_size;
    atomic_int active;
    int lock_fd; /* -1 = none */
};

struct kv_txn {
    struct kv *kv; /* borrowed */
    MDB_txn *txn;  /* owned; NULL after commit or abort */
    MDB_cursor *cursor[KV_TABLES];
};

static enum c2_err
map_error(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return C2_E_OK;
    case MDB_NOTFOUND:
        return C2_E_NOT_FOUND;
    case MDB_MAP_FULL:
        return C2_E_AGAIN;
    case MDB_VERSION_MISMATCH:
        return C2_E_VERSION;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return C2_E_DAMAGED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return C2_E_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return C2_E_ACCESS;
    default:
        return C2_E_IO;
    }
}

static MDB_val
to_val(struct c2_slice s)
{
    MDB_val v = { .mv_size = s.len };
    memcpy(&v.mv_data, &s.data, sizeof v.mv_data); /* LMDB's type is not const, its use is */
    return v;
}

/* --- transactions ---------------------------------------------------------------------------- */

static void
enter(struct kv *kv)
{
    for (;;) {
        int n = atomic_load(&kv->active);
        if (n != GROWING && atomic_compare_exchange_weak(&kv->active, &n, n + 1))
            return;
    }
}

static void
leave(struct kv *kv)
{
    int before = atomic_fetch_sub(&kv->active, 1);
    C2_ASSERT(before > 0);
}

C2_RESULT
kv_grow(struct kv *kv)
{
    int idle = 0;
    if (!atomic_compare_exchange_strong(&kv->active, &idle, GROWING))
        return C2_E_BUSY;
    int rc = mdb_env_set_mapsize(kv->env, (size_t)kv->map_size * 2);
    if (rc == 0)
        kv->map_size *= 2;
    atomic_store(&kv->active, 0);
    return rc == 0 ? C2_E_OK : C2_E_NO_SPACE;
}

C2_RESULT
kv_begin(struct kv *kv, bool write, struct kv_txn **ret_txn)
{
    enter(kv);
    MDB_txn *mdb = NULL;
    int rc = mdb_txn_begin(kv->env, NULL, write ? 0 : MDB_RDONLY, &mdb);
    if (rc != 0) {
        leave(kv);
        return map_error(rc);
    }
    struct kv_txn *txn = c2_calloc(1, sizeof *txn);
    txn->kv = kv;
    txn->txn = mdb;
    *ret_txn = txn;
    return C2_E_OK;
}

static void
end(struct kv_txn *txn)
{
    leave(txn->kv);
    c2_free(txn);
}

static void
close_cursors(struct kv_txn *txn)
{
    for (size_t i = 0; i < KV_TABLES; i++) {
        if (txn->cursor[i] != NULL)
            mdb_cursor_close(txn->cursor[i]);
    }
}

/* LMDB reports a write that the end of the disk cut short as EIO. */
static enum c2_err
io_or_full(const struct kv *kv)
{
    C2_AUTO(c2_free_auto) char *data = c2_asprintf("%s/data.mdb", kv->path);
    C2_AUTO(c2_free_auto) char *probe = c2_asprintf("%s/probe", kv->path);
    uint64_t size = 0;
    if (c2_os_file_size(data, &size) != C2_E_OK)
        return C2_E_IO;
    return c2_os_probe_space(probe, size, PROBE_LEN) == C2_E_NO_SPACE ? C2_E_NO_SPACE : C2_E_IO;
}

C2_RESULT
kv_commit(struct kv_txn *txn)
{
    close_cursors(txn);
    enum c2_err err = map_error(mdb_txn_commit(txn->txn));
    if (err == C2_E_IO)
        err = io_or_full(txn->kv);
    end(txn);
    return err;
}

void
kv_abort(struct kv_txn *txn)
{
    if (txn == NULL)
        return;
    close_cursors(txn);
    mdb_txn_abort(txn->txn);
    end(txn);
}

/* --- opening --------------------------------------------------------------------------------- */

static C2_RESULT
lock_folder(struct kv *kv, const char *path, char **ret_error)
{
    C2_AUTO(c2_free_auto) char *file = c2_asprintf("%s/lock", path);
    uint64_t pid = 0;
    enum c2_err err = c2_os_lock_file(file, &kv->lock_fd, &pid);
    if (err == C2_E_BUSY && pid != 0) {
        *ret_error = c2_asprintf("%s is in use by process %llu", path, (unsigned long long)pid);
    } else if (err == C2_E_BUSY) {
        *ret_error = c2_asprintf("%s is in use by another process", path);
    } else if (err != C2_E_OK) {
        *ret_error = c2_asprintf("cannot lock %s: %s", file, c2_err_text(err));
    }
    return err;
}

/* Opens the tables in one write transaction, so that a crash leaves all of them or none. */
static C2_RESULT
open_tables(struct kv *kv, bool create)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(kv->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (rc != 0)
        return map_error(rc);
    for (size_t i = 0; i < KV_TABLES && rc == 0; i++)
        rc = mdb_dbi_open(txn, table_names[i], create ? MDB_CREATE : 0, &kv->dbi[i]);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return map_error(rc);
    }
    return map_error(mdb_txn_commit(txn));
}

static int
try_env(struct kv *kv, const char *path)
{
    int rc = mdb_env_create(&kv->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(kv->env, KV_TABLES);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(kv->env, READERS_MAX);
    if (rc == 0)
        rc = mdb_env_set_mapsize(kv->env, (size_t)kv->map_size);
    if (rc == 0)
        rc = mdb_env_open(kv->env, path, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc == 0)
        rc = mdb_env_sync(kv->env, 1);
    return rc;
}

static C2_RESULT
open_env(struct kv *kv, const char *path, bool create)
{
    int rc = try_env(kv, path);
    /* Address space may be scarce (ulimit -v, valgrind); the map grows when it has to. */
    while ((rc == ENOMEM || rc == EINVAL) && kv->map_size / 2 >= MAP_SIZE_MIN) {
        mdb_env_close(kv->env);
        kv->env = NULL;
        kv->map_size /= 2;
        rc = try_env(kv, path);
    }
    if (rc != 0)
        return map_error(rc);
    C2_ASSERT(mdb_env_get_maxkeysize(kv->env) >= KV_KEY_MAX);
    int dead = 0;
    rc = mdb_reader_check(kv->env, &dead);
    return rc == 0 ? open_tables(kv, create) : map_error(rc);
}

/* Whoever may not read the folder above has made it for us. */
static C2_RESULT
sync_names(const char *path)
{
    C2_AUTO(c2_free_auto) char *above = c2_asprintf("%s/..", path);
    C2_TRY(c2_os_sync_dir(path));
    enum c2_err err = c2_os_sync_dir(above);
    return err == C2_E_ACCESS ? C2_E_OK : err;
}

/* A folder without data.mdb holds no store; nothing may be made in it by an open. */
static C2_RESULT
prepare_folder(const char *path, bool create)
{
    C2_AUTO(c2_free_auto) char *file = c2_asprintf("%s/data.mdb", path);
    if (create)
        return c2_os_make_private_dir(path);
    uint64_t size = 0;
    return c2_os_file_size(file, &size);
}

C2_RESULT
kv_open(const char *path, uint64_t map_size, bool create, struct kv **ret_kv, char **ret_error)
{
    C2_ASSERT(map_size > 0);
    if (strlen(path) > PATH_TEXT_MAX)
        return C2_E_NAME_TOO_LONG;
    struct kv *kv = c2_calloc(1, sizeof *kv);
    kv->lock_fd = -1;
    kv->path = c2_strdup(path);
    kv->map_size = map_size;
    char *text = NULL;
    enum c2_err err = prepare_folder(path, create);
    if (err == C2_E_OK)
        err = lock_folder(kv, path, &text);
    if (err == C2_E_OK)
        err = open_env(kv, path, create);
    if (err == C2_E_OK && create)
        err = sync_names(path);
    if (err == C2_E_OK) {
        *ret_kv = kv;
        return C2_E_OK;
    }
    if (text == NULL && err == C2_E_NOT_FOUND) {
        text = c2_asprintf("there is no metadata store in %s", path);
    } else if (text == NULL) {
        text = c2_asprintf("cannot open the metadata store in %s: %s", path, c2_err_text(err));
    }
    *ret_error = text;
    kv_close(kv);
    return err;
}

void
kv_close(struct kv *kv)
{
    if (kv == NULL)
        return;
    C2_ASSERT(atomic_load(&kv->active) == 0);
    if (kv->env != NULL)
        mdb_env_close(kv->env);
    if (kv->lock_fd >= 0)
        c2_os_unlock_file(kv->lock_fd);
    c2_free(kv->path);
    c2_free(kv);
}

const char *
kv_path(const struct kv *kv)
{
    return kv->path;
}

C2_RESULT
kv_space(const struct kv *kv, uint64_t *ret_size, uint64_t *ret_free)
{
    C2_AUTO(c2_free_auto) char *data = c2_asprintf("%s/data.mdb", kv->path);
    C2_TRY(c2_os_file_size(data, ret_size));
    return c2_os_free_space(kv->path, ret_free);
}

/* --- access ---------------------------------------------------------------------------------- */

C2_RESULT
kv_get(struct kv_txn *txn, enum kv_table table, struct c2_slice key, struct c2_slice *ret_value)
{
    C2_ASSERT(key.len > 0 && key.len <= KV_KEY_MAX);
    MDB_val k = to_val(key);
    MDB_val v = { 0 };
    int rc = mdb_get(txn->txn, txn->kv->dbi[table], &k, &v);
    if (rc != 0)
        return map_error(rc);
    if (v.mv_size > KV_VALUE_MAX)
        return C2_E_DAMAGED;
    *ret_value = c2_slice(v.mv_data, v.mv_size);
    return C2_E_OK;
}

static C2_RESULT
move_cursor(struct kv_txn *txn, enum kv_table table, MDB_val k, MDB_cursor_op op,
            struct c2_slice *ret_kv)
{
    if (txn->cursor[table] == NULL) {
        int rc = mdb_cursor_open(txn->txn, txn->kv->dbi[table], &txn->cursor[table]);
        if (rc != 0)
            return map_error(rc);
    }
    MDB_val v = { 0 };
    int rc = mdb_cursor_get(txn->cursor[table], &k, &v, op);
    if (rc != 0)
        return map_error(rc);
    if (v.mv_size > KV_VALUE_MAX || k.mv_size > KV_KEY_MAX)
        return C2_E_DAMAGED;
    ret_kv[0] = c2_slice(k.mv_data, k.mv_size);
    ret_kv[1] = c2_slice(v.mv_data, v.mv_size);
    return C2_E_OK;
}

C2_RESULT
kv_seek(struct kv_txn *txn, enum kv_table table, struct c2_slice at, struct c2_slice *ret_key,
        struct c2_slice *ret_value)
{
    C2_ASSERT(at.len <= KV_KEY_MAX);
    struct c2_slice found[2];
    C2_TRY(move_cursor(txn, table, to_val(at), at.len == 0 ? MDB_FIRST : MDB_SET_RANGE, found));
    *ret_key = found[0];
    *ret_value = found[1];
    return C2_E_OK;
}

C2_RESULT
kv_last(struct kv_txn *txn, enum kv_table table, struct c2_slice *ret_key,
        struct c2_slice *ret_value)
{
    struct c2_slice found[2];
    C2_TRY(move_cursor(txn, table, (MDB_val){ 0 }, MDB_LAST, found));
    *ret_key = found[0];
    *ret_value = found[1];
    return C2_E_OK;
}

C2_RESULT
kv_next(struct kv_txn *txn, enum kv_table table, struct c2_slice *ret_key,
        struct c2_slice *ret_value)
{
    C2_ASSERT(txn->cursor[table] != NULL);
    struct c2_slice found[2];
    C2_TRY(move_cursor(txn, table, (MDB_val){ 0 }, MDB_NEXT, found));
    *ret_key = found[0];
    *ret_value = found[1];
    return C2_E_OK;
}

C2_RESULT
kv_put(struct kv_txn *txn, enum kv_table table, struct c2_slice key, struct c2_slice value)
{
    C2_ASSERT(key.len > 0 && key.len <= KV_KEY_MAX);
    MDB_val k = to_val(key);
    MDB_val v = to_val(value);
    return map_error(mdb_put(txn->txn, txn->kv->dbi[table], &k, &v, 0));
}

C2_RESULT
kv_append(struct kv_txn *txn, enum kv_table table, struct c2_slice key, struct c2_slice value)
{
    C2_ASSERT(key.len > 0 && key.len <= KV_KEY_MAX);
    MDB_val k = to_val(key);
    MDB_val v = to_val(value);
    int rc = mdb_put(txn->txn, txn->kv->dbi[table], &k, &v, MDB_APPEND);
    return rc == MDB_KEYEXIST ? C2_E_DAMAGED : map_error(rc);
}

C2_RESULT
kv_clear(struct kv_txn *txn, enum kv_table table)
{
    return map_error(mdb_drop(txn->txn, txn->kv->dbi[table], 0));
}

static C2_RESULT
make_room(struct kv_txn *txn, enum kv_table table, struct c2_slice key, size_t len, unsigned how,
          uint8_t **ret_room)
{
    C2_ASSERT(key.len > 0 && key.len <= KV_KEY_MAX);
    MDB_val k = to_val(key);
    MDB_val v = { .mv_size = len };
    int rc = mdb_put(txn->txn, txn->kv->dbi[table], &k, &v, MDB_RESERVE | how);
    if (rc != 0)
        return rc == MDB_KEYEXIST ? C2_E_DAMAGED : map_error(rc);
    *ret_room = v.mv_data;
    return C2_E_OK;
}

C2_RESULT
kv_reserve(struct kv_txn *txn, enum kv_table table, struct c2_slice key, size_t len,
           uint8_t **ret_room)
{
    return make_room(txn, table, key, len, 0, ret_room);
}

C2_RESULT
kv_append_room(struct kv_txn *txn, enum kv_table table, struct c2_slice key, size_t len,
               uint8_t **ret_room)
{
    return make_room(txn, table, key, len, MDB_APPEND, ret_room);
}

C2_RESULT
kv_del(struct kv_txn *txn, enum kv_table table, struct c2_slice key)
{
    C2_ASSERT(key.len > 0 && key.len <= KV_KEY_MAX);
    MDB_val k = to_val(key);
    return map_error(mdb_del(txn->txn, txn->kv->dbi[table], &k, NULL));
}

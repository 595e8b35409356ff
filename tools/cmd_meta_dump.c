/* SPDX-License-Identifier: MIT */
/*
 * meta dump, meta load: all keys of a coordination service as a file, and back.
 *
 * Ephemeral keys belong to sessions and stay out, and so does the access control list. A dump is of
 * one moment: everything is read, in pages, until two readings in a row are the same, with the same
 * versions: then nothing has changed between them. A load first checks the whole file; what is
 * written first and removed last is a mark, so that one that was interrupted may be done again, and
 * that no other one writes at the same time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tools/dump_file.h"
#include "tools/meta.h"

#define READS_MAX 8
#define OPS_MAX   1000
#define BATCH_MAX (COORD_TXN_BYTES_MAX / 2)

/* ---- dump ------------------------------------------------------------------------------------ */

struct dump {
    struct service s;
    const char *path;
    char *temporary; /* owned; of this process, others may dump to the same path */
    bool made;       /* temporary is there */
    struct dump_writer writer;
    struct c2_sha256_stream *versions; /* owned */
    unsigned pages;
    bool marked;  /* the service has a part of a load only */
    bool refused; /* by the service, not by the file */
};

static void
put_entry(struct dump *d, const struct coord_entry *e)
{
    uint8_t version[8];
    d->marked = d->marked || c2_slice_equal(e->key, c2_slice_str(DUMP_FILE_MARK));
    if (e->session != 0)
        return;
    dump_file_add(&d->writer, e->key, e->value);
    for (unsigned k = 0; k < 8; k++)
        version[k] = (uint8_t)(e->version >> (8 * k));
    c2_sha256_stream_add(d->versions, c2_slice(version, sizeof version));
}

static enum c2_err
read_pages(struct dump *d)
{
    const struct c2_slice everything = c2_slice(NULL, 0);
    C2_AUTO(c2_buf_done) struct c2_buf after = { 0 };
    bool more = true;
    while (more) {
        struct service_call c = { .req = { .verb = COORD_RANGE, .keys = &everything, .nkeys = 1 } };
        c.req.after = c2_buf_slice(&after);
        enum c2_err err = service_run(&d->s, &c);
        for (size_t i = 0; err == C2_E_OK && i < c.req.nentries; i++)
            put_entry(d, &c.req.entries[i]);
        more = err == C2_E_OK && c.req.more && c.req.nentries > 0;
        if (more) {
            struct c2_slice last = c.req.entries[c.req.nentries - 1].key;
            c2_buf_clear(&after);
            c2_buf_append(&after, last.data, last.len);
        }
        coord_req_done(&c.req);
        if (err != C2_E_OK)
            return err;
        d->pages++;
    }
    return C2_E_OK;
}

/* A new file, in the place of our own one: values are for those who may read the service. */
static FILE *
open_private(struct dump *d)
{
    const char *path = d->temporary;
    if (d->made && unlink(path) != 0)
        return NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    d->made = fd >= 0;
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL && fd >= 0)
        close(fd);
    return file;
}

/* Everything once, into the file; `ret_state` is the same for the same keys, values, versions. */
static enum c2_err
read_all(struct dump *d, uint8_t ret_state[C2_SHA256_LEN])
{
    uint8_t hash[2][C2_SHA256_LEN];
    FILE *out = open_private(d);
    if (out == NULL)
        return c2_err_from_errno(errno);
    dump_file_begin(&d->writer, out);
    d->versions = c2_sha256_stream_new();
    d->pages = 0;
    enum c2_err err = read_pages(d);
    d->refused = err != C2_E_OK;
    dump_file_end(&d->writer, hash[0]);
    c2_sha256_stream_finish(d->versions, hash[1]);
    c2_sha256(c2_slice(hash, sizeof hash), ret_state);
    enum c2_err file_err = d->writer.err;
    if ((fflush(out) != 0 || fsync(fileno(out)) != 0) && file_err == C2_E_OK)
        file_err = c2_err_from_errno(errno);
    if (fclose(out) != 0 && file_err == C2_E_OK)
        file_err = c2_err_from_errno(errno);
    return err != C2_E_OK ? err : file_err;
}

/* What has come to be there meanwhile stays. */
static enum c2_err
give_name(const struct dump *d)
{
    if (renameat2(AT_FDCWD, d->temporary, AT_FDCWD, d->path, RENAME_NOREPLACE) == 0)
        return C2_E_OK;
    if (errno != EINVAL && errno != ENOSYS) /* some file systems do not know it */
        return c2_err_from_errno(errno);
    if (access(d->path, F_OK) == 0)
        return C2_E_EXISTS;
    return rename(d->temporary, d->path) == 0 ? C2_E_OK : c2_err_from_errno(errno);
}

static enum c2_err
dump_one_moment(struct dump *d)
{
    uint8_t before[C2_SHA256_LEN], now[C2_SHA256_LEN] = { 0 };
    enum c2_err err = C2_E_OK;
    for (unsigned i = 0; err == C2_E_OK && i < READS_MAX; i++) {
        memcpy(before, now, sizeof before);
        err = read_all(d, now);
        if (err == C2_E_OK && d->marked)
            return C2_E_PRECONDITION;
        bool same = i > 0 && memcmp(before, now, sizeof now) == 0;
        if (err == C2_E_OK && (same || d->pages == 1))
            return give_name(d);
    }
    return err == C2_E_OK ? C2_E_BUSY : err;
}

/* What the keys are is for nobody to find. */
static void
interrupted(void *arg, int signo)
{
    const struct dump *d = arg;
    (void)signo;
    if (d->made)
        (void)unlink(d->temporary);
    _exit(CTL_EXIT_INTERRUPTED);
}

static int
dump(struct dump *d)
{
    d->temporary = c2_asprintf("%s.tmp.%ld", d->path, (long)getpid());
    enum c2_err err = c2_os_signals(d->s.os, interrupted, d);
    if (err == C2_E_OK)
        err = access(d->path, F_OK) == 0 ? C2_E_EXISTS : dump_one_moment(d);
    if (d->made)
        (void)unlink(d->temporary);
    c2_free(d->temporary);
    if (err == C2_E_EXISTS)
        return cmd_fail(d->s.x, err, d->s.what, d->path, "exists already", "choose another file");
    if (err == C2_E_BUSY)
        return cmd_fail(d->s.x, err, d->s.what, d->path, "the service changes all the time",
                        "try again when its clients are quiet");
    if (err == C2_E_PRECONDITION)
        return cmd_fail(d->s.x, err, d->s.what, d->s.url, "it has a part of what was to be loaded",
                        "c2fsctl meta load FILE, again, ends what was interrupted");
    if (err != C2_E_OK && d->refused)
        return service_fail(&d->s, err, d->s.url);
    if (err != C2_E_OK)
        return cmd_fail(d->s.x, err, d->s.what, d->path, NULL, NULL);
    if (d->s.x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.meta-dump/1");
        c2_json_str(&j, "file", d->path);
        c2_json_u64(&j, "keys", d->writer.keys);
        cmd_json_print(&j, &out);
    } else {
        (void)printf("%llu keys are in %s\n", (unsigned long long)d->writer.keys, d->path);
    }
    return CTL_EXIT_OK;
}

static int
run_dump(struct cmd_ctx *x, int argc, char **argv)
{
    struct dump d = { 0 };
    struct service_words w;
    int code = service_parse(x, "meta dump", argc, argv, "takes a new file, and a service", &w);
    if (code == CTL_EXIT_OK && strcmp(w.file, "-") == 0)
        code = cmd_usage(x, cmd_find("meta dump"), "takes a file, not standard output");
    if (code == CTL_EXIT_OK)
        code = service_open(x, "meta dump", w.service, &d.s);
    if (code != CTL_EXIT_OK)
        return code;
    d.path = w.file;
    code = dump(&d);
    service_close(&d.s);
    return code;
}

/* ---- load ------------------------------------------------------------------------------------ */

struct load {
    struct service s;
    const char *path;
    struct dump_reader file;
    bool marked; /* the service has the mark of this file: its hash */

    /* The next transaction. */
    struct c2_buf bytes; /* keys and values */
    struct coord_op ops[OPS_MAX + 1];
    size_t at[OPS_MAX][3]; /* key, value, end: in bytes */
    size_t nops;
};

/* CONFLICT: the mark is not ours, somebody else loads. */
static enum c2_err
commit(struct load *l, const struct coord_op *ops, size_t nops)
{
    const struct coord_cond cond = { .kind = l->marked ? COORD_VALUE_EQ : COORD_ABSENT,
                                     .key = c2_slice_str(DUMP_FILE_MARK),
                                     .value = c2_slice_str(l->file.hash) };
    struct service_call c = { .req = { .verb = COORD_TXN, .conds = &cond, .nconds = 1 } };
    c.req.ops = ops;
    c.req.nops = nops;
    enum c2_err err = service_run(&l->s, &c);
    coord_req_done(&c.req);
    l->marked = l->marked || err == C2_E_OK;
    return err;
}

static enum c2_err
commit_batch(struct load *l)
{
    for (size_t i = 0; i < l->nops; i++) {
        const size_t *at = l->at[i];
        l->ops[i] = (struct coord_op){ .kind = COORD_PUT,
                                       .key = c2_slice(l->bytes.data + at[0], at[1] - at[0]),
                                       .value = c2_slice(l->bytes.data + at[1], at[2] - at[1]) };
    }
    enum c2_err err = l->nops == 0 ? C2_E_OK : commit(l, l->ops, l->nops);
    l->nops = 0;
    c2_buf_clear(&l->bytes);
    return err;
}

static enum c2_err
write_all(struct load *l)
{
    if (!dump_file_restart(&l->file))
        return C2_E_IO;
    for (uint64_t k = 0; k < l->file.keys; k++) {
        if (!dump_file_next(&l->file, &l->bytes, l->at[l->nops]))
            return C2_E_CORRUPT; /* it was good a moment ago */
        l->nops++;
        if (l->nops == OPS_MAX || l->bytes.len > BATCH_MAX)
            C2_TRY(commit_batch(l));
    }
    return commit_batch(l);
}

/* OK: the service is empty, or has what an interrupted load of this file has left. */
static enum c2_err
look_at_service(struct load *l)
{
    const struct c2_slice keys[] = { c2_slice_str(DUMP_FILE_MARK) };
    struct service_call c = { .req = { .verb = COORD_GET, .keys = keys, .nkeys = 1 } };
    C2_TRY(service_run(&l->s, &c));
    l->marked = c2_slice_equal(c.req.entries[0].value, c2_slice_str(l->file.hash));
    coord_req_done(&c.req);
    if (l->marked)
        return C2_E_OK;
    const struct c2_slice everything = c2_slice(NULL, 0);
    c = (struct service_call){ .req = { .verb = COORD_RANGE, .keys = &everything, .nkeys = 1 } };
    C2_TRY(service_run(&l->s, &c));
    bool empty = !c.req.more;
    for (size_t i = 0; i < c.req.nentries; i++)
        empty = empty && c.req.entries[i].session != 0;
    coord_req_done(&c.req);
    return empty ? C2_E_OK : C2_E_EXISTS;
}

static enum c2_err
load(struct load *l)
{
    struct coord_op mark = { .kind = COORD_PUT, .key = c2_slice_str(DUMP_FILE_MARK) };
    mark.value = c2_slice_str(l->file.hash);
    C2_TRY(look_at_service(l));
    if (l->s.x->dry_run)
        return C2_E_OK;
    C2_TRY(commit(l, &mark, 1));
    C2_TRY(write_all(l));
    mark = (struct coord_op){ .kind = COORD_DELETE, .key = mark.key };
    return commit(l, &mark, 1);
}

static int
load_file(struct load *l)
{
    const char *why = dump_file_check(&l->file);
    if (why != NULL)
        return cmd_fail(l->s.x, C2_E_CORRUPT, l->s.what, l->path, why, NULL);
    enum c2_err err = load(l);
    if (err == C2_E_EXISTS)
        return cmd_fail(l->s.x, err, l->s.what, l->s.url, "the service has keys already",
                        "load into a new service");
    if (err == C2_E_CONFLICT)
        return cmd_fail(l->s.x, err, l->s.what, l->s.url, "another file is being loaded into it",
                        "load into a new service, one file");
    if (err != C2_E_OK)
        return service_fail(&l->s, err, l->path);
    if (l->s.x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.meta-load/1");
        c2_json_u64(&j, "keys", l->file.keys);
        cmd_json_print(&j, &out);
    } else {
        (void)printf("%llu keys%s\n", (unsigned long long)l->file.keys,
                     l->s.x->dry_run ? " would be loaded" : " are loaded");
    }
    return CTL_EXIT_OK;
}

static int
run_load(struct cmd_ctx *x, int argc, char **argv)
{
    struct service_words w;
    int code = service_parse(x, "meta load", argc, argv, "takes a dump, and a service", &w);
    if (code != CTL_EXIT_OK)
        return code;
    FILE *in = fopen(w.file, "re");
    if (in == NULL)
        return cmd_fail(x, c2_err_from_errno(errno), "meta load", w.file, strerror(errno), NULL);
    if (fseek(in, 0, SEEK_SET) != 0) {
        (void)fclose(in);
        return cmd_fail(x, C2_E_INVALID, "meta load", w.file, "this is a pipe, not a file",
                        "a dump is read twice: first write it to a file");
    }
    struct load *l = c2_calloc(1, sizeof *l);
    l->path = w.file;
    l->file.in = in;
    code = service_open(x, "meta load", w.service, &l->s);
    if (code == CTL_EXIT_OK) {
        code = load_file(l);
        service_close(&l->s);
    }
    (void)fclose(in);
    c2_buf_done(&l->bytes);
    c2_free(l);
    return code;
}

const struct cmd cmds_meta_dump[] = {
    { .name = "meta dump",
      .args = "FILE [[-s] SERVICE]",
      .summary = "write all keys of a coordination service to a file",
      .help =
          "Of one moment; keys of sessions, such as locks, are left out, and so is the access\n"
          "control list (meta acl list). Values of volumes stay sealed. The versions of keys are\n"
          "not in it.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_dump },
    { .name = "meta load",
      .args = "FILE [[-s] SERVICE]",
      .summary = "write the keys of a dump into an empty coordination service",
      .help = "Checks the whole file first. When it was interrupted, do it again. Who may do what\n"
              "in the new service has to be said anew: meta acl grant.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_load },
    { .name = NULL },
};

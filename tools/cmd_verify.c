/* SPDX-License-Identifier: MIT */
/*
 * verify: are the shares of these files at their providers, and right. The paths are walked through
 * the mount, like any program does; the daemon reads the shares.
 */
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"
#include "tools/cmd.h"
#include "tools/ctl_client.h"
#include "tools/mounts.h"

struct verify {
    const struct cmd_ctx *x;
    struct ctl_client client;
    uint64_t inos[CTL_VERIFY_FILES];
    char *paths[CTL_VERIFY_FILES]; /* owned */
    size_t n;
    uint64_t files, verdicts[CTL_VERDICT_GONE + 1];
    uint64_t objects, bytes, shares_bad, shares_unknown;
    struct c2_buf json; /* the files that are not good */
    struct c2_json j;
};

static const char *
verdict_name(uint64_t v)
{
    static const char *const names[] = { "good",     "local",      "unknown",
                                         "degraded", "unreadable", "gone" };
    return v < C2_ARRAY_LEN(names) ? names[v] : "unknown";
}

static const char *
verdict_text(uint64_t v)
{
    static const char *const texts[] = { "good",
                                         "good, and partly not in the clouds yet",
                                         "some shares could not be asked for",
                                         "readable; shares are missing or wrong",
                                         "cannot be read: too few good shares are left",
                                         "gone" };
    return v < C2_ARRAY_LEN(texts) ? texts[v] : "unknown";
}

static void
note_verdict(struct verify *v, size_t k, uint64_t verdict)
{
    v->files++;
    v->verdicts[C2_MIN(verdict, (uint64_t)CTL_VERDICT_GONE)]++;
    if (verdict == CTL_VERDICT_GOOD || verdict == CTL_VERDICT_LOCAL || verdict >= CTL_VERDICT_GONE)
        return;
    if (!v->x->json) {
        (void)printf("%s: %s\n", v->paths[k], verdict_text(verdict));
        return;
    }
    c2_json_object(&v->j, NULL);
    c2_json_str(&v->j, "path", v->paths[k]);
    c2_json_u64(&v->j, "inode", v->inos[k]);
    c2_json_str(&v->j, "verdict", verdict_name(verdict));
    c2_json_object_end(&v->j);
}

static void
take_verdict(void *arg, const char *name, uint64_t value)
{
    struct verify *v = arg;
    char *end;
    unsigned long long ino = strtoull(name, &end, 10);
    const struct {
        const char *name;
        uint64_t *to;
    } sums[] = { { "objects", &v->objects },
                 { "bytes", &v->bytes },
                 { "shares_bad", &v->shares_bad },
                 { "shares_unknown", &v->shares_unknown } };
    for (size_t k = 0; k < C2_ARRAY_LEN(sums); k++)
        if (strcmp(sums[k].name, name) == 0)
            *sums[k].to += value;
    for (size_t k = 0; *end == '\0' && k < v->n; k++) {
        if (v->inos[k] != ino)
            continue;
        note_verdict(v, k, value);
        return;
    }
}

/* Asks for what was collected. */
static int
verify_some(struct verify *v)
{
    struct ctl_answer a;
    struct c2_buf list = { 0 };
    int code = CTL_EXIT_OK;
    for (size_t k = 0; k < v->n; k++)
        c2_wr_u64(&list, v->inos[k]);
    const struct ctl_request q = { .verb = CTL_VERIFY, .text = c2_buf_slice(&list) };
    enum c2_err err = v->n == 0 ? C2_E_OK : ctl_client_call(&v->client, &q, NULL, NULL, &a);
    if (v->n > 0 && err == C2_E_OK && a.err != C2_E_OK) {
        char *message = c2_strndup((const char *)a.message.data, a.message.len);
        code = cmd_fail(v->x, a.err, "verify", v->paths[0], message, NULL);
        c2_free(message);
    } else if (err != C2_E_OK ||
               (v->n > 0 && ctl_counters_decode(a.body, take_verdict, v) != C2_E_OK)) {
        code =
            cmd_fail(v->x, err != C2_E_OK ? err : C2_E_PARSE, "verify", v->x->volume, NULL, NULL);
    }
    for (size_t k = 0; k < v->n; k++)
        c2_free(v->paths[k]);
    v->n = 0;
    c2_buf_done(&list);
    return code;
}

static int
add_file(struct verify *v, const char *path, uint64_t ino)
{
    for (size_t k = 0; k < v->n; k++)
        if (v->inos[k] == ino)
            return CTL_EXIT_OK; /* another link */
    v->inos[v->n] = ino;
    v->paths[v->n++] = c2_strdup(path);
    return v->n == CTL_VERIFY_FILES ? verify_some(v) : CTL_EXIT_OK;
}

/* A file, or all files below a folder, of this one file system. */
static int
verify_path(struct verify *v, char *path)
{
    char *const paths[] = { path, NULL };
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    int code = CTL_EXIT_OK;
    if (walk == NULL)
        return cmd_fail(v->x, C2_E_IO, "verify", path, NULL, NULL);
    for (FTSENT *e = fts_read(walk); e != NULL && code == CTL_EXIT_OK; e = fts_read(walk)) {
        if (e->fts_info == FTS_ERR || e->fts_info == FTS_NS || e->fts_info == FTS_DNR)
            code =
                cmd_fail(v->x, c2_err_from_errno(e->fts_errno), "verify", e->fts_path, NULL, NULL);
        else if (e->fts_info == FTS_F)
            code = add_file(v, e->fts_path, e->fts_statp->st_ino);
    }
    (void)fts_close(walk);
    return code;
}

/* The volume of the mount that has this path; the caller frees. NULL: none of ours. */
static char *
volume_of(const char *path)
{
    struct mounts m;
    char real[PATH_MAX], *volume = NULL;
    size_t best = 0;
    if (realpath(path, real) == NULL)
        return NULL;
    mounts_read(NULL, &m);
    for (size_t k = 0; k < m.n; k++) {
        size_t len = strlen(m.e[k].mountpoint);
        bool below =
            strncmp(real, m.e[k].mountpoint, len) == 0 && (real[len] == '\0' || real[len] == '/');
        if (!below || len < best)
            continue;
        best = len;
        c2_free(volume);
        volume = c2_strdup(m.e[k].volume);
    }
    mounts_done(&m);
    return volume;
}

static int
verify_paths(struct verify *v, char **paths)
{
    const char *dir = cmd_cache_dir(v->x, v->x->volume);
    enum c2_err err = dir == NULL ? C2_E_CONFIG : ctl_client_open(dir, &v->client);
    if (err != C2_E_OK)
        return cmd_fail(v->x, err, "verify", v->x->volume, NULL, NULL);
    int code = CTL_EXIT_OK;
    for (; *paths != NULL && code == CTL_EXIT_OK; paths++)
        code = verify_path(v, *paths);
    if (code == CTL_EXIT_OK)
        code = verify_some(v);
    ctl_client_close(&v->client);
    return code;
}

static int
verify_summary(struct verify *v)
{
    char size[C2_SIZE_TEXT_MAX];
    const uint64_t *n = v->verdicts;
    const unsigned long long good = n[CTL_VERDICT_GOOD] + n[CTL_VERDICT_LOCAL];
    if (v->x->json) {
        c2_json_array_end(&v->j);
        c2_json_u64(&v->j, "files", v->files);
        for (uint64_t k = 0; k <= CTL_VERDICT_GONE; k++)
            c2_json_u64(&v->j, verdict_name(k), n[k]);
        c2_json_u64(&v->j, "objects", v->objects);
        c2_json_u64(&v->j, "bytes", v->bytes);
        c2_json_u64(&v->j, "shares_bad", v->shares_bad);
        c2_json_u64(&v->j, "shares_unknown", v->shares_unknown);
        cmd_json_print(&v->j, &v->json);
    } else {
        (void)printf("%llu files: %llu good, %llu degraded, %llu unreadable, %llu not known; %llu "
                     "objects, %s read\n",
                     (unsigned long long)v->files, good,
                     (unsigned long long)n[CTL_VERDICT_DEGRADED],
                     (unsigned long long)n[CTL_VERDICT_UNREADABLE],
                     (unsigned long long)n[CTL_VERDICT_UNKNOWN], (unsigned long long)v->objects,
                     c2_size_format(v->bytes, size));
        if (n[CTL_VERDICT_LOCAL] > 0)
            (void)printf("%llu of them are partly not in the clouds yet\n",
                         (unsigned long long)n[CTL_VERDICT_LOCAL]);
    }
    if (n[CTL_VERDICT_UNREADABLE] > 0)
        return CTL_EXIT_DATA_LOST;
    return n[CTL_VERDICT_DEGRADED] + n[CTL_VERDICT_UNKNOWN] > 0 ? CTL_EXIT_DEGRADED : CTL_EXIT_OK;
}

static int
run_verify(struct cmd_ctx *x, int argc, char **argv)
{
    cmd_end_options(&argc, &argv);
    if (argc < 2)
        return cmd_usage(x, cmd_find("verify"), "a path is missing");
    char *volume = volume_of(argv[1]);
    if (volume == NULL || (x->volume != NULL && strcmp(volume, x->volume) != 0)) {
        c2_free(volume);
        return cmd_fail(x, C2_E_NOT_MOUNTED, "verify", argv[1],
                        "not in a mounted volume of this machine", NULL);
    }
    struct cmd_ctx here = *x;
    here.volume = volume;
    struct verify *v = c2_calloc(1, sizeof(*v));
    v->x = &here;
    if (x->json) {
        cmd_json_begin(&v->j, &v->json, "c2fs.verify/1");
        c2_json_str(&v->j, "volume", volume);
        c2_json_array(&v->j, "findings");
    }
    int code = verify_paths(v, argv + 1);
    if (code == CTL_EXIT_OK)
        code = verify_summary(v);
    c2_buf_done(&v->json);
    c2_free(v);
    c2_free(volume);
    return code;
}

const struct cmd cmds_verify[] = {
    { "verify", "PATH ...", "read and verify every share of files",
      "All shares of the data of these files, or of all files below these folders, are read from\n"
      "their providers and verified. Missing and wrong ones are told to repair.\n"
      "\n"
      "Exit code 0: all is well; 6: readable, but shares are missing, wrong or could not be asked\n"
      "for; 8: a file cannot be read any more.\n",
      "", CMD_NEEDS_CONF, run_verify },
    { 0 },
};

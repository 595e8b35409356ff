/* SPDX-License-Identifier: MIT */
/*
 * flush, umount, mounts, info, cache status, cache clear: what concerns a mount on this machine.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/env.h"
#include "base/str.h"
#include "tools/cmd.h"
#include "tools/ctl_client.h"
#include "tools/mounts.h"
#include "tools/outside.h"
#include "tools/progress.h"
#include "tools/status.h"

#define INFO_MAX 65536

static char *
message_of(const struct ctl_answer *a)
{
    return a->message.len == 0 ? NULL : c2_strndup((const char *)a->message.data, a->message.len);
}

/* The volume a command means: that of the mount point, of -V, or the only one there is. */
static int
volume_at(struct cmd_ctx *x, const char *what, const char *mountpoint)
{
    struct mounts m;
    mounts_read(NULL, &m);
    const struct mount_entry *e = mounts_at(&m, mountpoint);
    int code = CTL_EXIT_OK;
    if (e == NULL) {
        code = cmd_fail(x, C2_E_NOT_MOUNTED, what, mountpoint,
                        "not mounted: there is no C2FS volume", "c2fsctl mounts shows what is");
    } else if (!c2_conf_has_section(x->conf, "volume", e->volume)) {
        code = cmd_fail(x, C2_E_CONFIG, what, mountpoint, "its volume is not in this configuration",
                        "add -C FILE");
    } else {
        for (size_t k = 0; (x->volume = c2_conf_section(x->conf, "volume", k)) != NULL; k++)
            if (strcmp(x->volume, e->volume) == 0)
                break;
    }
    mounts_done(&m);
    return code;
}

/* The volume when no mount point was given. */
static int
volume_of(struct cmd_ctx *x, const char *what)
{
    if (x->volume == NULL && c2_conf_section(x->conf, "volume", 1) == NULL)
        x->volume = c2_conf_section(x->conf, "volume", 0);
    if (x->volume == NULL)
        return cmd_fail(x, C2_E_CONFIG, what, NULL, "which volume?",
                        "choose one with -V NAME or give a mount point");
    return CTL_EXIT_OK;
}

static int
connect_daemon(const struct cmd_ctx *x, const char *what, struct ctl_client *c)
{
    const char *cache_dir = cmd_cache_dir(x, x->volume);
    if (cache_dir == NULL)
        return cmd_fail(x, C2_E_CONFIG, what, x->volume, "the volume has no cache_dir", NULL);
    enum c2_err err = ctl_client_open(cache_dir, c);
    if (err == C2_E_NOT_MOUNTED)
        return cmd_fail(x, err, what, x->volume, "not mounted on this machine",
                        "c2fs VOLUME MOUNTPOINT mounts it");
    if (err != C2_E_OK)
        return cmd_fail(x, err, what, x->volume, "the daemon belongs to another user", NULL);
    return CTL_EXIT_OK;
}

/* One request; its failure is reported. TIMEOUT means: something is left to upload. */
static int
call(const struct cmd_ctx *x, const char *what, struct ctl_client *c, const struct ctl_request *q)
{
    struct ctl_answer a;
    struct progress p;
    progress_begin(&p, x, what);
    enum c2_err err = ctl_client_call(c, q, progress_answer, &p, &a);
    progress_end(&p);
    if (err != C2_E_OK)
        return cmd_fail(x, err, what, x->volume, "the daemon ended", NULL);
    if (a.err == C2_E_OK)
        return CTL_EXIT_OK;
    char *message = message_of(&a);
    int code = cmd_fail(x, a.err, what, x->volume, message,
                        a.err == C2_E_TIMEOUT ? "c2fsctl status shows what hinders uploads" : NULL);
    c2_free(message);
    return a.err == C2_E_TIMEOUT ? CTL_EXIT_PENDING : code;
}

static void
print_done(const struct cmd_ctx *x, const char *schema, const char *text)
{
    if (!x->json) {
        (void)printf("%s\n", text);
        return;
    }
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, schema);
    c2_json_str(&j, "volume", x->volume);
    c2_json_str(&j, "result", "ok");
    cmd_json_print(&j, &out);
}

/* ---- flush ----------------------------------------------------------------------------------- */

/* [PATH] and --timeout, which several commands take. -1: go on. */
static int
parse_timeout(const struct cmd_ctx *x, const struct cmd *c, int argc, char **argv, uint64_t *ret_ns,
              bool *ret_lazy)
{
    static const struct option longs[] = { { "timeout", required_argument, NULL, 't' },
                                           { "lazy", no_argument, NULL, 'l' },
                                           { NULL, 0, NULL, 0 } };
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag == 'l' && ret_lazy != NULL)
            *ret_lazy = true;
        else if (flag != 't' || !cmd_duration(optarg, ret_ns))
            return cmd_usage(
                x, c, flag == 't' ? "--timeout takes a duration like 30s or 5m" : "unknown option");
    }
    return -1;
}

static int
run_flush(struct cmd_ctx *x, int argc, char **argv)
{
    const struct cmd *c = cmd_find("flush");
    struct ctl_client client;
    uint64_t timeout_ns = 0;
    int code = parse_timeout(x, c, argc, argv, &timeout_ns, NULL);
    if (code >= 0)
        return code;
    if (argc - optind > 1)
        return cmd_usage(x, c, "give at most one mount point");
    code = optind < argc ? volume_at(x, "flush", argv[optind]) : volume_of(x, "flush");
    if (code == CTL_EXIT_OK)
        code = connect_daemon(x, "flush", &client);
    if (code != CTL_EXIT_OK)
        return code;
    const struct ctl_request q = { .verb = CTL_FLUSH, .number = timeout_ns };
    code = call(x, "flush", &client, &q);
    ctl_client_close(&client);
    if (code == CTL_EXIT_OK)
        print_done(x, "c2fs.flush/1", "everything is in the clouds");
    return code;
}

/* ---- umount ---------------------------------------------------------------------------------- */

static int
detach_and_wait(const struct cmd_ctx *x, struct ctl_client *client, const char *mountpoint,
                uint64_t timeout_ns, bool lazy)
{
    const struct ctl_request flush = { .verb = CTL_FLUSH, .number = timeout_ns };
    const struct ctl_request stop = { .verb = CTL_STOP, .number = timeout_ns };
    int code = call(x, "umount", client, &flush);
    if (code != CTL_EXIT_OK)
        return code;
    int err_no = mounts_detach(mountpoint, lazy);
    if (err_no == EBUSY)
        return cmd_fail(x, C2_E_BUSY, "umount", mountpoint, "programs still use it",
                        "fuser -vm shows which; --lazy takes it out of sight at once");
    if (err_no == ENOPKG)
        return cmd_fail(x, C2_E_UNSUPPORTED, "umount", mountpoint, "fusermount3 cannot be run",
                        "install fuse3, or unmount as root");
    if (err_no != 0)
        return cmd_fail(x, c2_err_from_errno(err_no), "umount", mountpoint, strerror(err_no), NULL);
    /* The daemon ends by itself now. It may have done so before it reads this: then it had nothing
     * left to do. */
    struct ctl_answer a;
    struct progress p;
    progress_begin(&p, x, "umount");
    enum c2_err err = ctl_client_call(client, &stop, progress_answer, &p, &a);
    progress_end(&p);
    if (err == C2_E_OK && a.err == C2_E_TIMEOUT) {
        (void)cmd_fail(x, a.err, "umount", mountpoint,
                       "unmounted; what is not in the clouds yet stays in the journal",
                       "mount the volume again to upload it");
        code = CTL_EXIT_PENDING;
    }
    ctl_client_wait_end(client);
    return code;
}

static int
run_umount(struct cmd_ctx *x, int argc, char **argv)
{
    const struct cmd *c = cmd_find("umount");
    struct ctl_client client;
    uint64_t timeout_ns = 0;
    bool lazy = false;
    int code = parse_timeout(x, c, argc, argv, &timeout_ns, &lazy);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return cmd_usage(x, c, "give one mount point");
    const char *mountpoint = argv[optind];
    code = volume_at(x, "umount", mountpoint);
    if (code != CTL_EXIT_OK)
        return code;
    const char *cache_dir = cmd_cache_dir(x, x->volume);
    enum c2_err err = cache_dir == NULL ? C2_E_CONFIG : ctl_client_open(cache_dir, &client);
    if (err == C2_E_NOT_MOUNTED) {
        /* Its daemon is dead: nothing to wait for, the journal has what it promised. */
        int err_no = mounts_detach(mountpoint, true);
        if (err_no != 0)
            return cmd_fail(x, c2_err_from_errno(err_no), "umount", mountpoint, strerror(err_no),
                            NULL);
        print_done(x, "c2fs.umount/1",
                   "unmounted; its daemon was gone, the next mount replays the journal");
        return CTL_EXIT_OK;
    }
    if (err != C2_E_OK)
        return cmd_fail(x, err, "umount", mountpoint, "the daemon belongs to another user", NULL);
    code = detach_and_wait(x, &client, mountpoint, timeout_ns, lazy);
    ctl_client_close(&client);
    if (code == CTL_EXIT_OK)
        print_done(x, "c2fs.umount/1", "unmounted, everything is in the clouds");
    return code;
}

/* ---- mounts ---------------------------------------------------------------------------------- */

static int
run_mounts(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("mounts"), "takes no arguments");
    struct mounts m;
    mounts_read(NULL, &m);
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.mounts/1");
        c2_json_array(&j, "mounts");
        for (size_t k = 0; k < m.n; k++) {
            c2_json_object(&j, NULL);
            c2_json_str(&j, "volume", m.e[k].volume);
            c2_json_str(&j, "mountpoint", m.e[k].mountpoint);
            c2_json_str(&j, "options", m.e[k].options);
            c2_json_object_end(&j);
        }
        c2_json_array_end(&j);
        cmd_json_print(&j, &out);
    } else if (m.n == 0) {
        (void)printf("no volume is mounted here\n");
    } else {
        struct cmd_table t = { .ncolumns = 3, .headers = { "VOLUME", "MOUNTPOINT", "OPTIONS" } };
        for (size_t k = 0; k < m.n; k++)
            cmd_table_add(&t, m.e[k].volume, m.e[k].mountpoint, m.e[k].options);
        cmd_table_print(&t, "");
    }
    mounts_done(&m);
    return CTL_EXIT_OK;
}

/* ---- info ------------------------------------------------------------------------------------ */

static int
run_info(struct cmd_ctx *x, int argc, char **argv)
{
    cmd_end_options(&argc, &argv);
    if (argc != 2)
        return cmd_usage(x, cmd_find("info"), "give one file");
    const char *path = argv[1];
    char *text = c2_alloc(INFO_MAX + 1);
    ssize_t len = lgetxattr(path, "user.c2fs.info", text, INFO_MAX);
    if (len < 0) {
        int err_no = errno;
        bool foreign = err_no == ENODATA || err_no == EOPNOTSUPP;
        c2_free(text);
        return cmd_fail(x, foreign ? C2_E_UNSUPPORTED : c2_err_from_errno(err_no), "info", path,
                        foreign ? "not a regular file on a C2FS mount" : strerror(err_no), NULL);
    }
    text[len] = '\0';
    if (x->json) {
        (void)printf("%s\n", text);
    } else {
        /* The same for people: one member per line. */
        unsigned depth = 0;
        for (const char *p = text; *p != '\0'; p++) {
            bool open = *p == '{' || *p == '[', close = *p == '}' || *p == ']';
            depth -= close && depth > 0;
            if (close && depth == 0)
                (void)printf("\n");
            (void)putchar(*p);
            depth += open;
            if ((*p == ',' && depth == 1) || (*p == '{' && depth == 1))
                (void)printf("\n  ");
        }
        (void)printf("\n");
    }
    c2_free(text);
    return CTL_EXIT_OK;
}

/* ---- cache ----------------------------------------------------------------------------------- */

static int
run_cache_status(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("cache status"), "takes no arguments");
    uint64_t max = c2_conf_u64(x->conf, "volume", x->volume, "cache_size");
    uint64_t bytes = outside_folder_bytes(x, x->volume, "cache");
    const char *dir = cmd_cache_dir(x, x->volume);
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.cache/1");
        c2_json_str(&j, "volume", x->volume);
        c2_json_str(&j, "folder", dir);
        c2_json_u64(&j, "disk_bytes", bytes);
        c2_json_u64(&j, "disk_size_bytes", max);
        cmd_json_print(&j, &out);
    } else {
        char a[C2_SIZE_TEXT_MAX], b[C2_SIZE_TEXT_MAX];
        (void)printf("%s/cache: %s of %s\n", dir == NULL ? "-" : dir, c2_size_format(bytes, a),
                     c2_size_format(max, b));
    }
    return CTL_EXIT_OK;
}

/* Without a daemon: the cache is nothing but files that may go at any time. Two levels of folders
 * are enough for its layout. */
static enum c2_err
remove_files(int dir_fd, unsigned depth)
{
    DIR *d = fdopendir(dir_fd);
    if (d == NULL) {
        close(dir_fd);
        return c2_err_from_errno(errno);
    }
    enum c2_err err = C2_E_OK;
    const struct dirent *e;
    while (err == C2_E_OK && (e = readdir(d)) != NULL) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth > 0) {
            int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            err = fd < 0 ? c2_err_from_errno(errno) : remove_files(fd, depth - 1);
        } else if (!S_ISDIR(st.st_mode) && unlinkat(dirfd(d), e->d_name, 0) != 0) {
            err = c2_err_from_errno(errno);
        }
    }
    closedir(d);
    return err;
}

static int
run_cache_clear(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("cache clear"), "takes no arguments");
    const char *dir = cmd_cache_dir(x, x->volume);
    struct ctl_client client;
    if (dir == NULL)
        return cmd_fail(x, C2_E_CONFIG, "cache clear", x->volume, "the volume has no cache_dir",
                        NULL);
    enum c2_err err = ctl_client_open(dir, &client);
    int code = CTL_EXIT_OK;
    if (err == C2_E_OK) {
        const struct ctl_request q = { .verb = CTL_CACHE_CLEAR };
        code = call(x, "cache clear", &client, &q);
        ctl_client_close(&client);
    } else if (err == C2_E_NOT_MOUNTED) {
        char *path = c2_asprintf("%s/cache", dir);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        err = fd >= 0 ? remove_files(fd, 2) : errno == ENOENT ? C2_E_OK : c2_err_from_errno(errno);
        if (err != C2_E_OK)
            code = cmd_fail(x, err, "cache clear", path, NULL, NULL);
        c2_free(path);
    } else {
        code =
            cmd_fail(x, err, "cache clear", x->volume, "the daemon belongs to another user", NULL);
    }
    if (code == CTL_EXIT_OK)
        print_done(x, "c2fs.cache_clear/1",
                   "the cache is empty; nothing that waits for upload was "
                   "touched");
    return code;
}

const struct cmd cmds_mount[] = {
    { "flush", "[MOUNTPOINT] [--timeout TIME]", "wait until everything is in the clouds",
      "Everything written so far, files that are still open included, is stored at the providers\n"
      "and committed when the command returns. Exit code 12: the time was over first.\n",
      "--timeout", CMD_NEEDS_CONF, run_flush },
    { "umount", "MOUNTPOINT [--timeout TIME] [--lazy]", "flush, unmount, wait for the daemon",
      "Like umount(8), but returns when the daemon has ended and everything is in the clouds.\n"
      "Exit code 12: the time was over first; without --lazy the volume is still mounted then.\n"
      "  --timeout TIME  how long to wait for uploads; default: for ever\n"
      "  --lazy          take it out of sight even if programs still use it\n",
      "--timeout --lazy", CMD_NEEDS_CONF, run_umount },
    { "mounts", "", "volumes mounted on this machine", "", "", CMD_NEEDS_NOTHING, run_mounts },
    { "info", "PATH", "state of a file: where its bytes are",
      "The attribute user.c2fs.info of the file: its state, objects and the seats that hold their\n"
      "shares.\n",
      "", CMD_NEEDS_NOTHING, run_info },
    { "cache status", "", "size of the local cache", "", "", CMD_NEEDS_VOLUME, run_cache_status },
    { "cache clear", "", "empty the local cache of file data",
      "Only copies of what is in the clouds go; the journal is not touched.\n", "",
      CMD_NEEDS_VOLUME, run_cache_clear },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};

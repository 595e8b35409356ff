/* SPDX-License-Identifier: MIT */
/*
 * c2fsctl doctor: one line per finding, and below it what to do.
 */
#include "tools/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/os_loop.h"
#include "base/str.h"
#include "tools/outside.h"

#define FREE_WARN_BYTES (1ull << 30)
#define SKEW_WARN_NS    (60 * (int64_t)C2_NS_PER_S)

enum colour { GREEN, YELLOW, RED };

struct doctor {
    struct cmd_ctx *x;
    struct c2_json *j; /* NULL: text */
    unsigned found[3];
};

C2_PRINTF(5, 6)
static void
finding(struct doctor *d, enum colour c, const char *subject, const char *fix, const char *fmt, ...)
{
    static const char *const words[] = { "ok", "warning", "FAILED" };
    static const char *const names[] = { "green", "yellow", "red" };
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    d->found[c]++;
    if (d->j != NULL) {
        c2_json_object(d->j, NULL);
        c2_json_str(d->j, "subject", subject);
        c2_json_str(d->j, "colour", names[c]);
        c2_json_str(d->j, "text", text);
        c2_json_str(d->j, "fix", c == GREEN ? NULL : fix);
        c2_json_object_end(d->j);
        return;
    }
    (void)printf("%-8s %s: %s\n", words[c], subject, text);
    if (c != GREEN && fix != NULL)
        (void)printf("         -> %s\n", fix);
}

/* ---- machine --------------------------------------------------------------------------------- */

static void
check_kernel(struct doctor *d)
{
    struct utsname u;
    if (uname(&u) == 0)
        finding(d, GREEN, "kernel", NULL, "%s %s", u.sysname, u.release);
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        finding(d, GREEN, "/dev/fuse", NULL, "can be opened");
    } else if (errno == ENOENT) {
        finding(d, RED, "/dev/fuse", "modprobe fuse; in a container: --device /dev/fuse",
                "is not there");
    } else {
        finding(d, RED, "/dev/fuse", "chmod 666 /dev/fuse, or mount as root", "%s",
                strerror(errno));
    }
    if (geteuid() == 0)
        return;
    if (access("/usr/bin/fusermount3", X_OK) == 0 || access("/bin/fusermount3", X_OK) == 0)
        finding(d, GREEN, "fusermount3", NULL, "is installed");
    else
        finding(d, RED, "fusermount3", "apt install fuse3", "is missing; only root could mount");
}

/* ---- configuration --------------------------------------------------------------------------- */

static void
check_secret_file(struct doctor *d, const char *subject, const char *path, bool must)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        if (must)
            finding(d, RED, subject, "c2fsctl format makes it; or bring it from your backup",
                    "%s: %s", path, strerror(errno));
        return;
    }
    if ((st.st_mode & 077) != 0) {
        char *fix = c2_asprintf("chmod 600 %s", path);
        finding(d, RED, subject, fix, "%s can be read by others (mode %03o)", path,
                (unsigned)(st.st_mode & 0777));
        c2_free(fix);
    } else if (access(path, R_OK) != 0) {
        finding(d, YELLOW, subject, "run this as the user who mounts", "%s cannot be read by you",
                path);
    } else {
        finding(d, GREEN, subject, NULL, "%s, mode %03o", path, (unsigned)(st.st_mode & 0777));
    }
}

static void
check_cache_dir(struct doctor *d, const char *volume, const char *dir)
{
    struct statvfs v;
    char free_text[C2_SIZE_TEXT_MAX], need_text[C2_SIZE_TEXT_MAX];
    char *subject = c2_asprintf("cache of %s", volume);
    if (dir == NULL) {
        finding(d, RED, subject, "add cache_dir = FOLDER", "is not configured");
    } else if (statvfs(dir, &v) != 0) {
        if (errno == ENOENT)
            finding(d, GREEN, subject, NULL, "%s is made by the first mount", dir);
        else
            finding(d, RED, subject, "choose another cache_dir", "%s: %s", dir, strerror(errno));
    } else if (access(dir, W_OK) != 0) {
        finding(d, YELLOW, subject, "run this as the user who mounts", "%s is not writable for you",
                dir);
    } else {
        uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
        uint64_t need = c2_conf_u64(d->x->conf, "volume", volume, "journal_size");
        bool low = free_bytes < need || free_bytes < FREE_WARN_BYTES;
        finding(d, low ? YELLOW : GREEN, subject, "make room, or lower journal_size and cache_size",
                "%s, %s free, the journal may take %s", dir, c2_size_format(free_bytes, free_text),
                c2_size_format(need, need_text));
    }
    c2_free(subject);
}

static void
check_volume(struct doctor *d, const char *volume)
{
    const struct c2_conf *conf = d->x->conf;
    const char *key_file = c2_conf_str(conf, "volume", volume, "key_file");
    char *subject = c2_asprintf("key file of %s", volume);
    if (key_file == NULL)
        finding(d, RED, subject, "add key_file = FILE", "is not configured");
    else
        check_secret_file(d, subject, key_file, true);
    c2_free(subject);
    check_cache_dir(d, volume, cmd_cache_dir(d->x, volume));
    const char *names[CTL_PROVIDERS_MAX];
    size_t n = outside_providers(d->x, names);
    if (n < 4)
        finding(d, RED, volume, "add [provider] sections",
                "%zu providers are configured, at least 4 are needed", n);
}

/* ---- providers ------------------------------------------------------------------------------- */

struct probing {
    struct prov_probe probe;
    bool done;
};

static void
probed(struct prov_probe *p)
{
    C2_CONTAINER_OF(p, struct probing, probe)->done = true;
}

static void
report_probe(struct doctor *d, const char *subject, const struct prov_probe *p)
{
    char latency[C2_SIZE_TEXT_MAX];
    const struct prov_probe_check *bad = NULL;
    for (unsigned k = 0; k < PROV_CHECK_COUNT && bad == NULL; k++)
        if (p->checks[k].ran && p->checks[k].err != C2_E_OK && p->checks[k].required)
            bad = &p->checks[k];
    if (p->err != C2_E_OK && bad != NULL)
        finding(d, RED, subject, "c2fsctl provider test says more", "%s failed: %s", bad->title,
                bad->detail[0] != '\0' ? bad->detail : c2_err_text(bad->err));
    else if (p->err != C2_E_OK)
        finding(d, RED, subject, "c2fsctl provider test says more", "%s", c2_err_text(p->err));
    else
        finding(d, GREEN, subject, NULL, "works, a small write takes %s",
                c2_duration_format(p->latency_put_ns, latency));
    if (p->clock_known && (p->clock_skew_ns > SKEW_WARN_NS || p->clock_skew_ns < -SKEW_WARN_NS))
        finding(d, RED, "clock", "timedatectl set-ntp true",
                "%s: its clock and ours differ by %lld s", subject,
                (long long)(p->clock_skew_ns / (int64_t)C2_NS_PER_S));
}

static void
check_provider(struct doctor *d, struct c2_os *os, const char *name)
{
    char *subject = c2_asprintf("provider %s", name), *error = NULL;
    struct provider *p;
    enum c2_err err = prov_open(c2_os_env(os), os, d->x->conf, name, &p, &error);
    if (err != C2_E_OK) {
        finding(d, RED, subject, "correct its section or its credentials", "%s",
                error != NULL ? error : c2_err_text(err));
    } else {
        struct probing *b = c2_calloc(1, sizeof(*b));
        b->probe = (struct prov_probe){ .provider = p,
                                        .key_prefix = "v1",
                                        .deadline_ns = c2_now_ns(c2_os_env(os)) + 30 * C2_NS_PER_S,
                                        .done = probed };
        prov_probe_start(&b->probe);
        c2_os_run_until(os, &b->done);
        report_probe(d, subject, &b->probe);
        c2_free(b);
        prov_close(p);
    }
    c2_free(error);
    c2_free(subject);
}

static void
check_providers(struct doctor *d)
{
    const char *names[CTL_PROVIDERS_MAX];
    struct c2_os *os;
    if (c2_os_new(1, &os) != C2_E_OK) {
        finding(d, RED, "event loop", NULL, "cannot be started");
        return;
    }
    size_t n = outside_providers(d->x, names);
    for (size_t k = 0; k < n; k++)
        check_provider(d, os, names[k]);
    c2_os_drain(os);
    c2_os_free(os);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void
examine(struct doctor *d)
{
    check_kernel(d);
    enum c2_err err = c2_conf_load_default(d->x->conf, d->x->config_file);
    if (err != C2_E_OK) {
        finding(d, RED, "configuration", "see c2fs.conf(5)", "%s", c2_conf_error(d->x->conf));
        return;
    }
    finding(d, GREEN, "configuration", NULL, "is valid");
    check_secret_file(d, "credentials", c2_conf_str(d->x->conf, "c2fs", NULL, "credentials"),
                      false);
    const char *volume;
    size_t n = 0;
    for (; (volume = c2_conf_section(d->x->conf, "volume", n)) != NULL; n++)
        check_volume(d, volume);
    if (n == 0)
        finding(d, RED, "volumes", "see c2fs.conf(5)", "the configuration has no [volume] section");
    check_providers(d);
}

int
doctor_run(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("doctor"), "takes no arguments");
    struct doctor d = { .x = x };
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (x->json) {
        cmd_json_begin(&j, &out, "c2fs.doctor/1");
        c2_json_array(&j, "findings");
        d.j = &j;
    }
    examine(&d);
    if (x->json) {
        c2_json_array_end(&j);
        c2_json_u64(&j, "red", d.found[RED]);
        c2_json_u64(&j, "yellow", d.found[YELLOW]);
        cmd_json_print(&j, &out);
    } else {
        (void)printf("%u ok, %u warnings, %u failed\n", d.found[GREEN], d.found[YELLOW],
                     d.found[RED]);
    }
    return d.found[RED] > 0 ? CTL_EXIT_FAILED : CTL_EXIT_OK;
}

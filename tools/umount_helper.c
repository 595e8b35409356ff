/* SPDX-License-Identifier: MIT */
/*
 * umount.fuse.c2fs DIR [-flnrv] [-N namespace] [-t type]: what umount(8) runs for a mount of type
 * fuse.c2fs that is in /run/mount/utab, where c2fs puts it (without an entry there umount(8) sees
 * the type "fuse" only). The kernel unmounts a FUSE file system
 * without waiting for its daemon; this waits until everything is in the clouds, as c2fsctl umount
 * does. -l and -f take the mount away at once: the daemon goes on in the background, and what it
 * cannot upload stays in the journal.
 */
#include "tools/umount_helper.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "tools/mounts.h"

#define UTAB          "/run/mount/utab"
#define UTAB_MAX      (1u << 20)
#define CONFIG_OPTION "x-c2fs.config="

#define UMOUNT_OK    0
#define UMOUNT_USAGE 1
#define UMOUNT_FAIL  32

static int
detach_only(const char *mountpoint, bool lazy)
{
    int err_no = mounts_detach(mountpoint, lazy);
    if (err_no == 0)
        return UMOUNT_OK;
    (void)fprintf(stderr, "umount.fuse.c2fs: %s: %s\n", mountpoint, strerror(err_no));
    return UMOUNT_FAIL;
}

/* The -C file that the volume was mounted with, from mount(8)'s table; NULL = none. */
static char *
mounted_with(const char *mountpoint)
{
    struct c2_buf text = { 0 };
    char *config = NULL;
    char *target = c2_asprintf(" TARGET=%s ", mountpoint);
    if (c2_os_read_file(UTAB, UTAB_MAX, &text, NULL) == C2_E_OK) {
        char *save = NULL;
        char *all = c2_strdup(c2_buf_cstr(&text));
        for (char *line = strtok_r(all, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save)) {
            const char *at = strstr(line, CONFIG_OPTION);
            if (strstr(line, target) == NULL || at == NULL)
                continue;
            at += strlen(CONFIG_OPTION);
            c2_free(config);
            size_t len = strcspn(at, ", ");
            config = len > 0 ? c2_strndup(at, len) : NULL;
        }
        c2_free(all);
    }
    c2_buf_done(&text);
    c2_free(target);
    return config;
}

static bool
is_configured(struct cmd_ctx *x, const char *mountpoint)
{
    struct mounts m;
    char *config = mounted_with(mountpoint);
    enum c2_err err = c2_conf_load_default(x->conf, config);
    c2_free(config);
    if (err != C2_E_OK)
        return false;
    mounts_read(NULL, &m);
    const struct mount_entry *e = mounts_at(&m, mountpoint);
    bool known = e != NULL && c2_conf_has_section(x->conf, "volume", e->volume);
    mounts_done(&m);
    return known;
}

int
umount_helper(struct cmd_ctx *x, int argc, char **argv)
{
    bool at_once = false;
    int flag;
    while ((flag = getopt(argc, argv, "flnrvN:t:O:")) != -1) {
        if (flag == '?')
            return UMOUNT_USAGE;
        at_once = at_once || flag == 'l' || flag == 'f';
    }
    if (argc - optind != 1) {
        (void)fprintf(stderr, "usage: umount.fuse.c2fs DIR [-flnrv]\n");
        return UMOUNT_USAGE;
    }
    const char *mountpoint = argv[optind];
    if (at_once)
        return detach_only(mountpoint, true);
    x->conf = c2_conf_new();
    int code;
    if (is_configured(x, mountpoint)) {
        char verb[] = "umount";
        char *args[] = { verb, argv[optind], NULL };
        optind = 0;
        code = cmd_find("umount")->run(x, 2, args) == 0 ? UMOUNT_OK : UMOUNT_FAIL;
    } else {
        code = detach_only(mountpoint, false);
    }
    c2_conf_free(x->conf);
    return code;
}

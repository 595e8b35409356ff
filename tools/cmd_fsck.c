/* SPDX-License-Identifier: MIT */
/*
 * fsck: does the metadata fit together. Asks the mount; when there is none, it looks itself.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_loop.h"
#include "base/str.h"
#include "base/wire.h"
#include "fs/fsck.h"
#include "tools/cmd.h"
#include "tools/ctl_client.h"
#include "tools/damaged.h"
#include "tools/session.h"

/* ---- fsck: what there is to say -------------------------------------------------------------- */

struct report {
    const struct cmd_ctx *x;
    struct fs_fsck_counts c;
    struct c2_buf text; /* a line for each problem */
    struct damaged_list damaged;
    char *mountpoint;    /* owned, NULL = not mounted */
    struct c2_buf found; /* while it looks alone: damaged files */
    bool repair, deep, offline;
};

static void
take_counter(void *arg, const char *name, uint64_t value)
{
    struct fs_fsck_counts *c = arg;
    const struct {
        const char *name;
        uint64_t *to;
    } known[] = {
        { "inodes", &c->inodes },
        { "entries", &c->entries },
        { "folders", &c->folders },
        { "open_orphans", &c->open_orphans },
        { "garbage", &c->garbage },
        { "objects", &c->objects },
        { "dead", &c->dead },
        { "condemned", &c->condemned },
        { "problems", &c->problems },
        { "repaired", &c->repaired },
        { "lost", &c->lost },
        { "damaged", &c->damaged },
        { "aside", &c->aside },
        { "unknown", &c->unknown },
        { "verified", &c->verified },
        { "shares_bad", &c->shares_bad },
        { "shares_unknown", &c->shares_unknown },
        { "bytes", &c->bytes },
    };
    for (size_t k = 0; k < C2_ARRAY_LEN(known); k++)
        if (strcmp(known[k].name, name) == 0)
            *known[k].to = value;
}

static int
exit_code(const struct fs_fsck_counts *c)
{
    if (c->lost > 0)
        return CTL_EXIT_DATA_LOST;
    if (c->problems > c->repaired)
        return CTL_EXIT_FAILED;
    if (c->problems > 0)
        return CTL_EXIT_REPAIRED;
    if (c->shares_bad + c->shares_unknown + c->unknown + c->aside > 0)
        return CTL_EXIT_DEGRADED;
    return CTL_EXIT_OK;
}

static void
print_json(struct report *r)
{
    const struct fs_fsck_counts *c = &r->c;
    struct c2_buf out = { 0 };
    struct c2_json j;
    char *save = NULL;
    cmd_json_begin(&j, &out, "c2fs.fsck/1");
    c2_json_str(&j, "volume", r->x->volume);
    c2_json_bool(&j, "mounted", !r->offline);
    c2_json_bool(&j, "repair", r->repair);
    c2_json_u64(&j, "inodes", c->inodes);
    c2_json_u64(&j, "folders", c->folders);
    c2_json_u64(&j, "entries", c->entries);
    c2_json_u64(&j, "open_orphans", c->open_orphans);
    c2_json_u64(&j, "objects", c->objects);
    c2_json_u64(&j, "unused_objects", c->dead);
    c2_json_u64(&j, "condemned_objects", c->condemned);
    c2_json_u64(&j, "problems", c->problems);
    c2_json_u64(&j, "repaired", c->repaired);
    c2_json_u64(&j, "lost", c->lost);
    c2_json_u64(&j, "damaged_files", c->damaged);
    c2_json_u64(&j, "unknown", c->unknown);
    if (r->deep) {
        c2_json_object(&j, "shares");
        c2_json_u64(&j, "objects", c->verified);
        c2_json_u64(&j, "bytes", c->bytes);
        c2_json_u64(&j, "bad", c->shares_bad);
        c2_json_u64(&j, "unknown", c->shares_unknown);
        c2_json_object_end(&j);
    }
    damaged_json(&r->damaged, &j);
    c2_json_array(&j, "findings");
    char *text = c2_strdup(c2_buf_cstr(&r->text));
    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        c2_json_str(&j, NULL, line);
    c2_free(text);
    c2_json_array_end(&j);
    cmd_json_print(&j, &out);
}

/* What to do about the damaged files. */
static void
print_advice(const struct report *r)
{
    const struct fs_fsck_counts *c = &r->c;
    bool moved = r->repair && r->x->yes;
    if (c->damaged == 0)
        return;
    (void)printf(
        "\ndamaged files: %llu, of which %llu were in /lost+found before. Nothing of them "
        "is deleted: they are\nwhole again if enough of the providers that have lost their "
        "shares come back. If not, bring them\nback from a backup, and remove the damaged "
        "ones.\n",
        (unsigned long long)c->damaged, (unsigned long long)c->aside);
    if (c->damaged > c->aside && !moved)
        (void)printf("c2fsctl -V %s --yes fsck%s --repair moves them out of the way, to "
                     "/lost+found\n",
                     r->x->volume, r->deep ? " --deep" : "");
}

static void
print_text(struct report *r)
{
    const struct fs_fsck_counts *c = &r->c;
    char size[C2_SIZE_TEXT_MAX];
    (void)fputs(c2_buf_cstr(&r->text), stdout);
    damaged_print(&r->damaged);
    (void)printf("%llu inodes, %llu names, %llu folders, %llu objects (%llu unused)\n",
                 (unsigned long long)c->inodes, (unsigned long long)c->entries,
                 (unsigned long long)c->folders, (unsigned long long)c->objects,
                 (unsigned long long)c->dead);
    if (r->deep)
        (void)printf("%llu objects read, %s: %llu shares missing or wrong, %llu could not be asked "
                     "for\n",
                     (unsigned long long)c->verified, c2_size_format(c->bytes, size),
                     (unsigned long long)c->shares_bad, (unsigned long long)c->shares_unknown);
    if (c->unknown > 0)
        (void)printf("%llu could not be looked at: too few providers answered\n",
                     (unsigned long long)c->unknown);
    if (c->problems == 0) {
        (void)printf("no %sproblem found\n", c->damaged > 0 ? "other " : "");
        print_advice(r);
        return;
    }
    (void)printf("%llu problems, %llu repaired, %llu lost for good\n",
                 (unsigned long long)c->problems, (unsigned long long)c->repaired,
                 (unsigned long long)c->lost);
    print_advice(r);
    if (!r->repair)
        (void)printf("\nnothing was changed; c2fsctl fsck --repair mends what can be mended\n");
    else
        (void)printf("\nrun it again: what was repaired may have changed the rest\n");
}

/* ---- fsck of a mounted volume -----------------------------------------------------------------
 */

static int
take_answer(struct report *r, const struct ctl_answer *a)
{
    struct c2_rd rd = c2_rd_init(a->body);
    struct c2_slice counters = c2_rd_bytes(&rd, CTL_ANSWER_MAX);
    struct c2_slice text = c2_rd_bytes(&rd, CTL_ANSWER_MAX);
    struct c2_slice damaged = c2_rd_bytes(&rd, CTL_ANSWER_MAX);
    struct c2_slice mountpoint = c2_rd_bytes(&rd, CTL_ANSWER_MAX);
    if (a->err != C2_E_OK) {
        char *message = c2_strndup((const char *)a->message.data, a->message.len);
        char *hint = ctl_split_hint(message);
        int code = cmd_fail(r->x, a->err, "fsck", r->x->volume, message, hint);
        c2_free(message);
        return code;
    }
    if (c2_rd_finish(&rd) != C2_E_OK ||
        ctl_counters_decode(counters, take_counter, &r->c) != C2_E_OK ||
        damaged_decode(damaged, &r->damaged) != C2_E_OK)
        return cmd_fail(r->x, C2_E_PARSE, "fsck", r->x->volume, "the daemon's answer is malformed",
                        NULL);
    c2_buf_append(&r->text, text.data, text.len);
    r->mountpoint = c2_strndup((const char *)mountpoint.data, mountpoint.len);
    return CTL_EXIT_OK;
}

/* NOT_MOUNTED in *ret_err: nobody answers. */
static int
ask_daemon(struct report *r, enum c2_err *ret_err)
{
    const struct cmd_ctx *x = r->x;
    struct ctl_client client;
    struct ctl_answer a;
    struct ctl_request q = { .verb = CTL_FSCK };
    const char *dir = cmd_cache_dir(x, x->volume);
    if (r->repair)
        q.text = c2_slice_str("repair");
    if (r->deep)
        q.text2 = c2_slice_str("deep");
    *ret_err = dir == NULL ? C2_E_CONFIG : ctl_client_open(dir, &client);
    if (*ret_err == C2_E_NOT_MOUNTED)
        return CTL_EXIT_OK;
    if (*ret_err != C2_E_OK)
        return cmd_fail(x, *ret_err, "fsck", x->volume, NULL, NULL);
    *ret_err = ctl_client_call(&client, &q, NULL, NULL, &a);
    int code = *ret_err == C2_E_OK ? take_answer(r, &a)
                                   : cmd_fail(x, *ret_err, "fsck", x->volume, NULL, NULL);
    ctl_client_close(&client);
    return code;
}

/* ---- fsck of a volume that nobody has ---------------------------------------------------------
 */

static void
found(struct fs_fsck *k, const char *text)
{
    struct report *r = k->priv;
    c2_buf_puts(&r->text, text);
    c2_buf_puts(&r->text, "\n");
}

static void
damaged(struct fs_fsck *k, const struct fs_fsck_damage *d)
{
    struct report *r = k->priv;
    fs_fsck_damage_encode(d, &r->found);
}

struct waiting {
    struct fs_fsck fsck;
    bool done;
};

static void
ended(struct fs_fsck *k)
{
    C2_CONTAINER_OF(k, struct waiting, fsck)->done = true;
}

static int
look_alone(struct report *r)
{
    struct session s;
    char *error = NULL;
    r->offline = true;
    enum c2_err err = session_open(r->x, &s, &error);
    if (err != C2_E_OK) {
        char *hint = error == NULL ? NULL : ctl_split_hint(error);
        int code = cmd_fail(r->x, err, "fsck", r->x->volume, error, hint);
        c2_free(error);
        return code;
    }
    struct waiting w = { .fsck = { .env = c2_os_env(s.os),
                                   .coord = s.volume->coord,
                                   .keys = s.volume->keys,
                                   .ds = s.volume->ds,
                                   .deep = r->deep,
                                   .found = found,
                                   .damaged = damaged,
                                   .done = ended,
                                   .priv = r } };
    fs_fsck_start(&w.fsck);
    c2_os_run_until(s.os, &w.done);
    r->c = w.fsck.counts;
    if (w.fsck.err == C2_E_OK)
        w.fsck.err = damaged_decode(c2_buf_slice(&r->found), &r->damaged);
    session_close(&s);
    return w.fsck.err == C2_E_OK ? CTL_EXIT_OK
                                 : cmd_fail(r->x, w.fsck.err, "fsck", r->x->volume, NULL, NULL);
}

static int
run_fsck(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "repair", no_argument, NULL, 'r' },
                                           { "deep", no_argument, NULL, 'd' },
                                           { NULL, 0, NULL, 0 } };
    struct report r = { .x = x };
    enum c2_err err;
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag == '?')
            return cmd_usage(x, cmd_find("fsck"), "unknown option");
        *(flag == 'r' ? &r.repair : &r.deep) = true;
    }
    if (optind < argc)
        return cmd_usage(x, cmd_find("fsck"), "too many arguments");
    r.repair = r.repair && !x->dry_run;
    int code = ask_daemon(&r, &err);
    if (err == C2_E_NOT_MOUNTED && r.repair)
        code = cmd_fail(x, err, "fsck", x->volume, "not mounted on this machine",
                        "only the mount can repair: its journal comes first; mount the volume");
    else if (err == C2_E_NOT_MOUNTED)
        code = look_alone(&r);
    if (code == CTL_EXIT_OK) {
        if (r.repair && x->yes)
            damaged_set_aside(&r.damaged, r.mountpoint);
        code = exit_code(&r.c);
        if (x->json)
            print_json(&r);
        else
            print_text(&r);
    }
    c2_buf_done(&r.text);
    c2_buf_done(&r.found);
    damaged_done(&r.damaged);
    c2_free(r.mountpoint);
    return code;
}

const struct cmd cmds_fsck[] = {
    { "fsck", "[--repair] [--deep]", "check that the metadata fits together",
      "Names and inodes, link counts, extents and objects, counters of what is used, records of\n"
      "deleted files, the configuration. A volume needs no fsck after a crash: the next mount\n"
      "replays its journal. While it looks, uploads go on and commits wait.\n"
      "\n"
      "  --repair   mend what can be mended without loss: counters and link counts are counted\n"
      "             again, inodes without a name go to /lost+found, names and records of what is\n"
      "             not there go; the volume must be mounted. With --yes, files whose data cannot\n"
      "             be read any more are moved to /lost+found, as #INODE NAME\n"
      "  --deep     also read and verify every share of every object; bad ones are told to repair\n"
      "\n"
      "Files that have lost data are named, with the ranges of bytes that cannot be read. Nothing "
      "of\n"
      "them is deleted: they are whole again if enough of their providers come back.\n"
      "\n"
      "Exit code 0: nothing found; 1: problems are left; 6: only shares are missing, or all "
      "damaged\n"
      "files were in /lost+found already; 7: all found was repaired; 8: something is lost for "
      "good.\n",
      "--repair --deep", CMD_NEEDS_VOLUME, run_fsck },
    { 0 },
};

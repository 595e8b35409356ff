/* SPDX-License-Identifier: MIT */
/*
 * posix DIR [NAME-PREFIX] : runs the table of posix_cases.c in fresh folders of DIR, one process
 * per case, prints what differs from the table and the totals.
 */
#include "tests/posix/posix.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS_MAX 2048

/* %L and %M become names of 255 and 256 bytes, '' an empty word. */
static char *
expand(char *word)
{
    static char longest[256];
    static char too_long[257];
    static char empty[1];
    if (strcmp(word, "%L") == 0)
        return memset(longest, 'n', sizeof(longest) - 1);
    if (strcmp(word, "%M") == 0)
        return memset(too_long, 'm', sizeof(too_long) - 1);
    return strcmp(word, "''") == 0 ? empty : word;
}

static void
run_steps(struct posix_run *r, const char *text)
{
    char steps[STEPS_MAX];
    snprintf(steps, sizeof(steps), "%s", text);
    char *save_step = NULL;
    for (char *step = strtok_r(steps, ";", &save_step); step != NULL;
         step = strtok_r(NULL, ";", &save_step)) {
        char *argv[POSIX_ARGS_MAX];
        int argc = 0;
        char *save = NULL;
        for (char *w = strtok_r(step, " ", &save); w != NULL && argc < POSIX_ARGS_MAX;
             w = strtok_r(NULL, " ", &save))
            argv[argc++] = expand(w);
        if (argc == 0)
            continue;
        if (r->out_len > 0)
            r->out[r->out_len++] = ' ';
        posix_step(r, argc, argv);
    }
    r->out[r->out_len] = '\0';
}

/* Answers may be alternatives separated by `|`. */
static bool
expected(const char *want, const char *got)
{
    char copy[1024];
    char *save = NULL;
    snprintf(copy, sizeof(copy), "%s", want);
    for (char *w = strtok_r(copy, "|", &save); w != NULL; w = strtok_r(NULL, "|", &save)) {
        if (strcmp(w, got) == 0)
            return true;
    }
    return false;
}

static bool
run_case(const struct posix_case *c, const char *dir)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct posix_run r = { 0 };
        for (size_t i = 0; i < POSIX_FDS; i++)
            r.fd[i] = -1;
        umask(022);
        if (mkdir(dir, 0755) < 0 || chdir(dir) < 0) {
            printf("%s: %s\n", dir, strerror(errno));
            exit(2);
        }
        run_steps(&r, c->steps);
        if (!expected(c->want, r.out))
            printf("%s\n    steps %s\n    want  %s\n    got   %s\n", c->name, c->steps, c->want,
                   r.out);
        exit(expected(c->want, r.out) ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status == 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: posix DIR [NAME-PREFIX]\n");
        return 2;
    }
    unsigned good = 0;
    unsigned bad = 0;
    for (size_t i = 0; i < posix_cases_count; i++) {
        const struct posix_case *c = &posix_cases[i];
        char dir[4096];
        if (argc > 2 && strncmp(c->name, argv[2], strlen(argv[2])) != 0)
            continue;
        snprintf(dir, sizeof(dir), "%s/case-%zu", argv[1], i);
        if (run_case(c, dir))
            good++;
        else
            bad++;
        if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0) {
            printf("%s: the folder of the case cannot be removed: %s\n", c->name, strerror(errno));
            bad++;
        }
    }
    printf("posix: %zu cases, %u passed, %u failed, 0 skipped\n", posix_cases_count, good, bad);
    return bad == 0 ? 0 : 1;
}

/* SPDX-License-Identifier: MIT */
/*
 * Counters behind C2_MARK; test builds only. One small table for the process under a lock, because
 * pool jobs hit marks too.
 */
#include "base/mark.h"

#ifdef C2_TEST_BUILD

#include <pthread.h>
#include <string.h>

#include "base/base.h"

#define MARKS_MAX 1024

static struct {
    pthread_mutex_t lock;
    size_t count;
    struct {
        const char *name; /* a literal of the caller */
        uint64_t hits;
    } mark[MARKS_MAX];
} marks = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Where name is, or where it would be added. */
static size_t
find(const char *name)
{
    size_t i = 0;
    while (i < marks.count && strcmp(marks.mark[i].name, name) != 0)
        i++;
    return i;
}

void
c2_mark_hit(const char *name)
{
    pthread_mutex_lock(&marks.lock);
    size_t i = find(name);
    if (i == marks.count) {
        C2_ASSERT(i < MARKS_MAX);
        marks.mark[i].name = name;
        marks.mark[i].hits = 0;
        marks.count++;
    }
    marks.mark[i].hits++;
    pthread_mutex_unlock(&marks.lock);
}

uint64_t
c2_mark_count(const char *name)
{
    pthread_mutex_lock(&marks.lock);
    size_t i = find(name);
    uint64_t hits = i == marks.count ? 0 : marks.mark[i].hits;
    pthread_mutex_unlock(&marks.lock);
    return hits;
}

void
c2_mark_reset(void)
{
    pthread_mutex_lock(&marks.lock);
    marks.count = 0;
    pthread_mutex_unlock(&marks.lock);
}

#endif

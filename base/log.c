/* SPDX-License-Identifier: MIT */
/*
 * Log lines go out with one write each, so lines of several processes do not mix. The last lines
 * stay in a ring for the assertion that fails later. The state is the process's, under one lock.
 */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/os_env.h"
#include "base/os_file.h"
#include "base/str.h"

#define LINE_MAX_LEN   1024
#define RING_LINES     128
#define RING_LINE_KEEP 256

static struct {
    pthread_mutex_t lock;
    int level; /* atomic */
    int fd;
    unsigned next;
    char ring[RING_LINES][RING_LINE_KEEP];
} logger = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = C2_LOG_INFO, .fd = STDERR_FILENO };

static const char *const level_names[] = { "error", "warn", "info", "debug", "trace" };

bool
c2_log_enabled(enum c2_log_level level)
{
    return (int)level <= __atomic_load_n(&logger.level, __ATOMIC_RELAXED);
}

void
c2_log_set_level(enum c2_log_level level)
{
    __atomic_store_n(&logger.level, (int)level, __ATOMIC_RELAXED);
}

enum c2_log_level
c2_log_get_level(void)
{
    return (enum c2_log_level)__atomic_load_n(&logger.level, __ATOMIC_RELAXED);
}

enum c2_err
c2_log_level_parse(const char *text, enum c2_log_level *ret_level)
{
    for (unsigned i = 0; i < C2_ARRAY_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum c2_log_level)i;
            return C2_E_OK;
        }
    }
    return C2_E_INVALID;
}

enum c2_err
c2_log_to_file(const char *path)
{
    int fd = STDERR_FILENO;
    if (path != NULL)
        C2_TRY(c2_os_open_append(path, &fd));
    pthread_mutex_lock(&logger.lock);
    int old = logger.fd;
    logger.fd = fd;
    pthread_mutex_unlock(&logger.lock);
    if (old != STDERR_FILENO)
        c2_os_close(old);
    return C2_E_OK;
}

/* One line is one record: what came from outside must not start another, nor move a cursor. */
static void
make_printable(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
    }
}

void
c2_log_write(enum c2_log_level level, const char *subsystem, const char *fmt, ...)
{
    char line[LINE_MAX_LEN], stamp[C2_SIZE_TEXT_MAX];
    c2_time_format(c2_os_wall_ns(), stamp);
    int head = snprintf(line, sizeof(line), "%s %s %s: ", stamp, level_names[level], subsystem);
    size_t len = C2_MIN((size_t)head, sizeof(line) - 2);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
    va_end(args);
    if (n > 0)
        len += C2_MIN((size_t)n, sizeof(line) - len - 2);
    make_printable(line, len);
    line[len] = '\n';

    pthread_mutex_lock(&logger.lock);
    char *kept = logger.ring[logger.next++ % RING_LINES];
    size_t keep = C2_MIN(len, (size_t)RING_LINE_KEEP - 1);
    memcpy(kept, line, keep);
    kept[keep] = '\0';
    /* A log that cannot be written is no reason to stop the file system. */
    enum c2_err ignored = c2_os_write_all(logger.fd, line, len + 1);
    (void)ignored;
    pthread_mutex_unlock(&logger.lock);
}

void
c2_log_dump_ring(void)
{
    /* The process may be dying with the lock held. */
    bool locked = pthread_mutex_trylock(&logger.lock) == 0;
    fprintf(stderr, "c2fs: last log lines:\n");
    for (unsigned i = 0; i < RING_LINES; i++) {
        const char *line = logger.ring[(logger.next + i) % RING_LINES];
        if (*line != '\0')
            fprintf(stderr, "  %s\n", line);
    }
    if (locked)
        pthread_mutex_unlock(&logger.lock);
}

/* SPDX-License-Identifier: MIT */
/*
 * durable write DIR LOG SEED   : writes files until it is killed or a call fails, and logs each
 *                                promise of durability after the call that gave it returned.
 * durable verify DIR LOG SEED  : checks DIR against the promises in LOG.
 *
 * Files and what may be seen of them after a crash (SEED and the name give the bytes):
 *   n<i>  written once, then fsync and close, or close alone. Logged: there and exact. Not logged:
 *         absent, or there and exact.
 *   r<k>  replaced by rename of a synced file, k < SLOTS, then the directory is synced. The version
 *         logged last or a later one, exact.
 *   a<k>  grows by records of RECORD bytes, each followed by fsync. At least the records logged,
 *         and nothing after them but whole records.
 * Log lines: "n I", "r K VERSION", "a K RECORDS".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SLOTS = 8,
    RECORD = 4096,
    FILE_MAX = 96 * 1024,
    N_MAX = 1 << 20,
};

static uint64_t
mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t
stream_of(uint64_t seed, char kind, uint64_t index, uint64_t version)
{
    return mix(seed ^ mix((uint64_t)kind ^ mix(index ^ mix(version))));
}

static size_t
length_of(uint64_t stream)
{
    return 1 + (size_t)(mix(stream) % FILE_MAX);
}

static void
fill(uint64_t stream, uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            stream = mix(stream);
        buf[i] = (uint8_t)(stream >> (8 * (i % 8)));
    }
}

static _Noreturn void
stop(const char *what, const char *name)
{
    fprintf(stderr, "durable: %s %s: %s\n", what, name, strerror(errno));
    exit(3);
}

static void
write_all(int fd, const uint8_t *buf, size_t len, const char *name)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, buf + done, len - done);
        if (n < 0)
            stop("write", name);
        done += (size_t)n;
    }
}

__attribute__((format(printf, 2, 3))) static void
promise(int log, const char *format, ...)
{
    char line[64];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (write(log, line, (size_t)len) != len)
        stop("write", "log");
}

static void
write_once(int dir, int log, uint64_t seed, uint64_t index)
{
    static uint8_t buf[FILE_MAX + 1];
    char name[32];
    snprintf(name, sizeof(name), "n%" PRIu64, index);
    uint64_t stream = stream_of(seed, 'n', index, 0);
    size_t len = length_of(stream);
    fill(stream, buf, len);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        stop("open", name);
    write_all(fd, buf, len, name);
    if (index % 2 == 0 && fsync(fd) < 0)
        stop("fsync", name);
    if (index % 2 == 0)
        promise(log, "n %" PRIu64 "\n", index);
    if (close(fd) < 0)
        stop("close", name);
    if (index % 2 != 0)
        promise(log, "n %" PRIu64 "\n", index);
}

static void
replace(int dir, int log, uint64_t seed, uint64_t round)
{
    static uint8_t buf[FILE_MAX + 1];
    char name[32];
    char temp[40];
    uint64_t slot = round % SLOTS;
    uint64_t version = round / SLOTS + 1;
    snprintf(name, sizeof(name), "r%" PRIu64, slot);
    snprintf(temp, sizeof(temp), ".%s.tmp", name);
    uint64_t stream = stream_of(seed, 'r', slot, version);
    size_t len = length_of(stream);
    fill(stream, buf, len);
    int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        stop("open", temp);
    write_all(fd, buf, len, temp);
    if (fsync(fd) < 0 || close(fd) < 0)
        stop("fsync", temp);
    if (renameat(dir, temp, dir, name) < 0)
        stop("rename", name);
    if (fsync(dir) < 0)
        stop("fsync", "directory");
    promise(log, "r %" PRIu64 " %" PRIu64 "\n", slot, version);
}

static void
append(int dir, int log, uint64_t seed, uint64_t round)
{
    uint8_t buf[RECORD];
    char name[32];
    uint64_t slot = round % SLOTS;
    uint64_t record = round / SLOTS;
    snprintf(name, sizeof(name), "a%" PRIu64, slot);
    fill(stream_of(seed, 'a', slot, record), buf, RECORD);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0)
        stop("open", name);
    write_all(fd, buf, RECORD, name);
    if (fsync(fd) < 0 || close(fd) < 0)
        stop("fsync", name);
    promise(log, "a %" PRIu64 " %" PRIu64 "\n", slot, record + 1);
}

/* What the log promises. */
struct promises {
    bool once[N_MAX];
    uint64_t version[SLOTS];
    uint64_t records[SLOTS];
    uint64_t count;
};

static void
read_log(const char *path, struct promises *p)
{
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return; /* killed before the first promise */
    char line[64];
    while (fgets(line, sizeof(line), in) != NULL && strchr(line, '\n') != NULL) {
        char kind = line[0];
        char *rest = NULL;
        uint64_t index = strtoull(line + 1, &rest, 10);
        uint64_t value = strtoull(rest, NULL, 10);
        if (kind == 'n' && index < N_MAX)
            p->once[index] = true;
        else if (kind == 'r' && index < SLOTS)
            p->version[index] = value;
        else if (kind == 'a' && index < SLOTS)
            p->records[index] = value;
        p->count++;
    }
    fclose(in);
}

/* The length read, or -1 when there is no such file. */
static ssize_t
read_file(int dir, const char *name, uint8_t **ret_data)
{
    int fd = openat(dir, name, O_RDONLY);
    if (fd < 0 && errno == ENOENT)
        return -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        stop("open", name);
    uint8_t *data = malloc((size_t)st.st_size + 1);
    if (data == NULL)
        stop("malloc", name);
    size_t done = 0;
    for (;;) {
        ssize_t n = read(fd, data + done, (size_t)st.st_size + 1 - done);
        if (n < 0)
            stop("read", name);
        if (n == 0 || done > (size_t)st.st_size)
            break;
        done += (size_t)n;
    }
    close(fd);
    *ret_data = data;
    return (ssize_t)done;
}

static bool
is_stream(uint64_t stream, const uint8_t *data, size_t len)
{
    static uint8_t want[FILE_MAX + 1];
    if (len > FILE_MAX)
        return false;
    fill(stream, want, len);
    return memcmp(want, data, len) == 0;
}

static unsigned
complain(const char *name, const char *text, uint64_t got, uint64_t want)
{
    printf("%s: %s (%" PRIu64 " of %" PRIu64 ")\n", name, text, got, want);
    return 1;
}

static unsigned
verify_once(int dir, uint64_t seed, uint64_t index, bool promised)
{
    char name[32];
    uint8_t *data = NULL;
    snprintf(name, sizeof(name), "n%" PRIu64, index);
    ssize_t len = read_file(dir, name, &data);
    if (len < 0)
        return promised ? complain(name, "lost although its close or fsync returned", 0, 1) : 0;
    uint64_t stream = stream_of(seed, 'n', index, 0);
    unsigned bad = 0;
    if ((size_t)len != length_of(stream))
        bad = complain(name, promised ? "promised, wrong length" : "torn: wrong length",
                       (uint64_t)len, length_of(stream));
    else if (!is_stream(stream, data, (size_t)len))
        bad = complain(name, "wrong bytes", 0, 0);
    free(data);
    return bad;
}

static unsigned
verify_replaced(int dir, uint64_t seed, uint64_t slot, uint64_t version)
{
    char name[32];
    uint8_t *data = NULL;
    snprintf(name, sizeof(name), "r%" PRIu64, slot);
    ssize_t len = read_file(dir, name, &data);
    if (len < 0)
        return version > 0 ? complain(name, "lost", 0, version) : 0;
    /* The kill may have come between the rename and the promise. */
    for (uint64_t v = version > 0 ? version : 1; v <= version + 1; v++) {
        uint64_t stream = stream_of(seed, 'r', slot, v);
        if ((size_t)len == length_of(stream) && is_stream(stream, data, (size_t)len)) {
            free(data);
            return 0;
        }
    }
    free(data);
    return complain(name, "is neither the promised version nor the next", (uint64_t)len, version);
}

static unsigned
verify_appended(int dir, uint64_t seed, uint64_t slot, uint64_t records)
{
    char name[32];
    uint8_t *data = NULL;
    snprintf(name, sizeof(name), "a%" PRIu64, slot);
    ssize_t len = read_file(dir, name, &data);
    if (len < 0)
        return records > 0 ? complain(name, "lost", 0, records) : 0;
    uint64_t have = (uint64_t)len / RECORD;
    unsigned bad = 0;
    if (have < records || have > records + 1 || len % RECORD != 0)
        bad = complain(name, "wrong number of records", have, records);
    for (uint64_t i = 0; i < have && bad == 0; i++) {
        if (!is_stream(stream_of(seed, 'a', slot, i), data + i * RECORD, RECORD))
            bad = complain(name, "wrong bytes in a record", i, have);
    }
    free(data);
    return bad;
}

static int
verify(int dir, const char *log, uint64_t seed)
{
    static struct promises p;
    read_log(log, &p);
    unsigned bad = 0;
    uint64_t last = 0;
    for (uint64_t i = 0; i < N_MAX; i++) {
        if (p.once[i])
            last = i;
    }
    for (uint64_t i = 0; i <= last + 1; i++)
        bad += verify_once(dir, seed, i, p.once[i]);
    for (uint64_t k = 0; k < SLOTS; k++) {
        bad += verify_replaced(dir, seed, k, p.version[k]);
        bad += verify_appended(dir, seed, k, p.records[k]);
    }
    printf("%" PRIu64 " promises, %u broken\n", p.count, bad);
    return bad == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: durable write|verify DIR LOG SEED\n");
        return 2;
    }
    uint64_t seed = strtoull(argv[4], NULL, 10);
    int dir = open(argv[2], O_RDONLY | O_DIRECTORY);
    if (dir < 0)
        stop("open", argv[2]);
    if (strcmp(argv[1], "verify") == 0)
        return verify(dir, argv[3], seed);
    int log = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        stop("open", argv[3]);
    for (uint64_t i = 0; i < N_MAX; i++) {
        write_once(dir, log, seed, i);
        if (i % 3 == 0)
            replace(dir, log, seed, i / 3);
        if (i % 3 == 1)
            append(dir, log, seed, i / 3);
    }
    return 0;
}

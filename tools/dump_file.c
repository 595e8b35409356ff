/* SPDX-License-Identifier: MIT */
#include "tools/dump_file.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define HEADER "{\"c2fs_meta_dump\":1}\n"
#define END    "{\"keys\":"

/* ---- writing --------------------------------------------------------------------------------- */

static void
put_hex(struct c2_buf *line, struct c2_slice bytes)
{
    c2_hex_encode(bytes.data, bytes.len, (char *)c2_buf_extend(line, 2 * bytes.len + 1));
    line->len--; /* the zero */
}

static void
put_line(struct dump_writer *w, struct c2_slice line)
{
    if (fwrite(line.data, 1, line.len, w->out) != line.len && w->err == C2_E_OK)
        w->err = c2_err_from_errno(errno);
}

static void
put_end(struct c2_buf *line, uint64_t keys, const char *hash)
{
    c2_buf_printf(line, END "%llu,\"sha256\":\"%s\"}\n", (unsigned long long)keys, hash);
}

void
dump_file_begin(struct dump_writer *w, FILE *out)
{
    *w = (struct dump_writer){ .out = out, .lines = c2_sha256_stream_new() };
    put_line(w, c2_slice_str(HEADER));
}

void
dump_file_add(struct dump_writer *w, struct c2_slice key, struct c2_slice value)
{
    C2_AUTO(c2_buf_done) struct c2_buf line = { 0 };
    c2_buf_puts(&line, "{\"key\":\"");
    put_hex(&line, key);
    c2_buf_puts(&line, "\",\"value\":\"");
    put_hex(&line, value);
    c2_buf_puts(&line, "\"}\n");
    put_line(w, c2_buf_slice(&line));
    c2_sha256_stream_add(w->lines, c2_buf_slice(&line));
    w->keys++;
}

void
dump_file_end(struct dump_writer *w, uint8_t ret_hash[C2_SHA256_LEN])
{
    C2_AUTO(c2_buf_done) struct c2_buf line = { 0 };
    char hex[DUMP_FILE_HASH_LEN + 1];
    c2_sha256_stream_finish(w->lines, ret_hash);
    c2_hex_encode(ret_hash, C2_SHA256_LEN, hex);
    put_end(&line, w->keys, hex);
    put_line(w, c2_buf_slice(&line));
    w->lines = NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool
take(const char **at, const char *literal)
{
    size_t len = strlen(literal);
    if (strncmp(*at, literal, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool
take_hex(const char **at, size_t len_max, struct c2_buf *out)
{
    size_t digits = strspn(*at, "0123456789abcdef"), len = digits / 2;
    if (digits % 2 != 0 || len > len_max)
        return false;
    uint8_t *room = c2_buf_extend(out, len);
    if (len > 0 && c2_hex_decode(c2_slice(*at, digits), room, len) != C2_E_OK)
        return false;
    *at += digits;
    return true;
}

/* Appends the key and the value of a line; false when it is not an entry. */
static bool
parse_entry(const char *line, struct c2_buf *out, size_t at[3])
{
    at[0] = out->len;
    bool good = take(&line, "{\"key\":\"") && take_hex(&line, COORD_KEY_MAX, out);
    at[1] = out->len;
    good = good && at[1] > at[0] && take(&line, "\",\"value\":\"") &&
           take_hex(&line, COORD_VALUE_MAX, out) && take(&line, "\"}\n") && *line == '\0';
    at[2] = out->len;
    if (!good)
        out->len = at[0];
    return good;
}

/* The next line, with its end if it has one; false at the end of the file. */
static bool
next_line(struct dump_reader *r)
{
    return fgets(r->line, sizeof r->line, r->in) != NULL;
}

/* Whether a key may come after the one before: a load would be refused in the middle, or not be
 * what was dumped. */
static bool
key_may_follow(struct c2_slice before, struct c2_slice key)
{
    return key.data[0] != 0xff && !c2_slice_equal(key, c2_slice_str(DUMP_FILE_MARK)) &&
           c2_slice_compare(before, key) < 0;
}

/* The lines up to the last one, which stays in r->line; false when that is not the end. */
static bool
check_entries(struct dump_reader *r, struct c2_sha256_stream *lines)
{
    C2_AUTO(c2_buf_done) struct c2_buf entry = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf before = { 0 }; /* a key */
    for (r->keys = 0; next_line(r); r->keys++) {
        size_t at[3];
        if (strncmp(r->line, END, strlen(END)) == 0)
            return true;
        c2_buf_clear(&entry);
        if (!parse_entry(r->line, &entry, at))
            return false;
        struct c2_slice key = c2_slice(entry.data, at[1]);
        if (!key_may_follow(c2_buf_slice(&before), key))
            return false;
        c2_buf_clear(&before);
        c2_buf_append(&before, key.data, key.len);
        c2_sha256_stream_add(lines, c2_slice_str(r->line));
    }
    return false;
}

const char *
dump_file_check(struct dump_reader *r)
{
    C2_AUTO(c2_buf_done) struct c2_buf end = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    if (!next_line(r) || strcmp(r->line, HEADER) != 0)
        return "it is not a dump of a coordination service";
    struct c2_sha256_stream *lines = c2_sha256_stream_new();
    bool ended = check_entries(r, lines);
    c2_sha256_stream_finish(lines, hash);
    if (!ended)
        return "it is malformed, or its end is missing";
    c2_hex_encode(hash, sizeof hash, r->hash);
    put_end(&end, r->keys, r->hash);
    if (strcmp(r->line, c2_buf_cstr(&end)) != 0 || next_line(r))
        return "it was changed";
    return NULL;
}

bool
dump_file_restart(struct dump_reader *r)
{
    rewind(r->in);
    return next_line(r);
}

bool
dump_file_next(struct dump_reader *r, struct c2_buf *out, size_t at[3])
{
    return next_line(r) && parse_entry(r->line, out, at);
}

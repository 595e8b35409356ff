/* SPDX-License-Identifier: MIT */
/*
 * Access keys as people write them and as commands print them. The first byte says what the rest
 * is: 'F' a file with sections; 'L' lines without; 'O' what a credential_command printed.
 *
 * What is taken fits into a header of a request; it can be written as lines and as JSON and is then
 * the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/credentials_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect_same(const struct c2_cred_found *a, const struct c2_cred_found *b)
{
    for (int i = 0; i < C2_CRED_FIELDS; i++) {
        C2_ASSERT((a->value[i] == NULL) == (b->value[i] == NULL));
        C2_ASSERT(a->value[i] == NULL || strcmp(a->value[i], b->value[i]) == 0);
    }
}

static void
put_quoted(struct c2_buf *out, const char *text)
{
    for (; *text != '\0'; text++)
        c2_buf_printf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

static void
write_lines_again(const struct c2_cred_found *f)
{
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    struct c2_cred_found again = { 0 };
    char *error = NULL;
    for (int i = 0; i < C2_CRED_FIELDS; i++) {
        c2_buf_printf(&text, "%s = \"", c2_cred_names[i]);
        put_quoted(&text, f->value[i] == NULL ? "" : f->value[i]);
        c2_buf_puts(&text, "\"\n");
    }
    C2_ASSERT(c2_cred_parse_output(&text, "again", &again, &error) == C2_E_OK);
    expect_same(f, &again);
    c2_cred_found_done(&again);
}

static void
write_json_again(const struct c2_cred_found *f)
{
    static const char *const name[] = { "AccessKeyId", "SecretAccessKey", "SessionToken" };
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    struct c2_cred_found again = { 0 };
    char *error = NULL;
    c2_buf_puts(&text, "{ \"Version\": 1");
    for (int i = 0; i < C2_CRED_FIELDS; i++) {
        if (f->value[i] != NULL && strpbrk(f->value[i], "\"\\") != NULL)
            return; /* no key has these: JSON with them is refused */
        c2_buf_printf(&text, ", \"%s\": \"", name[i]);
        for (const char *p = f->value[i]; p != NULL && *p != '\0'; p++)
            c2_buf_printf(&text, *p == '=' ? "\\u%04x" : *p == '/' ? "\\%c" : "%c", *p);
        c2_buf_puts(&text, "\"");
    }
    c2_buf_puts(&text, "}\n");
    C2_ASSERT(c2_cred_parse_output(&text, "again", &again, &error) == C2_E_OK);
    expect_same(f, &again);
    c2_cred_found_done(&again);
}

static void
expect_headers(const struct c2_cred_found *f)
{
    for (int i = 0; i < C2_CRED_FIELDS; i++) {
        const char *v = f->value[i];
        C2_ASSERT(v == NULL || (*v != '\0' && strlen(v) <= C2_CREDENTIAL_LEN_MAX));
        for (; v != NULL && *v != '\0'; v++)
            C2_ASSERT(*v > ' ' && *v <= '~');
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct c2_cred_found f = { 0 };
    struct c2_buf text = { 0 };
    char *error = NULL;
    enum c2_err err = C2_E_OK;
    if (size == 0)
        return 0;
    c2_buf_append(&text, data + 1, size - 1);
    if (data[0] == 'F')
        err = c2_cred_parse_lines(c2_buf_slice(&text), "aws", "file", &f, &error);
    else if (data[0] == 'L')
        err = c2_cred_parse_lines(c2_buf_slice(&text), NULL, "file", &f, &error);
    else if (data[0] == 'O')
        err = c2_cred_parse_output(&text, "command", &f, &error);
    C2_ASSERT(err == C2_E_OK || err == C2_E_CONFIG);
    C2_ASSERT((err == C2_E_OK) == (error == NULL));
    expect_headers(&f);
    if (err == C2_E_OK) {
        write_lines_again(&f);
        write_json_again(&f);
    }
    c2_cred_found_done(&f);
    c2_buf_done(&text);
    c2_free(error);
    return 0;
}

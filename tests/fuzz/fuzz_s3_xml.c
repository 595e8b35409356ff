/* SPDX-License-Identifier: MIT */
/*
 * Every decoder of S3's XML on the same bytes. What they accept must keep their promises.
 */
#include "backends/s3_xml.h"

#include <string.h>

#include "backends/layer.h"
#include "backends/s3_op.h"
#include "base/alloc.h"

#define KEYS_MAX    100
#define KEY_LEN_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
walk(struct c2_slice in)
{
    struct s3_xml x;
    enum s3_xml_event event;
    size_t depth = 0;
    s3_xml_init(&x, in);
    while (s3_xml_next(&x, &event) == C2_E_OK && event != S3_XML_EOF) {
        C2_ASSERT(x.depth >= 1 && x.depth <= S3_XML_DEPTH_MAX);
        C2_ASSERT(x.text_len <= S3_XML_TEXT_MAX && strlen(x.text) == x.text_len);
        depth += event == S3_XML_START ? 1 : 0;
        C2_ASSERT(depth == x.depth);
        depth -= event == S3_XML_END ? 1 : 0;
    }
}

static void
check_clean(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        C2_ASSERT(*p >= 0x20 && *p < 0x7f);
}

static void
check_list(const struct s3_list *l)
{
    C2_ASSERT(l->nkeys <= KEYS_MAX);
    for (size_t i = 0; i < l->nkeys; i++) {
        const char *key = (const char *)l->text.data + l->keys[i].at;
        size_t len = strlen(key);
        C2_ASSERT(len >= 1 && len <= KEY_LEN_MAX && l->keys[i].at + len < l->text.len);
    }
}

/* The list as the answer to a request for what is behind "d/b" below "d/". */
static void
check_page(struct c2_slice in)
{
    struct prov_req r = { .verb = PROV_LIST, .key = "d/", .list_after = "d/b", .list_max = 3 };
    char *token = NULL;
    if (s3_list_take_page(&r, "p/", in, &token) == C2_E_OK) {
        prov_list_finish(&r); /* it asserts that they are in order */
        C2_ASSERT(r.nentries <= r.list_max && (token == NULL || r.nentries == 0));
        for (size_t i = 0; i < r.nentries; i++) {
            const char *key = r.entries[i].key;
            C2_ASSERT(strncmp(key, r.key, strlen(r.key)) == 0 && strcmp(key, r.list_after) > 0);
            C2_ASSERT(strlen(key) <= PROV_KEY_MAX);
        }
    }
    c2_free(token);
    prov_req_done(&r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct c2_slice in = c2_slice(data, size);
    struct s3_error error;
    struct s3_list list;
    struct s3_delete_result result;
    walk(in);
    check_page(in);
    if (s3_xml_error(in, &error) == C2_E_OK) {
        check_clean(error.code);
        check_clean(error.message);
        check_clean(error.region);
    }
    if (s3_xml_list(in, KEYS_MAX, KEY_LEN_MAX, &list) == C2_E_OK) {
        check_list(&list);
        s3_list_done(&list);
    }
    if (s3_xml_delete_result(in, &result) == C2_E_OK && result.nerrors > 0)
        check_clean(result.first.code);
    return 0;
}

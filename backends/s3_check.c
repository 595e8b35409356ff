/* SPDX-License-Identifier: MIT */
/*
 * Checks of answers: what a provider claims is compared with what it was asked. Pure.
 */
#include "backends/s3_op.h"

#include "base/alloc.h"

#include <string.h>

static C2_RESULT
violation(struct prov_req *r, const char *what)
{
    prov_req_fail(r, C2_E_PROTOCOL, "%s", what);
    return C2_E_PROTOCOL;
}

/* 200: the whole object, because it was asked for or because the range was ignored. */
static C2_RESULT
check_whole(struct prov_req *r, size_t body_len)
{
    if (r->offset > 0 || (r->len > 0 && body_len > r->len))
        return violation(r, "the range was ignored");
    r->size = body_len;
    return C2_E_OK;
}

static C2_RESULT
check_part(struct prov_req *r, const struct http_head *head, size_t body_len)
{
    struct http_content_range cr;
    const char *text = http_head_get(head, "content-range");
    if (r->offset == 0 && r->len == 0)
        return violation(r, "a part was sent, the whole was asked for");
    if (text == NULL || http_content_range_parse(text, &cr) != C2_E_OK || cr.unsatisfied)
        return violation(r, "a part without a valid Content-Range");
    uint64_t last_wanted = r->len > 0 ? r->offset + r->len - 1 : UINT64_MAX;
    if (cr.total_known)
        last_wanted = C2_MIN(last_wanted, cr.total - 1);
    if (cr.first != r->offset || cr.last != last_wanted)
        return violation(r, "Content-Range is not the range that was asked for");
    if (body_len != cr.last - cr.first + 1)
        return violation(r, "the body is not as long as Content-Range says");
    r->size = cr.total_known ? cr.total : 0;
    return C2_E_OK;
}

C2_RESULT
s3_get_check(struct prov_req *r, const struct http_head *head, size_t body_len)
{
    if (head->status == 200)
        return check_whole(r, body_len);
    if (head->status == 206)
        return check_part(r, head, body_len);
    return violation(r, "unexpected status");
}

static C2_RESULT
take_keys(struct prov_req *r, const char *url_prefix, const struct s3_list *l)
{
    size_t prefix_len = strlen(url_prefix);
    size_t wanted_len = strlen(r->key);
    const char *before = NULL;
    r->truncated = l->truncated;
    for (size_t i = 0; i < l->nkeys; i++) {
        const char *key = (const char *)l->text.data + l->keys[i].at;
        if (strncmp(key, url_prefix, prefix_len) != 0 ||
            strncmp(key + prefix_len, r->key, wanted_len) != 0)
            return violation(r, "a listed key is outside the prefix");
        if (before != NULL && strcmp(before, key) >= 0)
            return violation(r, "listed keys are not in byte order");
        before = key;
        key += prefix_len;
        /* Some servers begin with the key to start after. An empty key is the folder itself. */
        if (key[0] == '\0' || (r->list_after != NULL && strcmp(key, r->list_after) <= 0))
            continue;
        if (r->nentries == r->list_max) { /* the server did not keep to max-keys */
            r->truncated = true;
            break;
        }
        prov_list_add(r, key, l->keys[i].size);
    }
    return C2_E_OK;
}

C2_RESULT
s3_list_take_page(struct prov_req *r, const char *url_prefix, struct c2_slice page,
                  char **ret_token)
{
    struct s3_list l;
    size_t key_len_max = strlen(url_prefix) + PROV_KEY_MAX;
    if (s3_xml_list(page, PROV_LIST_MAX, key_len_max, &l) != C2_E_OK)
        return violation(r, "the list is not valid");
    enum c2_err err = take_keys(r, url_prefix, &l);
    bool more_needed = err == C2_E_OK && r->nentries == 0 && r->truncated;
    if (more_needed && l.token == NULL)
        err = violation(r, "the list says that it goes on, but not where");
    if (err == C2_E_OK) {
        *ret_token = more_needed ? l.token : NULL;
        if (more_needed)
            l.token = NULL;
    }
    s3_list_done(&l);
    return err;
}

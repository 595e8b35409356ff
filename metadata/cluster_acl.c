/* SPDX-License-Identifier: MIT */
/*
 * The access control list from the answers of several ACL_LISTs. It may change between two of them;
 * each says how many changes there were, so answers with one number are of one list.
 */
#include "metadata/cluster.h"

#include "base/alloc.h"

struct cluster_acl_page {
    struct coord_entry *entries; /* owned */
    size_t nentries;
    struct c2_buf reply; /* owned; what the entries lie in */
};

void
cluster_acl_done(struct cluster_acl *l)
{
    for (size_t i = 0; i < l->npages; i++) {
        c2_free(l->pages[i].entries);
        c2_buf_done(&l->pages[i].reply);
    }
    c2_free(l->pages);
    *l = (struct cluster_acl){ 0 };
}

struct c2_slice
cluster_acl_after(const struct cluster_acl *l)
{
    if (l->npages == 0)
        return c2_slice(NULL, 0);
    const struct cluster_acl_page *last = &l->pages[l->npages - 1];
    return last->entries[last->nentries - 1].key;
}

C2_RESULT
cluster_acl_take(struct cluster_acl *l, struct coord_req *r)
{
    C2_ASSERT(!l->complete);
    bool changed = l->npages > 0 && r->session != l->changes;
    if (changed || l->nentries + r->nentries > COORD_ACL_ENTRIES_MAX) {
        cluster_acl_done(l);
        return changed ? C2_E_CONFLICT : C2_E_PROTOCOL;
    }
    l->changes = r->session;
    l->complete = !r->more || r->nentries == 0;
    if (r->nentries == 0)
        return C2_E_OK;
    l->pages = c2_realloc(l->pages, l->npages + 1, sizeof *l->pages);
    l->pages[l->npages++] = (struct cluster_acl_page){ r->entries, r->nentries, r->reply };
    l->nentries += r->nentries;
    r->entries = NULL;
    r->nentries = 0;
    r->reply = (struct c2_buf){ 0 };
    return C2_E_OK;
}

void
cluster_acl_each(const struct cluster_acl *l, void (*fn)(void *arg, const struct coord_entry *e),
                 void *arg)
{
    for (size_t i = 0; i < l->npages; i++) {
        for (size_t k = 0; k < l->pages[i].nentries; k++)
            fn(arg, &l->pages[i].entries[k]);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * One request of a provider, carried out on S3.
 */
#ifndef C2_BACKENDS_S3_OP_H
#define C2_BACKENDS_S3_OP_H

#include "backends/layer.h"
#include "backends/s3_call.h"

struct s3 {
    struct provider p;
    struct s3_client client;
    uint64_t timeout_ns;  /* of one call, besides its bytes; 0 = as long as the caller waits */
    bool delete_many_off; /* the cloud does not know it */
    size_t outstanding;
};

void s3_op_start(struct s3 *s3, struct prov_req *r);
void s3_op_cancel(struct s3 *s3, struct prov_req *r);

/* What a 2xx answer to a GET of r->offset, r->len must look like; sets r->size, r->detail. */
C2_RESULT s3_get_check(struct prov_req *r, const struct http_head *head, size_t body_len);
/*
 * Adds the usable keys of one page to r. *ret_token is NULL when r is complete, else the token of a
 * page that must be asked for, because this one had nothing for us (c2_free).
 */
C2_RESULT s3_list_take_page(struct prov_req *r, const char *url_prefix, struct c2_slice page,
                            char **ret_token);

#endif

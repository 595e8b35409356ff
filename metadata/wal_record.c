/* SPDX-License-Identifier: MIT */
/*
 * Bodies of the write-ahead log's records.
 */
#include "metadata/wal_record.h"

#include "metadata/msg_int.h"

static void
write_votes(const struct wal_record *r, struct c2_buf *out)
{
    c2_wr_u32(out, r->count);
    c2_wr_raw(out, r->list.data, r->list.len);
}

void
wal_record_write(enum wal_type type, const struct wal_record *r, struct c2_buf *out)
{
    if (type != WAL_STABLE && type != WAL_MODE && type != WAL_EPOCH)
        c2_wr_u32(out, r->epoch);
    switch (type) {
    case WAL_EPOCH:
        c2_wr_bytes(out, r->config);
        c2_wr_bytes(out, r->msg);
        break;
    case WAL_VIEW:
        c2_wr_u64(out, r->view);
        c2_wr_u8(out, r->leaving);
        c2_wr_bytes(out, r->msg);
        break;
    case WAL_NEW_VIEW:
        c2_wr_u64(out, r->view);
        c2_wr_bytes(out, r->msg);
        write_votes(r, out);
        break;
    case WAL_PROPOSAL:
        C2_ASSERT(r->proposal.len == MSG_PROPOSAL_LEN);
        c2_wr_raw(out, r->proposal.data, r->proposal.len);
        break;
    case WAL_PREPARED:
        c2_wr_u64(out, r->view);
        c2_wr_u64(out, r->n);
        c2_wr_raw(out, r->digest, MSG_DIGEST_LEN);
        write_votes(r, out);
        break;
    case WAL_DECIDED:
        c2_wr_u64(out, r->view);
        c2_wr_u64(out, r->n);
        c2_wr_raw(out, r->digest, MSG_DIGEST_LEN);
        break;
    case WAL_STABLE:
        c2_wr_bytes(out, r->msg);
        break;
    case WAL_WISH:
        c2_wr_u64(out, r->view);
        break;
    case WAL_MODE:
        c2_wr_u8(out, r->quarantined);
        c2_wr_u64(out, r->view);
        c2_wr_u64(out, r->n);
        break;
    }
}

static void
read_list(struct c2_rd *in, struct wal_record *r)
{
    r->count = c2_rd_u32(in);
    if (r->count > MSG_REPLICAS_MAX)
        c2_rd_fail(in);
    else
        r->list = msg_rd_list(in, r->count);
}

static void
read_body(enum wal_type type, struct c2_rd *in, struct wal_record *r)
{
    switch (type) {
    case WAL_EPOCH:
        r->config = c2_rd_bytes(in, MSG_BYTES_MAX);
        r->msg = c2_rd_bytes(in, MSG_BYTES_MAX);
        break;
    case WAL_VIEW:
        r->view = c2_rd_u64(in);
        r->leaving = c2_rd_u8(in);
        r->msg = c2_rd_bytes(in, MSG_BYTES_MAX);
        break;
    case WAL_NEW_VIEW:
        r->view = c2_rd_u64(in);
        r->msg = c2_rd_bytes(in, MSG_BYTES_MAX);
        read_list(in, r);
        break;
    case WAL_PROPOSAL:
        r->proposal = c2_rd_raw(in, MSG_PROPOSAL_LEN);
        r->batch = c2_rd_raw(in, c2_rd_left(in));
        if (r->batch.len > MSG_BATCH_MAX)
            c2_rd_fail(in);
        break;
    case WAL_PREPARED:
    case WAL_DECIDED:
        r->view = c2_rd_u64(in);
        r->n = c2_rd_u64(in);
        c2_rd_copy(in, r->digest, MSG_DIGEST_LEN);
        if (type == WAL_PREPARED)
            read_list(in, r);
        break;
    case WAL_STABLE:
        r->msg = c2_rd_bytes(in, MSG_BYTES_MAX);
        break;
    case WAL_WISH:
        r->view = c2_rd_u64(in);
        break;
    case WAL_MODE:
        r->quarantined = c2_rd_u8(in);
        r->view = c2_rd_u64(in);
        r->n = c2_rd_u64(in);
        break;
    }
}

C2_RESULT
wal_record_read(unsigned type, struct c2_slice in, struct wal_record *ret)
{
    struct c2_rd r = c2_rd_init(in);
    struct wal_record w = { 0 };
    if (type < WAL_EPOCH || type > WAL_MODE || in.len > WAL_RECORD_MAX)
        return C2_E_PARSE;
    if (type != WAL_STABLE && type != WAL_MODE && type != WAL_EPOCH)
        w.epoch = c2_rd_u32(&r);
    read_body((enum wal_type)type, &r, &w);
    C2_TRY(c2_rd_finish(&r));
    if (w.leaving > 1 || w.quarantined > 1)
        return C2_E_PARSE;
    *ret = w;
    return C2_E_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * The scanner of journal_segment.h.
 *
 * Damage or not? Each commit frame names the one before it (sequence number and hash). When that is
 * the last one we read, nothing is missing, whatever lies between them: bytes of a group that was
 * never committed, a tail that was cut in vain. When it is not, the groups in between are lost,
 * unless they are committed elsewhere (up to after_seq): their segments may have been freed.
 */
#include "fs/journal_segment.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"

#define FRAME_LEN_MIN (JOURNAL_FRAME_HEAD + C2_GCM_TAG_LEN)

void
journal_scan_init(struct journal_scan *s, struct journal_replay *replay)
{
    *s = (struct journal_scan){ .replay = replay };
    s->pieces = c2_calloc(JOURNAL_PIECES_MAX, sizeof *s->pieces);
    s->locs = c2_calloc(JOURNAL_PIECES_MAX, sizeof *s->locs);
    c2_list_init(&s->limbo);
}

struct journal_limbo {
    struct c2_link link;
    struct journal_segment *segment;
    uint64_t seq;
    struct c2_buf meta;
    struct journal_loc *locs; /* owned */
    size_t nlocs;
};

static void
limbo_free(struct journal_scan *s, struct journal_limbo *l)
{
    c2_list_remove(&s->limbo, &l->link);
    c2_buf_done(&l->meta);
    c2_free(l->locs);
    c2_free(l);
}

static void
limbo_clear(struct journal_scan *s)
{
    C2_LIST_FOREACH (&s->limbo, struct journal_limbo, l, link)
        limbo_free(s, l);
}

void
journal_scan_done(struct journal_scan *s)
{
    limbo_clear(s);
    c2_free(s->pieces);
    c2_free(s->locs);
    if (s->plain.data != NULL)
        c2_wipe(s->plain.data, s->plain.cap);
    c2_buf_done(&s->plain);
}

void
journal_scan_segment(struct journal_scan *s, struct journal_segment *segment)
{
    s->segment = segment;
    s->pos = JOURNAL_HEADER_AREA;
    s->commit_end = 0;
    s->npieces = 0; /* a group never spans segments */
}

void
journal_scan_damage(struct journal_scan *s, uint64_t groups, const char *fmt, ...)
{
    struct journal_replay *r = s->replay;
    r->damaged_groups += groups;
    if (r->damage[0] != '\0')
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->damage, sizeof r->damage, fmt, args);
    va_end(args);
}

static uint8_t *
scratch(struct journal_scan *s, size_t len)
{
    c2_buf_clear(&s->plain);
    return c2_buf_extend(&s->plain, len);
}

static void
piece_arrived(struct journal_scan *s, const struct journal_frame *f, const uint8_t *whole)
{
    if (s->pieces_seq != f->seq) {
        s->pieces_seq = f->seq;
        s->npieces = 0;
    }
    if (s->npieces == JOURNAL_PIECES_MAX)
        return; /* no commit frame can list so many */
    struct scan_piece *p = &s->pieces[s->npieces++];
    p->piece.offset = (uint32_t)s->pos;
    p->piece.len = f->len;
    memcpy(p->piece.tag, whole + JOURNAL_FRAME_HEAD + f->len, C2_GCM_TAG_LEN);
    p->good = f->seq <= s->replay->after_seq ||
              journal_frame_open(s->segment, s->pos, f, whole, scratch(s, f->len)) == C2_E_OK;
}

/* The pieces in the order of their offsets, from *at on: was this one read as it should be? */
static bool
piece_is_good(const struct journal_scan *s, const struct journal_piece *want, size_t *at)
{
    while (*at < s->npieces && s->pieces[*at].piece.offset < want->offset)
        (*at)++;
    if (*at == s->npieces || s->pieces[*at].piece.offset != want->offset)
        return false;
    const struct scan_piece *p = &s->pieces[(*at)++];
    return p->good && p->piece.len == want->len &&
           memcmp(p->piece.tag, want->tag, sizeof want->tag) == 0;
}

/* Where the pieces of the group are. True: every piece that the commit frame lists was read and is
 * the one it means. */
static bool
take_pieces(struct journal_scan *s, const struct journal_commit *c)
{
    size_t at = 0;
    bool complete = true;
    for (size_t i = 0; i < c->npieces; i++) {
        struct journal_piece want = journal_commit_piece(c, i);
        bool good = piece_is_good(s, &want, &at);
        s->locs[i] = (struct journal_loc){
            .segment = s->segment->id, .offset = want.offset, .len = want.len, .damaged = !good
        };
        complete = complete && good;
    }
    return complete;
}

/* Groups up to seq are missing. */
static void C2_PRINTF(4, 5)
    doubt(struct journal_scan *s, uint64_t seq, uint64_t groups, const char *fmt, ...)
{
    s->doubtful = true;
    s->missing_seq = C2_MAX(s->missing_seq, seq);
    s->missing += groups;
    if (s->missing > groups)
        return; /* the first sentence is kept */
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->missing_text, sizeof s->missing_text, fmt, args);
    va_end(args);
}

static void
check_chain(struct journal_scan *s, const struct journal_commit *c)
{
    uint64_t known = C2_MAX(s->chain_seq, s->replay->after_seq);
    bool same = s->chain_known && c->chain_seq == s->chain_seq &&
                memcmp(c->chain, s->chain, sizeof s->chain) == 0;
    if (same || c->chain_seq <= known)
        return;
    doubt(s, c->chain_seq, c->chain_seq - known,
          "segment %016llx before byte %llu: groups %llu to %llu cannot be read",
          (unsigned long long)s->segment->id, (unsigned long long)s->pos,
          (unsigned long long)known + 1, (unsigned long long)c->chain_seq);
}

static C2_RESULT
hand_over(struct journal_scan *s, struct journal_segment *segment, uint64_t seq,
          struct c2_slice meta, const struct journal_loc *locs, size_t nlocs)
{
    struct journal_replay *r = s->replay;
    r->groups++;
    r->bytes += meta.len;
    for (size_t i = 0; i < nlocs; i++)
        r->bytes += locs[i].len;
    segment->holds += nlocs;
    return r->group(r, seq, meta, locs, nlocs);
}

static void
hold_back(struct journal_scan *s, uint64_t seq, const struct journal_commit *c)
{
    struct journal_limbo *l = c2_calloc(1, sizeof *l);
    l->segment = s->segment;
    l->seq = seq;
    if (c->meta.len > 0)
        c2_buf_append(&l->meta, c->meta.data, c->meta.len);
    l->nlocs = c->npieces;
    l->locs = c2_calloc(c->npieces, sizeof *l->locs);
    for (size_t i = 0; i < l->nlocs; i++)
        l->locs[i] = s->locs[i];
    c2_list_append(&s->limbo, &l->link);
}

/* What is missing had been durable. */
static C2_RESULT
confirm_damage(struct journal_scan *s)
{
    enum c2_err err = C2_E_OK;
    C2_MARK("journal: groups are missing");
    journal_scan_damage(s, s->missing, "%s", s->missing_text);
    s->doubtful = false;
    s->missing = 0;
    while (err == C2_E_OK && !c2_list_empty(&s->limbo)) {
        struct journal_limbo *l = C2_LIST_FIRST(&s->limbo, struct journal_limbo, link);
        err = hand_over(s, l->segment, l->seq, c2_buf_slice(&l->meta), l->locs, l->nlocs);
        limbo_free(s, l);
    }
    return err;
}

static C2_RESULT
deliver(struct journal_scan *s, uint64_t seq, const struct journal_commit *c)
{
    if (s->pieces_seq != seq)
        s->npieces = 0;
    if (!take_pieces(s, c)) {
        C2_MARK("journal: a piece is damaged");
        doubt(s, seq, 1, "segment %016llx before byte %llu: data of group %llu is damaged",
              (unsigned long long)s->segment->id, (unsigned long long)s->pos,
              (unsigned long long)seq);
    }
    if (!s->doubtful)
        return hand_over(s, s->segment, seq, c->meta, s->locs, c->npieces);
    hold_back(s, seq, c);
    return C2_E_OK;
}

bool
journal_scan_end(struct journal_scan *s)
{
    if (!s->doubtful)
        return false;
    C2_MARK("journal: the log ends before a group that was never durable");
    limbo_clear(s);
    s->chain_seq = s->good_seq;
    s->chain_known = s->good_segment != NULL;
    memcpy(s->chain, s->good_chain, sizeof s->chain);
    return true;
}

static enum c2_err
commit_arrived(struct journal_scan *s, const struct journal_frame *f, const uint8_t *whole)
{
    struct journal_commit c;
    uint8_t *plain = scratch(s, f->len);
    if (journal_frame_open(s->segment, s->pos, f, whole, plain) != C2_E_OK ||
        journal_commit_decode(c2_slice(plain, f->len), &c) != C2_E_OK)
        return C2_E_OK; /* the next commit frame tells what is missing */
    if (f->seq <= s->chain_seq || c.chain_seq >= f->seq || c.npieces != f->index)
        return C2_E_OK; /* not a successor of anything */
    check_chain(s, &c);
    s->chain_known = true;
    s->chain_seq = f->seq;
    journal_frame_chain(whole, f, s->chain);
    s->segment->last_seq = f->seq;
    s->commit_end = s->pos + journal_frame_size(f->len);
    if (s->doubtful && c.synced_seq >= s->missing_seq)
        C2_TRY(confirm_damage(s));
    if (f->seq > s->replay->after_seq)
        C2_TRY(deliver(s, f->seq, &c));
    if (s->doubtful)
        return C2_E_OK;
    s->good_segment = s->segment;
    s->good_end = s->commit_end;
    s->good_seq = s->chain_seq;
    memcpy(s->good_chain, s->chain, sizeof s->good_chain);
    return C2_E_OK;
}

enum c2_err
journal_scan_bytes(struct journal_scan *s, struct c2_slice bytes, size_t *ret_need)
{
    uint64_t start = s->pos;
    for (;;) {
        struct journal_frame f;
        uint64_t left = s->segment->size > s->pos ? s->segment->size - s->pos : 0;
        size_t have = bytes.len - (size_t)(s->pos - start);
        const uint8_t *whole = bytes.data + (s->pos - start);
        *ret_need = 0;
        if (left < FRAME_LEN_MIN)
            return C2_E_OK;
        *ret_need = FRAME_LEN_MIN;
        if (have < FRAME_LEN_MIN)
            return C2_E_OK;
        bool frame = journal_frame_decode(s->segment, s->pos, whole, &f);
        if (frame)
            s->seq_max = C2_MAX(s->seq_max, f.seq);
        if (!frame || journal_frame_size(f.len) > left) {
            s->pos += JOURNAL_FRAME_ALIGN;
            continue;
        }
        *ret_need = journal_frame_size(f.len);
        if (have < *ret_need)
            return C2_E_OK;
        if (f.type == JOURNAL_PIECE)
            piece_arrived(s, &f, whole);
        else
            C2_TRY(commit_arrived(s, &f, whole));
        s->pos += *ret_need;
    }
}

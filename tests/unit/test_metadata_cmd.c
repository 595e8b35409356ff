/* SPDX-License-Identifier: MIT */
/*
 * The encoding of requests and answers. The golden bytes are format version 1 and never change.
 */
#include "metadata/cmd.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct c2_slice
text(const char *s)
{
    return c2_slice_str(s);
}

static const struct coord_cond conds[] = {
    { .kind = COORD_EXISTS, .key = { (const uint8_t *)"a", 1 } },
    { .kind = COORD_ABSENT, .key = { (const uint8_t *)"b", 1 } },
    { .kind = COORD_VERSION_EQ, .key = { (const uint8_t *)"c", 1 }, .number = 0x0102 },
    { .kind = COORD_VERSION_LE, .key = { (const uint8_t *)"d", 1 }, .number = 7 },
    { .kind = COORD_VALUE_EQ,
      .key = { (const uint8_t *)"e", 1 },
      .value = { (const uint8_t *)"vv", 2 } },
    { .kind = COORD_SESSION_ALIVE, .number = 9 },
};

static const struct coord_op ops[] = {
    { .kind = COORD_PUT, .key = { (const uint8_t *)"p", 1 }, .value = { (const uint8_t *)"x", 1 } },
    { .kind = COORD_DELETE, .key = { (const uint8_t *)"q", 1 } },
    { .kind = COORD_DELETE_RANGE, .key = { (const uint8_t *)"r", 1 } },
    { .kind = COORD_ADD, .key = { (const uint8_t *)"s", 1 }, .number = -2 },
    { .kind = COORD_PUT_EPHEMERAL,
      .key = { (const uint8_t *)"t", 1 },
      .value = { (const uint8_t *)"y", 1 },
      .number = 3 },
};

static const char *const golden_names[] = {
    "txn",      "get",      "range",  "open",    "keepalive", "close",
    "log_read", "log_trim", "expire", "acl_set", "acl_list",
};

#define KEY_HEX "0102030000000000000000000000000000000000000000000000000000000000"

static const char golden_txn[] =
    "01010600000001010000006102010000006203010000006302010000000000000401000000640700"
    "00000000000005010000006502000000767606090000000000000005000000010100000070010000"
    "0078020100000071030100000072040100000073feffffffffffffff050100000074010000007903"
    "00000000000000";

static const char *const golden[] = {
    golden_txn,
    "0102020000000200000068690100000078",
    "010302000000686901000000780a000000",
    "010400ca9a3b00000000",
    "01050a00000000000000",
    "01060a00000000000000",
    "01070a0000000000000040000000",
    "01080a00000000000000",
    "0109",
    "010a0200000068690a0000000000000001000000" KEY_HEX "05",
    "010b010000007840000000",
};

static const struct coord_grant one_grant = { .key = { 1, 2, 3 }, .rights = 5 };
static const struct c2_slice two_keys[] = { { (const uint8_t *)"hi", 2 },
                                            { (const uint8_t *)"x", 1 } };

static struct coord_req
example(size_t i)
{
    switch (i) {
    case 0:
        return (struct coord_req){ .verb = COORD_TXN,
                                   .conds = conds,
                                   .nconds = C2_ARRAY_LEN(conds),
                                   .ops = ops,
                                   .nops = C2_ARRAY_LEN(ops) };
    case 1:
        return (struct coord_req){ .verb = COORD_GET, .keys = two_keys, .nkeys = 2 };
    case 2:
        return (struct coord_req){
            .verb = COORD_RANGE, .keys = two_keys, .nkeys = 1, .after = text("x"), .limit = 10
        };
    case 3:
        return (struct coord_req){ .verb = COORD_SESSION_OPEN, .ttl_ns = C2_NS_PER_S };
    case 4:
        return (struct coord_req){ .verb = COORD_SESSION_KEEPALIVE, .session = 10 };
    case 5:
        return (struct coord_req){ .verb = COORD_SESSION_CLOSE, .session = 10 };
    case 6:
        return (struct coord_req){ .verb = COORD_LOG_READ, .version_in = 10, .limit = 64 };
    case 7:
        return (struct coord_req){ .verb = COORD_LOG_TRIM, .version_in = 10 };
    case 8:
        return (struct coord_req){ .verb = COORD_EXPIRE };
    case 9:
        return (struct coord_req){ .verb = COORD_ACL_SET,
                                   .keys = two_keys,
                                   .nkeys = 1,
                                   .grants = &one_grant,
                                   .ngrants = 1,
                                   .version_in = 10 };
    default:
        return (struct coord_req){ .verb = COORD_ACL_LIST, .after = text("x"), .limit = 64 };
    }
}

static void
encode(size_t i, struct c2_buf *out)
{
    struct coord_req r = example(i);
    coord_txn_encode(&r, out);
}

static void
encode__gives_the_golden_bytes(void **state)
{
    (void)state;
    assert_int_equal(C2_ARRAY_LEN(golden), C2_ARRAY_LEN(golden_names));
    for (size_t i = 0; i < C2_ARRAY_LEN(golden); i++) {
        struct c2_buf out = { 0 };
        encode(i, &out);
        char *hex = c2_alloc(2 * out.len + 1);
        c2_hex_encode(out.data, out.len, hex);
        if (strcmp(hex, golden[i]) != 0)
            fail_msg("%s: %s", golden_names[i], hex);
        c2_free(hex);
        c2_buf_done(&out);
    }
}

static void
decode__gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct cmd c = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(golden); i++) {
        struct c2_buf out = { 0 };
        struct c2_buf again = { 0 };
        encode(i, &out);
        assert_int_equal(cmd_decode(c2_buf_slice(&out), &c), C2_E_OK);
        assert_int_equal(c.req.verb, example(i).verb);
        coord_txn_encode(&c.req, &again);
        assert_true(c2_slice_equal(c2_buf_slice(&out), c2_buf_slice(&again)));
        c2_buf_done(&out);
        c2_buf_done(&again);
    }
    cmd_done(&c);
}

static void
decode__refuses_every_truncation_and_trailing_bytes(void **state)
{
    (void)state;
    struct cmd c = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(golden); i++) {
        struct c2_buf out = { 0 };
        encode(i, &out);
        for (size_t len = 0; len < out.len; len++) {
            uint8_t *exact = c2_alloc(len); /* so that ASan sees a read past the end */
            if (len > 0)
                memcpy(exact, out.data, len);
            assert_int_equal(cmd_decode(c2_slice(exact, len), &c), C2_E_PARSE);
            c2_free(exact);
        }
        c2_wr_u8(&out, 0);
        assert_int_equal(cmd_decode(c2_buf_slice(&out), &c), C2_E_PARSE);
        c2_buf_done(&out);
    }
    cmd_done(&c);
}

static void
decode__refuses_unknown_codes_and_huge_counts(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum c2_err want;
    } cases[] = {
        { "02010000000000000000", C2_E_PARSE },                                /* format */
        { "0100", C2_E_PARSE },                                                /* no verb */
        { "010c", C2_E_PARSE },                                                /* unknown verb */
        { "0101ffffffff00000000", C2_E_PARSE },                                /* conditions */
        { "010100000000ffffffff", C2_E_PARSE },                                /* operations */
        { "0102ffffffff", C2_E_PARSE },                                        /* keys */
        { "0101010000000701000000610000000000", C2_E_PARSE },                  /* condition kind */
        { "010100000000010000000600000000", C2_E_PARSE },                      /* operation kind */
        { "010100000000010000000200000000", C2_E_INVALID },                    /* empty key */
        { "01020100000000000000", C2_E_INVALID },                              /* empty key */
        { "0104ff00000000000000", C2_E_INVALID },                              /* lease too short */
        { "0103000000000000000001100000", C2_E_TOO_LARGE },                    /* limit 4097 */
        { "01070000000000000000ffffffff", C2_E_TOO_LARGE },                    /* limit */
        { "010a00000000000000000000000041000000", C2_E_PARSE },                /* grants */
        { "010a00000000000000000000000001000000" KEY_HEX "00", C2_E_INVALID }, /* no right */
        { "010a00000000000000000000000001000000" KEY_HEX "08", C2_E_INVALID },
        { "010a00000000000000000000000002000000" KEY_HEX "01" KEY_HEX "01", C2_E_INVALID },
        { "010a01000000ff000000000000000000000000", C2_E_INVALID }, /* not a client's key */
    };
    struct cmd c = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].hex) / 2;
        uint8_t *bytes = c2_alloc(len);
        assert_int_equal(c2_hex_decode(text(cases[i].hex), bytes, len), C2_E_OK);
        enum c2_err err = cmd_decode(c2_slice(bytes, len), &c);
        if (err != cases[i].want)
            fail_msg("case %zu: %s", i, c2_err_name(err));
        c2_free(bytes);
    }
    cmd_done(&c);
}

static void
prefix__goes_before_every_key_and_off_again(void **state)
{
    (void)state;
    static const struct coord_cond full_conds[] = {
        { COORD_EXISTS, { (const uint8_t *)"/v/a", 4 }, { 0 }, 0 },
        { COORD_SESSION_ALIVE, { 0 }, { 0 }, 7 },
    };
    static const struct coord_cond short_conds[] = {
        { COORD_EXISTS, { (const uint8_t *)"a", 1 }, { 0 }, 0 },
        { COORD_SESSION_ALIVE, { 0 }, { 0 }, 7 },
    };
    const struct coord_op full_op = { .kind = COORD_DELETE_RANGE, .key = text("/v/k") };
    const struct coord_op short_op = { .kind = COORD_DELETE_RANGE, .key = text("k") };
    const struct c2_slice full_key = text("/v/hi");
    const struct coord_req pairs[][2] = {
        { { .verb = COORD_TXN, .conds = short_conds, .nconds = 2, .ops = &short_op, .nops = 1 },
          { .verb = COORD_TXN, .conds = full_conds, .nconds = 2, .ops = &full_op, .nops = 1 } },
        { { .verb = COORD_GET, .keys = two_keys, .nkeys = 1 },
          { .verb = COORD_GET, .keys = &full_key, .nkeys = 1 } },
        { { .verb = COORD_RANGE, .keys = two_keys, .nkeys = 1, .after = text("x") },
          { .verb = COORD_RANGE, .keys = &full_key, .nkeys = 1, .after = text("/v/x") } },
        { { .verb = COORD_RANGE, .keys = two_keys, .nkeys = 1 },
          { .verb = COORD_RANGE, .keys = &full_key, .nkeys = 1 } },
        { { .verb = COORD_ACL_SET, .keys = two_keys, .nkeys = 1 }, /* names them as they are */
          { .verb = COORD_ACL_SET, .keys = two_keys, .nkeys = 1 } },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(pairs); i++) {
        struct c2_buf a = { 0 };
        struct c2_buf b = { 0 };
        assert_true(cmd_fits(&pairs[i][0], text("/v/")));
        cmd_encode(&pairs[i][0], text("/v/"), &a);
        coord_txn_encode(&pairs[i][1], &b);
        assert_true(c2_slice_equal(c2_buf_slice(&a), c2_buf_slice(&b)));
        c2_buf_done(&a);
        c2_buf_done(&b);
    }
    static const uint8_t long_bytes[COORD_KEY_MAX - 2] = { 1 };
    const struct c2_slice long_key = c2_slice(long_bytes, sizeof long_bytes);
    const struct coord_req too_long = { .verb = COORD_GET, .keys = &long_key, .nkeys = 1 };
    assert_false(cmd_fits(&too_long, text("/v/")));
    assert_true(cmd_fits(&too_long, text("/v")));
    struct coord_entry *entries = c2_calloc(2, sizeof *entries);
    entries[0].key = text("/v/one");
    entries[1].key = text("/v/");
    struct coord_req r = { .verb = COORD_RANGE, .entries = entries, .nentries = 2 };
    cmd_strip(&r, text("/v/"));
    assert_int_equal(r.err, C2_E_OK);
    assert_true(c2_slice_equal(r.entries[0].key, text("one")));
    assert_int_equal(r.entries[1].key.len, 0);
    r.entries[1].key = text("/w/");
    r.entries[0].key = text("/v/one");
    cmd_strip(&r, text("/v/"));
    assert_int_equal(r.err, C2_E_PROTOCOL);
    assert_null(r.entries);
}

/* --- answers --------------------------------------------------------------------------------- */

static void
build_answer(struct c2_buf *out, enum c2_err err, bool log)
{
    const struct coord_entry e = { text("key"), text("value"), 5, 6 };
    struct cmd_reply head = { .err = err,
                              .version = 1,
                              .session = 2,
                              .cond_failed = 3,
                              .more = true,
                              .nentries = log ? 0 : 1 };
    size_t at = cmd_reply_begin(out);
    if (!log)
        cmd_reply_entry(out, &e);
    cmd_reply_end(out, at, &head, log ? text("the log") : c2_slice(NULL, 0));
}

static void
answer__comes_back_with_its_entries(void **state)
{
    (void)state;
    struct c2_buf out = { 0 };
    build_answer(&out, C2_E_CONFLICT, false);
    struct coord_req r = { .verb = COORD_TXN };
    cmd_reply_take(&r, &out);
    assert_null(out.data);
    assert_int_equal(r.err, C2_E_CONFLICT);
    assert_int_equal(r.version, 1);
    assert_int_equal(r.session, 0); /* only an opened session is an answer */
    assert_int_equal(r.cond_failed, 3);
    assert_true(r.more);
    assert_int_equal(r.nentries, 1);
    assert_true(c2_slice_equal(r.entries[0].key, text("key")));
    assert_true(c2_slice_equal(r.entries[0].value, text("value")));
    assert_int_equal(r.entries[0].version, 5);
    assert_int_equal(r.entries[0].session, 6);
    coord_req_done(&r);
    assert_int_equal(r.nentries, 0);
}

static void
answer__with_a_log_holds_just_the_log(void **state)
{
    (void)state;
    struct c2_buf out = { 0 };
    build_answer(&out, C2_E_OK, true);
    struct coord_req r = { .verb = COORD_LOG_READ };
    cmd_reply_take(&r, &out);
    assert_int_equal(r.err, C2_E_OK);
    assert_true(c2_slice_equal(c2_buf_slice(&r.reply), text("the log")));
    coord_req_done(&r);
}

static void
answer__without_entries_holds_no_memory(void **state)
{
    (void)state;
    struct c2_buf out = { 0 };
    struct cmd_reply head = { .err = C2_E_OK, .version = 8, .session = 9 };
    cmd_reply_plain(&out, &head);
    struct coord_req r = { .verb = COORD_SESSION_OPEN };
    cmd_reply_take(&r, &out);
    assert_int_equal(r.err, C2_E_OK);
    assert_int_equal(r.session, 9);
    assert_null(r.reply.data);
    assert_null(r.entries);
}

static void
answer__malformed_is_a_protocol_error(void **state)
{
    (void)state;
    struct c2_buf whole = { 0 };
    build_answer(&whole, C2_E_OK, false);
    for (size_t len = 0; len <= whole.len + 4; len++) {
        if (len == whole.len)
            continue;
        struct c2_buf out = { 0 };
        if (len > whole.len) { /* one byte wrong: format, status, flag, count */
            static const uint8_t at[] = { 0, 1, 2, 28 };
            c2_buf_append(&out, whole.data, whole.len);
            out.data[at[len - whole.len - 1]] = 200;
        } else if (len > 0) {
            c2_buf_append(&out, whole.data, len);
        }
        struct coord_req r = { .verb = COORD_GET };
        cmd_reply_take(&r, &out);
        assert_int_equal(r.err, C2_E_PROTOCOL);
        assert_int_equal(r.nentries, 0);
        assert_null(r.entries);
        coord_req_done(&r);
    }
    c2_buf_done(&whole);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode__gives_the_golden_bytes),
        cmocka_unit_test(decode__gives_back_what_was_encoded),
        cmocka_unit_test(decode__refuses_every_truncation_and_trailing_bytes),
        cmocka_unit_test(decode__refuses_unknown_codes_and_huge_counts),
        cmocka_unit_test(prefix__goes_before_every_key_and_off_again),
        cmocka_unit_test(answer__comes_back_with_its_entries),
        cmocka_unit_test(answer__with_a_log_holds_just_the_log),
        cmocka_unit_test(answer__without_entries_holds_no_memory),
        cmocka_unit_test(answer__malformed_is_a_protocol_error),
    };
    return cmocka_run_group_tests_name("metadata_cmd", tests, NULL, NULL);
}

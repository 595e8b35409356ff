/* SPDX-License-Identifier: MIT */
#include "backends/s3_xml.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define XML     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
#define LIST    XML "<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
#define LISTEND "</ListBucketResult>"

static struct c2_slice
str(const char *s)
{
    return c2_slice_str(s);
}

/* Walks a whole document; what it ends with. */
static enum c2_err
walk(struct c2_slice in)
{
    struct s3_xml x;
    enum s3_xml_event event;
    s3_xml_init(&x, in);
    do {
        C2_TRY(s3_xml_next(&x, &event));
    } while (event != S3_XML_EOF);
    return C2_E_OK;
}

static enum c2_err
list(const char *text, struct s3_list *ret)
{
    return s3_xml_list(str(text), 1000, 512, ret);
}

static void
parser__reports_elements_in_order(void **state)
{
    (void)state;
    struct s3_xml x;
    enum s3_xml_event e;
    s3_xml_init(&x, str("\n" XML "\n<a x='1' y = \"2>\"><b>t&amp;u</b><c/><!-- <no> --></a>\n"));
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(e, S3_XML_START);
    assert_string_equal(x.name[0], "a");
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(e, S3_XML_START);
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(e, S3_XML_END);
    assert_true(s3_xml_at(&x, 2, "a", "b"));
    assert_string_equal(x.text, "t&u");
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(e, S3_XML_START);
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(e, S3_XML_END);
    assert_true(s3_xml_at(&x, 2, "a", "c"));
    assert_string_equal(x.text, "");
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(e, S3_XML_END);
    assert_int_equal(x.depth, 1);
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(e, S3_XML_EOF);
}

static void
parser__decodes_the_five_entities_and_numbers(void **state)
{
    (void)state;
    struct s3_xml x;
    enum s3_xml_event e;
    s3_xml_init(&x, str("<a>&lt;&gt;&amp;&quot;&apos;&#34;&#x22;&#xe9;&#x20AC;&#x1F600;</a>"));
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_string_equal(x.text, "<>&\"'\"\"\u00e9\u20ac\U0001F600");
}

static void
parser__takes_text_in_cdata_as_it_is(void **state)
{
    (void)state;
    struct s3_xml x;
    enum s3_xml_event e;
    s3_xml_init(&x, str("<a>1<![CDATA[<&lt;]]]]><![CDATA[>]]>&lt;2</a>"));
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_int_equal(s3_xml_next(&x, &e), C2_E_OK);
    assert_string_equal(x.text, "1<&lt;]]><2");
}

static void
parser__refuses_what_is_not_plain_xml(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "text",
        "<a>",
        "<a></b>",
        "<a></a><b></b>",
        "<a></a>text",
        "</a>",
        "<a><b></a></b>",
        "<a",
        "<a x></a>",
        "<a x=1></a>",
        "<a x='<'></a>",
        "<a x='1></a>",
        "< a></a>",
        "<a/ >",
        "<a>&nbsp;</a>",
        "<a>&</a>",
        "<a>&lt</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#0;</a>",
        "<a>&#1;</a>",
        "<a>&#x1f;</a>",
        "<a>&#xd800;</a>",
        "<a>&#x110000;</a>",
        "<a>&#99999999;</a>",
        "<a>&#12a;</a>",
        "<a><!-- </a>",
        "<a><![CDATA[x]]</a>",
        "<a><![CDATA[x",
        "<![CDATA[x]]><a></a>",
        "<a></a><![CDATA[x]]>",
        "<a><![cdata[x]]></a>",
        "<n:a></m:a>",
        "<a><?php ?></a>",
        "<?xml version='1.0'",
        "<!DOCTYPE a><a></a>",
        XML "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        XML "<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]><l>&lol2;</l>",
        XML "<!DOCTYPE a SYSTEM 'http://169.254.169.254/'><a></a>",
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        if (walk(str(bad[i])) != C2_E_PARSE)
            fail_msg("accepted: %s", bad[i]);
    }
    assert_int_equal(walk(c2_slice("<a>\0</a>", 8)), C2_E_PARSE);
    assert_int_equal(walk(c2_slice("<a><![CDATA[\0]]></a>", 20)), C2_E_PARSE);
    assert_int_equal(walk(str("<a></a>")), C2_E_OK);
}

static void
parser__bounds_depth_names_and_text(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    for (unsigned levels = S3_XML_DEPTH_MAX; levels <= S3_XML_DEPTH_MAX + 1; levels++) {
        c2_buf_clear(&b);
        for (unsigned i = 0; i < levels; i++)
            c2_buf_puts(&b, "<a>");
        for (unsigned i = 0; i < levels; i++)
            c2_buf_puts(&b, "</a>");
        assert_int_equal(walk(c2_buf_slice(&b)), levels <= S3_XML_DEPTH_MAX ? C2_E_OK : C2_E_PARSE);
    }
    for (int len = S3_XML_NAME_MAX; len <= S3_XML_NAME_MAX + 1; len++) {
        c2_buf_clear(&b);
        c2_buf_printf(&b, "<%0*d/>", len, 0);
        assert_int_equal(walk(c2_buf_slice(&b)), len <= S3_XML_NAME_MAX ? C2_E_OK : C2_E_PARSE);
    }
    for (int len = S3_XML_TEXT_MAX; len <= S3_XML_TEXT_MAX + 1; len++) {
        c2_buf_clear(&b);
        c2_buf_printf(&b, "<a>%0*d</a>", len, 0);
        assert_int_equal(walk(c2_buf_slice(&b)), len <= S3_XML_TEXT_MAX ? C2_E_OK : C2_E_PARSE);
    }
}

static void
parser__refuses_every_cut_document(void **state)
{
    (void)state;
    const char *text = LIST "<Contents><Key>a&amp;b</Key><Size>3</Size></Contents>" LISTEND;
    size_t len = strlen(text);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(walk(c2_slice(text, cut)), C2_E_PARSE);
    assert_int_equal(walk(c2_slice(text, len)), C2_E_OK);
}

static void
error__gives_code_message_region(void **state)
{
    (void)state;
    struct s3_error e;
    assert_int_equal(s3_xml_error(str(XML "<Error><Code>AuthorizationHeaderMalformed</Code>"
                                          "<Message>wrong &#34;region\xff\n</Message>"
                                          "<Region>eu-west-3</Region><X><Code>No</Code></X>"
                                          "</Error>"),
                                  &e),
                     C2_E_OK);
    assert_string_equal(e.code, "AuthorizationHeaderMalformed");
    assert_string_equal(e.message, "wrong \"region??");
    assert_string_equal(e.region, "eu-west-3");
}

static void
error__ignores_many_unknown_children(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    struct s3_error e;
    c2_buf_puts(&b, "<Error><Code>AccessDenied</Code>");
    for (int i = 0; i < 200; i++)
        c2_buf_printf(&b, "<X%d>y</X%d>", i, i);
    c2_buf_puts(&b, "</Error>");
    assert_int_equal(s3_xml_error(c2_buf_slice(&b), &e), C2_E_OK);
    assert_string_equal(e.code, "AccessDenied");
    assert_string_equal(e.message, "");
}

static void
error__refuses_other_roots_and_large_documents(void **state)
{
    (void)state;
    struct s3_error e;
    assert_int_equal(s3_xml_error(str("<html><Code>x</Code></html>"), &e), C2_E_PARSE);
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    c2_buf_printf(&b, "<Error><Code>x</Code></Error>%*s", S3_XML_ERROR_MAX, "");
    assert_int_equal(s3_xml_error(c2_buf_slice(&b), &e), C2_E_PARSE);
}

static void
error__cuts_long_texts(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    struct s3_error e;
    c2_buf_printf(&b, "<Error><Code>%0200d</Code><Message>%0500d</Message></Error>", 0, 0);
    assert_int_equal(s3_xml_error(c2_buf_slice(&b), &e), C2_E_OK);
    assert_int_equal(strlen(e.code), sizeof(e.code) - 1);
    assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
}

static void
list__decodes_keys_sizes_and_token(void **state)
{
    (void)state;
    struct s3_list l;
    assert_int_equal(list(LIST
                          "<Name>b</Name><Prefix>p/</Prefix>"
                          "<Contents><Key>p/a%20b%2Fc+d</Key><Size>12</Size>"
                          "<Owner><ID>o</ID></Owner></Contents>"
                          "<Contents><Key>p/z</Key><Size>18446744073709551615</Size></Contents>"
                          "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
                          "<NextContinuationToken>t&amp;1</NextContinuationToken>" LISTEND,
                          &l),
                     C2_E_OK);
    assert_int_equal(l.nkeys, 2);
    assert_string_equal((char *)l.text.data + l.keys[0].at, "p/a b/c+d");
    assert_int_equal(l.keys[0].size, 12);
    assert_string_equal((char *)l.text.data + l.keys[1].at, "p/z");
    assert_true(l.keys[1].size == UINT64_MAX);
    assert_true(l.truncated);
    assert_string_equal(l.token, "t&1");
    s3_list_done(&l);
}

/* What other writers of XML do: a byte order mark, prefixes for the namespace, CDATA. */
static void
list__is_the_same_in_other_words(void **state)
{
    (void)state;
    struct s3_list l;
    static const char text[] =
        "\xef\xbb\xbf" XML "\r\n<s3:ListBucketResult xmlns:s3='http://s3.amazonaws.com/doc/'>\r\n"
        "<s3:IsTruncated>true</s3:IsTruncated>\r\n\t<s3:Contents><s3:Key><![CDATA[a&b]]></s3:Key>"
        "<s3:ETag>&quot;e&quot;</s3:ETag><s3:Size>7</s3:Size><s3:Owner><s3:ID/></s3:Owner>"
        "</s3:Contents><s3:NextContinuationToken><![CDATA[<+/=&>]]></s3:NextContinuationToken>"
        "</s3:ListBucketResult>\n";
    assert_int_equal(list(text, &l), C2_E_OK);
    assert_int_equal(l.nkeys, 1);
    assert_string_equal((char *)l.text.data + l.keys[0].at, "a&b");
    assert_int_equal(l.keys[0].size, 7);
    assert_string_equal(l.token, "<+/=&>");
    s3_list_done(&l);
}

static void
list__keeps_percent_when_not_encoded(void **state)
{
    (void)state;
    struct s3_list l;
    assert_int_equal(list(LIST "<IsTruncated>false</IsTruncated>"
                               "<Contents><Key>a%20b</Key><Size>1</Size></Contents>" LISTEND,
                          &l),
                     C2_E_OK);
    assert_string_equal((char *)l.text.data + l.keys[0].at, "a%20b");
    assert_false(l.truncated);
    assert_null(l.token);
    s3_list_done(&l);
}

static void
list__skips_keys_that_cannot_be_ours(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    struct s3_list l;
    c2_buf_puts(&b, LIST "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>");
    static const char *const keys[] = { "a%00b", "a%01", "", "%7F", "a%zz", "ok" };
    for (size_t i = 0; i < C2_ARRAY_LEN(keys); i++)
        c2_buf_printf(&b, "<Contents><Key>%s</Key><Size>1</Size></Contents>", keys[i]);
    c2_buf_printf(&b, "<Contents><Key>%0513d</Key><Size>1</Size></Contents>" LISTEND, 0);
    assert_int_equal(s3_xml_list(c2_buf_slice(&b), 1000, 512, &l), C2_E_OK);
    assert_int_equal(l.nkeys, 2);
    assert_int_equal(l.nskipped, 5);
    assert_string_equal((char *)l.text.data + l.keys[0].at, "a%zz");
    assert_string_equal((char *)l.text.data + l.keys[1].at, "ok");
    s3_list_done(&l);
}

static void
list__refuses_incomplete_entries_and_lies(void **state)
{
    (void)state;
    static const char *const bad[] = {
        LIST LISTEND, /* no IsTruncated */
        LIST "<IsTruncated>maybe</IsTruncated>" LISTEND,
        LIST "<IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>" LISTEND,
        LIST "<IsTruncated>false</IsTruncated><Contents><Size>1</Size></Contents>" LISTEND,
        LIST "<IsTruncated>false</IsTruncated><Contents><Key>a</Key><Key>b</Key><Size>1</Size>"
             "</Contents>" LISTEND,
        LIST
        "<IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size></Contents>" LISTEND,
        LIST
        "<IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size></Size></Contents>" LISTEND,
        LIST "<IsTruncated>false</IsTruncated><Contents><Key>a</Key>"
             "<Size>18446744073709551616</Size></Contents>" LISTEND,
        "<Error><Code>x</Code></Error>",
        "<html></html>",
    };
    struct s3_list l;
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        if (list(bad[i], &l) != C2_E_PARSE)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void
list__refuses_more_keys_than_asked(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    struct s3_list l;
    c2_buf_puts(&b, LIST "<IsTruncated>false</IsTruncated>");
    for (int i = 0; i < 3; i++)
        c2_buf_printf(&b, "<Contents><Key>%d</Key><Size>1</Size></Contents>", i);
    c2_buf_puts(&b, LISTEND);
    assert_int_equal(s3_xml_list(c2_buf_slice(&b), 2, 512, &l), C2_E_PARSE);
    assert_int_equal(s3_xml_list(c2_buf_slice(&b), 3, 512, &l), C2_E_OK);
    s3_list_done(&l);
}

static void
delete_result__reports_the_first_error(void **state)
{
    (void)state;
    struct s3_delete_result d;
    assert_int_equal(
        s3_xml_delete_result(str("<DeleteResult><Error><Key>0</Key><Code>NoSuchKey</Code></Error>"
                                 "<Deleted><Key>a</Key></Deleted>"
                                 "<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message>"
                                 "</Error><Error><Key>c</Key><Code>InternalError</Code></Error>"
                                 "</DeleteResult>"),
                             &d),
        C2_E_OK);
    assert_int_equal(d.nerrors, 2);
    assert_string_equal(d.first.code, "AccessDenied");
    assert_string_equal(d.first.message, "no");
    assert_int_equal(s3_xml_delete_result(str(XML "<DeleteResult/>"), &d), C2_E_OK);
    assert_int_equal(d.nerrors, 0);
    assert_int_equal(s3_xml_delete_result(str("<Error><Code>x</Code></Error>"), &d), C2_E_PARSE);
}

static void
escape__replaces_the_five(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    s3_xml_escape("a<b>&\"'c", &b);
    assert_string_equal(c2_buf_cstr(&b), "a&lt;b&gt;&amp;&quot;&apos;c");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parser__reports_elements_in_order),
        cmocka_unit_test(parser__decodes_the_five_entities_and_numbers),
        cmocka_unit_test(parser__takes_text_in_cdata_as_it_is),
        cmocka_unit_test(parser__refuses_what_is_not_plain_xml),
        cmocka_unit_test(parser__bounds_depth_names_and_text),
        cmocka_unit_test(parser__refuses_every_cut_document),
        cmocka_unit_test(error__gives_code_message_region),
        cmocka_unit_test(error__ignores_many_unknown_children),
        cmocka_unit_test(error__refuses_other_roots_and_large_documents),
        cmocka_unit_test(error__cuts_long_texts),
        cmocka_unit_test(list__decodes_keys_sizes_and_token),
        cmocka_unit_test(list__is_the_same_in_other_words),
        cmocka_unit_test(list__keeps_percent_when_not_encoded),
        cmocka_unit_test(list__skips_keys_that_cannot_be_ours),
        cmocka_unit_test(list__refuses_incomplete_entries_and_lies),
        cmocka_unit_test(list__refuses_more_keys_than_asked),
        cmocka_unit_test(delete_result__reports_the_first_error),
        cmocka_unit_test(escape__replaces_the_five),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_tokenizer_malformed.c: hostile and unsupported tokenizer.json, and bad input. */
#include "test_support.h"

#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tokenizer.json of its parts; each may be replaced by another. */
struct parts {
    const char *added, *normalizer, *pre, *post, *decoder, *options, *vocab, *merges;
};

static moeq_status load(const char *json, size_t n, struct mq_tokenizer **t, moeq_error *err)
{
    /* An exact copy, so that a sanitizer sees any read behind the end. */
    char *copy = malloc(n ? n : 1);
    memcpy(copy, json, n);
    const moeq_status status = mq_tokenizer_load(copy, n, "t.json", t, err);
    free(copy);
    return status;
}

static moeq_status load_parts(const struct parts *p, struct mq_tokenizer **t, moeq_error *err)
{
    char json[4096];
    const int n = snprintf(
        json, sizeof json,
        "{\"version\":\"1.0\",\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,"
        "\"post_processor\":%s,\"decoder\":%s,\"model\":{\"type\":\"BPE\"%s,\"vocab\":%s,"
        "\"merges\":%s}}",
        p->added ? p->added : "", p->normalizer ? p->normalizer : "null", p->pre ? p->pre : "null",
        p->post ? p->post : "null", p->decoder ? p->decoder : "null", p->options ? p->options : "",
        p->vocab ? p->vocab : "{\"a\":0,\"b\":1,\"ab\":2,\" \":3}",
        p->merges ? p->merges : "[[\"a\",\"b\"]]");
    ck_assert_int_lt(n, (int)sizeof json);
    return load(json, (size_t)n, t, err);
}

static void expect_parts(struct parts p, moeq_status expected, const char *message)
{
    struct mq_tokenizer *t;
    moeq_error err = {0};
    const moeq_status status = load_parts(&p, &t, &err);
    ck_assert_msg(status == expected, "expected %s, found %s: %s", moeq_status_text(expected),
                  moeq_status_text(status), err.message);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(err.message, message) && strstr(err.message, "t.json"),
                  "expected '%s' in '%s'", message, err.message);
}

static void expect_json(const char *json, moeq_status expected)
{
    struct mq_tokenizer *t;
    moeq_error err = {0};
    ck_assert_int_eq(load(json, strlen(json), &t, &err), expected);
    ck_assert_ptr_null(t);
    ck_assert_ptr_nonnull(strstr(err.message, "t.json"));
}

static struct mq_tokenizer *load_good(struct parts p)
{
    struct mq_tokenizer *t;
    moeq_error err = {0};
    ck_assert_msg(load_parts(&p, &t, &err) == MOEQ_OK, "%s", err.message);
    return t;
}

START_TEST(whole_files)
{
    expect_json("", MOEQ_MALFORMED);
    expect_json("[]", MOEQ_MALFORMED);
    expect_json("7", MOEQ_MALFORMED);
    expect_json("{}", MOEQ_MALFORMED);
    expect_json("{\"model\":7}", MOEQ_MALFORMED);
    expect_json("{\"model\":{\"type\":\"BPE\"}}", MOEQ_MALFORMED);
    expect_json("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", MOEQ_UNSUPPORTED);
    expect_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", MOEQ_UNSUPPORTED);
    expect_json("{\"version\":\"2.0\",\"model\":{}}", MOEQ_UNSUPPORTED);
    expect_json("{\"model\":{\"type\":\"BPE\",\"type\":\"BPE\"}}", MOEQ_MALFORMED);
    expect_json("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\\u0000\":0},\"merges\":[]}}",
                MOEQ_MALFORMED);
    expect_json("{\"model\":{\"type\":\"B", MOEQ_MALFORMED);
    char deep[1024];
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = 0;
    expect_json(deep, MOEQ_MALFORMED);
}
END_TEST

START_TEST(vocabularies)
{
    expect_parts((struct parts){.vocab = "null"}, MOEQ_MALFORMED, "'vocab'");
    expect_parts((struct parts){.vocab = "{}"}, MOEQ_MALFORMED, "'vocab'");
    expect_parts((struct parts){.vocab = "[\"a\"]"}, MOEQ_MALFORMED, "'vocab'");
    expect_parts((struct parts){.vocab = "{\"a\":\"0\"}"}, MOEQ_MALFORMED, "whole number");
    expect_parts((struct parts){.vocab = "{\"a\":-1}"}, MOEQ_MALFORMED, "whole number");
    expect_parts((struct parts){.vocab = "{\"a\":1.5}"}, MOEQ_MALFORMED, "whole number");
    expect_parts((struct parts){.vocab = "{\"a\":4294967296}"}, MOEQ_LIMIT, "4294967296");
    expect_parts((struct parts){.vocab = "{\"a\":1000000}"}, MOEQ_LIMIT, "1000000");
    expect_parts((struct parts){.vocab = "{\"a\":1,\"b\":1}"}, MOEQ_MALFORMED, "same id 1");
    expect_parts((struct parts){.vocab = "{\"a\":1,\"a\":2}"}, MOEQ_MALFORMED,
                 "'a' is there twice");
    expect_parts((struct parts){.vocab = "{\"a\":1,\"\\u0061\":2}"}, MOEQ_MALFORMED, "twice");
    expect_parts((struct parts){.vocab = "{\"a\":NaN}"}, MOEQ_MALFORMED, "whole number");
    expect_parts((struct parts){.vocab = "{\"a\":-Infinity}"}, MOEQ_MALFORMED, "whole number");
    expect_parts((struct parts){.vocab = "{\"a\":[0]}"}, MOEQ_MALFORMED, "whole number");
    expect_parts((struct parts){.vocab = "{\"a\":1e999}"}, MOEQ_MALFORMED, "whole number");
    expect_parts((struct parts){.vocab = "{\"a\":9007199254740992}"}, MOEQ_MALFORMED,
                 "whole number");
    expect_parts((struct parts){.options = ",\"vocab\":{}"}, MOEQ_MALFORMED, "\"vocab\" twice");
    expect_parts((struct parts){.options = ",\"merg\\u0065s\":[]"}, MOEQ_MALFORMED,
                 "\"merges\" twice");
}
END_TEST

/* Vocabulary and merges are read from the text: names with escapes, and every way to write a number. */
START_TEST(ways_to_write)
{
    static const char *const files[] = {
        "\xef\xbb\xbf {\"mod\\u0065l\":{\"type\":\"BPE\",\"m\\u0065rges\":[\"#version: 0.2\", "
        "\"\\u0061 \\\"\" , [ \"a\\\"\" ,\"a\"]],\"v\\u006fcab\" : {\"\\u0061\":0.0e1, \"\\\"\" "
        ":10E-1,\"a\\\"\":2.000000000000000000000000000000000000000000000000000000000000000000, "
        "\"\\u0061\\\"a\"\n: 3}}}",
        "{\"model\":{\"vocab\":[[\"a\",-3], [ \"\\\"\" ,-3e0],[\"\\u0061\\\"\",-0.1e1] "
        ",[\"a\\\"a\",-0.50000000000000000000000000000000000000000000000000000000000000000000]],"
        "\"type\":\"Unigram\"}}",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct mq_tokenizer *t;
        struct mq_ids ids = {0};
        moeq_error err = {0};
        ck_assert_msg(load(files[i], strlen(files[i]), &t, &err) == MOEQ_OK, "%s", err.message);
        ck_assert_ok(mq_tokenizer_check(files[i], strlen(files[i]), "t.json", &err));
        ck_assert_ok(mq_tokenizer_encode(t, "a\"aaa\"", 6, false, &ids, &err));
        const int32_t expected[] = {3, 0, 2};
        ck_assert_uint_eq(ids.size, 3);
        ck_assert_mem_eq(ids.data, expected, sizeof expected);
        mq_ids_free(&ids);
        mq_tokenizer_free(t);
    }
    /* What the check of a file finds, too. */
    static const char *const twice[] = {
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\u0061\":0,\"b\":1,\"a\":2},\"merges\":[]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\n\":0,\"\\u000a\":2},\"merges\":[]}}",
    };
    for (size_t i = 0; i < sizeof twice / sizeof *twice; i++) {
        moeq_error err = {0};
        ck_assert_int_eq(mq_tokenizer_check(twice[i], strlen(twice[i]), "t.json", &err),
                         MOEQ_MALFORMED);
        ck_assert_ptr_nonnull(strstr(err.message, "is there twice"));
    }
}
END_TEST

/* Models whose pieces have scores. */
START_TEST(scored_models)
{
#define UNIGRAM "{\"model\":{\"type\":\"Unigram\",\"vocab\":"
#define PIECES "{\"model\":{\"type\":\"SentencePiece\",\"algorithm\":\"BPE\",\"vocab\":"
    static const char *const malformed[] = {
        UNIGRAM "[]}}",
        UNIGRAM "{}}}",
        UNIGRAM "7}}",
        UNIGRAM "[7]}}",
        UNIGRAM "[[\"a\"]]}}",
        UNIGRAM "[[\"a\",\"b\"]]}}",
        UNIGRAM "[[\"a\",0,1]]}}",
        UNIGRAM "[[\"a\",NaN]]}}",
        UNIGRAM "[[\"a\",1e999]]}}",
        UNIGRAM "[[\"a\",[0]]]}}",
        UNIGRAM "[[0,\"a\"]]}}",
        UNIGRAM "[[\"a\",0],[\"a\",1]]}}",
        UNIGRAM "[[\"a\",0]],\"unk_id\":1}}",
        UNIGRAM "[[\"a\",0]],\"unk_id\":-1}}",
        UNIGRAM "[[\"a\",0]],\"byte_fallback\":7}}",
        PIECES "[[\"a\",0]]}}",
        PIECES "[[\"a\",0,7]]}}",
        PIECES "[[\"a\",0,0]]}}",
        PIECES "[[\"a\",0,1.5]]}}",
        PIECES "[[\"a\",0,1,1]]}}",
        PIECES "[[\"a\",0,1]]}}", /* nothing unknown */
        "{\"model\":{\"type\":\"SentencePiece\",\"vocab\":[]}}",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        expect_json(malformed[i], MOEQ_MALFORMED);
    expect_json("{\"model\":{\"type\":\"SentencePiece\",\"algorithm\":\"Word\"}}",
                MOEQ_UNSUPPORTED);
    /* an unknown character, and no unknown token */
    static const char alone[] = UNIGRAM "[[\"a\",0]]}}";
    struct mq_tokenizer *t;
    struct mq_ids ids = {0};
    moeq_error err = {0};
    ck_assert_ok(load(alone, sizeof alone - 1, &t, &err));
    ck_assert_ok(mq_tokenizer_encode(t, "aa", 2, false, &ids, &err));
    ck_assert_uint_eq(ids.size, 2);
    ck_assert_int_eq(mq_tokenizer_encode(t, "ab", 2, false, &ids, &err), MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(err.message, "no unknown token"));
    mq_ids_free(&ids);
    mq_tokenizer_free(t);
}
END_TEST

/* A double array of one unit, whose children would lie outside, and texts. */
START_TEST(charsmaps)
{
#define MAP(text) "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" text "\"}"
    static const char *const malformed[] = {
        "{\"type\":\"Precompiled\"}", MAP("A"), MAP("A*AA"), MAP("AAAA"), /* 3 bytes */
        MAP("AAAAAAAAAAA="),                                              /* no trie */
        MAP("BQAAAAAAAAA="),                                              /* a trie of 5 bytes */
        MAP("/////wAAAAA="),                                              /* of 4 GiB */
        MAP("BAAAAAAAAAD/"), /* texts that are not UTF-8 */
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        expect_parts((struct parts){.normalizer = malformed[i]}, MOEQ_MALFORMED,
                     "precompiled_charsmap");
    struct mq_tokenizer *t = load_good((struct parts){.normalizer = MAP("BAAAAAEC/39hAA==")});
    struct mq_ids ids = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_tokenizer_encode(t, "ab", 2, false, &ids, &err));
    ck_assert_uint_eq(ids.size, 1);
    mq_ids_free(&ids);
    mq_tokenizer_free(t);
}
END_TEST

START_TEST(merges)
{
    expect_parts((struct parts){.merges = "null"}, MOEQ_MALFORMED, "'merges'");
    expect_parts((struct parts){.merges = "[[\"a\",\"zz\"]]"}, MOEQ_MALFORMED, "'zz'");
    expect_parts((struct parts){.merges = "[[\"zz\",\"a\"]]"}, MOEQ_MALFORMED, "'zz'");
    expect_parts((struct parts){.merges = "[[\"b\",\"a\"]]"}, MOEQ_MALFORMED, "'ba'");
    expect_parts((struct parts){.merges = "[\"a\"]"}, MOEQ_MALFORMED, "merge 0");
    expect_parts((struct parts){.merges = "[\"a b\",\"a b c\"]"}, MOEQ_MALFORMED, "merge 1");
    expect_parts((struct parts){.merges = "[[\"a\"]]"}, MOEQ_MALFORMED, "merge 0");
    expect_parts((struct parts){.merges = "[[\"a\",\"b\",\"c\"]]"}, MOEQ_MALFORMED, "merge 0");
    expect_parts((struct parts){.merges = "[7]"}, MOEQ_MALFORMED, "merge 0");
    expect_parts((struct parts){.merges = "[[]]"}, MOEQ_MALFORMED, "merge 0");
}
END_TEST

#define TOKEN(id, content)                                                               \
    "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":false,\"lstrip\":false," \
    "\"rstrip\":false,\"normalized\":false,\"special\":true}"

START_TEST(added_tokens)
{
    expect_parts((struct parts){.added = "7"}, MOEQ_MALFORMED, "added token");
    expect_parts((struct parts){.added = "{\"id\":4}"}, MOEQ_MALFORMED, "'content'");
    expect_parts((struct parts){.added = "{\"id\":4,\"content\":\"x\"}"}, MOEQ_MALFORMED,
                 "'single_word'");
    expect_parts((struct parts){.added = TOKEN("4000000", "x")}, MOEQ_LIMIT, "4000000");
    expect_parts((struct parts){.added =
                                    "{\"content\":\"x\",\"single_word\":false,\"lstrip\":false,"
                                    "\"rstrip\":false,\"normalized\":false,\"special\":0}"},
                 MOEQ_MALFORMED, "no id that is a whole number");
    expect_parts((struct parts){.added = TOKEN("-1", "x")}, MOEQ_MALFORMED, "whole number");
}
END_TEST

/* Ids other than those of the library `tokenizers` are said. */
START_TEST(renumbered_tokens)
{
    static const struct {
        const char *added, *note;
        int32_t x; /* the id of "x" */
        uint32_t size;
    } cases[] = {
        {TOKEN("4", "x") "," TOKEN("5", "y"), NULL, 4, 6},
        {TOKEN("4", "x") "," TOKEN("4", "x") "," TOKEN("9", ""), NULL, 4, 5},
        {TOKEN("5", "y") "," TOKEN("4", "x"), "'y' has the id 4", 5, 6},
        {TOKEN("40", "x"), "'x' has the id 4", 4, 5},
        {TOKEN("1", "x"), "the file says 1", 4, 5},
        {TOKEN("1", "a") "," TOKEN("4", "x"), "'a' has the id 0", 4, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_tokenizer *t = load_good((struct parts){.added = cases[i].added});
        const char *note = mq_tokenizer_note(t);
        ck_assert_int_eq(note != NULL, cases[i].note != NULL);
        ck_assert_msg(!note || strstr(note, cases[i].note), "%s", note);
        ck_assert_int_eq(mq_tokenizer_token_id(t, "x"), cases[i].x);
        ck_assert_uint_eq(mq_tokenizer_vocab_size(t), cases[i].size);
        mq_tokenizer_free(t);
    }
}
END_TEST

START_TEST(unsupported_components)
{
    expect_parts((struct parts){.normalizer = "{\"type\":\"Lowercase\"}"}, MOEQ_UNSUPPORTED,
                 "normalizer 'Lowercase'");
    static const char *const others[] = {"BertPreTokenizer", "UnicodeScripts", "FixedLength", "X"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char json[64], message[64];
        snprintf(json, sizeof json, "{\"type\":\"%s\"}", others[i]);
        snprintf(message, sizeof message, "pre-tokenizer '%s'", others[i]);
        expect_parts((struct parts){.pre = json}, MOEQ_UNSUPPORTED, message);
    }
    expect_parts((struct parts){.pre = "{\"type\":\"Sequence\"}"}, MOEQ_MALFORMED, "Sequence");
    expect_parts((struct parts){.pre = "{}"}, MOEQ_MALFORMED, "'type'");
    expect_parts((struct parts){.post = "{\"type\":\"BertProcessing\"}"}, MOEQ_UNSUPPORTED,
                 "'BertProcessing'");
    expect_parts((struct parts){.post = "{\"type\":\"TemplateProcessing\",\"single\":["
                                        "{\"SpecialToken\":{\"id\":\"x\"}}]}"},
                 MOEQ_MALFORMED, "without ids");
    expect_parts((struct parts){.post = "{\"type\":\"TemplateProcessing\",\"single\":["
                                        "{\"SpecialToken\":{\"id\":\"x\"}}],"
                                        "\"special_tokens\":{\"x\":{\"ids\":[9]}}}"},
                 MOEQ_MALFORMED, "not in the vocabulary");
    expect_parts((struct parts){.decoder = "{\"type\":\"CTC\"}"}, MOEQ_UNSUPPORTED, "'CTC'");
    expect_parts((struct parts){.decoder = "{\"type\":\"Strip\",\"content\":\"ab\",\"start\":1,"
                                           "\"stop\":0}"},
                 MOEQ_MALFORMED, "one character");
    expect_parts((struct parts){.options = ",\"dropout\":0.1"}, MOEQ_UNSUPPORTED, "dropout");
    expect_parts((struct parts){.options = ",\"continuing_subword_prefix\":\"##\""},
                 MOEQ_UNSUPPORTED, "continuing_subword_prefix");
    expect_parts((struct parts){.options = ",\"end_of_word_suffix\":\"</w>\""}, MOEQ_UNSUPPORTED,
                 "end_of_word_suffix");
    expect_parts((struct parts){.options = ",\"byte_fallback\":1"}, MOEQ_MALFORMED,
                 "byte_fallback");
}
END_TEST

START_TEST(malformed_pre_tokenizers)
{
    static const struct {
        const char *pre;
        moeq_status status;
        const char *message;
    } cases[] = {
        {"{\"type\":\"Digits\"}", MOEQ_MALFORMED, "'individual_digits'"},
        {"{\"type\":\"Digits\",\"individual_digits\":1}", MOEQ_MALFORMED, "'individual_digits'"},
        {"{\"type\":\"Punctuation\",\"behavior\":null}", MOEQ_MALFORMED, "'behavior'"},
        {"{\"type\":\"Punctuation\",\"behavior\":7}", MOEQ_MALFORMED, "'behavior'"},
        {"{\"type\":\"Punctuation\",\"behavior\":\"contiguous\"}", MOEQ_UNSUPPORTED,
         "Punctuation: behavior 'contiguous'"},
        {"{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false}", MOEQ_MALFORMED,
         "'String'"},
        {"{\"type\":\"Split\",\"pattern\":\"a\",\"behavior\":\"Isolated\",\"invert\":false}",
         MOEQ_MALFORMED, "'String'"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":7},\"behavior\":\"Isolated\","
         "\"invert\":false}",
         MOEQ_MALFORMED, "'String'"},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Isolated\"}",
         MOEQ_MALFORMED, "'invert'"},
        {"{\"type\":\"CharDelimiterSplit\"}", MOEQ_MALFORMED, "'delimiter'"},
        {"{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"--\"}", MOEQ_MALFORMED, "one character"},
        {"{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"\"}", MOEQ_MALFORMED, "one character"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"ab\"}", MOEQ_MALFORMED, "one character"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}",
         MOEQ_UNSUPPORTED, "'last'"},
        {"{\"type\":\"ByteLevel\",\"use_regex\":true}", MOEQ_MALFORMED, "'add_prefix_space'"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Whitespace\"},7]}", MOEQ_MALFORMED,
         "'type'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_parts((struct parts){.pre = cases[i].pre}, cases[i].status, cases[i].message);
}
END_TEST

#define SPLIT(regex)                                                        \
    (struct parts)                                                          \
    {                                                                       \
        .pre = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"}," \
               "\"behavior\":\"Isolated\",\"invert\":false}"                \
    }

START_TEST(patterns)
{
    static const struct {
        struct parts parts;
        moeq_status status;
    } cases[] = {
        {SPLIT("(a"), MOEQ_MALFORMED},
        {SPLIT("a)"), MOEQ_UNSUPPORTED},
        {SPLIT("[a"), MOEQ_UNSUPPORTED},
        {SPLIT("*a"), MOEQ_MALFORMED},
        {SPLIT("a\\\\"), MOEQ_UNSUPPORTED},
        {SPLIT("\\\\p{Greek}"), MOEQ_UNSUPPORTED},
        {SPLIT("\\\\P{Han}"), MOEQ_UNSUPPORTED},
        {SPLIT("\\\\p{L"), MOEQ_UNSUPPORTED},
        {SPLIT("\\\\p"), MOEQ_UNSUPPORTED},
        {SPLIT("[a[^b]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a[b]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a-[b]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[[a]-b]"), MOEQ_UNSUPPORTED},
        {SPLIT("[[:alpha:]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a[]b]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&b]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&[b"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&[b]"), MOEQ_UNSUPPORTED},
        {SPLIT("[&&[a]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&[]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&[b]c]"), MOEQ_UNSUPPORTED},
        {SPLIT("[^a&&[b]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&[b&&[c]]]"), MOEQ_UNSUPPORTED},
        {SPLIT("[a&&[b]&&[c]]"), MOEQ_UNSUPPORTED},
        {SPLIT("(?i:[a&&[b]])"), MOEQ_UNSUPPORTED},
        {SPLIT("[]a]"), MOEQ_UNSUPPORTED},
        {SPLIT("[\\\\W]"), MOEQ_UNSUPPORTED},
        {SPLIT("[\\\\b]"), MOEQ_UNSUPPORTED},
        {SPLIT("\\\\G"), MOEQ_UNSUPPORTED},
        {SPLIT("\\\\h"), MOEQ_UNSUPPORTED},
        {SPLIT("(?<=a)"), MOEQ_UNSUPPORTED},
        {SPLIT("(?i)a"), MOEQ_UNSUPPORTED},
        {SPLIT("(*UCP)"), MOEQ_UNSUPPORTED},
        {SPLIT("(?i:ss)"), MOEQ_UNSUPPORTED},
        {SPLIT("(?i:é)"), MOEQ_UNSUPPORTED},
        {SPLIT("(?i:[^a])"), MOEQ_UNSUPPORTED},
        {SPLIT("a{2}?"), MOEQ_UNSUPPORTED},
        {SPLIT("a{2,3}+"), MOEQ_UNSUPPORTED},
        {SPLIT("a{3,2}"), MOEQ_MALFORMED},
        {SPLIT("((a{999}){999}){999}"), MOEQ_MALFORMED},
        {SPLIT("\\\\x{110000}"), MOEQ_MALFORMED},
        {SPLIT("\\\\x41"), MOEQ_UNSUPPORTED},
        {SPLIT("a(b)\\\\1"), MOEQ_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_parts(cases[i].parts, cases[i].status, "split pattern");
    expect_parts((struct parts){.pre = "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},"
                                       "\"behavior\":\"Shuffled\",\"invert\":false}"},
                 MOEQ_UNSUPPORTED, "Shuffled");
}
END_TEST

/* A pattern whose backtracking explodes is stopped, in bounded time. */
START_TEST(catastrophic_pattern)
{
    struct mq_tokenizer *t = load_good(SPLIT("(a|a|ab)*[cd]|(a*)*b(a*)*c"));
    char text[3000];
    memset(text, 'a', sizeof text);
    struct mq_ids ids = {0};
    moeq_error err = {0};
    const moeq_status status = mq_tokenizer_encode(t, text, sizeof text, true, &ids, &err);
    ck_assert_int_eq(status, MOEQ_LIMIT);
    ck_assert_uint_eq(ids.size, 0);
    ck_assert_ptr_nonnull(strstr(err.message, "split pattern"));
    mq_ids_free(&ids);
    mq_tokenizer_free(t);
}
END_TEST

/* A set within a set within ... */
START_TEST(deep_sets)
{
    char pre[600];
    int n = snprintf(pre, sizeof pre,
                     "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false,"
                     "\"pattern\":{\"Regex\":\"");
    for (int i = 0; i < 100; i++)
        n += snprintf(pre + n, sizeof pre - (size_t)n, "[a");
    for (int i = 0; i < 100; i++)
        n += snprintf(pre + n, sizeof pre - (size_t)n, "]");
    snprintf(pre + n, sizeof pre - (size_t)n, "\"}}");
    expect_parts((struct parts){.pre = pre}, MOEQ_UNSUPPORTED, "set inside a set");
}
END_TEST

/* Runs of white space, over which neither `\s+$` nor tokens that take space in may go again and
 * again, and of marks: n^2 steps are 10^12 here. */
START_TEST(long_runs)
{
    enum { N = 1000 * 1000 };
    static const struct parts cases[] = {
        {.pre = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+$\"},\"behavior\":\"Isolated\","
                "\"invert\":false}"},
        {.added =
             "{\"id\":4,\"content\":\"  \",\"single_word\":false,\"lstrip\":false,\"rstrip\":true,"
             "\"normalized\":false,\"special\":false}"},
    };
    char *text = malloc(N + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, ' ', N);
    text[N] = 'a';
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_tokenizer *t = load_good(cases[i]);
        struct mq_ids ids = {0};
        moeq_error err = {0};
        ck_assert_ok(mq_tokenizer_encode(t, text, N + 1, true, &ids, &err));
        ck_assert_uint_eq(ids.size, i ? N / 2 + 1 : N + 1);
        mq_ids_free(&ids);
        mq_tokenizer_free(t);
    }
    /* Marks out of order, which normal forms sort. */
    struct mq_tokenizer *t = load_good((struct parts){
        .normalizer = "{\"type\":\"NFC\"}", .vocab = "{\"\\u0301\":0}", .merges = "[]"});
    struct mq_ids ids = {0};
    moeq_error err = {0};
    for (size_t i = 0; i < N / 4; i++)
        memcpy(text + 4 * i, "\xcc\x81\xcc\xa3", 4); /* U+0301 U+0323 */
    ck_assert_ok(mq_tokenizer_encode(t, text, N, true, &ids, &err));
    ck_assert_uint_eq(ids.size, N / 4);
    mq_ids_free(&ids);
    mq_tokenizer_free(t);
    free(text);
}
END_TEST

/* Scans, which PCRE2's limit does not count: from each place over all that follows. */
START_TEST(scanning_pattern)
{
    enum { N = 400 * 1000 };
    struct mq_tokenizer *t = load_good(SPLIT("(?=.*z)a|a*?[bc]"));
    char *text = malloc(N);
    struct mq_ids ids = {0};
    moeq_error err = {0};
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', N);
    ck_assert_int_eq(mq_tokenizer_encode(t, text, N, true, &ids, &err), MOEQ_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.message, "split pattern at byte 0 of a segment of 400000"));
    ck_assert_ptr_nonnull(strstr(err.message, "break long runs of one kind of character"));
    /* Few enough are matched, though each needs to see the end. */
    text[5000] = 'z';
    err = (moeq_error){0};
    ck_assert_ok(mq_tokenizer_encode(t, text + 4500, 501, true, &ids, &err));
    ck_assert_uint_eq(ids.size, 500); /* "z" is no piece */
    ids.size = 0;
    ck_assert_ok(mq_tokenizer_encode(t, text, 5001, true, &ids, &err));
    ck_assert_uint_eq(ids.size, 5000);
    free(text);
    mq_ids_free(&ids);
    mq_tokenizer_free(t);
}
END_TEST

/* Normalizers that multiply the text are stopped. */
START_TEST(exploding_normalizer)
{
#define TIMES_8 "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaa\"}"
    struct mq_tokenizer *t = load_good((struct parts){
        .normalizer = "{\"type\":\"Sequence\",\"normalizers\":[" TIMES_8 "," TIMES_8 "," TIMES_8
                      "," TIMES_8 "," TIMES_8 "," TIMES_8 "," TIMES_8 "," TIMES_8 "]}"});
    struct mq_ids ids = {0};
    moeq_error err = {0};
    ck_assert_int_eq(mq_tokenizer_encode(t, "aaaa", 4, true, &ids, &err), MOEQ_LIMIT);
    mq_ids_free(&ids);
    mq_tokenizer_free(t);
}
END_TEST

START_TEST(bad_input)
{
    struct mq_tokenizer *t = load_good((struct parts){.options = ",\"unk_token\":\"<none>\""});
    struct mq_ids ids = {0};
    struct mq_buffer text = {0};
    moeq_error err = {0};
    ck_assert_int_eq(mq_tokenizer_encode(t, "ab\xff", 3, true, &ids, &err), MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(err.message, "byte 2"));
    /* The unknown token is not in the vocabulary: that matters when one is needed. */
    err = (moeq_error){0};
    ck_assert_int_eq(mq_tokenizer_encode(t, "abz", 3, true, &ids, &err), MOEQ_MALFORMED);
    ck_assert_uint_eq(ids.size, 0);
    err = (moeq_error){0};
    ck_assert_ok(mq_tokenizer_encode(t, "ab ba", 5, true, &ids, &err));
    const int32_t expected[] = {2, 3, 1, 0};
    ck_assert_uint_eq(ids.size, 4);
    ck_assert_mem_eq(ids.data, expected, sizeof expected);
    ck_assert_ok(mq_tokenizer_encode(t, NULL, 0, true, &ids, &err));
    ck_assert_uint_eq(ids.size, 4);

    const int32_t strange[] = {-1, 2, 4, INT32_MAX, INT32_MIN, 1};
    ck_assert_ok(mq_tokenizer_decode(t, strange, 6, true, &text, &err));
    ck_assert_str_eq(text.data, "ab b");
    ck_assert_int_eq(mq_tokenizer_token_id(t, "ab"), 2);
    ck_assert_int_eq(mq_tokenizer_token_id(t, "zz"), -1);
    ck_assert_uint_eq(mq_tokenizer_vocab_size(t), 4);
    mq_ids_free(&ids);
    mq_buffer_free(&text);
    mq_tokenizer_free(t);
    mq_tokenizer_free(NULL);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, whole_files);
    tcase_add_test(tests, vocabularies);
    tcase_add_test(tests, ways_to_write);
    tcase_add_test(tests, scored_models);
    tcase_add_test(tests, charsmaps);
    tcase_add_test(tests, merges);
    tcase_add_test(tests, added_tokens);
    tcase_add_test(tests, renumbered_tokens);
    tcase_add_test(tests, unsupported_components);
    tcase_add_test(tests, malformed_pre_tokenizers);
    tcase_add_test(tests, patterns);
    tcase_add_test(tests, deep_sets);
    tcase_add_test(tests, long_runs);
    tcase_add_test(tests, catastrophic_pattern);
    tcase_add_test(tests, scanning_pattern);
    tcase_add_test(tests, exploding_normalizer);
    tcase_add_test(tests, bad_input);
}

int main(void)
{
    return mq_test_main("test_tokenizer_malformed", add_tests);
}

/* test_tokenizer_goldens.c: ids and decoded texts against those of the `tokenizers` library. */
#include "test_support.h"

#include "file.h"
#include "golden_lines.h"

#include <stdio.h>
#include <string.h>

struct counts {
    size_t lines, equal, excused; /* excused: differ for their Unicode version only */
};

static bool same_text(const struct mq_buffer *a, const struct mq_buffer *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static bool same_ids(const struct mq_ids *a, const struct mq_ids *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size * 4) == 0);
}

/* Characters newer than the Unicode tables of PCRE2 or utf8proc: their classes and normal forms
 * are what the installed libraries say. */
static bool may_differ(const char *category)
{
    return strncmp(category, "unicode-recent-", 15) == 0 ||
           strcmp(category, "unicode-nfc-recent") == 0;
}

/* Decodes the golden's ids both ways. */
static bool decodes_equal(const struct mq_tokenizer *t, const struct golden *g)
{
    struct mq_buffer text = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_tokenizer_decode(t, g->ids.data, g->ids.size, false, &text, &err));
    bool equal = same_text(&text, &g->decoded);
    mq_buffer_clear(&text);
    ck_assert_ok(mq_tokenizer_decode(t, g->ids.data, g->ids.size, true, &text, &err));
    equal = equal && same_text(&text, &g->decoded_skip);
    mq_buffer_free(&text);
    return equal;
}

static bool encodes_equal(const struct mq_tokenizer *t, const struct golden *g)
{
    struct mq_ids ids = {0};
    moeq_error err = {0};
    const moeq_status status =
        mq_tokenizer_encode(t, g->text.data, g->text.size, g->add_special_tokens, &ids, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    const bool equal = same_ids(&ids, &g->ids);
    mq_ids_free(&ids);
    return equal;
}

/* A file of golden lines; with `encode` the texts are encoded as well as the ids decoded. */
static void run_file(const struct mq_tokenizer *t, const char *path, bool encode,
                     struct counts *counts)
{
    struct mq_buffer lines = {0};
    struct golden g = {0};
    moeq_error err = {0};
    ck_assert_msg(mq_file_read_all(path, 1 << 24, &lines, &err) == MOEQ_OK, "%s", err.message);
    const char *at = lines.data;
    while (golden_next(&at, &g)) {
        counts->lines++;
        if (decodes_equal(t, &g) && (!encode || encodes_equal(t, &g))) {
            counts->equal++;
        } else if (encode && may_differ(g.category.data)) {
            counts->excused++;
        } else {
            fprintf(stderr, "%s: line %zu differs: %.200s\n", path, counts->lines,
                    encode ? g.text.data : g.decoded.data);
        }
    }
    ck_assert_int_eq(*at, 0);
    golden_free(&g);
    mq_buffer_free(&lines);
}

static struct mq_tokenizer *load_tokenizer(const char *path)
{
    struct mq_buffer json = {0};
    struct mq_tokenizer *t = NULL;
    moeq_error err = {0};
    ck_assert_msg(mq_file_read_all(path, 1 << 28, &json, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_msg(mq_tokenizer_load(json.data, json.size, path, &t, &err) == MOEQ_OK, "%s",
                  err.message);
    mq_buffer_free(&json);
    return t;
}

static void report(const char *name, const struct counts *c)
{
    printf("%-24s %zu of %zu lines equal, %zu differ by their Unicode version\n", name, c->equal,
           c->lines, c->excused);
    ck_assert_uint_gt(c->lines, 0);
    ck_assert_uint_eq(c->equal + c->excused, c->lines);
}

/* The goldens that ship with the tests: made by tests/data/make_tokenizer_goldens.py. */
START_TEST(shipped_tokenizers)
{
#define DATA "tests/tokenizer/data/"
#define OPTIONS(name)                                               \
    {                                                               \
        DATA "options/" name ".json", DATA "options/" name ".jsonl" \
    }
    static const struct {
        const char *tokenizer, *lines;
    } cases[] = {
        {"demo/model/tokenizer.json", DATA "demo.jsonl"},
        {DATA "byte_level.json", DATA "byte_level.jsonl"},
        OPTIONS("behaviors"),
        OPTIONS("metaspace"),
        OPTIONS("crossing"),
        OPTIONS("some_bytes"),
        OPTIONS("dropped"),
        OPTIONS("added"),
        OPTIONS("gpt2"),
        OPTIONS("first_stripped"),
        OPTIONS("first_replaced"),
        OPTIONS("first_prepended"),
        OPTIONS("unigram"),
        OPTIONS("unigram_bytes"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct counts counts = {0};
        struct mq_tokenizer *t = load_tokenizer(mq_test_source(cases[i].tokenizer));
        run_file(t, mq_test_source(cases[i].lines), true, &counts);
        report(cases[i].tokenizer, &counts);
        mq_tokenizer_free(t);
    }
}
END_TEST

/* The pre-tokenizers of published models over one vocabulary: made by
 * tests/data/make_chain_goldens.py. */
START_TEST(chains)
{
    static const char *const names[] = {
        "smollm",  "llama3",   "deepseek_llm", "deepseek_coder", "falcon",     "falcon3",
        "viking",  "superbpe", "tiny_aya",     "bailing",        "whitespace", "whitespace_split",
        "anchors", "strings",  "each",         "prefix",         "added",      "nfc",
        "nfd",     "nfkc",     "nfkd",         "kimi",           "both",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[128];
        struct counts counts = {0};
        snprintf(file, sizeof file, DATA "chains/%s.json", names[i]);
        struct mq_tokenizer *t = load_tokenizer(mq_test_source(file));
        snprintf(file, sizeof file, DATA "chains/%s.jsonl", names[i]);
        run_file(t, mq_test_source(file), true, &counts);
        report(names[i], &counts);
        ck_assert_uint_eq(counts.excused, 0);
        mq_tokenizer_free(t);
    }
}
END_TEST

/* The tokenizers of published models, where their folder stands beside the source tree. */
START_TEST(published_tokenizers)
{
    static const char *const names[] = {
        "mixtral-8x7b",
        "mixtral-8x22b-instruct",
        "mistral-v3-legacy",
        "tekken-nemo",
        "gpt-oss",
        "qwen3",
        "deepseek-v3",
        "llama3",
        "gemma3",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[64], file[128];
        snprintf(folder, sizeof folder, "tokenizers/%s", names[i]);
        snprintf(file, sizeof file, "%s/tokenizer.json", folder);
        struct mq_tokenizer *t = load_tokenizer(mq_test_shared(file));
        struct counts counts = {0};
        snprintf(file, sizeof file, "%s/golden.jsonl", folder);
        run_file(t, mq_test_shared(file), true, &counts);
        snprintf(file, sizeof file, "%s/decode.jsonl", folder);
        run_file(t, mq_test_shared(file), false, &counts);
        report(names[i], &counts);
        mq_tokenizer_free(t);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, shipped_tokenizers);
    tcase_add_test(tests, chains);
}

static void add_reference_tests(TCase *tests)
{
    tcase_add_test(tests, published_tokenizers);
}

int main(int argc, char **argv)
{
    return mq_test_main_reference(argc, argv, "test_tokenizer_goldens", add_tests,
                                  add_reference_tests);
}

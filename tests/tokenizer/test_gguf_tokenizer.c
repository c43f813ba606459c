/*
 * test_gguf_tokenizer.c: tokenizers made of GGUF metadata: the ids of the original's, and one
 * refusal for each thing that can be wrong.
 */
#include "test_support.h"

#include "golden_lines.h"
#include "gguf_build.h"
#include "gguf_int.h"
#include "gguf_pre.h"
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tokenizer.json made of a file; empty where there is a problem, which is then in `problem`. */
static moeq_status make(const char *path, struct mq_buffer *json, char problem[1000],
                        moeq_error *err)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_gguf g;
    const char *why = NULL, *note = NULL;
    memset(json, 0, sizeof *json);
    ck_assert_msg(mq_gguf_read(path, arena, &g, err) == MOEQ_OK, "%s", err->message);
    const moeq_status status = mq_gguf_tokenizer(&g, arena, json, &why, &note, err);
    snprintf(problem, 1000, "%s", why ? why : "");
    mq_gguf_close(&g);
    mq_arena_destroy(arena);
    return status;
}

static struct mq_tokenizer *load(const char *path)
{
    struct mq_buffer json;
    struct mq_tokenizer *t = NULL;
    char problem[1000];
    moeq_error err = {0};
    ck_assert_msg(make(path, &json, problem, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_str_eq(problem, "");
    ck_assert_msg(mq_tokenizer_load(json.data, json.size, path, &t, &err) == MOEQ_OK, "%s",
                  err.message);
    mq_buffer_free(&json);
    return t;
}

/* ---- ids ---- */

static bool same(const struct mq_ids *a, const struct mq_ids *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size * 4) == 0);
}

/* Golden lines of the original, but for those whose added tokens GGUF cannot describe: it has no
 * flags such as `normalized`. */
static void compare(const char *gguf, const char *lines_path, size_t least)
{
    struct mq_tokenizer *t = load(*gguf == '/' ? gguf : mq_test_source(gguf));
    struct mq_buffer lines = {0};
    struct golden golden = {0};
    moeq_error err = {0};
    size_t count = 0, equal = 0;
    ck_assert_ok(mq_file_read_all(mq_test_source(lines_path), 1 << 24, &lines, &err));
    const char *at = lines.data;
    while (golden_next(&at, &golden)) {
        struct mq_ids ids = {0};
        struct mq_buffer text = {0};
        ck_assert_ok(mq_tokenizer_encode(t, golden.text.data, golden.text.size,
                                         golden.add_special_tokens, &ids, &err));
        ck_assert_ok(mq_tokenizer_decode(t, golden.ids.data, golden.ids.size, false, &text, &err));
        const bool good = same(&ids, &golden.ids) && text.size == golden.decoded.size &&
                          (!text.size || memcmp(text.data, golden.decoded.data, text.size) == 0);
        if (!good)
            fprintf(stderr, "%s: line %zu (%s) differs\n", gguf, count, golden.category.data);
        count++;
        equal += good;
        mq_ids_free(&ids);
        mq_buffer_free(&text);
    }
    printf("%s: %zu of %zu lines equal\n", gguf, equal, count);
    ck_assert_uint_eq(equal, count);
    ck_assert_uint_ge(count, least);
    golden_free(&golden);
    mq_buffer_free(&lines);
    mq_tokenizer_free(t);
}

START_TEST(sentencepiece)
{
    compare("tests/fixtures/gguf/spm.gguf", "tests/tokenizer/data/demo.jsonl", 100);
}
END_TEST

START_TEST(byte_level)
{
    compare("tests/fixtures/gguf/byte_level.gguf", "tests/tokenizer/data/byte_level.jsonl", 100);
}
END_TEST

/* ---- what is made of small vocabularies ---- */

struct vocabulary {
    const char *const *tokens;
    const float *scores;
    const int32_t *types;
    size_t count;
};

/* Spaces, "ab" two ways, a byte and special tokens. */
static const char *const tokens[] = {
    "<unk>", "<s>",          "</s>", "<0x0A>", "\xe2\x96\x81\xe2\x96\x81", "ab", "abb", "bb", "a",
    "b",     "\xe2\x96\x81", "<x>",  "[PAD]"};
static const float scores[] = {0, 0, 0, 0, -1e9f, 0, -2, -1, -9, -10, -11, 0, 0};
static const int32_t types[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 4, 5};
enum { COUNT = sizeof tokens / sizeof *tokens };

static void put_llama(struct gguf_build *b, const float *the_scores)
{
    gguf_key_text(b, MQ_GGUF_KEY_TOKENIZER, "llama");
    gguf_key_strings(b, MQ_GGUF_KEY_TOKENS, tokens, COUNT);
    gguf_key_array(b, MQ_GGUF_KEY_TOKEN_TYPES, MQ_GGUF_I32, types, 4, COUNT);
    if (the_scores)
        gguf_key_array(b, MQ_GGUF_KEY_SCORES, MQ_GGUF_F32, the_scores, 4, COUNT);
}

/* What a file with these has: the note of its tokenizer. */
static bool has_note(const char *path, const char *part)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_buffer json = {0};
    struct mq_gguf g;
    const char *why = NULL, *note = NULL;
    moeq_error err = {0};
    ck_assert_ok(mq_gguf_read(path, arena, &g, &err));
    ck_assert_ok(mq_gguf_tokenizer(&g, arena, &json, &why, &note, &err));
    const bool has = note && strstr(note, part);
    mq_buffer_free(&json);
    mq_gguf_close(&g);
    mq_arena_destroy(arena);
    return has;
}

/* Of equal scores the pair that stands first in the text is joined first, as llama.cpp has it,
 * whatever the ids are. */
START_TEST(equal_scores_go_by_place)
{
    static const char *const texts[] = {"<unk>", "bc", "ab", "a", "b", "c", "\xe2\x96\x81"};
    static const int32_t kinds[] = {2, 1, 1, 0, 1, 1, 1}; /* 0: undefined is normal */
    static const float unequal[] = {0, -1, -2, -3, -4, -5, -6}, equal[] = {0, -1, -1, 0, 0, 0, 0};
    static const struct {
        const float *scores;
        const char *ids;
        bool noted;
    } cases[] = {{unequal, "6 3 1", false}, {equal, "6 2 5", true}, {NULL, "6 2 5", true}};
    const char *path = mq_test_temporary("ties.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gguf_build b = {0};
        gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "llama");
        gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS, texts, 7);
        if (cases[i].scores) /* without either, <unk> is known by its text */
            gguf_key_array(&b, MQ_GGUF_KEY_TOKEN_TYPES, MQ_GGUF_I32, kinds, 4, 7);
        if (cases[i].scores)
            gguf_key_array(&b, MQ_GGUF_KEY_SCORES, MQ_GGUF_F32, cases[i].scores, 4, 7);
        gguf_key_bool(&b, MQ_GGUF_KEY_ADD_BOS, false);
        gguf_write(&b, path);
        struct mq_tokenizer *t = load(path);
        ck_assert_str_eq(ids_as_text(t, "abc"), cases[i].ids);
        ck_assert_int_eq(has_note(path, "no scores that tell them apart"), cases[i].noted);
        mq_tokenizer_free(t);
    }
}
END_TEST

/* Types that llama.cpp does not believe, by the texts of tokens; and UNUSED pieces are built. */
START_TEST(types_by_text)
{
    static const char *const texts[] = {
        "<unk>", "<|im_end|>", "</s>", "<fim_prefix>", "<|fim_suffix|>", "<|start|>",
        "ab",    "a",          "b",    "\xe2\x96\x81"};
    static const int32_t kinds[] = {2, 1, 0, 1, 1, 3, 5, 1, 1, 1};
    static const float values[] = {0, 0, 0, 0, 0, 0, -1, -2, -3, -4};
    const char *path = mq_test_temporary("types.gguf");
    struct gguf_build b = {0};
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "llama");
    gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS, texts, 10);
    gguf_key_array(&b, MQ_GGUF_KEY_TOKEN_TYPES, MQ_GGUF_I32, kinds, 4, 10);
    gguf_key_array(&b, MQ_GGUF_KEY_SCORES, MQ_GGUF_F32, values, 4, 10);
    gguf_key_bool(&b, MQ_GGUF_KEY_ADD_BOS, false);
    gguf_key_u32(&b, "tokenizer.ggml.fim_pre_token_id", 0); /* another one: the text says nothing */
    gguf_write(&b, path);
    struct mq_tokenizer *t = load(path);
    ck_assert_str_eq(ids_as_text(t, "ab<|im_end|></s><|fim_suffix|><|start|>"), "9 6 1 2 4 5");
    ck_assert_str_eq(ids_as_text(t, "<fim_prefix>"), "9 0");
    mq_tokenizer_free(t);
}
END_TEST

/* Scores order the merges. Without them, or where all are the same, these give the same ids. */
START_TEST(merges_by_score_or_by_place)
{
    const char *path = mq_test_temporary("scores.gguf");
    float alike[COUNT];
    for (int i = 0; i < COUNT; i++)
        alike[i] = -1000;
    const float *const all[] = {scores, alike, NULL};
    for (int i = 0; i < 3; i++) {
        struct gguf_build b = {0};
        put_llama(&b, all[i]);
        gguf_write(&b, path);
        struct mq_tokenizer *t = load(path);
        ck_assert_str_eq(ids_as_text(t, "ab"), "1 10 5");
        /* ab before bb, then ab + b */
        ck_assert_str_eq(ids_as_text(t, "abb"), "1 10 6");
        ck_assert_str_eq(ids_as_text(t, " bb"), "1 4 7");
        ck_assert_str_eq(ids_as_text(t, "\n<x>a</s>"), "1 10 3 11 10 8 2");
        ck_assert_int_eq(mq_tokenizer_token_id(t, "[PAD]"), 12);
        mq_tokenizer_free(t);
    }
}
END_TEST

START_TEST(what_stands_around)
{
    const char *path = mq_test_temporary("around.gguf");
    struct gguf_build b = {0};
    put_llama(&b, scores);
    gguf_key_bool(&b, MQ_GGUF_KEY_ADD_BOS, false);
    gguf_key_bool(&b, MQ_GGUF_KEY_ADD_EOS, true);
    gguf_key_bool(&b, MQ_GGUF_KEY_ADD_PREFIX, false);
    gguf_write(&b, path);
    struct mq_tokenizer *t = load(path);
    ck_assert_str_eq(ids_as_text(t, "ab"), "5 2");
    mq_tokenizer_free(t);
    put_llama(&b, scores);
    gguf_key_bool(&b, MQ_GGUF_KEY_ADD_EOS, true);
    gguf_key_u32(&b, MQ_GGUF_KEY_EOS, 1); /* one token for both */
    gguf_key_u32(&b, MQ_GGUF_KEY_BOS, 1);
    gguf_write(&b, path);
    t = load(path);
    ck_assert_str_eq(ids_as_text(t, "ab"), "1 10 5 1");
    mq_tokenizer_free(t);
    /* merges that are there count, not the scores */
    put_llama(&b, scores);
    gguf_key_strings(&b, MQ_GGUF_KEY_MERGES, (const char *const[]){"b b", "a bb"}, 2);
    gguf_write(&b, path);
    t = load(path);
    ck_assert_str_eq(ids_as_text(t, "abb ab"), "1 10 6 10 8 9");
    mq_tokenizer_free(t);
    /* and the whole original counts before all */
    put_llama(&b, scores);
    gguf_key_text(
        &b, "tokenizer.huggingface.json",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}");
    gguf_write(&b, path);
    t = load(path);
    ck_assert_str_eq(ids_as_text(t, "ab"), "0 1");
    mq_tokenizer_free(t);
    /* unless it cannot be read */
    put_llama(&b, scores);
    gguf_key_text(&b, "tokenizer.huggingface.json", "{\"model");
    gguf_write(&b, path);
    t = load(path);
    ck_assert_str_eq(ids_as_text(t, "ab"), "1 10 5");
    ck_assert(has_note(path,
                       "the tokenizer is that of the keys tokenizer.ggml.*, since its original "
                       "cannot be used: key 'tokenizer.huggingface.json': JSON at byte "));
    mq_tokenizer_free(t);
}
END_TEST

/* ---- refusals ---- */

static void check_problem(struct gguf_build *b, const char *expected)
{
    const char *path = mq_test_temporary("problem.gguf");
    struct mq_buffer json;
    char problem[1000];
    moeq_error err = {0};
    gguf_write(b, path);
    ck_assert_msg(make(path, &json, problem, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_str_eq(problem, expected);
    ck_assert_uint_eq(json.size, 0);
    mq_buffer_free(&json);
}

START_TEST(kinds_that_are_not_known)
{
    struct gguf_build b = {0};
    check_problem(&b, ""); /* no tokenizer at all */
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "bert");
    check_problem(&b, "its tokenizer is of the kind \"bert\", which is not supported (supported: "
                      "llama, t5, gpt2)");
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "gpt2");
    check_problem(&b,
                  "its tokenizer cannot be read: the key 'tokenizer.ggml.pre' is missing, which "
                  "names how words are cut (files of before May 2024 have none; llama.cpp then "
                  "takes its rule \"default\", which is no model's. Where the model is known, "
                  "gguf-py's gguf-new-metadata --pre-tokenizer NAME writes a copy that has the "
                  "key: one of llama-bpe, qwen2, qwen35, gpt-2, smollm, deepseek-llm, "
                  "deepseek-coder, deepseek-v3, spark2_5, tekken, gpt-4o, "
                  "granite-embed-multi-97m, tiny_aya, falcon, bloom, viking, superbpe, "
                  "bailingmoe, seed-coder, ufakzeka, laguna, jais-2, exaone-moe, minicpm5, "
                  "default, or a name that means the same)");
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "gpt2");
    gguf_key_text(&b, MQ_GGUF_KEY_PRE, "kimi-k2");
    check_problem(&b, "its tokenizer cannot be read: \"kimi-k2\" in 'tokenizer.ggml.pre', which "
                      "names how words are cut, is not supported (Han characters apart from all "
                      "other letters, by code)");
    put_llama(&b, scores);
    gguf_key_bool(&b, "tokenizer.ggml.remove_extra_whitespaces", true);
    check_problem(&b, "its tokenizer normalizes text by 'tokenizer.ggml.remove_extra_whitespaces', "
                      "which is not implemented");
}
END_TEST

/* A byte-level tokenizer.json's vocabulary and merges, under the name of a pre-tokenizer. */
static void put_chain(struct gguf_build *b, const char *text, const char *pre)
{
    cJSON *tree = cJSON_Parse(text);
    const cJSON *model = cJSON_GetObjectItem(tree, "model");
    const cJSON *lists[] = {cJSON_GetObjectItem(model, "vocab"),
                            cJSON_GetObjectItem(model, "merges")};
    const char *strings[2][512];
    char merges[512][64];
    size_t counts[2] = {0, 0};
    for (const cJSON *item = lists[0]->child; item; item = item->next, counts[0]++)
        strings[0][item->valueint] = item->string;
    for (const cJSON *item = lists[1]->child; item; item = item->next, counts[1]++) {
        ck_assert_uint_lt(counts[1], 512);
        snprintf(merges[counts[1]], sizeof *merges, "%s %s", item->child->valuestring,
                 item->child->next->valuestring);
        strings[1][counts[1]] = merges[counts[1]];
    }
    gguf_key_text(b, MQ_GGUF_KEY_TOKENIZER, "gpt2");
    gguf_key_text(b, MQ_GGUF_KEY_PRE, pre);
    gguf_key_strings(b, MQ_GGUF_KEY_TOKENS, strings[0], counts[0]);
    gguf_key_strings(b, MQ_GGUF_KEY_MERGES, strings[1], counts[1]);
    gguf_key_bool(b, MQ_GGUF_KEY_ADD_BOS, false);
    cJSON_Delete(tree);
}

/* Every name that llama.cpp has: the supported ones give tokenizers, the others say what they are.
 * A name that nobody has lists those. */
START_TEST(names_of_pre_tokenizers)
{
    static const char *const bytes[] = {"a", "b", "ab", "1", "\xc4\xa0"};
    const char *path = mq_test_temporary("pre.gguf");
    struct mq_buffer docs = {0};
    moeq_error error = {0};
    size_t supported = 0;
    ck_assert_ok(mq_file_read_all(mq_test_source("docs/gguf.md"), 1 << 20, &docs, &error));
    mq_buffer_putc(&docs, '\0');
    for (size_t i = 0; i <= mq_gguf_pres_count; i++) {
        const struct mq_gguf_pre *pre = i < mq_gguf_pres_count ? &mq_gguf_pres[i] : NULL;
        struct gguf_build b = {0};
        gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "gpt2");
        gguf_key_text(&b, MQ_GGUF_KEY_PRE, pre ? pre->name : "no-such");
        if (pre) {
            char quoted[64];
            snprintf(quoted, sizeof quoted, "`%s`", pre->name);
            ck_assert_msg(strstr(docs.data, quoted), "docs/gguf.md has no %s", quoted);
        }
        gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS, bytes, 5);
        gguf_key_strings(&b, MQ_GGUF_KEY_MERGES, (const char *const[]){"a b"}, 1);
        gguf_key_u32(&b, MQ_GGUF_KEY_BOS, 3);
        gguf_write(&b, path);
        if (pre && pre->rule) {
            struct mq_tokenizer *t = load(path);
            ck_assert_str_eq(ids_as_text(t, "ab b"), pre->add_bos ? "3 2 4 1" : "2 4 1");
            ck_assert_ptr_eq(mq_gguf_pre_find(pre->name, strlen(pre->name)), pre);
            mq_tokenizer_free(t);
            supported++;
            continue;
        }
        struct mq_buffer json;
        char problem[1000];
        moeq_error err = {0};
        ck_assert_ok(make(path, &json, problem, &err));
        ck_assert_uint_eq(json.size, 0);
        ck_assert_ptr_nonnull(strstr(problem, pre ? pre->what : "known: llama-bpe, qwen2, "));
        ck_assert_ptr_nonnull(strstr(problem, pre ? pre->name : "no-such"));
    }
    ck_assert_uint_ge(supported, 75);
    mq_buffer_free(&docs);
}
END_TEST

/* As llama.cpp: nothing is normalized, whatever the name, and add_space_prefix is not followed. */
START_TEST(byte_level_text_is_taken_as_it_is)
{
    static const char *const pieces[] = {"e",        "\xc3\x8c", "\xc4\xa3",
                                         "\xc3\x83", "\xc2\xa9", "\xc4\xa0"};
    const char *path = mq_test_temporary("as_is.gguf");
    struct gguf_build b = {0};
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "gpt2");
    gguf_key_text(&b, MQ_GGUF_KEY_PRE, "qwen2");
    gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS, pieces, 6);
    gguf_key_strings(&b, MQ_GGUF_KEY_MERGES, NULL, 0);
    gguf_key_bool(&b, MQ_GGUF_KEY_ADD_PREFIX, true);
    gguf_write(&b, path);
    struct mq_tokenizer *t = load(path);
    ck_assert_str_eq(ids_as_text(t, "e\xcc\x81 \xc3\xa9"), "0 1 2 5 3 4");
    mq_tokenizer_free(t);
}
END_TEST

/* The names of published models' chains give the ids of the chains, which a golden file has. */
START_TEST(names_are_chains)
{
    static const struct {
        const char *pre, *chain;
    } cases[] = {
        {"smaug-bpe", "llama3"},
        {"llama-bpe", "llama3"},
        {"smollm", "smollm"},
        {"deepseek-llm", "deepseek_llm"},
        {"deepseek-coder", "deepseek_coder"},
        {"viking", "viking"},
        {"superbpe", "superbpe"},
        {"bailingmoe", "bailing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char file[128];
        struct mq_buffer text = {0};
        struct gguf_build b = {0};
        moeq_error err = {0};
        snprintf(file, sizeof file, "tests/tokenizer/data/chains/%s.json", cases[i].chain);
        ck_assert_ok(mq_file_read_all(mq_test_source(file), 1 << 24, &text, &err));
        mq_buffer_putc(&text, '\0');
        put_chain(&b, text.data, cases[i].pre);
        const char *path = mq_test_temporary("chain.gguf");
        gguf_write(&b, path);
        snprintf(file, sizeof file, "tests/tokenizer/data/chains/%s.jsonl", cases[i].chain);
        compare(path, file, 50);
        mq_buffer_free(&text);
    }
}
END_TEST

/* The key that is replaced, and what is said of it behind "key 'k' at byte N: ". */
static void strings_of_types(struct gguf_build *b)
{
    gguf_key_strings(b, MQ_GGUF_KEY_TOKEN_TYPES, tokens, COUNT);
}
static void short_scores(struct gguf_build *b)
{
    gguf_key_array(b, MQ_GGUF_KEY_SCORES, MQ_GGUF_F32, scores, 4, 3);
}
static void nan_score(struct gguf_build *b)
{
    float some[COUNT];
    memcpy(some, scores, sizeof some);
    some[5] = NAN;
    gguf_key_array(b, MQ_GGUF_KEY_SCORES, MQ_GGUF_F32, some, 4, COUNT);
}
static void wild_type(struct gguf_build *b)
{
    int32_t some[COUNT];
    memcpy(some, types, sizeof some);
    some[12] = 7;
    gguf_key_array(b, MQ_GGUF_KEY_TOKEN_TYPES, MQ_GGUF_I32, some, 4, COUNT);
}
static void number_tokens(struct gguf_build *b)
{
    gguf_key_u32(b, MQ_GGUF_KEY_TOKENS, 3);
}
static void text_bos(struct gguf_build *b)
{
    gguf_key_text(b, MQ_GGUF_KEY_BOS, "<s>");
}
static void text_flag(struct gguf_build *b)
{
    gguf_key_text(b, MQ_GGUF_KEY_ADD_BOS, "yes");
}
static void number_merges(struct gguf_build *b)
{
    gguf_key_u32(b, MQ_GGUF_KEY_MERGES, 3);
}
static void bad_merge(struct gguf_build *b)
{
    gguf_key_strings(b, MQ_GGUF_KEY_MERGES, (const char *const[]){"a b", "\xc0 b"}, 2);
}

START_TEST(malformed)
{
    static const struct {
        void (*put)(struct gguf_build *b);
        const char *key, *message;
    } cases[] = {
        {strings_of_types, MQ_GGUF_KEY_TOKEN_TYPES, "expected an array of 13 numbers, one a token"},
        {short_scores, MQ_GGUF_KEY_SCORES, "expected an array of 13 numbers, one a token"},
        {nan_score, MQ_GGUF_KEY_SCORES, "token 5: expected a finite score"},
        {wild_type, MQ_GGUF_KEY_TOKEN_TYPES, "token 12: expected a type from 0 to 6"},
        {number_tokens, MQ_GGUF_KEY_TOKENS, "expected an array of 1 to 4194304 strings"},
        {text_bos, MQ_GGUF_KEY_BOS, "expected the id of one of the 13 tokens"},
        {text_flag, MQ_GGUF_KEY_ADD_BOS, "expected a boolean"},
        {number_merges, MQ_GGUF_KEY_MERGES, "expected an array of strings"},
        {bad_merge, MQ_GGUF_KEY_MERGES, "merge 1 is not UTF-8 text without U+0000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = mq_test_temporary("malformed.gguf");
        struct gguf_build b = {.drop = cases[i].key};
        struct mq_buffer json;
        char problem[1000], expected[300];
        moeq_error err = {0};
        put_llama(&b, scores);
        b.drop = NULL;
        cases[i].put(&b);
        gguf_write(&b, path);
        ck_assert_ok(make(path, &json, problem, &err));
        ck_assert_uint_eq(json.size, 0);
        snprintf(expected, sizeof expected, "its tokenizer cannot be read: key '%s' at byte ",
                 cases[i].key);
        ck_assert_msg(strncmp(problem, expected, strlen(expected)) == 0, "%s", problem);
        ck_assert_str_eq(strstr(problem + strlen(expected), ": ") + 2, cases[i].message);
    }
}
END_TEST

/* ---- oddities that llama.cpp lives with ---- */

/* The ids of "ab b" with one thing changed in the tokens, -1: nothing, or with a key besides. */
static void check_oddity(int changed, const char *text, size_t n, const char *key, uint32_t id,
                         const char *expected)
{
    const char *path = mq_test_temporary("oddity.gguf");
    struct gguf_build b = {.drop = MQ_GGUF_KEY_TOKENS};
    put_llama(&b, scores);
    b.drop = NULL;
    struct mq_buffer list = {0};
    for (int i = 0; i < COUNT; i++) {
        const size_t size = i == changed ? n : strlen(tokens[i]);
        mq_buffer_append(&list, &(const uint64_t){size}, 8);
        mq_buffer_append(&list, i == changed ? text : tokens[i], size);
    }
    struct mq_buffer value = {0};
    mq_buffer_append(&value, (const uint32_t[]){MQ_GGUF_STRING, COUNT, 0}, 12);
    mq_buffer_append(&value, list.data, list.size);
    gguf_key_raw(&b, MQ_GGUF_KEY_TOKENS, MQ_GGUF_ARRAY, value.data, value.size);
    mq_buffer_free(&list);
    mq_buffer_free(&value);
    if (key)
        gguf_key_u32(&b, key, id);
    gguf_write(&b, path);
    struct mq_tokenizer *t = load(path);
    ck_assert_str_eq(ids_as_text(t, "ab b"), expected);
    mq_tokenizer_free(t);
}

START_TEST(oddities)
{
    static const char *const special[] = {MQ_GGUF_KEY_BOS, MQ_GGUF_KEY_EOS, MQ_GGUF_KEY_UNK,
                                          MQ_GGUF_KEY_PAD, MQ_GGUF_KEY_EOT};
    char plain[64];
    struct gguf_build b = {0};
    put_llama(&b, scores);
    gguf_write(&b, mq_test_temporary("plain.gguf"));
    struct mq_tokenizer *t = load(mq_test_temporary("plain.gguf"));
    snprintf(plain, sizeof plain, "%s", ids_as_text(t, "ab b"));
    mq_tokenizer_free(t);
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        check_oddity(-1, "", 0, special[i], UINT32_MAX, plain);
        check_oddity(-1, "", 0, special[i], COUNT, plain);
    }
    check_oddity(-1, "", 0, MQ_GGUF_KEY_ADD_EOS, 0, plain); /* a number for a boolean */
    check_oddity(7, "a\0b", 3, NULL, 0, plain);
    check_oddity(7, "\xff\xfe", 2, NULL, 0, plain);
    check_oddity(7, "", 0, NULL, 0, plain);
    ck_assert_str_eq(plain, "1 10 5 10 9");
    check_oddity(7, "b", 1, NULL, 0, plain); /* again as 9 */
    check_oddity(7, "ab", 2, NULL, 0, "1 10 7 10 9");
}
END_TEST

/* A vocabulary of which nothing is said but its tokens. */
START_TEST(tokens_alone)
{
    const char *path = mq_test_temporary("alone.gguf");
    struct gguf_build b = {0};
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "llama");
    gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS,
                     (const char *const[]){"<unk>", "<s>", "</s>", "<0x0A>", "\xe2\x96\x81", "a"},
                     6);
    gguf_write(&b, path);
    struct mq_tokenizer *t = load(path);
    ck_assert_str_eq(ids_as_text(t, "a\n"), "1 4 5 3");
    mq_tokenizer_free(t);
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "gpt2");
    gguf_key_text(&b, MQ_GGUF_KEY_PRE, "gpt-2");
    gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS, (const char *const[]){"a"}, 1);
    check_problem(&b, "its tokenizer cannot be read: key 'tokenizer.ggml.merges' is missing");
}
END_TEST

/* A piece of a megabyte must not cost a million look-ups of a megabyte. */
START_TEST(long_pieces)
{
    const char *path = mq_test_temporary("long.gguf");
    char *piece = malloc((1 << 20) + 1);
    struct gguf_build b = {0};
    struct mq_buffer json;
    char problem[1000];
    moeq_error err = {0};
    ck_assert_ptr_nonnull(piece);
    memset(piece, 'a', 1 << 20);
    piece[1 << 20] = '\0';
    gguf_key_text(&b, MQ_GGUF_KEY_TOKENIZER, "llama");
    gguf_key_strings(&b, MQ_GGUF_KEY_TOKENS, (const char *const[]){"a", piece}, 2);
    gguf_write(&b, path);
    ck_assert_ok(make(path, &json, problem, &err));
    ck_assert_uint_eq(json.size, 0);
    ck_assert_ptr_nonnull(strstr(problem, "a piece of 1048576 bytes, of 256 at most"));
    free(piece);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, sentencepiece);
    tcase_add_test(tests, byte_level);
    tcase_add_test(tests, merges_by_score_or_by_place);
    tcase_add_test(tests, equal_scores_go_by_place);
    tcase_add_test(tests, types_by_text);
    tcase_add_test(tests, what_stands_around);
    tcase_add_test(tests, kinds_that_are_not_known);
    tcase_add_test(tests, names_of_pre_tokenizers);
    tcase_add_test(tests, byte_level_text_is_taken_as_it_is);
    tcase_add_test(tests, names_are_chains);
    tcase_add_test(tests, malformed);
    tcase_add_test(tests, oddities);
    tcase_add_test(tests, tokens_alone);
    tcase_add_test(tests, long_pieces);
}

int main(void)
{
    return mq_test_main("test_gguf_tokenizer", add_tests);
}

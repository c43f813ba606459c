/*
 * test_side_files.c: tokenizers of several files against those of Transformers, whose goldens
 * tests/data/make_side_file_goldens.py makes; and files that are wrong.
 */
#include "test_support.h"

#include "file.h"
#include "json.h"
#include "side_files.h"
#include "tokenizer.h"

#include <stdio.h>
#include <string.h>

static struct mq_side_text text_of(const cJSON *item)
{
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    return (struct mq_side_text){text, strlen(text)};
}

static cJSON *parse(const char *text, size_t n)
{
    const struct mq_json_limits limits = {.depth = 64, .values = 1000000};
    cJSON *tree;
    moeq_error err = {0};
    ck_assert_msg(mq_json_parse(text, n, &limits, "a test", 0, &tree, &err) == MOEQ_OK, "%s",
                  err.message);
    return tree;
}

/* The token of an id in the merged file's list. */
static const cJSON *added_token(const cJSON *list, double id)
{
    const cJSON *t;
    cJSON_ArrayForEach(t, list)
    {
        if (mq_json_get(t, "id")->valuedouble == id)
            return t;
    }
    return NULL;
}

/* [id, content, [flags]] of each golden token. */
static void compare_added(const char *name, const cJSON *golden, const cJSON *list)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
    const cJSON *g;
    ck_assert_msg(cJSON_GetArraySize(golden) == cJSON_GetArraySize(list),
                  "%s: expected %d added tokens, found %d", name, cJSON_GetArraySize(golden),
                  cJSON_GetArraySize(list));
    cJSON_ArrayForEach(g, golden)
    {
        const cJSON *id = cJSON_GetArrayItem(g, 0), *content = cJSON_GetArrayItem(g, 1);
        const cJSON *t = added_token(list, id->valuedouble);
        ck_assert_msg(t && !strcmp(mq_json_get(t, "content")->valuestring, content->valuestring),
                      "%s: expected '%s' as id %d", name, content->valuestring, id->valueint);
        for (int f = 0; f < 5; f++)
            ck_assert_msg(cJSON_IsTrue(mq_json_get(t, flags[f])) ==
                              cJSON_IsTrue(cJSON_GetArrayItem(cJSON_GetArrayItem(g, 2), f)),
                          "%s: '%s' differs in %s", name, content->valuestring, flags[f]);
    }
}

static void compare_texts(const char *name, const cJSON *golden, const char *json, size_t n)
{
    struct mq_tokenizer *tokenizer;
    moeq_error err = {0};
    ck_assert_msg(mq_tokenizer_load(json, n, "merged", &tokenizer, &err) == MOEQ_OK, "%s: %s", name,
                  err.message);
    const cJSON *g;
    cJSON_ArrayForEach(g, golden)
    {
        const cJSON *text = cJSON_GetArrayItem(g, 0), *ids = cJSON_GetArrayItem(g, 1);
        struct mq_ids found = {0};
        ck_assert_ok(mq_tokenizer_encode(tokenizer, text->valuestring, strlen(text->valuestring),
                                         true, &found, &err));
        ck_assert_msg(found.size == (size_t)cJSON_GetArraySize(ids), "%s: '%s': %zu ids, not %d",
                      name, text->valuestring, found.size, cJSON_GetArraySize(ids));
        const cJSON *id = ids->child;
        for (size_t i = 0; i < found.size; i++, id = id->next)
            ck_assert_msg(found.data[i] == id->valueint, "%s: '%s': id %zu is %d, not %d", name,
                          text->valuestring, i, found.data[i], id->valueint);
        mq_ids_free(&found);
    }
    mq_tokenizer_free(tokenizer);
}

/* What the merged tokenizer_config.json calls bos to mask has the golden ids. */
static void compare_named(const char *name, const cJSON *golden, const char *config, size_t n,
                          const cJSON *list)
{
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};
    cJSON *tree = n ? parse(config, n) : NULL;
    for (int i = 0; i < 7; i++) {
        const cJSON *item = mq_json_get(tree, keys[i]), *id = cJSON_GetArrayItem(golden, i);
        const cJSON *content = cJSON_IsObject(item) ? mq_json_get(item, "content") : item;
        if (!cJSON_IsNumber(id) || !item) /* pad_token may come from "padding" */
            continue;
        const cJSON *t = added_token(list, id->valuedouble);
        ck_assert_msg(cJSON_IsString(content) && t &&
                          !strcmp(mq_json_get(t, "content")->valuestring, content->valuestring),
                      "%s: %s is not the id %d", name, keys[i], id->valueint);
    }
    cJSON_Delete(tree);
}

static void run_case(const cJSON *bases, const cJSON *c)
{
    const char *name = mq_json_get(c, "name")->valuestring;
    const struct mq_side_text base =
        text_of(cJSON_GetArrayItem(bases, mq_json_get(c, "base")->valueint));
    const struct mq_tokenizer_side side = {
        .config = text_of(mq_json_get(c, "config")),
        .added_tokens = text_of(mq_json_get(c, "added_tokens")),
        .special_tokens_map = text_of(mq_json_get(c, "special_tokens_map")),
    };
    struct mq_tokenizer_merged merged = {0}, again = {0};
    moeq_error err = {0};
    const moeq_status status = mq_tokenizer_merge(base.data, base.size, &side, &merged, &err);
    if (mq_json_get(c, "error")) {
        ck_assert_msg(status == MOEQ_MALFORMED && err.message[0], "%s: no error", name);
        return;
    }
    ck_assert_msg(status == MOEQ_OK, "%s: %s", name, err.message);
    const char *json = merged.tokenizer.size ? merged.tokenizer.data : base.data;
    const size_t n = merged.tokenizer.size ? merged.tokenizer.size : base.size;
    const bool own = !merged.config.size;
    cJSON *tree = parse(json, n);
    const cJSON *list = mq_json_get(tree, "added_tokens");
    compare_added(name, mq_json_get(c, "added"), list);
    compare_texts(name, mq_json_get(c, "texts"), json, n);
    compare_named(name, mq_json_get(c, "named"), own ? side.config.data : merged.config.data,
                  own ? side.config.size : merged.config.size, list);
    /* What has been merged is merged. */
    ck_assert_ok(mq_tokenizer_merge(json, n, &side, &again, &err));
    ck_assert_msg(!again.tokenizer.size, "%s: merged twice is another", name);
    mq_tokenizer_merged_free(&again);
    cJSON_Delete(tree);
    mq_tokenizer_merged_free(&merged);
}

START_TEST(as_transformers)
{
    struct mq_buffer text = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_file_read_all(mq_test_source("tests/tokenizer/data/side_files.json"), 1 << 24,
                                  &text, &err));
    cJSON *tree = parse(text.data, text.size);
    const cJSON *c;
    cJSON_ArrayForEach(c, mq_json_get(tree, "cases"))
    {
        run_case(mq_json_get(tree, "bases"), c);
    }
    ck_assert_int_gt(cJSON_GetArraySize(mq_json_get(tree, "cases")), 200);
    cJSON_Delete(tree);
    mq_buffer_free(&text);
}
END_TEST

#define BASE                                                                                      \
    "{ \"added_tokens\" : [{\"id\":0,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false," \
    "\"rstrip\":false,\"normalized\":false,\"special\":true}], \"model\": {\"type\":\"BPE\","     \
    "\"vocab\":{\"<s>\":0,\"a\":1},\"merges\":[]}, \"scores\": 1e400 }"

static moeq_status merge(const char *json, const char *config, const char *added, const char *map,
                         struct mq_tokenizer_merged *merged, moeq_error *err)
{
    const struct mq_tokenizer_side side = {
        .config = {config, config ? strlen(config) : 0},
        .added_tokens = {added, added ? strlen(added) : 0},
        .special_tokens_map = {map, map ? strlen(map) : 0},
    };
    memset(err, 0, sizeof *err);
    memset(merged, 0, sizeof *merged);
    return mq_tokenizer_merge(json, strlen(json), &side, merged, err);
}

/* The rest of the file stays as it is to the byte. */
START_TEST(only_the_list_changes)
{
    struct mq_tokenizer_merged merged;
    moeq_error err;
    ck_assert_ok(merge(BASE, "{\"bos_token\":\"<s>\"}", NULL, NULL, &merged, &err));
    ck_assert_uint_eq(merged.tokenizer.size, 0);
    ck_assert_uint_eq(merged.notes.size, 0);
    mq_tokenizer_merged_free(&merged);
    ck_assert_ok(merge(BASE, "{\"eos_token\":\"\\\"e\"}", NULL, NULL, &merged, &err));
    ck_assert_str_eq(
        merged.tokenizer.data,
        "{ \"added_tokens\" : [{\"id\":0,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":"
        "false,\"rstrip\":false,\"normalized\":false,\"special\":true},{\"id\":2,\"content\":"
        "\"\\\"e\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
        "\"special\":true}], \"model\": {\"type\":\"BPE\",\"vocab\":{\"<s>\":0,\"a\":1},"
        "\"merges\":[]}, \"scores\": 1e400 }");
    ck_assert_str_eq(merged.notes.data,
                     "1 token that tokenizer.json does not add is added, as Transformers does, "
                     "since the files beside it say so: \"\\\"e\" = 2\n");
    mq_tokenizer_merged_free(&merged);
}
END_TEST

START_TEST(notes)
{
    static const struct {
        const char *config, *added, *map, *note;
    } cases[] = {
        {"{\"added_tokens_decoder\":{\"7\":{\"content\":\"<x>\"}}}", NULL, NULL,
         "tokenizer_config.json has another id for 1 token than tokenizer.json leads to: \"<x>\" "
         "has 7 there and is read as 2, as by Transformers\n"},
        {"{\"added_tokens_decoder\":{}}", "{\"<y>\":2}", NULL,
         "1 token of added_tokens.json is not read: \"<y>\" is not in added_tokens_decoder of "
         "tokenizer_config.json, which counts\n"},
        {NULL, "{\"<y>\":0}", NULL,
         "1 token of added_tokens.json is not read: \"<y>\" has the id of another token of "
         "tokenizer.json\n"},
        {"{\"added_tokens_decoder\":{\"0\":{\"content\":\"<s>\",\"lstrip\":true}}}", NULL, NULL,
         "how 1 added token of tokenizer.json is found in a text (lstrip, normalized, special, "
         "...) is taken from the files beside it, which say otherwise\n"},
        {"{\"eos_token\":\"a\"}", NULL, "{\"eos_token\":\"<s>\"}",
         "eos_token: as special_tokens_map.json says, not as tokenizer_config.json\n"},
        {"{\"add_bos_token\":true,\"add_eos_token\":false}", NULL, NULL,
         "add_bos_token of tokenizer_config.json is not followed: the post-processor of "
         "tokenizer.json puts no special token in front of a text, and it counts, as in "
         "Transformers 5\n"},
        {"{\"split_special_tokens\":true}", NULL, NULL,
         "tokenizer_config.json: split_special_tokens is not followed: special tokens in a text "
         "are read as such\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_tokenizer_merged merged;
        moeq_error err;
        ck_assert_ok(merge(BASE, cases[i].config, cases[i].added, cases[i].map, &merged, &err));
        ck_assert_msg(merged.notes.data && strstr(merged.notes.data, cases[i].note),
                      "found: %s\nexpected: %s", merged.notes.data, cases[i].note);
        mq_tokenizer_merged_free(&merged);
    }
}
END_TEST

/* What is put around a text is the post-processor's to say. */
START_TEST(post_processors)
{
    static const char base[] =
        "{\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
        "{\"Sequence\":{\"id\":\"A\"}}]}]}}";
    static const struct {
        const char *config, *note; /* NULL: none */
    } cases[] = {
        {"{\"add_bos_token\":true,\"add_eos_token\":false}", NULL},
        {"{\"add_bos_token\":null}", NULL},
        {"{\"add_bos_token\":false}", "add_bos_token of tokenizer_config.json is not followed: the "
                                      "post-processor of tokenizer.json puts a special token in "
                                      "front of a text"},
        {"{\"add_eos_token\":true}", "puts no special token behind a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_tokenizer_merged merged;
        moeq_error err;
        ck_assert_ok(merge(base, cases[i].config, NULL, NULL, &merged, &err));
        const char *found = merged.notes.data ? merged.notes.data : "";
        ck_assert_msg(cases[i].note ? strstr(found, cases[i].note) != NULL : !*found,
                      "case %zu: %s", i, found);
        mq_tokenizer_merged_free(&merged);
    }
}
END_TEST

START_TEST(malformed)
{
    static const struct {
        const char *config, *added, *map, *message;
    } cases[] = {
        {"{", NULL, NULL,
         "tokenizer_config.json: JSON at byte 1: found the end inside an array or "
         "object"},
        {"[]", NULL, NULL, "tokenizer_config.json: is no JSON object"},
        {"{\"a\":+++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++5}", NULL, NULL,
         "tokenizer_config.json: JSON at byte 5: found text that is no JSON value"},
        {NULL, "[1]", NULL, "added_tokens.json: is no JSON object"},
        {NULL, "{\"<a>\":-1}", NULL,
         "added_tokens.json: token '<a>' has no id that is a whole number"},
        {NULL, "{\"<a>\":1e15}", NULL,
         "added_tokens.json: token '<a>' has no id that is a whole number"},
        {NULL, "{\"<a>\":7,\"<b>\":7}", NULL,
         "added_tokens.json: tokens '<a>' and '<b>' have the same id 7"},
        {NULL, "{\"<a>\":7,\"<a>\":8}", NULL,
         "added_tokens.json: JSON holds the key \"<a>\" twice"},
        {NULL, NULL, "{\"eos_token\":[]}",
         "special_tokens_map.json: 'eos_token' names a token that is neither a text nor an object"},
        {"{\"eos_token\":{}}", NULL, NULL,
         "tokenizer_config.json: 'eos_token' is a token without a text \"content\""},
        {"{\"added_tokens_decoder\":{\"5\":{\"content\":\"a\",\"lstrip\":1}}}", NULL, NULL,
         "tokenizer_config.json: '5' is a token with a flag that is not true or false"},
        {"{\"added_tokens_decoder\":[]}", NULL, NULL,
         "tokenizer_config.json: 'added_tokens_decoder' is no object"},
        {"{\"added_tokens_decoder\":{\"99999999999\":{\"content\":\"a\"}}}", NULL, NULL,
         "tokenizer_config.json: '99999999999' in added_tokens_decoder is no id"},
        {"{\"additional_special_tokens\":7}", NULL, NULL,
         "tokenizer_config.json: 'additional_special_tokens' is neither a list of tokens nor an "
         "object of them"},
        {"{\"eos_token\":\"a\\u0000b\"}", NULL, NULL,
         "tokenizer_config.json: JSON at byte 15: found the character U+0000 in a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_tokenizer_merged merged;
        moeq_error err;
        ck_assert_int_ne(merge(BASE, cases[i].config, cases[i].added, cases[i].map, &merged, &err),
                         MOEQ_OK);
        ck_assert_str_eq(err.message, cases[i].message);
        ck_assert_ptr_null(merged.tokenizer.data);
    }
}
END_TEST

#define X32 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256 X32 X32 X32 X32 X32 X32 X32 X32
#define X1025 X256 X256 X256 X256 "x"

/* The file that names the token is blamed, not tokenizer.json. */
START_TEST(tokens_too_long)
{
    static const struct {
        const char *config, *added, *map, *file;
    } cases[] = {
        {"{\"added_tokens_decoder\":{\"5\":{\"content\":\"" X1025 "\"}}}", NULL, NULL,
         "tokenizer_config.json"},
        {"{\"eos_token\":\"" X1025 "\"}", NULL, NULL, "tokenizer_config.json"},
        {NULL, "{\"" X1025 "\":7}", NULL, "added_tokens.json"},
        {NULL, NULL, "{\"eos_token\":\"" X1025 "\"}", "special_tokens_map.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_tokenizer_merged merged;
        moeq_error err;
        char expected[200];
        ck_assert_int_eq(merge(BASE, cases[i].config, cases[i].added, cases[i].map, &merged, &err),
                         MOEQ_LIMIT);
        snprintf(expected, sizeof expected, "%s: token '%.40s...' has 1025 bytes, more than 1024",
                 cases[i].file, X256);
        ck_assert_str_eq(err.message, expected);
    }
}
END_TEST

/* What is wrong in tokenizer.json is its loader's to say. */
START_TEST(tokenizers_that_are_wrong)
{
    static const char *const cases[] = {
        "",
        "x",
        "{",
        "[",
        "{\"added_tokens\":",
        "{\"added_tokens\":[{}]}",
        "{\"model\":{\"vocab\"",
        "{\"added_tokens\":[{\"id\":1,\"content\":\"a\"},{\"id\":2,\"content\":\"a\"}]}",
        "{\"added_tokens\":{}}",
        "{\"model\":{\"vocab\":7}}",
        "{\"model\":[{\"vocab\":{}}]}"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_tokenizer_merged merged;
        moeq_error err;
        ck_assert_ok(merge(cases[i], "{\"eos_token\":\"<e>\"}", NULL, NULL, &merged, &err));
        ck_assert_uint_eq(merged.tokenizer.size, 0);
        mq_tokenizer_merged_free(&merged);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, as_transformers);
    tcase_add_test(tests, only_the_list_changes);
    tcase_add_test(tests, notes);
    tcase_add_test(tests, post_processors);
    tcase_add_test(tests, malformed);
    tcase_add_test(tests, tokens_too_long);
    tcase_add_test(tests, tokenizers_that_are_wrong);
}

int main(void)
{
    return mq_test_main("test_side_files", add_tests);
}

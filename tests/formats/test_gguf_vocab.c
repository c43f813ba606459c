/*
 * test_gguf_vocab.c: a tokenizer.json as the metadata of a GGUF file: against goldens, with the
 * special ids and chat templates of the side files, and of published models.
 */
#include "file.h"
#include "gguf_lines.h"
#include "gguf_vocab_export.h"
#include "vocab_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEMO "demo/model/tokenizer.json"
#define BYTES "tests/tokenizer/data/byte_level.json"
#define DATA "tests/formats/data/"

/* ---- goldens ---- */

static void check_golden(const char *name, const char *tokenizer, uint32_t vocab)
{
    char config_path[64], golden_path[64];
    snprintf(config_path, sizeof config_path, DATA "gguf_vocab_%s_config.json", name);
    snprintf(golden_path, sizeof golden_path, DATA "gguf_vocab_%s.txt", name);
    char *json = vocab_slurp(mq_test_source(tokenizer)),
         *config = vocab_slurp(mq_test_source(config_path));
    char *golden = vocab_slurp(mq_test_source(golden_path));
    struct vocab_outcome o = vocab_export(
        &(struct vocab_side){.tokenizer = json, .tokenizer_config = config, .vocab = vocab});
    ck_assert_msg(o.status == MOEQ_OK, "%s", o.err.message);
    ck_assert_msg(!o.warning, "%s", o.warning);
    size_t same = 0;
    while (golden[same] && golden[same] == o.lines[same])
        same++;
    const size_t from = same > 60 ? same - 60 : 0;
    ck_assert_msg(golden[same] == o.lines[same],
                  "%s: at byte %zu\nexpected ...%.120s\nfound ...%.120s", name, same, golden + from,
                  o.lines + from);
    vocab_release(&o);
    free(json);
    free(config);
    free(golden);
}

START_TEST(sentencepiece_tokenizer_is_as_sentencepiece_has_it)
{
    check_golden("demo", DEMO, 2048);
}
END_TEST

START_TEST(byte_level_tokenizer_is_as_the_converter_has_it)
{
    check_golden("bytes", BYTES, 606);
}
END_TEST

/* ---- vocabulary and special ids ---- */

START_TEST(ids_without_token_are_unused)
{
    char *json = vocab_slurp(mq_test_source(DEMO));
    struct vocab_outcome o = vocab_export(&(struct vocab_side){.tokenizer = json, .vocab = 2050});
    vocab_expect_line(&o, "tokenizer.ggml.token_type i32[2050]");
    ck_assert(strstr(o.lines, " \"[PAD2048]\" \"[PAD2049]\"\n"));
    ck_assert(strstr(o.lines, " 1 5 5\n"));
    ck_assert(strstr(o.lines, " -10000 -10000\n"));
    vocab_release(&o);
    o = vocab_export(&(struct vocab_side){.tokenizer = json, .vocab = 2047});
    ck_assert_int_eq(o.status, MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(o.err.message,
                                 " has the id 2047, and the model a vocabulary of 2047: only added "
                                 "tokens can be left out"));
    vocab_release(&o);
    free(json);
}
END_TEST

START_TEST(special_ids_have_several_sources)
{
    char *json = vocab_slurp(mq_test_source(DEMO));
    struct vocab_outcome o = vocab_export(&(struct vocab_side){.tokenizer = json, .vocab = 2048});
    vocab_expect_line(&o, "tokenizer.ggml.bos_token_id u32 1"); /* of the template */
    vocab_expect_line(&o, "tokenizer.ggml.add_bos_token bool true");
    vocab_expect_line(&o, "tokenizer.ggml.unknown_token_id u32 0"); /* of the model */
    vocab_expect_no_key(&o, "eos");
    vocab_expect_no_key(&o, "padding");
    vocab_expect_no_key(&o, "add_space_prefix");
    vocab_expect_no_key(&o, "chat_template");
    vocab_release(&o);
    o = vocab_export(
        &(struct vocab_side){.tokenizer = json,
                             .vocab = 2048,
                             .config = "{\"eos_token_id\":[2,7],\"pad_token_id\":5000}",
                             .generation_config = "{\"eos_token_id\":9,\"pad_token_id\":8}",
                             .chat_template = "of a file"});
    vocab_expect_line(&o, "tokenizer.ggml.eos_token_id u32 2");
    vocab_expect_line(&o, "tokenizer.ggml.padding_token_id u32 8"); /* 5000 is out of range */
    vocab_expect_line(&o, "tokenizer.chat_template string \"of a file\"");
    vocab_release(&o);
    o = vocab_export(&(struct vocab_side){
        .tokenizer = json,
        .vocab = 2048,
        .tokenizer_config = "{\"bos_token\":\"</s>\",\"add_eos_token\":true,"
                            "\"eos_token\":{\"content\":\"</s>\"},\"chat_template\":\"one\"}",
        .config = "{\"eos_token_id\":1}",
        .chat_template = "of a file"});
    vocab_expect_line(&o, "tokenizer.ggml.bos_token_id u32 2");
    vocab_expect_line(&o, "tokenizer.ggml.eos_token_id u32 2");
    vocab_expect_line(&o, "tokenizer.ggml.add_bos_token bool false");
    vocab_expect_line(&o, "tokenizer.ggml.add_eos_token bool false");
    vocab_expect_line(&o, "tokenizer.chat_template string \"of a file\""); /* as Transformers 5 */
    ck_assert_str_eq(o.warning,
                     "llama.cpp will tokenize differently: the template's tokens in front of a "
                     "text are other than one BOS. eos_token_id is 2, '</s>', as "
                     "tokenizer_config.json says; config.json says 1. add_eos_token is as the "
                     "post-processor of tokenizer.json has it, false, not as "
                     "tokenizer_config.json.");
    vocab_release(&o);
    o = vocab_export(&(struct vocab_side){
        .tokenizer = json,
        .vocab = 2048,
        .tokenizer_config =
            "{\"add_bos_token\":false,\"sep_token\":\"</s>\",\"mask_token\":\"<unk>\"}",
        .config = "{\"pad_token_id\":2048,\"eos_token_id\":[2,3]}"});
    vocab_expect_line(&o, "tokenizer.ggml.add_bos_token bool true");
    vocab_expect_line(&o, "tokenizer.ggml.seperator_token_id u32 2");
    vocab_expect_line(&o, "tokenizer.ggml.mask_token_id u32 0");
    vocab_expect_no_key(&o, "padding");
    ck_assert_str_eq(
        o.warning, "pad_token_id 2048 of config.json is beyond the vocabulary and left out. "
                   "add_bos_token is as the post-processor of tokenizer.json has it, true, not as "
                   "tokenizer_config.json.");
    vocab_release(&o);
    free(json);
}
END_TEST

/* The demo's tokenizer, with a list of added tokens of the test's. */
static char *demo_with(const char *added)
{
    static const char key[] = "\"added_tokens\"";
    char *json = vocab_slurp(mq_test_source(DEMO)), *at = strstr(json, key), *end = strchr(at, ']');
    struct mq_buffer b = {0};
    mq_buffer_append(&b, json, (size_t)(at - json));
    mq_buffer_printf(&b, "%s: [%s%s", key, added, end);
    ck_assert(mq_buffer_ok(&b));
    free(json);
    return b.data;
}

START_TEST(tokens_behind_the_vocabulary_are_left_out)
{
    char *json = demo_with("{\"id\":2048,\"content\":\"<pad>\",\"special\":true}");
    const char *config = "{\"pad_token\":\"<pad>\"}";
    struct vocab_outcome o = vocab_export(
        &(struct vocab_side){.tokenizer = json, .tokenizer_config = config, .vocab = 2048});
    vocab_expect_line(&o, "tokenizer.ggml.token_type i32[2048]");
    vocab_expect_no_key(&o, "padding");
    ck_assert_str_eq(o.warning, "1 added token is left out, since the model's vocabulary ends at "
                                "2048: '<pad>'.");
    vocab_release(&o);
    o = vocab_export(
        &(struct vocab_side){.tokenizer = json, .tokenizer_config = config, .vocab = 2049});
    vocab_expect_line(&o, "tokenizer.ggml.padding_token_id u32 2048");
    ck_assert_ptr_null(o.warning);
    vocab_release(&o);
    free(json);
}
END_TEST

/* Named ones, in files of their own or in tokenizer_config.json. */
START_TEST(chat_templates)
{
    static const struct {
        const char *config, *one, *others, *lines, *warning;
    } cases[] = {
        {"[{\"name\":\"a-b\",\"template\":\"x\"},{\"name\":\"rag\",\"template\":\"y\"}]", NULL,
         NULL,
         "tokenizer.chat_template.a_b string \"x\"\n"
         "tokenizer.chat_template.rag string \"y\"\n"
         "tokenizer.chat_templates string[2] \"a_b\" \"rag\"\n",
         NULL},
        {"{\"default\":\"d\",\"rag\":\"y\"}", NULL, NULL,
         "tokenizer.chat_template string \"d\"\n"
         "tokenizer.chat_template.rag string \"y\"\n"
         "tokenizer.chat_templates string[1] \"rag\"\n",
         NULL},
        {"\"config\"", NULL, "{\"\u00e9\":\"e\",\"_\":\"f\"}",
         "tokenizer.chat_template._ string \"e\"\n"
         "tokenizer.chat_templates string[1] \"_\"\n",
         "Chat template '_' is left out: another one has the name '_'."},
        {"\"config\"", "one", "{\"x\":\"y\"}",
         "tokenizer.chat_template string \"one\"\n"
         "tokenizer.chat_template.x string \"y\"\n"
         "tokenizer.chat_templates string[1] \"x\"\n",
         NULL},
        {"7", NULL, NULL, "tokenizer.ggml.add_bos_token", NULL},
    };
    char *json = vocab_slurp(mq_test_source(DEMO));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[256];
        snprintf(config, sizeof config, "{\"chat_template\":%s}", cases[i].config);
        struct vocab_outcome o =
            vocab_export(&(struct vocab_side){.tokenizer = json,
                                              .vocab = 2048,
                                              .tokenizer_config = config,
                                              .chat_template = cases[i].one,
                                              .chat_templates = cases[i].others});
        ck_assert_msg(o.status == MOEQ_OK, "%s", o.err.message);
        ck_assert_msg(strncmp(o.lines, cases[i].lines, strlen(cases[i].lines)) == 0,
                      "case %zu: %.300s", i, o.lines);
        ck_assert_str_eq(o.warning ? o.warning : "", cases[i].warning ? cases[i].warning : "");
        vocab_release(&o);
    }
    struct vocab_outcome o = vocab_export(
        &(struct vocab_side){.tokenizer = json, .vocab = 2048, .chat_templates = "[]"});
    ck_assert_int_eq(o.status, MOEQ_MALFORMED);
    ck_assert_str_eq(o.err.message, "m: chat templates: are no JSON object");
    free(json);
}
END_TEST

/* ---- no tokenizer ---- */

START_TEST(no_tokenizer_is_an_error)
{
    struct vocab_outcome o = vocab_export(&(struct vocab_side){.vocab = 3});
    ck_assert_int_eq(o.status, MOEQ_NOT_FOUND);
    ck_assert_str_eq(o.err.message, "m: has no tokenizer.json; llama.cpp loads no model "
                                    "without a tokenizer");
}
END_TEST

/* A GGUF file whose tokenizer cannot be read has one all the same. */
START_TEST(an_unreadable_tokenizer_is_said_to_be)
{
    struct mq_view view = {.path = "m", .tokenizer_problem = "its tokenizer is of no kind"};
    struct mq_gguf_writer w = {0};
    const char *warning;
    moeq_error err = {0};
    ck_assert_int_eq(mq_gguf_put_vocab(&w, &view, NULL, &warning, &err), MOEQ_UNSUPPORTED);
    ck_assert_str_eq(err.message, "m: its tokenizer is of no kind; llama.cpp loads no model "
                                  "without a tokenizer");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, sentencepiece_tokenizer_is_as_sentencepiece_has_it);
    tcase_add_test(tests, byte_level_tokenizer_is_as_the_converter_has_it);
    tcase_add_test(tests, ids_without_token_are_unused);
    tcase_add_test(tests, special_ids_have_several_sources);
    tcase_add_test(tests, tokens_behind_the_vocabulary_are_left_out);
    tcase_add_test(tests, chat_templates);
    tcase_add_test(tests, no_tokenizer_is_an_error);
    tcase_add_test(tests, an_unreadable_tokenizer_is_said_to_be);
}

/* ---- real tokenizers ---- */

static const struct {
    const char *name, *kind; /* "llama", or the name of the pattern */
    uint32_t vocab;
    const char *message;
} real[] = {
    {"mixtral-8x7b", "llama", 32000, NULL},
    {"mixtral-8x22b-instruct", "llama", 32768,
     "it also puts a space in front of text that begins with one and of text behind a special "
     "token"},
    {"mistral-v3-legacy", "llama", 32768, NULL},
    {"gemma3", "llama", 262208, NULL},
    {"tekken-nemo", "tekken", 131072, "its pattern 'tekken' tells upper from lower case in ASCII"},
    {"gpt-oss", "gpt-4o", 201088, "its pattern 'gpt-4o' tells upper from lower case in ASCII"},
    {"qwen3", "qwen2", 151936, "it does not bring text into the normalization form NFC"},
    {"llama3", "llama-bpe", 128256, NULL},
    {"deepseek-v3", "deepseek-v3", 129280, NULL},
};

START_TEST(real_tokenizers)
{
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        char path[128], line[256];
        snprintf(path, sizeof path, "tokenizers/%s/tokenizer.json", real[i].name);
        const char *file = mq_test_shared(path);
        if (!file)
            continue;
        char *json = vocab_slurp(file);
        struct vocab_outcome o =
            vocab_export(&(struct vocab_side){.tokenizer = json, .vocab = real[i].vocab});
        const bool is_spm = strcmp(real[i].kind, "llama") == 0;
        ck_assert_msg(o.status == MOEQ_OK, "%s: %s", real[i].name, o.err.message);
        ck_assert_msg(real[i].message ? o.warning && strstr(o.warning, real[i].message)
                                      : !o.warning,
                      "%s: %s", real[i].name, o.warning);
        vocab_expect_line(&o, is_spm ? "tokenizer.ggml.model string \"llama\""
                                     : "tokenizer.ggml.model string \"gpt2\"");
        snprintf(line, sizeof line, "tokenizer.ggml.pre string \"%s\"",
                 is_spm ? "default" : real[i].kind);
        vocab_expect_line(&o, line);
        snprintf(line, sizeof line, "tokenizer.ggml.tokens string[%u]", real[i].vocab);
        vocab_expect_line(&o, line);
        vocab_release(&o);
        free(json);
    }
}
END_TEST

/* A sentencepiece model's pieces: field 1 of the protocol buffer, each with its text (1), score (2)
 * and type (3, default 1), whose numbers are those of GGUF. Prints them as export's lines are. */
static char *read_sentencepiece(const char *path, uint32_t *count)
{
    struct mq_buffer file = {0}, tokens = {0}, scores = {0}, types = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_file_read_all(path, 64u << 20, &file, &err));
    struct gguf_reader r = {(const unsigned char *)file.data,
                            (const unsigned char *)file.data + file.size};
    for (*count = 0; r.at < r.end && gguf_take(&r, 1) == 0x0a; ++*count) {
        size_t size = gguf_take(&r, 1); /* a varint of one or two bytes */
        if (size & 0x80)
            size = (size & 0x7f) | gguf_take(&r, 1) << 7;
        const unsigned char *end = r.at + size;
        unsigned type = MQ_GGUF_TOKEN_NORMAL;
        while (r.at < end) {
            const unsigned tag = (unsigned)gguf_take(&r, 1);
            if (tag == 0x0a) {
                const size_t n = gguf_take(&r, 1);
                mq_buffer_putc(&tokens, ' ');
                mq_buffer_put_json(&tokens, (const char *)r.at, n);
                r.at += n;
            } else if (tag == 0x15) {
                mq_buffer_putc(&scores, ' ');
                gguf_print_value(&r, MQ_GGUF_F32, &scores);
            } else {
                ck_assert_uint_eq(tag, 0x18);
                type = (unsigned)gguf_take(&r, 1);
            }
        }
        mq_buffer_printf(&types, " %u", type);
    }
    struct mq_buffer all = {0};
    mq_buffer_printf(&all, ".scores f32[%u]%s\n", *count, scores.data);
    mq_buffer_printf(&all, "tokenizer.ggml.token_type i32[%u]%s\n", *count, types.data);
    mq_buffer_printf(&all, "tokenizer.ggml.tokens string[%u]%s\n", *count, tokens.data);
    ck_assert(mq_buffer_ok(&all));
    mq_buffer_free(&file);
    mq_buffer_free(&tokens);
    mq_buffer_free(&scores);
    mq_buffer_free(&types);
    return all.data;
}

START_TEST(scores_are_those_of_sentencepiece)
{
    static const char *const models[] = {"tiny", "small"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[128];
        uint32_t vocab;
        snprintf(path, sizeof path, "models/%s/tokenizer.model", models[i]);
        const char *model = mq_test_shared(path);
        if (!model)
            continue;
        char *expected = read_sentencepiece(model, &vocab);
        snprintf(path, sizeof path, "models/%s/tokenizer.json", models[i]);
        char *json = vocab_slurp(mq_test_shared(path));
        struct vocab_outcome o =
            vocab_export(&(struct vocab_side){.tokenizer = json, .vocab = vocab});
        ck_assert_msg(o.status == MOEQ_OK, "%s", o.err.message);
        ck_assert_msg(!o.warning, "%s", o.warning);
        ck_assert_msg(vocab > 2000 && strstr(o.lines, expected), "%s", models[i]);
        vocab_release(&o);
        free(json);
        free(expected);
    }
}
END_TEST

static void add_reference_tests(TCase *tests)
{
    tcase_add_test(tests, real_tokenizers);
    tcase_add_test(tests, scores_are_those_of_sentencepiece);
}

int main(int argc, char **argv)
{
    return mq_test_main_reference(argc, argv, "test_gguf_vocab", add_tests, add_reference_tests);
}

/* test_gguf_vocab_kinds.c: the kinds of tokenizers that GGUF has, on small ones, case by case. */
#include "vocab_export.h"

#include "buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- byte fallback ---- */

/*
 * A tokenizer with byte fallback: <unk> 0, <0x00>... 1 to 256, then `pieces` (JSON members, ids
 * from 257 on). `rest` are members besides the model, `model` further ones of it. To be freed.
 */
static char *spm(const char *pieces, const char *merges, const char *model, const char *rest)
{
    struct mq_buffer b = {0};
    mq_buffer_printf(&b,
                     "{%s,\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,%s\"merges\":[%s],",
                     rest, model, merges);
    mq_buffer_puts(&b, "\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0");
    for (int i = 0; i < 256; i++)
        mq_buffer_printf(&b, ",\"<0x%02X>\":%d", i, i + 1);
    mq_buffer_printf(&b, "%s}}}", pieces);
    ck_assert(mq_buffer_ok(&b));
    return b.data;
}

#define US "\xe2\x96\x81" /* U+2581 */
#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" US "\"}"
#define PREPEND                                                                                 \
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":" \
    "\"" US "\"}," REPLACE "]}"
#define METASPACE(more) \
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" US "\"" more "}"
#define ABC ",\"a\":257,\"b\":258,\"c\":259"

static const struct {
    const char *pieces, *merges, *model, *rest;
    const char *tail;    /* of the scores */
    const char *message; /* of the warning or, without scores, of the error */
} spms[] = {
    /* Ids in the order of merges: -(index). "c" is no merge's, but counts. */
    {ABC ",\"ab\":260,\"abc\":261", "\"a b\",\"ab c\"", "", PREPEND, " -0 -1 -2 -3 -4", NULL},
    /* "bc" is merged first: "ab", out of order, comes directly behind. */
    {ABC ",\"ab\":260,\"bc\":261", "[\"b\",\"c\"],[\"a\",\"b\"]", "", PREPEND, " -2 -5 -4", NULL},
    {ABC ",\"ab\":260,\"abc\":261,\"bc\":262", "\"a b\",\"ab c\",\"b c\"", "", PREPEND,
     " -2 -3 -4 -5",
     "it joins any two pieces that make a piece, which no merge does for 1 of them, such as 'abc'"},
    {ABC ",\"ab\":260,\"abc\":261,\"bc\":262", "\"a b\",\"ab c\",\"b c\",\"a bc\"", "", PREPEND,
     " -2 -3 -4 -5", "it gives all merges of a piece one rank, and those of 'abc' are apart"},
    /* Runs of one character are excused. */
    {ABC ",\"aa\":260,\"aaa\":261,\"bc\":262", "\"a a\",\"aa a\",\"b c\",\"a aa\"", "", PREPEND,
     " -2 -3 -4 -5", NULL},
    /* A piece of a character that is none. */
    {",\"a\":257,\"ax\":258", "", "", PREPEND, " -0 -1",
     "it joins any two pieces that make a piece, which no merge does for 1 of them, such as 'ax'"},
    {ABC, "", "\"ignore_merges\":true,", PREPEND, " -0 -1 -2",
     "it builds pieces by merges only (ignore_merges)"},
    {ABC, "", "", METASPACE(""), " -0 -1 -2",
     "it also puts a space in front of text that begins with one"},
    {ABC, "", "", METASPACE(",\"prepend_scheme\":\"first\",\"split\":false"), " -0 -1 -2",
     "it also puts a space in front of text that begins with one and of text behind a special "
     "token"},
    {ABC, "", "", METASPACE(",\"prepend_scheme\":\"never\""), " -0 -1 -2", NULL},
    {ABC ",\"" US "\":260,\"a" US "\":261", "[\"a\",\"" US "\"]", "",
     METASPACE(",\"add_prefix_space\":false"), " -2 -3 -4",
     "it also builds pieces with a space inside, such as 'a" US "'"},
    /* Words are cut between spaces, too. */
    {ABC ",\"" US "\":260,\"" US US "\":261", "[\"" US "\",\"" US "\"]", "",
     METASPACE(",\"prepend_scheme\":\"never\",\"split\":true"), " -2 -3 -4",
     "it also builds pieces with a space inside, such as '" US US "'"},
    {ABC, "", "",
     "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"}," REPLACE "]},"
     "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"}}",
     " -0 -1 -2", "it does not bring text into the normalization form NFKC"},
    {ABC, "", "",
     PREPEND ",\"added_tokens\":[{\"id\":259,\"content\":\"c\",\"normalized\":true,"
             "\"special\":false,\"rstrip\":true}]",
     " -0 -1 -1000",
     "1 added tokens take the space around them or count only as whole words, which it does not "
     "know; it finds added tokens anywhere, not only behind a space"},
    {ABC, "", "",
     PREPEND ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
             "\"id\":\"a\"}},{\"SpecialToken\":{\"id\":\"b\"}},{\"Sequence\":{\"id\":\"A\"}}],"
             "\"special_tokens\":{\"a\":{\"ids\":[257]},\"b\":{\"ids\":[258]}}}",
     " -0 -1 -2", "the template's tokens in front of a text are other than one BOS"},
    /* Errors. */
    {ABC, "", "", "\"x\":0", NULL, "spaces 'unchanged' cannot be expressed in a GGUF file"},
    {ABC, "", "", "\"normalizer\":{\"type\":\"Lowercase\"}", NULL,
     "normalizer 'Lowercase' cannot be expressed in a GGUF file"},
    {ABC, "", "", PREPEND ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}", NULL,
     "pre-tokenizer 'ByteLevel' cannot be expressed in a GGUF file"},
    {ABC, "", "", PREPEND ",\"post_processor\":{\"type\":\"BertProcessing\"}", NULL,
     "post-processor 'BertProcessing' cannot be expressed in a GGUF file"},
    {ABC, "\"a b\"", "", PREPEND, NULL,
     "a merge to 'ab', of which a piece is not in the vocabulary"},
    {ABC, "\"ab\"", "", PREPEND, NULL, "a merge that is not a pair of pieces"},
    {ABC, "[\"a\",\"b\",\"c\"]", "", PREPEND, NULL, "a merge that is not a pair of pieces"},
    {",\"a\":257,\"b\":257", "", "", PREPEND, NULL, "tokens 'a' and 'b' have the same id 257"},
    {",\"a\":257.5", "", "", PREPEND, NULL, "token 'a' has no id that is a whole number"},
    {",\"a\":4000000000", "", "", PREPEND, NULL,
     "token 'a' has the id 4000000000, and the model a vocabulary of 258: only added tokens can be "
     "left out"},
    {",\" \":257,\"" US "\":258", "", "",
     PREPEND ",\"added_tokens\":[{\"id\":258,\"content\":\"" US "\"}]", NULL,
     "two tokens would have the text ' ' in a GGUF file"},
    {ABC, "", "", PREPEND ",\"added_tokens\":[{\"id\":259}]", NULL,
     "added token: 'content' is missing or no text"},
    {ABC, "", "", PREPEND ",\"comment\":\"\\u0000\"", NULL,
     "JSON at byte 156: found the character U+0000 in a text"},
};

/* One more than the largest id of a case of `spms`: 257 and one for each colon. */
static uint32_t vocab_of(const char *pieces)
{
    uint32_t n = 257;
    for (const char *at = pieces; (at = strstr(at, "\":")); at++)
        n++;
    return n;
}

START_TEST(small_sentencepiece_like_tokenizers)
{
    for (size_t i = 0; i < sizeof spms / sizeof *spms; i++) {
        char *json = spm(spms[i].pieces, spms[i].merges, spms[i].model, spms[i].rest);
        struct vocab_outcome o = vocab_export(
            &(struct vocab_side){.tokenizer = json, .vocab = vocab_of(spms[i].pieces)});
        char expected[512];
        if (spms[i].tail) {
            ck_assert_msg(o.status == MOEQ_OK, "case %zu: %s", i, o.err.message);
            snprintf(expected, sizeof expected, "llama.cpp will tokenize differently: %s.",
                     spms[i].message ? spms[i].message : "");
            ck_assert_msg(!spms[i].message == !o.warning, "case %zu: %s", i, o.warning);
            if (o.warning)
                ck_assert_str_eq(o.warning, expected);
            const char *scores = strstr(o.lines, ".scores ");
            const size_t length = strcspn(scores, "\n"), n = strlen(spms[i].tail);
            ck_assert_msg(memcmp(scores + length - n, spms[i].tail, n) == 0, "case %zu: ...%.*s", i,
                          40, scores + length - 40);
        } else {
            ck_assert_msg(o.status != MOEQ_OK, "case %zu", i);
            snprintf(expected, sizeof expected, "m: tokenizer.json: %s", spms[i].message);
            ck_assert_str_eq(o.err.message, expected);
        }
        vocab_release(&o);
        free(json);
    }
}
END_TEST

START_TEST(a_missing_byte_is_an_error)
{
    char *json = spm(ABC, "", "", PREPEND);
    memcpy(strstr(json, "<0x41>"), "<0xzz>", 6);
    struct vocab_outcome o = vocab_export(&(struct vocab_side){.tokenizer = json, .vocab = 260});
    ck_assert_int_eq(o.status, MOEQ_UNSUPPORTED);
    ck_assert_str_eq(o.err.message, "m: tokenizer.json: the piece <0x41> is missing, which a GGUF "
                                    "file of this kind needs");
    free(json);
}
END_TEST

/* ---- byte level ---- */

#define BPE_OF(vocab, merges, pre, more)                                       \
    "{\"pre_tokenizer\":" pre ",\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab \
    "},\"merges\":[" merges "]" more
#define MERGED "\"#version: 0.2\",\"a b\""
#define BPE(pre, more) BPE_OF("\"a\":0,\"b\":1,\"ab\":2", MERGED, pre, more)
#define UNREACHABLE(pre, more) BPE_OF("\"a\":0,\"b\":1,\"ab\":2", "", pre, more)
#define BYTE_LEVEL(more) "{\"type\":\"ByteLevel\",\"add_prefix_space\":false" more "}"
#define SPLIT(regex, behavior, invert)                                                   \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"" behavior \
    "\",\"invert\":" invert "}"
#define PAIR(a, b) "{\"type\":\"Sequence\",\"pretokenizers\":[" a "," b "]}"
#define QWEN                                                                                  \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s" \
    "\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define NO_REGEX ",\"use_regex\":false"
#define LLAMA                                                                            \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}" \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define DIGITS "{\"type\":\"Digits\",\"individual_digits\":true}"

static const struct {
    const char *json, *pre; /* NULL: an error */
    const char *message;
} bpes[] = {
    {BPE(BYTE_LEVEL(""), "}}"), "gpt-2", NULL},
    {BPE(PAIR(SPLIT(QWEN, "Isolated", "false"), BYTE_LEVEL(NO_REGEX)), "}}"), "qwen2", NULL},
    {BPE(PAIR(SPLIT(QWEN, "Removed", "true"), BYTE_LEVEL(NO_REGEX)), "}}"), "qwen2", NULL},
    {BPE("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}",
         "},\"normalizer\":{\"type\":\"NFC\"}}"),
     "gpt-2",
     "llama.cpp will tokenize differently: it does not bring text into the normalization form NFC; "
     "it puts no space in front of a text."},
    {BPE(PAIR(DIGITS, BYTE_LEVEL("")), "}}"), "smollm", NULL},
    /* ignore_merges and none: the same where merges make every piece. */
    {BPE(PAIR(SPLIT(LLAMA, "Isolated", "false"), BYTE_LEVEL(NO_REGEX)),
         ",\"ignore_merges\":true}}"),
     "llama-bpe", NULL},
    {BPE(PAIR(SPLIT(LLAMA, "Isolated", "false"), BYTE_LEVEL(NO_REGEX)), "}}"), "llama-bpe", NULL},
    {BPE(PAIR(SPLIT(QWEN, "Isolated", "false"), BYTE_LEVEL(NO_REGEX)), ",\"ignore_merges\":true}}"),
     "qwen2", NULL},
    {UNREACHABLE(PAIR(SPLIT(LLAMA, "Isolated", "false"), BYTE_LEVEL(NO_REGEX)),
                 ",\"ignore_merges\":true}}"),
     "llama-bpe", NULL},
    {UNREACHABLE(PAIR(SPLIT(LLAMA, "Isolated", "false"), BYTE_LEVEL(NO_REGEX)), "}}"), "smaug-bpe",
     "tokenizer.json does not set ignore_merges, and 'llama-bpe' in a GGUF file sets it, so that "
     "other ids would come of 1 texts such as \"ab\": written as 'smaug-bpe', the same pattern "
     "without it."},
    {UNREACHABLE(PAIR(SPLIT(QWEN, "Isolated", "false"), BYTE_LEVEL(NO_REGEX)),
                 ",\"ignore_merges\":true}}"),
     "qwen2",
     "llama.cpp will tokenize differently: its 'qwen2' does not set ignore_merges, tokenizer.json "
     "does: other ids come of 1 texts such as \"ab\"."},
    /* Written otherwise, with the same ids: of rows that will do, the most alike. */
    {BPE(PAIR(DIGITS "," SPLIT("\xe2\x96\x81+", "Isolated", "false"), BYTE_LEVEL("")), "}}"),
     "smollm",
     "No pre-tokenizer of llama.cpp's is written like tokenizer.json's; 'smollm' gives the same "
     "ids for 28 probes and pieces of the vocabulary."},
    {BPE_OF("\"a\":0,\"!\":1,\"a!\":2", "\"a !\"", BYTE_LEVEL(NO_REGEX), "}}"), NULL,
     "GGUF has no name for the pre-tokenizer {\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
     "\"use_regex\":false}: none of llama.cpp's gives the same ids; the nearest, 'llama-bpe', "
     "gives "
     "others for 1 of 25 texts, such as \"def f(a, b=[1,2]):\\n    return {'k': a**2\". (A moeq "
     "file keeps the tokenizer as it is.)"},
    {BPE("null", "}}"), NULL,
     "model 'BPE with neither byte_fallback nor ByteLevel' cannot be expressed in a GGUF file"},
    {BPE(BYTE_LEVEL(""), "},\"normalizer\":{\"type\":\"Lowercase\"}}"), NULL,
     "normalizer 'Lowercase' cannot be expressed in a GGUF file"},
    {"{\"model\":{\"type\":\"Unigram\"}}", NULL,
     "model 'Unigram' cannot be expressed in a GGUF file"},
    {"{}", NULL, "the model is missing, or its 'type' is no text"},
    {"{\"model\":{\"type\":\"BPE\"}}", NULL, "'vocab' is missing or no object"},
    {"{", NULL, "JSON at byte 1: found the end inside an array or object"},
};

START_TEST(small_byte_level_tokenizers)
{
    for (size_t i = 0; i < sizeof bpes / sizeof *bpes; i++) {
        struct vocab_outcome o =
            vocab_export(&(struct vocab_side){.tokenizer = bpes[i].json, .vocab = 3});
        char expected[512];
        if (bpes[i].pre) {
            snprintf(expected, sizeof expected, "tokenizer.ggml.pre string \"%s\"", bpes[i].pre);
            vocab_expect_line(&o, expected);
            vocab_expect_line(&o, strstr(bpes[i].json, "a b")
                                      ? "tokenizer.ggml.merges string[1] \"a b\""
                                      : "tokenizer.ggml.merges string[0]");
            vocab_expect_line(&o, "tokenizer.ggml.add_bos_token bool false");
            ck_assert_msg(!bpes[i].message == !o.warning, "case %zu: %s", i, o.warning);
            if (o.warning)
                ck_assert_str_eq(o.warning, bpes[i].message);
        } else {
            ck_assert_msg(o.status != MOEQ_OK, "case %zu", i);
            snprintf(expected, sizeof expected, "m: tokenizer.json: %s", bpes[i].message);
            ck_assert_str_eq(o.err.message, expected);
        }
        vocab_release(&o);
    }
}
END_TEST

/* What is put around a text, the tokenizer says, not tokenizer_config.json. */
START_TEST(what_a_byte_level_tokenizer_puts_around)
{
    static const char config[] = "{\"add_prefix_space\":true,\"add_bos_token\":true,"
                                 "\"bos_token\":\"a\",\"add_eos_token\":false}";
    struct vocab_outcome o = vocab_export(
        &(struct vocab_side){.tokenizer = bpes[0].json, .tokenizer_config = config, .vocab = 3});
    vocab_expect_no_key(&o, "add_space_prefix");
    vocab_expect_line(&o, "tokenizer.ggml.add_bos_token bool false");
    vocab_expect_line(&o, "tokenizer.ggml.add_eos_token bool false");
    ck_assert_str_eq(o.warning, "add_bos_token is as the post-processor of tokenizer.json has it, "
                                "false, not as tokenizer_config.json.");
    vocab_release(&o);
    o = vocab_export(&(struct vocab_side){
        .tokenizer = BPE("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "}}"),
        .tokenizer_config = "{\"add_prefix_space\":false}",
        .vocab = 3});
    vocab_expect_line(&o, "tokenizer.ggml.add_space_prefix bool true");
    vocab_release(&o);
}
END_TEST

START_TEST(spaces_in_merges_and_names_that_look_special)
{
    struct vocab_outcome o = vocab_export(&(struct vocab_side){
        .tokenizer = "{\"pre_tokenizer\":" BYTE_LEVEL(
            "") ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},"
                "\"merges\":[[\"a b\",\" \"]]},\"added_tokens\":[{\"id\":1,\"content\":\"<|x|>\","
                "\"special\":false},{\"id\":2,\"content\":\"y" US "\",\"special\":false},{\"id\":3,"
                "\"content\":\"z\",\"special\":true},{\"id\":4,\"content\":\"<|>\"}]}",
        .vocab = 5});
    vocab_expect_line(&o, "tokenizer.ggml.merges string[1] \"a\xc4\xa0"
                          "b \xc4\xa0\"");
    vocab_expect_line(&o, "tokenizer.ggml.tokens string[5] \"a\" \"<|x|>\" \"y \" \"z\" \"<|>\"");
    vocab_expect_line(&o, "tokenizer.ggml.token_type i32[5] 1 3 4 3 3");
    vocab_release(&o);
}
END_TEST

/* The chains of published models, over a vocabulary whose pieces cross all their cuts. */
START_TEST(published_chains_have_names)
{
    static const struct {
        const char *chain, *pre; /* NULL: none, as the vocabulary was not made with it */
    } cases[] = {
        {"smollm", "smollm"},
        {"llama3", "llama-bpe"},
        {"deepseek_llm", "deepseek-llm"},
        {"deepseek_coder", "deepseek-coder"},
        {"viking", "viking"},
        {"superbpe", "superbpe"},
        {"bailing", "bailingmoe"},
        {"falcon", NULL},
        {"whitespace", NULL},
        {"strings", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128], line[64];
        snprintf(path, sizeof path, "tests/tokenizer/data/chains/%s.json", cases[i].chain);
        char *json = vocab_slurp(mq_test_source(path));
        struct vocab_outcome o =
            vocab_export(&(struct vocab_side){.tokenizer = json, .vocab = 380});
        if (cases[i].pre) {
            snprintf(line, sizeof line, "tokenizer.ggml.pre string \"%s\"", cases[i].pre);
            vocab_expect_line(&o, line);
            ck_assert_msg(!o.warning, "%s: %s", cases[i].chain, o.warning);
        } else {
            ck_assert_int_eq(o.status, MOEQ_UNSUPPORTED);
            ck_assert_ptr_nonnull(
                strstr(o.err.message, "GGUF has no name for the pre-tokenizer {"));
        }
        vocab_release(&o);
        free(json);
    }
}
END_TEST

/* Ids of added tokens are those of the library `tokenizers`. */
START_TEST(added_tokens_are_renumbered)
{
    struct vocab_outcome o = vocab_export(&(struct vocab_side){
        .tokenizer =
            BPE(BYTE_LEVEL(""),
                "},\"added_tokens\":[{\"id\":4,\"content\":\"x\"},{\"id\":3,\"content\":\"y\","
                "\"special\":true},{\"id\":9,\"content\":\"x\"},{\"id\":8,\"content\":\"b\"}]}"),
        .vocab = 5});
    vocab_expect_line(&o, "tokenizer.ggml.tokens string[5] \"a\" \"b\" \"ab\" \"x\" \"y\"");
    vocab_expect_line(&o, "tokenizer.ggml.token_type i32[5] 1 4 1 4 3");
    ck_assert_str_eq(o.warning,
                     "Added token 'x' has the id 4 in tokenizer.json and is written with "
                     "3, the one that the library tokenizers gives it.");
    vocab_release(&o);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, small_sentencepiece_like_tokenizers);
    tcase_add_test(tests, a_missing_byte_is_an_error);
    tcase_add_test(tests, small_byte_level_tokenizers);
    tcase_add_test(tests, what_a_byte_level_tokenizer_puts_around);
    tcase_add_test(tests, spaces_in_merges_and_names_that_look_special);
    tcase_add_test(tests, published_chains_have_names);
    tcase_add_test(tests, added_tokens_are_renumbered);
}

int main(void)
{
    return mq_test_main("test_gguf_vocab_kinds", add_tests);
}

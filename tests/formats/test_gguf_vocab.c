/*
 * test_gguf_vocab.c: a tokenizer.json as the metadata of a GGUF file.
 *
 * What is written is parsed again, by a parser of its own, into lines: key, type, value; those of
 * make_gguf_vocab_goldens.py have the same form, and are made without moeq.
 */
#include "file.h"
#include "gguf_lines.h"
#include "gguf_vocab_export.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEMO "demo/model/tokenizer.json"
#define BYTES "tests/tokenizer/data/byte_level.json"
#define DATA "tests/formats/data/"

/* ---- running the export ---- */

/* Side files as texts; NULL: not there. */
struct side {
    const char *tokenizer, *tokenizer_config, *config, *generation_config, *chat_template;
    const char *chat_templates;
    uint32_t vocab;
};

struct outcome {
    moeq_status status;
    moeq_error err;
    char *lines;   /* NULL on failure */
    char *warning; /* NULL if none */
};

static struct mq_buffer borrow(const char *text)
{
    return (struct mq_buffer){.data = (char *)(uintptr_t)text, .size = text ? strlen(text) : 0};
}

static struct outcome export(const struct side *side)
{
    struct mq_view view = {.path = "m"};
    view.tokenizer_json = borrow(side->tokenizer);
    view.tokenizer_config_json = borrow(side->tokenizer_config);
    view.config_json = borrow(side->config);
    view.generation_config_json = borrow(side->generation_config);
    view.chat_template = borrow(side->chat_template);
    view.chat_templates = borrow(side->chat_templates);
    view.hparams.vocab = side->vocab;
    view.hparams.bos = view.hparams.eos = -1;
    struct mq_gguf_writer w = {.architecture = "llama"};
    struct mq_arena *arena = mq_arena_create();
    struct outcome o = {0};
    const char *warning;
    o.status = mq_gguf_put_vocab(&w, &view, arena, &warning, &o.err);
    ck_assert_int_eq(o.status, o.err.status);
    if (o.status == MOEQ_OK) {
        o.lines = gguf_lines(&w);
        o.warning = warning ? strdup(warning) : NULL;
    }
    mq_gguf_writer_free(&w);
    mq_arena_destroy(arena);
    return o;
}

static void release(struct outcome *o)
{
    free(o->lines);
    free(o->warning);
}

/* A file of the source tree as a text, to be freed. */
static char *slurp(const char *path)
{
    struct mq_buffer text = {0};
    moeq_error err = {0};
    ck_assert_msg(mq_file_read_all(path, 64u << 20, &text, &err) == MOEQ_OK, "%s", err.message);
    mq_buffer_putc(&text, 0);
    ck_assert(mq_buffer_ok(&text));
    return text.data;
}

/* Asserts that a line is there; "key type" alone asserts that the key is. */
static void expect_line(const struct outcome *o, const char *line)
{
    ck_assert_msg(o->status == MOEQ_OK, "%s", o->err.message);
    const size_t n = strlen(line);
    for (const char *at = o->lines; (at = strstr(at, line)); at++)
        if ((at == o->lines || at[-1] == '\n') && (at[n] == '\n' || at[n] == ' '))
            return;
    ck_abort_msg("no line '%s' in:\n%.3000s", line, o->lines);
}

static void expect_no_key(const struct outcome *o, const char *key)
{
    ck_assert_msg(o->status == MOEQ_OK, "%s", o->err.message);
    ck_assert_msg(!strstr(o->lines, key), "'%s' is there", key);
}

/* ---- goldens ---- */

static void check_golden(const char *name, const char *tokenizer, uint32_t vocab)
{
    char config_path[64], golden_path[64];
    snprintf(config_path, sizeof config_path, DATA "gguf_vocab_%s_config.json", name);
    snprintf(golden_path, sizeof golden_path, DATA "gguf_vocab_%s.txt", name);
    char *json = slurp(mq_test_source(tokenizer)), *config = slurp(mq_test_source(config_path));
    char *golden = slurp(mq_test_source(golden_path));
    struct outcome o =
        export(&(struct side){.tokenizer = json, .tokenizer_config = config, .vocab = vocab});
    ck_assert_msg(o.status == MOEQ_OK, "%s", o.err.message);
    ck_assert_msg(!o.warning, "%s", o.warning);
    size_t same = 0;
    while (golden[same] && golden[same] == o.lines[same])
        same++;
    const size_t from = same > 60 ? same - 60 : 0;
    ck_assert_msg(golden[same] == o.lines[same],
                  "%s: at byte %zu\nexpected ...%.120s\nfound ...%.120s", name, same, golden + from,
                  o.lines + from);
    release(&o);
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
    char *json = slurp(mq_test_source(DEMO));
    struct outcome o = export(&(struct side){.tokenizer = json, .vocab = 2050});
    expect_line(&o, "tokenizer.ggml.token_type i32[2050]");
    ck_assert(strstr(o.lines, " \"[PAD2048]\" \"[PAD2049]\"\n"));
    ck_assert(strstr(o.lines, " 1 5 5\n"));
    ck_assert(strstr(o.lines, " -10000 -10000\n"));
    release(&o);
    o = export(&(struct side){.tokenizer = json, .vocab = 2047});
    ck_assert_int_eq(o.status, MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(o.err.message,
                                 " has the id 2047, and the model a vocabulary of 2047: only added "
                                 "tokens can be left out"));
    release(&o);
    free(json);
}
END_TEST

START_TEST(special_ids_have_several_sources)
{
    char *json = slurp(mq_test_source(DEMO));
    struct outcome o = export(&(struct side){.tokenizer = json, .vocab = 2048});
    expect_line(&o, "tokenizer.ggml.bos_token_id u32 1"); /* of the template */
    expect_line(&o, "tokenizer.ggml.add_bos_token bool true");
    expect_line(&o, "tokenizer.ggml.unknown_token_id u32 0"); /* of the model */
    expect_no_key(&o, "eos");
    expect_no_key(&o, "padding");
    expect_no_key(&o, "add_space_prefix");
    expect_no_key(&o, "chat_template");
    release(&o);
    o = export(&(struct side){.tokenizer = json,
                              .vocab = 2048,
                              .config = "{\"eos_token_id\":[2,7],\"pad_token_id\":5000}",
                              .generation_config = "{\"eos_token_id\":9,\"pad_token_id\":8}",
                              .chat_template = "of a file"});
    expect_line(&o, "tokenizer.ggml.eos_token_id u32 2");
    expect_line(&o, "tokenizer.ggml.padding_token_id u32 8"); /* 5000 is out of range */
    expect_line(&o, "tokenizer.chat_template string \"of a file\"");
    release(&o);
    o = export(&(struct side){.tokenizer = json,
                              .vocab = 2048,
                              .tokenizer_config =
                                  "{\"bos_token\":\"</s>\",\"add_eos_token\":true,"
                                  "\"eos_token\":{\"content\":\"</s>\"},\"chat_template\":\"one\"}",
                              .config = "{\"eos_token_id\":1}",
                              .chat_template = "of a file"});
    expect_line(&o, "tokenizer.ggml.bos_token_id u32 2");
    expect_line(&o, "tokenizer.ggml.eos_token_id u32 2");
    expect_line(&o, "tokenizer.ggml.add_bos_token bool false");
    expect_line(&o, "tokenizer.ggml.add_eos_token bool false");
    expect_line(&o, "tokenizer.chat_template string \"of a file\""); /* as Transformers 5 */
    ck_assert_str_eq(o.warning,
                     "llama.cpp will tokenize differently: the template's tokens in front of a "
                     "text are other than one BOS. eos_token_id is 2, '</s>', as "
                     "tokenizer_config.json says; config.json says 1. add_eos_token is as the "
                     "post-processor of tokenizer.json has it, false, not as "
                     "tokenizer_config.json.");
    release(&o);
    o = export(&(struct side){
        .tokenizer = json,
        .vocab = 2048,
        .tokenizer_config =
            "{\"add_bos_token\":false,\"sep_token\":\"</s>\",\"mask_token\":\"<unk>\"}",
        .config = "{\"pad_token_id\":2048,\"eos_token_id\":[2,3]}"});
    expect_line(&o, "tokenizer.ggml.add_bos_token bool true");
    expect_line(&o, "tokenizer.ggml.seperator_token_id u32 2");
    expect_line(&o, "tokenizer.ggml.mask_token_id u32 0");
    expect_no_key(&o, "padding");
    ck_assert_str_eq(
        o.warning, "pad_token_id 2048 of config.json is beyond the vocabulary and left out. "
                   "add_bos_token is as the post-processor of tokenizer.json has it, true, not as "
                   "tokenizer_config.json.");
    release(&o);
    free(json);
}
END_TEST

/* The demo's tokenizer, with a list of added tokens of the test's. */
static char *demo_with(const char *added)
{
    static const char key[] = "\"added_tokens\"";
    char *json = slurp(mq_test_source(DEMO)), *at = strstr(json, key), *end = strchr(at, ']');
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
    struct outcome o =
        export(&(struct side){.tokenizer = json, .tokenizer_config = config, .vocab = 2048});
    expect_line(&o, "tokenizer.ggml.token_type i32[2048]");
    expect_no_key(&o, "padding");
    ck_assert_str_eq(o.warning, "1 added token is left out, since the model's vocabulary ends at "
                                "2048: '<pad>'.");
    release(&o);
    o = export(&(struct side){.tokenizer = json, .tokenizer_config = config, .vocab = 2049});
    expect_line(&o, "tokenizer.ggml.padding_token_id u32 2048");
    ck_assert_ptr_null(o.warning);
    release(&o);
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
    char *json = slurp(mq_test_source(DEMO));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[256];
        snprintf(config, sizeof config, "{\"chat_template\":%s}", cases[i].config);
        struct outcome o = export(&(struct side){.tokenizer = json,
                                                 .vocab = 2048,
                                                 .tokenizer_config = config,
                                                 .chat_template = cases[i].one,
                                                 .chat_templates = cases[i].others});
        ck_assert_msg(o.status == MOEQ_OK, "%s", o.err.message);
        ck_assert_msg(strncmp(o.lines, cases[i].lines, strlen(cases[i].lines)) == 0,
                      "case %zu: %.300s", i, o.lines);
        ck_assert_str_eq(o.warning ? o.warning : "", cases[i].warning ? cases[i].warning : "");
        release(&o);
    }
    struct outcome o =
        export(&(struct side){.tokenizer = json, .vocab = 2048, .chat_templates = "[]"});
    ck_assert_int_eq(o.status, MOEQ_MALFORMED);
    ck_assert_str_eq(o.err.message, "m: chat templates: are no JSON object");
    free(json);
}
END_TEST

/* ---- small tokenizers ---- */

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
     "JSON at byte 156: the character U+0000 in a text"},
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
        struct outcome o =
            export(&(struct side){.tokenizer = json, .vocab = vocab_of(spms[i].pieces)});
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
        release(&o);
        free(json);
    }
}
END_TEST

START_TEST(a_missing_byte_is_an_error)
{
    char *json = spm(ABC, "", "", PREPEND);
    memcpy(strstr(json, "<0x41>"), "<0xzz>", 6);
    struct outcome o = export(&(struct side){.tokenizer = json, .vocab = 260});
    ck_assert_int_eq(o.status, MOEQ_UNSUPPORTED);
    ck_assert_str_eq(o.err.message, "m: tokenizer.json: the piece <0x41> is missing, which a GGUF "
                                    "file of this kind needs");
    free(json);
}
END_TEST

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
        struct outcome o = export(&(struct side){.tokenizer = bpes[i].json, .vocab = 3});
        char expected[512];
        if (bpes[i].pre) {
            snprintf(expected, sizeof expected, "tokenizer.ggml.pre string \"%s\"", bpes[i].pre);
            expect_line(&o, expected);
            expect_line(&o, strstr(bpes[i].json, "a b") ? "tokenizer.ggml.merges string[1] \"a b\""
                                                        : "tokenizer.ggml.merges string[0]");
            expect_line(&o, "tokenizer.ggml.add_bos_token bool false");
            ck_assert_msg(!bpes[i].message == !o.warning, "case %zu: %s", i, o.warning);
            if (o.warning)
                ck_assert_str_eq(o.warning, bpes[i].message);
        } else {
            ck_assert_msg(o.status != MOEQ_OK, "case %zu", i);
            snprintf(expected, sizeof expected, "m: tokenizer.json: %s", bpes[i].message);
            ck_assert_str_eq(o.err.message, expected);
        }
        release(&o);
    }
}
END_TEST

/* What is put around a text, the tokenizer says, not tokenizer_config.json. */
START_TEST(what_a_byte_level_tokenizer_puts_around)
{
    static const char config[] = "{\"add_prefix_space\":true,\"add_bos_token\":true,"
                                 "\"bos_token\":\"a\",\"add_eos_token\":false}";
    struct outcome o = export(
        &(struct side){.tokenizer = bpes[0].json, .tokenizer_config = config, .vocab = 3});
    expect_no_key(&o, "add_space_prefix");
    expect_line(&o, "tokenizer.ggml.add_bos_token bool false");
    expect_line(&o, "tokenizer.ggml.add_eos_token bool false");
    ck_assert_str_eq(o.warning, "add_bos_token is as the post-processor of tokenizer.json has it, "
                                "false, not as tokenizer_config.json.");
    release(&o);
    o = export(&(struct side){
        .tokenizer = BPE("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "}}"),
        .tokenizer_config = "{\"add_prefix_space\":false}",
        .vocab = 3});
    expect_line(&o, "tokenizer.ggml.add_space_prefix bool true");
    release(&o);
}
END_TEST

START_TEST(spaces_in_merges_and_names_that_look_special)
{
    struct outcome o = export(&(struct side){
        .tokenizer = "{\"pre_tokenizer\":" BYTE_LEVEL(
            "") ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},"
                "\"merges\":[[\"a b\",\" \"]]},\"added_tokens\":[{\"id\":1,\"content\":\"<|x|>\","
                "\"special\":false},{\"id\":2,\"content\":\"y" US "\",\"special\":false},{\"id\":3,"
                "\"content\":\"z\",\"special\":true},{\"id\":4,\"content\":\"<|>\"}]}",
        .vocab = 5});
    expect_line(&o, "tokenizer.ggml.merges string[1] \"a\xc4\xa0"
                    "b \xc4\xa0\"");
    expect_line(&o, "tokenizer.ggml.tokens string[5] \"a\" \"<|x|>\" \"y \" \"z\" \"<|>\"");
    expect_line(&o, "tokenizer.ggml.token_type i32[5] 1 3 4 3 3");
    release(&o);
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
        char *json = slurp(mq_test_source(path));
        struct outcome o = export(&(struct side){.tokenizer = json, .vocab = 380});
        if (cases[i].pre) {
            snprintf(line, sizeof line, "tokenizer.ggml.pre string \"%s\"", cases[i].pre);
            expect_line(&o, line);
            ck_assert_msg(!o.warning, "%s: %s", cases[i].chain, o.warning);
        } else {
            ck_assert_int_eq(o.status, MOEQ_UNSUPPORTED);
            ck_assert_ptr_nonnull(
                strstr(o.err.message, "GGUF has no name for the pre-tokenizer {"));
        }
        release(&o);
        free(json);
    }
}
END_TEST

/* Ids of added tokens are those of the library `tokenizers`. */
START_TEST(added_tokens_are_renumbered)
{
    struct outcome o = export(&(struct side){
        .tokenizer =
            BPE(BYTE_LEVEL(""),
                "},\"added_tokens\":[{\"id\":4,\"content\":\"x\"},{\"id\":3,\"content\":\"y\","
                "\"special\":true},{\"id\":9,\"content\":\"x\"},{\"id\":8,\"content\":\"b\"}]}"),
        .vocab = 5});
    expect_line(&o, "tokenizer.ggml.tokens string[5] \"a\" \"b\" \"ab\" \"x\" \"y\"");
    expect_line(&o, "tokenizer.ggml.token_type i32[5] 1 4 1 4 3");
    ck_assert_str_eq(o.warning,
                     "Added token 'x' has the id 4 in tokenizer.json and is written with "
                     "3, the one that the library tokenizers gives it.");
    release(&o);
}
END_TEST

START_TEST(no_tokenizer_is_an_error)
{
    struct outcome o = export(&(struct side){.vocab = 3});
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
    tcase_add_test(tests, small_sentencepiece_like_tokenizers);
    tcase_add_test(tests, a_missing_byte_is_an_error);
    tcase_add_test(tests, small_byte_level_tokenizers);
    tcase_add_test(tests, what_a_byte_level_tokenizer_puts_around);
    tcase_add_test(tests, spaces_in_merges_and_names_that_look_special);
    tcase_add_test(tests, published_chains_have_names);
    tcase_add_test(tests, added_tokens_are_renumbered);
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
        char *json = slurp(file);
        struct outcome o = export(&(struct side){.tokenizer = json, .vocab = real[i].vocab});
        const bool is_spm = strcmp(real[i].kind, "llama") == 0;
        ck_assert_msg(o.status == MOEQ_OK, "%s: %s", real[i].name, o.err.message);
        ck_assert_msg(real[i].message ? o.warning && strstr(o.warning, real[i].message)
                                      : !o.warning,
                      "%s: %s", real[i].name, o.warning);
        expect_line(&o, is_spm ? "tokenizer.ggml.model string \"llama\""
                               : "tokenizer.ggml.model string \"gpt2\"");
        snprintf(line, sizeof line, "tokenizer.ggml.pre string \"%s\"",
                 is_spm ? "default" : real[i].kind);
        expect_line(&o, line);
        snprintf(line, sizeof line, "tokenizer.ggml.tokens string[%u]", real[i].vocab);
        expect_line(&o, line);
        release(&o);
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
        char *json = slurp(mq_test_shared(path));
        struct outcome o = export(&(struct side){.tokenizer = json, .vocab = vocab});
        ck_assert_msg(o.status == MOEQ_OK, "%s", o.err.message);
        ck_assert_msg(!o.warning, "%s", o.warning);
        ck_assert_msg(vocab > 2000 && strstr(o.lines, expected), "%s", models[i]);
        release(&o);
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

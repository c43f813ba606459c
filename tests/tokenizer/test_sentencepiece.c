/*
 * test_sentencepiece.c: tokenizers made of SentencePiece models: the ids of the sentencepiece
 * library, what goes into a GGUF file, and one refusal for each thing that can be wrong.
 * Goldens: tests/data/make_sentencepiece_goldens.py.
 */
#include "test_support.h"

#include "file.h"
#include "gguf_int.h"
#include "gguf_vocab_export.h"
#include "golden_lines.h"
#include "sentencepiece.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA "tests/tokenizer/data/sentencepiece/"

static const char *const models[] = {"bpe_bytes",     "bpe_rules",     "bpe_suffix",
                                     "bpe_phrases",   "unigram_bytes", "unigram_rules",
                                     "unigram_suffix"};
enum { MODELS = sizeof models / sizeof *models };

static const char *data_path(const char *name, const char *ending)
{
    char relative[100];
    snprintf(relative, sizeof relative, DATA "%s.%s", name, ending);
    return mq_test_source(relative);
}

static struct mq_buffer read_file(const char *path)
{
    struct mq_buffer bytes = {0};
    moeq_error err = {0};
    ck_assert_msg(mq_file_read_all(path, 1 << 24, &bytes, &err) == MOEQ_OK, "%s", err.message);
    return bytes;
}

static struct mq_buffer json_of(const char *name, const char *config_text)
{
    struct mq_buffer bytes = read_file(data_path(name, "model")), config = {0}, json = {0};
    moeq_error err = {0};
    mq_buffer_puts(&config, config_text);
    ck_assert_msg(mq_spm_to_json(bytes.data, bytes.size, name, &config, &json, NULL, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    mq_buffer_free(&bytes);
    mq_buffer_free(&config);
    return json;
}

static struct mq_tokenizer *load(const char *name, const char *config)
{
    struct mq_buffer json = json_of(name, config);
    struct mq_tokenizer *t = NULL;
    moeq_error err = {0};
    ck_assert_msg(mq_tokenizer_load(json.data, json.size, name, &t, &err) == MOEQ_OK, "%s",
                  err.message);
    mq_buffer_free(&json);
    return t;
}

static bool same(const struct mq_ids *a, const struct mq_ids *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size * 4) == 0);
}

/* ---- ids ---- */

START_TEST(ids_of_the_library)
{
    for (int i = 0; i < MODELS; i++) {
        struct mq_tokenizer *t = load(models[i], "");
        struct mq_buffer lines = read_file(data_path(models[i], "jsonl"));
        struct golden golden = {0};
        size_t count = 0, equal = 0;
        for (const char *at = lines.data; golden_next(&at, &golden); count++) {
            struct mq_ids ids = {0};
            moeq_error err = {0};
            ck_assert_ok(mq_tokenizer_encode(t, golden.text.data, golden.text.size,
                                             golden.add_special_tokens, &ids, &err));
            if (!same(&ids, &golden.ids))
                fprintf(stderr, "%s: line %zu differs\n", models[i], count + 1);
            equal += same(&ids, &golden.ids);
            mq_ids_free(&ids);
        }
        printf("%-16s %zu of %zu lines equal\n", models[i], equal, count);
        ck_assert_uint_ge(count, 70);
        ck_assert_uint_eq(equal, count);
        golden_free(&golden);
        mq_buffer_free(&lines);
        mq_tokenizer_free(t);
    }
}
END_TEST

static const char *ids_of(const char *name, const char *config, const char *text)
{
    struct mq_tokenizer *t = load(name, config);
    const char *line = ids_as_text(t, text);
    mq_tokenizer_free(t);
    return line;
}

START_TEST(what_the_configuration_says)
{
    static char plain[400];
    strcpy(plain, ids_of("bpe_bytes", "{\"add_bos_token\": false}", "a"));
    ck_assert_str_ne(plain, ids_of("bpe_bytes", "", "a"));
    char with[500];
    snprintf(with, sizeof with, "1 %s", plain);
    ck_assert_str_eq(ids_of("bpe_bytes", "", "a"), with);
    snprintf(with, sizeof with, "1 %s 2", plain);
    ck_assert_str_eq(ids_of("bpe_bytes", "{\"add_eos_token\": true}", "a"), with);
    snprintf(with, sizeof with, "%s 2", plain);
    ck_assert_str_eq(ids_of("bpe_bytes", "{\"tokenizer_class\": \"T5Tokenizer\"}", "a"), with);
    snprintf(with, sizeof with, "2 %s", plain);
    ck_assert_str_eq(ids_of("bpe_bytes", "{\"bos_token\": {\"content\": \"</s>\"}}", "a"), with);
    ck_assert_str_eq(ids_of("bpe_bytes", "{\"bos_token\": \"no such piece\"}", "a"), plain);
    /* Behind a special token a space goes in front, unless the tokenizer is no `legacy` one. */
    char twice[900], once[400];
    snprintf(twice, sizeof twice, "1 %s 2 %s", plain, plain);
    ck_assert_str_eq(ids_of("bpe_bytes", "", "a</s>a"), twice);
    strcpy(once, ids_of("bpe_bytes", "{\"legacy\": false}", "a</s>a"));
    ck_assert_str_ne(once, twice);
    ck_assert_uint_eq(strncmp(once, twice, strlen(with)), 0);
    strcpy(once, ids_of("bpe_bytes", "", "a"));
    ck_assert_str_ne(ids_of("bpe_bytes", "{\"add_prefix_space\": false}", "a"), once);
}
END_TEST

/* Texts without a place to cut, and pieces that overlap everywhere, in linear time. */
START_TEST(long_words)
{
    enum { N = 1 << 18 };
    char *text = malloc(N);
    for (int i = 0; i < MODELS; i++) {
        struct mq_tokenizer *t = load(models[i], "");
        for (const char *c = "a !"; *c; c++) {
            struct mq_ids ids = {0};
            moeq_error err = {0};
            memset(text, *c, N);
            ck_assert_ok(mq_tokenizer_encode(t, text, N, false, &ids, &err));
            mq_ids_free(&ids);
        }
        mq_tokenizer_free(t);
    }
    free(text);
}
END_TEST

/* ---- GGUF ---- */

static void check_tokens(const struct mq_gguf *g, const char *name, uint32_t vocab)
{
    struct mq_buffer lines = read_file(data_path(name, "pieces"));
    struct mq_gguf_strings texts = mq_gguf_strings(g, mq_gguf_find(g, MQ_GGUF_KEY_TOKENS));
    const struct mq_gguf_key *scores = mq_gguf_find(g, MQ_GGUF_KEY_SCORES),
                             *types = mq_gguf_find(g, MQ_GGUF_KEY_TOKEN_TYPES);
    uint32_t id = 0;
    for (char *at = lines.data, *end; (end = strchr(at, '\n')); at = end + 1, id++) {
        double score, expected;
        uint64_t type;
        char *rest;
        const uint64_t expected_type = strtoull(at, &rest, 10);
        expected = strtod(rest, &rest);
        *end = '\0';
        cJSON *text = cJSON_Parse(rest);
        ck_assert(cJSON_IsString(text) && mq_gguf_next(&texts));
        ck_assert(mq_gguf_number(g, scores, id, &score) && mq_gguf_whole(g, types, id, &type));
        ck_assert_uint_eq(type, expected_type);
        ck_assert_double_eq(score, (double)(float)expected);
        if (type != MQ_GGUF_TOKEN_USER_DEFINED) {
            ck_assert_uint_eq(texts.size, strlen(text->valuestring));
            ck_assert_mem_eq(texts.text, text->valuestring, texts.size);
        }
        cJSON_Delete(text);
    }
    ck_assert_uint_gt(id, 200);
    for (; id < vocab; id++) { /* the model's further embeddings */
        uint64_t type;
        ck_assert(mq_gguf_next(&texts) && mq_gguf_whole(g, types, id, &type));
        ck_assert_uint_eq(type, MQ_GGUF_TOKEN_UNUSED);
    }
    mq_buffer_free(&lines);
}

static moeq_status export_to(const char *path, const char *name, uint32_t vocab, char warning[1000],
                             moeq_error *err)
{
    struct mq_view view = {.path = "model", .side[MQ_SIDE_TOKENIZER] = json_of(name, "")};
    struct mq_gguf_writer w = {.architecture = "llama"};
    struct mq_arena *arena = mq_arena_create();
    struct mq_buffer header = {0};
    const char *said = NULL;
    view.hparams.vocab = vocab;
    view.hparams.bos = view.hparams.eos = -1;
    moeq_status status = mq_gguf_put_vocab(&w, &view, arena, &said, err);
    snprintf(warning, 1000, "%s", said ? said : "");
    if (status == MOEQ_OK) {
        ck_assert_ok(mq_gguf_writer_finish(&w, &header, err));
        FILE *f = fopen(path, "wb");
        ck_assert(f && fwrite(header.data, 1, header.size, f) == header.size && fclose(f) == 0);
    }
    mq_gguf_writer_free(&w);
    mq_buffer_free(&header);
    mq_buffer_free(&view.side[MQ_SIDE_TOKENIZER]);
    mq_arena_destroy(arena);
    return status;
}

/* What is read of the file tokenizes as the model does. (Text of known characters, without what
 * llama.cpp does otherwise.) */
static void check_read_back(const struct mq_gguf *g, const char *name)
{
    static const char text[] = "  The tide turns  twice a day, and the harbour turns with it. ";
    struct mq_arena *arena = mq_arena_create();
    struct mq_buffer json = {0};
    struct mq_tokenizer *t = NULL;
    const char *problem = NULL, *note = NULL;
    char expected[400];
    moeq_error err = {0};
    ck_assert_msg(mq_gguf_tokenizer(g, arena, &json, &problem, &note, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_ptr_null(problem);
    ck_assert_msg(mq_tokenizer_load(json.data, json.size, name, &t, &err) == MOEQ_OK, "%s",
                  err.message);
    strcpy(expected, ids_of(name, "", text));
    ck_assert_str_eq(ids_as_text(t, text), expected);
    mq_tokenizer_free(t);
    mq_buffer_free(&json);
    mq_arena_destroy(arena);
}

START_TEST(exported)
{
    static const struct {
        const char *name, *model, *warning;
    } cases[] = {
        {"bpe_bytes", "llama", ""},
        {"bpe_suffix", "llama",
         "llama.cpp will tokenize differently: it puts a space in front of a text, not behind; it "
         "keeps characters that the model replaces (precompiled_charsmap); it keeps repeated "
         "spaces and those at the ends of a text."},
        {"unigram_bytes", "t5",
         "llama.cpp will tokenize differently: characters that are no piece become the unknown "
         "token, not their bytes."},
        {"unigram_rules", "t5", ""},
    };
    enum { VOCAB = 700 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = mq_test_temporary("vocab.gguf");
        struct mq_arena *arena = mq_arena_create();
        struct mq_gguf g;
        char warning[1000];
        moeq_error err = {0};
        ck_assert_msg(export_to(path, cases[i].name, VOCAB, warning, &err) == MOEQ_OK, "%s",
                      err.message);
        ck_assert_str_eq(warning, cases[i].warning);
        ck_assert_msg(mq_gguf_read(path, arena, &g, &err) == MOEQ_OK, "%s", err.message);
        ck_assert(mq_gguf_text_is(&g, mq_gguf_find(&g, MQ_GGUF_KEY_TOKENIZER), cases[i].model));
        check_tokens(&g, cases[i].name, VOCAB);
        const bool t5 = strcmp(cases[i].model, "t5") == 0;
        ck_assert_int_eq(mq_gguf_find(&g, MQ_GGUF_KEY_REMOVE_EXTRA) != NULL, t5);
        ck_assert_int_eq(mq_gguf_find(&g, MQ_GGUF_KEY_ADD_EOS) != NULL, t5);
        ck_assert_int_eq(mq_gguf_find(&g, MQ_GGUF_KEY_CHARSMAP) != NULL,
                         strcmp(cases[i].name, "unigram_rules") == 0);
        if (strcmp(cases[i].name, "unigram_bytes") == 0)
            check_read_back(&g, cases[i].name);
        mq_gguf_close(&g);
        mq_arena_destroy(arena);
    }
}
END_TEST

START_TEST(not_exported)
{
    const char *path = mq_test_temporary("vocab.gguf");
    char warning[1000];
    moeq_error err = {0};
    ck_assert_int_eq(export_to(path, "bpe_rules", 700, warning, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "without byte_fallback"));
    /* a vocabulary that ends before the pieces do */
    moeq_error none = {0};
    ck_assert_ok(export_to(path, "unigram_rules", 250, warning, &none));
    ck_assert_ptr_nonnull(strstr(warning, "it lacks the pieces from 250 to "));
}
END_TEST

/* ---- refusals ---- */

static void put_varint(struct mq_buffer *b, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        mq_buffer_putc(b, (char)(value | 0x80));
    mq_buffer_putc(b, (char)value);
}

static void put_number(struct mq_buffer *b, unsigned field, uint64_t value)
{
    put_varint(b, field << 3);
    put_varint(b, value);
}

static void put_bytes(struct mq_buffer *b, unsigned field, const char *bytes, size_t n)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    mq_buffer_append(b, bytes, n);
}

/* A piece; a score that is not finite shows itself in bit patterns only. */
static void put_piece(struct mq_buffer *b, const char *text, size_t n, float score, int type)
{
    struct mq_buffer piece = {0};
    put_bytes(&piece, 1, text, n);
    put_varint(&piece, 2 << 3 | 5);
    mq_buffer_append(&piece, &score, 4);
    put_number(&piece, 3, (uint64_t)type);
    put_bytes(b, 1, piece.data, piece.size);
    mq_buffer_free(&piece);
}

static void start(struct mq_buffer *b)
{
    put_piece(b, "<unk>", 5, 0, MQ_SPM_UNKNOWN);
}
static void cut_off(struct mq_buffer *b)
{
    mq_buffer_append(b, "\x0a\x10\x0a", 3);
}
static void cut_number(struct mq_buffer *b)
{
    mq_buffer_append(b, "\x0a\x80", 2);
}
static void long_number(struct mq_buffer *b)
{
    mq_buffer_append(b, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11);
}
static void group(struct mq_buffer *b)
{
    mq_buffer_putc(b, 0x33);
}
static void field_zero(struct mq_buffer *b)
{
    mq_buffer_append(b, "\x00\x01", 2);
}
static void number_piece(struct mq_buffer *b)
{
    put_number(b, 1, 7);
}
static void empty_piece(struct mq_buffer *b)
{
    put_bytes(b, 1, "", 0);
}
static void nul_piece(struct mq_buffer *b)
{
    put_piece(b, "a\0b", 3, 0, 1);
}
static void no_utf8(struct mq_buffer *b)
{
    put_piece(b, "\xff", 1, 0, 1);
}
static void nan_score(struct mq_buffer *b)
{
    put_piece(b, "a", 1, NAN, 1);
}
static void wild_type(struct mq_buffer *b)
{
    put_piece(b, "a", 1, 0, 7);
}
static void long_piece(struct mq_buffer *b)
{
    static char text[1025];
    memset(text, 'x', sizeof text);
    put_piece(b, text, sizeof text, 0, 1);
}
static void twice(struct mq_buffer *b)
{
    put_piece(b, "a", 1, 0, 1);
    put_piece(b, "a", 1, -1, 3);
}
static void two_scores(struct mq_buffer *b)
{
    put_bytes(b, 1, "\x0a\x01x\x15\0\0\0\0\x15\0\0\0\0", 13);
}
static void text_score(struct mq_buffer *b)
{
    put_bytes(b, 1, "\x0a\x01x\x12\x01x", 6);
}
static void second_unknown(struct mq_buffer *b)
{
    put_piece(b, "a", 1, 0, MQ_SPM_UNKNOWN);
}
static void stray_byte(struct mq_buffer *b)
{
    put_piece(b, "<0x41>", 6, 0, MQ_SPM_BYTE);
}
static void odd_byte(struct mq_buffer *b)
{
    put_piece(b, "<0xG1>", 6, 0, MQ_SPM_BYTE);
    put_bytes(b, 2, "\x98\x02\x01", 3);
}
static void no_bytes(struct mq_buffer *b)
{
    put_bytes(b, 2, "\x98\x02\x01", 3); /* byte_fallback */
}
static void words(struct mq_buffer *b)
{
    put_bytes(b, 2, "\x18\x03", 2);
}
static void wild_algorithm(struct mq_buffer *b)
{
    put_bytes(b, 2, "\x18\x09", 2);
}
static void two_trainers(struct mq_buffer *b)
{
    put_bytes(b, 2, "", 0);
    put_bytes(b, 2, "", 0);
}

static void check_refusal(const struct mq_buffer *b, const char *message)
{
    struct mq_spm_model m;
    moeq_error err = {0};
    ck_assert_int_ne(mq_spm_read(b->data ? b->data : "", b->size, "m", &m, &err), MOEQ_OK);
    ck_assert_ptr_null(m.pieces);
    ck_assert_msg(strstr(err.message, message) && strncmp(err.message, "m: ", 3) == 0,
                  "expected '%s', found '%s'", message, err.message);
}

START_TEST(malformed)
{
    static const struct {
        void (*put)(struct mq_buffer *b);
        const char *message;
    } cases[] = {
        {cut_off, "at byte 16: a field of 16 bytes, of which 1 are there"},
        {cut_number, "at byte 17: the file, or a message in it, ends inside a number"},
        {long_number, "at byte 17: a number of more than 64 bits"},
        {group, "at byte 16: wire type 3"},
        {field_zero, "at byte 16: a field's number is out of range"},
        {number_piece, "at byte 16: a piece that is no message"},
        {empty_piece, "piece 1 at byte 16: it has no text"},
        {nul_piece, "piece 1 at byte 16: its text is not UTF-8 without U+0000"},
        {no_utf8, "piece 1 at byte 16: its text is not UTF-8 without U+0000"},
        {nan_score, "piece 1 at byte 16: its score is not finite"},
        {wild_type, "piece 1 at byte 16: type 7, expected 1 to 6"},
        {long_piece, "piece 1 at byte 16: 1025 bytes of text, more than 1024"},
        {twice, "pieces 1 and 2 have the same text 'a'"},
        {two_scores, "at byte 26: 'score' is there twice"},
        {text_score, "at byte 21: 'score' is of another wire type"},
        {second_unknown, "2 pieces of the type UNKNOWN, expected one"},
        {stray_byte, "is of the type BYTE, and trainer_spec.byte_fallback is false"},
        {odd_byte, "is of the type BYTE, and no <0x00> to <0xFF>"},
        {no_bytes, "trainer_spec.byte_fallback is true, and 0 of 256 pieces"},
        {words, "a SentencePiece model of words, which is not supported"},
        {wild_algorithm, "trainer_spec.model_type is 9, expected 1 to 4"},
        {two_trainers, "at byte 18: 'trainer_spec' is there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_buffer b = {0};
        start(&b);
        ck_assert_uint_eq(b.size, 16);
        cases[i].put(&b);
        check_refusal(&b, cases[i].message);
        mq_buffer_free(&b);
    }
}
END_TEST

START_TEST(other_files)
{
    static const char *const cases[][2] = {
        {"", "is empty"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 499723\n",
         "is a Git LFS pointer, which stands for a file of 499723 bytes"},
        {"<!DOCTYPE html><html>", "web page"},
        {"{\"config\": {\"pattern\": \"x\"}}", "is JSON (as Mistral's tekken.json)"},
        {"IQ== 0\nIg== 1\n", "is a tiktoken vocabulary"},
        {"\x08\x01", "is no SentencePiece model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_buffer b = {0};
        mq_buffer_puts(&b, cases[i][0]);
        check_refusal(&b, cases[i][1]);
        mq_buffer_free(&b);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, ids_of_the_library);
    tcase_add_test(tests, what_the_configuration_says);
    tcase_add_test(tests, long_words);
    tcase_add_test(tests, exported);
    tcase_add_test(tests, not_exported);
    tcase_add_test(tests, malformed);
    tcase_add_test(tests, other_files);
}

int main(void)
{
    return mq_test_main("test_sentencepiece", add_tests);
}

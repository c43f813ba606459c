/*
 * test_growth.c: the work for a text of 4n bytes is at most about four times that for n, for every
 * kind of tokenizer and of text; and so for reading a tokenizer with 4n entries.
 *
 * Work is counted, not timed: the sources of the tokenizer and of formats/base are compiled a second
 * time with -fsanitize-coverage=trace-pc, which calls a function in every basic block. What libraries
 * do is counted by its bytes: copies and searches of libc, the characters that PCRE2 passes.
 * (utf8proc's loops over characters are not.)
 */
#include "test_support.h"

#include "buffer.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static uint64_t steps;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    steps++;
}

#define WRAP_COPY(name)                                        \
    void *__real_##name(void *to, const void *from, size_t n); \
    void *__wrap_##name(void *to, const void *from, size_t n); \
    void *__wrap_##name(void *to, const void *from, size_t n)  \
    {                                                          \
        steps += n / 16;                                       \
        return __real_##name(to, from, n);                     \
    }
WRAP_COPY(memcpy)
WRAP_COPY(memmove)

void *__real_memmem(const void *in, size_t n, const void *what, size_t size);
void *__wrap_memmem(const void *in, size_t n, const void *what, size_t size);
void *__wrap_memmem(const void *in, size_t n, const void *what, size_t size)
{
    const char *found = __real_memmem(in, n, what, size);
    steps += (found ? (size_t)(found - (const char *)in) : n) / 4;
    return (void *)found;
}

/* The characters that one item of an expression passes. */
static int (*on_item)(pcre2_callout_block *block, void *data);
static size_t place;

static int count_item(pcre2_callout_block *block, void *data)
{
    steps += block->current_position > place ? block->current_position - place : 1;
    place = block->current_position;
    return on_item(block, data);
}

int __real_pcre2_set_callout_8(pcre2_match_context *context,
                               int (*function)(pcre2_callout_block *, void *), void *data);
int __wrap_pcre2_set_callout_8(pcre2_match_context *context,
                               int (*function)(pcre2_callout_block *, void *), void *data);
int __wrap_pcre2_set_callout_8(pcre2_match_context *context,
                               int (*function)(pcre2_callout_block *, void *), void *data)
{
    on_item = function;
    return __real_pcre2_set_callout_8(context, count_item, data);
}

#define SPLIT(regex)                                                                       \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\"," \
    "\"invert\":false}"
#define TOKEN(id, content, l, r, normalized)                                         \
    "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":false,\"lstrip\":" l \
    ",\"rstrip\":" r ",\"normalized\":" normalized ",\"special\":false}"
#define REPLACE(from, to) \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" from "\"},\"content\":\"" to "\"}"
#define VOCAB \
    "{\"<unk>\":0,\"a\":1,\"b\":2,\" \":3,\"ab\":4,\"aa\":5,\"aaaa\":6,\"\\u2581\":7,\"1\":8}"
#define MERGES "[\"a b\",\"a a\",\"aa aa\"]"
#define BPE "{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":" VOCAB ",\"merges\":" MERGES "}"
#define UNIGRAM                                                                                   \
    "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],[\"b\",-1],[\"ab\",-" \
    "1.5],"                                                                                       \
    "[\"aaaaaaaaaaaaaaaaaaaa\",-3],[\"\\u2581\",-2],[\" a\",-2]]}"
/* Of Qwen and Llama: words, numbers, white space before an end of line. */
#define WORDS                                                                              \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| " \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const struct {
    const char *added, *normalizer, *pre, *decoder, *model;
} tokenizers[] = {
    {.model = BPE},
    {.model = UNIGRAM},
    {.pre = SPLIT(WORDS), .model = BPE},
    {.pre = SPLIT("\\\\s+$"), .model = BPE},
    {.pre = SPLIT("a*a*[bc]|a"), .model = BPE},
    {.pre = SPLIT("(?=.*z)a|a*?[bc]"), .model = BPE},
    {.pre = SPLIT("(a|aa)*[cd]"), .model = BPE},
    {.pre = SPLIT("(?=(?:1{3})+(?!1))1|."), .model = BPE},
    {.pre = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}", .model = BPE},
    {.pre = "{\"type\":\"Digits\",\"individual_digits\":false}", .model = BPE},
    {.pre = "{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", .model = BPE},
    {.pre = "{\"type\":\"Whitespace\"}", .model = BPE},
    {.pre = "{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\"}",
     .decoder =
         "{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\"}",
     .model = UNIGRAM},
    {.normalizer = "{\"type\":\"NFC\"}", .model = BPE},
    {.normalizer = "{\"type\":\"NFKD\"}", .decoder = "{\"type\":\"ByteFallback\"}", .model = BPE},
    {.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[" REPLACE("a", "aa") "," REPLACE(
         "aa", "a") "," REPLACE("ab", "b") ",{\"type\":\"Strip\",\"strip_left\":true,"
                                           "\"strip_right\":true}]}",
     .decoder = REPLACE("a", "bb"),
     .model = BPE},
    {.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" *$|[ab]b\"},\"content\":\"b\"}",
     .model = BPE},
    {.added = TOKEN("9", "\\t", "false", "true", "false") "," TOKEN(
         "10", "<s>", "true", "true", "true") "," TOKEN("11", "aaaaaaaaaaaaaaab", "true", "true",
                                                        "false"),
     .decoder = "{\"type\":\"Fuse\"}",
     .model = BPE},
};

/* Repeated. */
static const char *const texts[] = {
    "a",
    "b",
    "ab",
    " ",
    "\t",
    "a ",
    "1",
    "\n",
    "\xc3\xa9",
    "<s>",
    ".",
    "\xcc\x81\xcc\xa3",
    "\xe2\x96\x81",
    " \xc2\xa0",
    "1a. ",
    "\xef\xb7\xba",
};

enum { FIRST_SLOW = 4, SLOW_END = 8 }; /* tokenizers whose expressions are no linear ones */

static struct mq_tokenizer *load(size_t i)
{
    struct mq_tokenizer *t;
    struct mq_buffer json = {0};
    moeq_error err = {0};
#define PART(name, fallback) tokenizers[i].name ? tokenizers[i].name : fallback
    mq_buffer_printf(
        &json,
        "{\"version\":\"1.0\",\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,"
        "\"post_processor\":null,\"decoder\":%s,\"model\":%s}",
        PART(added, ""), PART(normalizer, "null"), PART(pre, "null"), PART(decoder, "null"),
        tokenizers[i].model);
    ck_assert_ok(mq_tokenizer_load(json.data, json.size, "t.json", &t, &err));
    mq_buffer_free(&json);
    return t;
}

/* The steps of encoding and decoding n bytes of a text; *refused: it was too much. */
static uint64_t count(const struct mq_tokenizer *t, const char *unit, size_t n, bool *refused)
{
    struct mq_buffer text = {0}, decoded = {0};
    struct mq_ids ids = {0};
    moeq_error err = {0};
    while (text.size < n)
        mq_buffer_puts(&text, unit);
    steps = 0;
    moeq_status status = mq_tokenizer_encode(t, text.data, text.size, true, &ids, &err);
    if (status == MOEQ_OK)
        status = mq_tokenizer_decode(t, ids.data, ids.size, true, &decoded, &err);
    const uint64_t counted = steps;
    ck_assert_msg(status == MOEQ_OK || status == MOEQ_LIMIT, "%s", err.message);
    *refused = status == MOEQ_LIMIT;
    mq_ids_free(&ids);
    mq_buffer_free(&text);
    mq_buffer_free(&decoded);
    return counted;
}

/* Twice as much may take 2.3 times the steps (a heap is n log n), and what is the same for all. */
#define MAY_GROW 2.3
#define THE_SAME 20000.0

START_TEST(texts_of_all_kinds)
{
    enum { N = 2500 };
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        if (i >= FIRST_SLOW && i < SLOW_END)
            continue;
        struct mq_tokenizer *t = load(i);
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            bool refused;
            uint64_t last = count(t, texts[k], N, &refused);
            for (size_t n = 2 * N; n <= 4 * N && !refused; n *= 2) {
                const uint64_t now = count(t, texts[k], n, &refused);
                ck_assert_msg(refused || (double)now <= MAY_GROW * (double)last + THE_SAME,
                              "tokenizer %zu, text '%s' of %zu bytes: %llu steps, of half %llu", i,
                              texts[k], n, (unsigned long long)now, (unsigned long long)last);
                last = now;
            }
        }
        mq_tokenizer_free(t);
    }
}
END_TEST

/* Pieces that all begin alike: a path looks at each from everywhere, as `tokenizers` does, which is no more than the longest. */
START_TEST(long_pieces)
{
    enum { LONGEST = 300, N = 3000 };
    struct mq_buffer json = {0};
    struct mq_tokenizer *t;
    moeq_error err = {0};
    mq_buffer_puts(&json, "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0]");
    for (int i = 1; i <= LONGEST; i++) {
        mq_buffer_puts(&json, ",[\"");
        for (int k = 0; k < i; k++)
            mq_buffer_putc(&json, 'a');
        mq_buffer_printf(&json, "\",-%d.%d]", i % 3 + 1, i);
    }
    mq_buffer_puts(&json, "]}}");
    ck_assert_ok(mq_tokenizer_load(json.data, json.size, "t.json", &t, &err));
    mq_buffer_free(&json);
    uint64_t last = 0;
    for (size_t n = N; n <= 2 * N; n *= 2) {
        bool refused;
        const uint64_t now = count(t, "a", n, &refused);
        ck_assert(!refused);
        ck_assert_msg(now < 20 * (uint64_t)LONGEST * n, "%llu steps a byte", (unsigned long long)now / n);
        ck_assert_msg(!last || (double)now <= MAY_GROW * (double)last, "%zu bytes: %llu steps, of half %llu", n,
                      (unsigned long long)now, (unsigned long long)last);
        last = now;
    }
    mq_tokenizer_free(t);
}
END_TEST

/* Long added tokens of which a text has all but the end, everywhere. */
START_TEST(long_added_tokens)
{
    enum { LENGTH = 1000, TOKENS = 12 };
    for (int normalized = 0; normalized < 2; normalized++) {
        struct mq_buffer json = {0};
        struct mq_tokenizer *t;
        moeq_error err = {0};
        mq_buffer_puts(&json, "{\"version\":\"1.0\",\"added_tokens\":[");
        for (int i = 0; i < TOKENS; i++) {
            mq_buffer_printf(&json, "%s{\"id\":%d,\"content\":\"", i ? "," : "", 9 + i);
            for (int k = 0; k < LENGTH - 80 * i; k++)
                mq_buffer_puts(&json, i == TOKENS - 1 ? k % 2 ? "a" : "b" : "a");
            mq_buffer_printf(&json,
                             "b\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                             "\"normalized\":%s,\"special\":false}",
                             normalized ? "true" : "false");
        }
        mq_buffer_puts(&json, "],\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,"
                              "\"decoder\":null,\"model\":" BPE "}");
        ck_assert_ok(mq_tokenizer_load(json.data, json.size, "t.json", &t, &err));
        mq_buffer_free(&json);
        for (size_t k = 0; k < 3; k++) {
            static const char *const units[] = {"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "ab"};
            enum { N = 40000 };
            bool refused;
            const uint64_t now = count(t, units[k], N, &refused);
            ck_assert_msg(!refused && now < 300 * (uint64_t)N, "'%s': %llu steps a byte", units[k],
                          (unsigned long long)now / N);
        }
        mq_tokenizer_free(t);
    }
}
END_TEST

/* Of n bytes quadratic expressions, and worse ones, may take a fixed budget and a multiple of n,
 * which is paid out of it by the characters passed, before the text is refused. */
START_TEST(refusal_is_linear)
{
    for (size_t i = FIRST_SLOW; i < SLOW_END; i++) {
        struct mq_tokenizer *t = load(i);
        for (size_t n = 20000; n <= 80000; n *= 4) {
            bool refused;
            const uint64_t now = count(t, i == 7 ? "1" : "a", n, &refused);
            ck_assert_msg(refused && now < 10 * ((uint64_t)1 << 24) + 2600 * n,
                          "tokenizer %zu, %zu bytes: refused %d after %llu steps", i, n, refused,
                          (unsigned long long)now);
        }
        mq_tokenizer_free(t);
    }
}
END_TEST

/* ---- reading ---- */

enum growing { VOCABULARY, MERGES_LIST, ADDED, TEMPLATE, SPECIALS, SEQUENCE, PIECES, KINDS };

static void put_list(struct mq_buffer *b, size_t n, const char *format)
{
    for (size_t i = 0; i < n; i++) {
        mq_buffer_puts(b, i ? "," : "");
        mq_buffer_printf(b, format, i, i, i);
    }
}

static void put_file(struct mq_buffer *b, enum growing kind, size_t n)
{
    mq_buffer_puts(b, "{\"version\":\"1.0\",\"added_tokens\":[");
    if (kind == ADDED)
        put_list(b, n,
                 "{\"content\":\"<%zu>\",\"id\":%zu,\"single_word\":false,\"lstrip\":false,"
                 "\"rstrip\":false,\"normalized\":true,\"special\":true}");
    mq_buffer_puts(b, "],\"normalizer\":{\"type\":\"NFC\"},\"decoder\":null,\"pre_tokenizer\":");
    if (kind == SEQUENCE) {
        mq_buffer_puts(b, "{\"type\":\"Sequence\",\"pretokenizers\":[");
        put_list(b, n < 60 ? n : 60, "{\"type\":\"Whitespace\",\"x\":[%zu]}");
        mq_buffer_puts(b, "]}");
    } else {
        mq_buffer_puts(b, "null");
    }
    mq_buffer_puts(b, ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
    if (kind == TEMPLATE)
        put_list(b, n, "{\"SpecialToken\":{\"id\":\"s%zu\"}}");
    mq_buffer_puts(b, kind == TEMPLATE ? "," : "");
    mq_buffer_puts(b, "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{");
    if (kind == TEMPLATE || kind == SPECIALS)
        put_list(b, n, "\"s%zu\":{\"ids\":[0]}");
    if (kind == PIECES) {
        mq_buffer_puts(b, "}},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[");
        put_list(b, n, "[\"p%zu\",-%zu]");
        mq_buffer_puts(b, "]}}");
        return;
    }
    mq_buffer_puts(b, "}},\"model\":{\"type\":\"BPE\",\"vocab\":{");
    if (kind == VOCABULARY || kind == MERGES_LIST)
        put_list(b, n, kind == MERGES_LIST ? "\"a%zu\":%zu" : "\"p%zu\":%zu");
    else
        mq_buffer_puts(b, "\"a\":0");
    if (kind == MERGES_LIST)
        mq_buffer_printf(b, ",\"a\":%zu,\"0\":%zu,\"1\":%zu", n, n + 1, n + 2);
    mq_buffer_puts(b, "},\"merges\":[");
    if (kind == MERGES_LIST)
        for (size_t i = 0; i < n; i++)
            mq_buffer_puts(b, i ? ",\"a 1\"" : "\"a 0\"");
    mq_buffer_puts(b, "]}}");
}

START_TEST(files_of_all_kinds)
{
    for (int kind = 0; kind < KINDS; kind++) {
        uint64_t last = 0;
        for (size_t n = 1000; n <= 4000; n *= 2) {
            struct mq_buffer json = {0};
            struct mq_tokenizer *t = NULL;
            moeq_error err = {0};
            put_file(&json, (enum growing)kind, n);
            steps = 0;
            const moeq_status status = mq_tokenizer_load(json.data, json.size, "t.json", &t, &err);
            const uint64_t now = steps;
            ck_assert_msg(status == (kind == TEMPLATE ? MOEQ_MALFORMED : MOEQ_OK), "%d: %s", kind,
                          err.message);
            ck_assert_msg(!last || (double)now <= MAY_GROW * (double)last + THE_SAME,
                          "kind %d, %zu entries: %llu steps, of half as many %llu", kind, n,
                          (unsigned long long)now, (unsigned long long)last);
            ck_assert(now > n); /* or nothing is counted */
            last = now;
            mq_tokenizer_free(t);
            mq_buffer_free(&json);
        }
    }
}
END_TEST

/* Merges and vocabularies are most of a file, and ten times their bytes as a tree. */
START_TEST(lists_take_little_memory)
{
    static const struct {
        enum growing kind;
        size_t entries,
            times; /* the file's bytes, of which this many may be taken, and what any program takes */
    } lists[] = {{MERGES_LIST, 100000, 7}, {VOCABULARY, 80000, 7}, {PIECES, 50000, 9}};
    if (mq_test_sampled())
        return; /* a sanitizer's own memory would be measured */
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct mq_buffer json = {0};
        struct rusage use;
        int state;
        put_file(&json, lists[i].kind, lists[i].entries);
        const pid_t child = fork(); /* whose memory is its own */
        if (child == 0) {
            struct mq_tokenizer *t;
            _exit(mq_tokenizer_load(json.data, json.size, "t.json", &t, NULL) != MOEQ_OK);
        }
        ck_assert_int_eq(wait4(child, &state, 0, &use), child);
        ck_assert_int_eq(state, 0);
        ck_assert_msg((uint64_t)use.ru_maxrss * 1024 < lists[i].times * json.size + (4 << 20),
                      "%zu: %ld KiB for a file of %zu", i, use.ru_maxrss, json.size / 1024);
        mq_buffer_free(&json);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, texts_of_all_kinds);
    tcase_add_test(tests, long_pieces);
    tcase_add_test(tests, long_added_tokens);
    tcase_add_test(tests, refusal_is_linear);
    tcase_add_test(tests, files_of_all_kinds);
    tcase_add_test(tests, lists_take_little_memory);
}

int main(void)
{
    return mq_test_main("test_growth", add_tests);
}

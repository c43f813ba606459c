/* json.c: the scan before cJSON, and small helpers. */
#include "json.h"

#include "buffer.h"
#include "error.h"
#include "strmap.h"

#include <stdlib.h>
#include <string.h>

bool mq_utf8_valid(const char *text, size_t n, size_t *at)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        const unsigned char c = s[i];
        size_t length = 1;
        uint32_t smallest = 0, code = c;
        if (c < 0x80) {
            i++;
            continue;
        }
        if (c >= 0xc2 && c <= 0xdf) {
            length = 2, code = c & 0x1f, smallest = 0x80;
        } else if (c >= 0xe0 && c <= 0xef) {
            length = 3, code = c & 0x0f, smallest = 0x800;
        } else if (c >= 0xf0 && c <= 0xf4) {
            length = 4, code = c & 0x07, smallest = 0x10000;
        }
        bool ok = length > 1 && length <= n - i;
        for (size_t k = 1; ok && k < length; k++) {
            ok = (s[i + k] & 0xc0) == 0x80;
            code = code << 6 | (s[i + k] & 0x3f);
        }
        if (!ok || code < smallest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            if (at)
                *at = i;
            return false;
        }
        i += length;
    }
    return true;
}

/* The scan's position and what it has counted. */
struct scan {
    const char *text;
    size_t n, at;
    uint64_t values, mends; /* mends: numbers that cJSON cannot read as they stand */
    bool all_names;
    const char *problem; /* set on failure; `at` is where */
};

static bool fail_scan(struct scan *s, size_t at, const char *problem)
{
    s->at = at;
    s->problem = problem;
    return false;
}

/* Whether the string before `at` is a key; or any string where all of them are names, as in the
 * header of a safetensors file. cJSON ends a string at U+0000: a name that holds one would become
 * another, which other readers do not see. */
static bool names_something(const struct scan *s)
{
    size_t at = s->at;
    while (at < s->n && strchr(" \t\r\n", s->text[at]) && s->text[at])
        at++;
    return s->all_names || (at < s->n && s->text[at] == ':');
}

/* `at` stands on the opening quote; afterwards behind the closing one. */
static bool scan_string(struct scan *s)
{
    const size_t start = s->at++;
    size_t nul = 0;
    for (; s->at < s->n; s->at++) {
        const unsigned char c = (unsigned char)s->text[s->at];
        if (c == '"') {
            s->at++;
            return !nul || !names_something(s) ||
                   fail_scan(s, nul, "the character U+0000 in a name");
        }
        if (c == '\\') {
            if (s->n - s->at >= 6 && memcmp(s->text + s->at, "\\u0000", 6) == 0)
                nul = s->at;
            s->at++; /* what is behind it is looked at here: it may be a quote */
        }
        if (s->at < s->n && (unsigned char)s->text[s->at] < 0x20)
            return fail_scan(s, s->at, "a control character inside a string");
    }
    return fail_scan(s, start, "a string without an end");
}

/* Python writes these, and reads them. They are no JSON, so they become strings (see mend_numbers):
 * where a number is needed, its reader refuses a string, and elsewhere nobody looks. */
static const char *const words_of_numbers[] = {"NaN", "Infinity", "-Infinity"};

/* cJSON (to 1.7.15) reads at most this many characters of a number. */
enum { NUMBER_CHARACTERS = 60 };

/* The length of one of those words at `at`; 0: none. */
static size_t number_word(const char *text, size_t n, size_t at)
{
    for (size_t i = 0; i < sizeof words_of_numbers / sizeof *words_of_numbers; i++) {
        const size_t length = strlen(words_of_numbers[i]);
        if (length <= n - at && memcmp(text + at, words_of_numbers[i], length) == 0)
            return length;
    }
    return 0;
}

static bool scan_number(struct scan *s, bool only_natural)
{
    const size_t start = s->at, word = only_natural ? 0 : number_word(s->text, s->n, start);
    size_t digits = 0;
    bool natural = true;
    if (word) {
        s->at += word;
        s->mends++;
        return true;
    }
    for (; s->at < s->n && strchr("0123456789+-.eE", s->text[s->at]) && s->text[s->at]; s->at++) {
        if (s->text[s->at] >= '0' && s->text[s->at] <= '9')
            digits++;
        else
            natural = false;
    }
    /* One that begins otherwise mend_numbers would not see, and never be done with. */
    const char first = s->text[start];
    if (!digits || (first != '-' && (first < '0' || first > '9')))
        return fail_scan(s, start, "text that is no JSON value");
    const char *t = s->text + start + (s->text[start] == '-');
    if (t[0] == '0' && t + 1 < s->text + s->at && t[1] >= '0' && t[1] <= '9')
        return fail_scan(s, start, "a number with a leading zero");
    if (only_natural && !natural)
        return fail_scan(s, start, "a number that is no plain non-negative integer");
    s->mends += s->at - start > NUMBER_CHARACTERS;
    if (only_natural && digits >= 16) {
        /* 2^53 = 9007199254740992: above it cJSON's doubles skip integers. */
        if (digits > 16 || strncmp(s->text + start, "9007199254740992", 16) > 0)
            return fail_scan(s, start, "an integer above 2^53");
    }
    return true;
}

/* Scans the structure only as far as the limits need; cJSON checks the grammar afterwards. */
static bool scan_text(struct scan *s, const struct mq_json_limits *limits)
{
    uint32_t depth = 0;
    while (s->at < s->n) {
        const char c = s->text[s->at];
        switch (c) {
        case ' ':
        case '\t':
        case '\r':
        case '\n':
        case ',':
        case ':':
            s->at++;
            continue;
        case '[':
        case '{':
            if (++depth > limits->depth)
                return fail_scan(s, s->at, "nesting deeper than any such file needs");
            s->at++;
            break;
        case ']':
        case '}':
            if (depth-- == 0)
                return fail_scan(s, s->at, "a closing bracket without an opening one");
            s->at++;
            continue;
        case '"':
            if (!scan_string(s))
                return false;
            break;
        case 't':
        case 'f':
        case 'n':
            s->at++;
            while (s->at < s->n && s->text[s->at] >= 'a' && s->text[s->at] <= 'z')
                s->at++;
            break;
        default:
            if (!scan_number(s, limits->only_natural))
                return false;
        }
        if (++s->values > limits->values)
            return fail_scan(s, s->at, "more values than any such file needs");
    }
    return depth == 0 || fail_scan(s, s->n, "the end inside an array or object");
}

/* Appends the number of `length` characters at `text` in a form that cJSON can read: the words as
 * strings; of long ones the double that they are (their digits beyond the 60th matter only by how
 * many they are before the point). */
static void put_mended(struct mq_buffer *out, const char *text, size_t length, size_t word)
{
    if (word) {
        mq_buffer_put_json(out, text, word);
        return;
    }
    char *end;
    const double value = strtod(text, &end);
    if (end != text + length)
        mq_buffer_putc(out, '?'); /* no number: to be found when the copy is read */
    else if (value - value == 0)
        mq_buffer_printf(out, "%.17g", value);
    else
        mq_buffer_put_json(out, text, length);
}

/* A copy of the text with such numbers replaced. */
static void mend_numbers(const char *text, size_t n, struct mq_buffer *out)
{
    size_t from = 0;
    for (size_t at = 0; at < n;) {
        const char c = text[at];
        if (c == '"') {
            struct scan s = {.text = text, .n = n, .at = at};
            scan_string(&s);
            at = s.at;
            continue;
        }
        const size_t word = number_word(text, n, at);
        size_t length = word;
        if (!word && (c == '-' || (c >= '0' && c <= '9')))
            length = strspn(text + at, "0123456789+-.eE");
        if (word || length > NUMBER_CHARACTERS) {
            mq_buffer_append(out, text + from, at - from);
            put_mended(out, text + at, length, word);
            from = at + length;
        }
        at += length ? length : 1;
    }
    mq_buffer_append(out, text + from, n - from);
}

static moeq_status parse_mended(const char *text, size_t n, const struct mq_json_limits *limits,
                                const char *path, uint64_t base_offset, cJSON **tree,
                                moeq_error *err)
{
    struct mq_buffer mended = {0};
    char *copy = malloc(n + 1); /* strspn and strtod want an end */
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = '\0';
        mend_numbers(copy, n, &mended);
    }
    moeq_status status =
        copy && mq_buffer_ok(&mended)
            ? mq_json_parse(mended.data, mended.size, limits, path, base_offset, tree, err)
            : mq_fail_memory(err, "reading JSON");
    mq_buffer_free(&mended);
    free(copy);
    return status;
}

moeq_status mq_json_parse(const char *text, size_t n, const struct mq_json_limits *limits,
                          const char *path, uint64_t base_offset, cJSON **tree, moeq_error *err)
{
    *tree = NULL;
    size_t bad;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* editors on Windows put it there */
        text += 3;
        n -= 3;
        base_offset += 3;
    }
    if (!mq_utf8_valid(text, n, &bad))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "JSON at byte %llu: invalid UTF-8",
                            (unsigned long long)(base_offset + bad));
    struct scan s = {.text = text, .n = n, .all_names = limits->only_natural};
    if (!scan_text(&s, limits))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "JSON at byte %llu: found %s",
                            (unsigned long long)(base_offset + s.at), s.problem);
    if (s.mends)
        return parse_mended(text, n, limits, path, base_offset, tree, err);
    const char *end = NULL;
    *tree = cJSON_ParseWithLengthOpts(text, n, &end, 0);
    if (!*tree)
        return mq_fail_file(err, MOEQ_MALFORMED, path, "JSON at byte %llu: syntax error",
                            (unsigned long long)(base_offset + (end ? (size_t)(end - text) : 0)));
    while (end < text + n && (*end == ' ' || *end == '\n' || *end == '\r' || *end == '\t'))
        end++;
    if (end < text + n) {
        cJSON_Delete(*tree);
        *tree = NULL;
        return mq_fail_file(err, MOEQ_MALFORMED, path, "JSON at byte %llu: text after the end",
                            (unsigned long long)(base_offset + (size_t)(end - text)));
    }
    return MOEQ_OK;
}

moeq_status mq_json_refuse_nul(const char *text, size_t n, const char *path, moeq_error *err)
{
    for (const char *at = text; n && (at = memchr(at, '\\', n - (size_t)(at - text))); at += 2) {
        const size_t left = n - (size_t)(at - text);
        if (left >= 6 && memcmp(at, "\\u0000", 6) == 0)
            return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                                "JSON at byte %zu: the character U+0000 in a text",
                                (size_t)(at - text));
        if (left < 2)
            break;
    }
    return MOEQ_OK;
}

moeq_status mq_json_refuse_duplicates(const cJSON *tree, const char *path, moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    if (cJSON_IsObject(tree)) {
        struct mq_strmap keys;
        if (!mq_strmap_init(&keys, (size_t)cJSON_GetArraySize(tree)))
            return mq_fail_memory(err, "checking JSON keys");
        for (const cJSON *c = tree->child; c && status == MOEQ_OK; c = c->next) {
            switch (mq_strmap_add(&keys, c->string, strlen(c->string), 0)) {
            case MQ_STRMAP_ADDED:
                break;
            case MQ_STRMAP_DUPLICATE:
                status = mq_fail_file(err, MOEQ_MALFORMED, path,
                                      "JSON holds the key \"%.200s\" twice", c->string);
                break;
            case MQ_STRMAP_NO_MEMORY:
                status = mq_fail_memory(err, "checking JSON keys");
                break;
            }
        }
        mq_strmap_free(&keys);
    }
    for (const cJSON *c = tree->child; c && status == MOEQ_OK; c = c->next)
        if (c->child)
            status = mq_json_refuse_duplicates(c, path, err);
    return status;
}

bool mq_json_u64(const cJSON *item, uint64_t *value)
{
    if (!cJSON_IsNumber(item))
        return false;
    const double d = item->valuedouble;
    if (!(d >= 0 && d < 9007199254740992.0) || d != (double)(uint64_t)d)
        return false;
    *value = (uint64_t)d;
    return true;
}

const cJSON *mq_json_get(const cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

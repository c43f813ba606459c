/*
 * unicode_form.c: normalization with utf8proc's tables, but in linear time.
 *
 * utf8proc_map puts combining marks into their canonical order by exchanging neighbours, which
 * takes n^2 steps for a run of n marks that are out of order. Here they are sorted: the steps are
 * those of the standard (UAX #15): decompose every character, order the marks of each run stably
 * by their class, and compose.
 *
 * `tokenizers` has the tables of Unicode 9 (its crate unicode-normalization-alignments): characters of
 * later versions stand for themselves in every form, whatever version utf8proc is of. Here each of
 * them is a character without properties until the rest has its form.
 */
#include "unicode_form.h"

#include "error.h"
#include "utf8.h"

#include <utf8proc.h>

#include <stdlib.h>
#include <string.h>

enum {
    MOST_OF_ONE = 32, /* characters that one decomposes into: 18 at most, of U+FDFA */
    CLASSES = 256,
};

struct codes {
    utf8proc_int32_t *data;
    size_t size, capacity;
};

enum { STAND_IN = 0xfdd0 }; /* no character, in any version; in the table itself */

/*
 * Characters of Unicode 10 to 14 that decompose, combine or are composed, as compared with `tokenizers` one by
 * one, and of later versions the blocks and ranges that have such, all of which Unicode 14 has no character in.
 */
static const struct {
    uint32_t first, last;
} later[] = {
    /* clang-format off */
    {0x7fd, 0x7fd}, {0x897, 0x89f}, {0x8ca, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c}, {0xd3b, 0xd3c},
    {0xeba, 0xeba}, {0x1715, 0x1715}, {0x1abf, 0x1aeb}, {0x1df6, 0x1dfa}, {0x32ff, 0x32ff},
    {0xa7f1, 0xa7f4}, {0xa82c, 0xa82c}, {0xab69, 0xab69}, {0xfdd0, 0xfdd0}, {0x105c0, 0x105ff},
    {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27},
    {0x10d40, 0x10d8f}, {0x10eab, 0x10eac}, {0x10ec5, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11380, 0x113ff},
    {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11935, 0x11935},
    {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11b60, 0x11b7f},
    {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11db0, 0x11dff},
    {0x11f00, 0x11f5f}, {0x16100, 0x1613f}, {0x16d40, 0x16d7f}, {0x16ff0, 0x16ff1},
    {0x1cc00, 0x1cebf}, {0x1e030, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
    {0x1e2ec, 0x1e2ef}, {0x1e4d0, 0x1e4ff}, {0x1e5d0, 0x1e5ff}, {0x1e6c0, 0x1e6ff},
    {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
    /* clang-format on */
};

static bool is_later(uint32_t code)
{
    size_t low = 0, high = sizeof later / sizeof *later;
    if (code < later[0].first)
        return false;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (code > later[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof later / sizeof *later && code >= later[low].first;
}

static uint8_t class_of(utf8proc_int32_t code)
{
    return (uint8_t)utf8proc_get_property(code)->combining_class;
}

/* Makes room for one character's decomposition, and for the end that utf8proc_reencode writes. */
static bool reserve(struct codes *c)
{
    if (c->capacity - c->size > MOST_OF_ONE)
        return true;
    const size_t capacity = c->capacity ? 2 * c->capacity : 1024;
    utf8proc_int32_t *data =
        capacity <= SIZE_MAX / sizeof *data ? realloc(c->data, capacity * sizeof *data) : NULL;
    if (!data)
        return false;
    c->data = data;
    c->capacity = capacity;
    return true;
}

static moeq_status decompose(int options, const char *text, size_t n, struct codes *c,
                             moeq_error *err)
{
    for (size_t i = 0; i < n;) {
        uint32_t code;
        int unused = 0;
        i += mq_utf8_next(text + i, &code);
        if (!reserve(c))
            return mq_fail_memory(err, "normalizing text");
        if (is_later(code))
            code = STAND_IN;
        const utf8proc_ssize_t length =
            utf8proc_decompose_char((utf8proc_int32_t)code, c->data + c->size, MOST_OF_ONE,
                                    (utf8proc_option_t)options, &unused);
        if (length < 0 || length > MOST_OF_ONE)
            return mq_fail(err, MOEQ_LIMIT, "normalizing text: %s",
                           length < 0 ? utf8proc_errmsg(length) : "a character of too many");
        c->size += (size_t)length;
    }
    return MOEQ_OK;
}

/* Sorts n marks stably by their classes: counts them, then puts each in its place in `sorted`. */
static void sort_marks(utf8proc_int32_t *marks, size_t n, utf8proc_int32_t *sorted)
{
    size_t place[CLASSES + 1] = {0};
    for (size_t i = 0; i < n; i++)
        place[class_of(marks[i]) + 1]++;
    for (size_t k = 0; k < CLASSES; k++)
        place[k + 1] += place[k];
    for (size_t i = 0; i < n; i++)
        sorted[place[class_of(marks[i])]++] = marks[i];
    memcpy(marks, sorted, n * sizeof *marks);
}

/* Puts each run of marks in order. Runs that are so already, nearly all, cost nothing else. */
static moeq_status order(struct codes *c, moeq_error *err)
{
    utf8proc_int32_t *sorted = NULL;
    for (size_t start = 0, end; start < c->size; start = end) {
        uint8_t last = class_of(c->data[start]);
        bool in_order = true;
        for (end = start + 1; last && end < c->size; end++) {
            const uint8_t combining = class_of(c->data[end]);
            if (!combining)
                break;
            in_order &= combining >= last;
            last = combining;
        }
        if (in_order)
            continue;
        if (!sorted && !(sorted = malloc((c->size - start) * sizeof *sorted)))
            return mq_fail_memory(err, "normalizing text");
        sort_marks(c->data + start, end - start, sorted);
    }
    free(sorted);
    return MOEQ_OK;
}

/* Puts the text's later characters back, which nothing has moved or joined. */
static void restore_later(const char *text, size_t n, utf8proc_int32_t *codes, size_t count)
{
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code;
        i += mq_utf8_next(text + i, &code);
        if (!is_later(code))
            continue;
        while (k < count && codes[k] != STAND_IN)
            k++;
        if (k < count)
            codes[k++] = (utf8proc_int32_t)code;
    }
}

moeq_status mq_unicode_form(int options, const char *text, size_t n, struct mq_buffer *out,
                            moeq_error *err)
{
    struct codes c = {0};
    moeq_status status;
    MQ_TRY_OUT(decompose(options, text, n, &c, err));
    MQ_TRY_OUT(order(&c, err));
    if (!c.size)
        goto out;
    const utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(c.data, (utf8proc_ssize_t)c.size, (utf8proc_option_t)options);
    utf8proc_ssize_t bytes = composed;
    if (composed >= 0) {
        restore_later(text, n, c.data, (size_t)composed);
        /* writes UTF-8 over the codes */
        bytes = utf8proc_reencode(c.data, composed, (utf8proc_option_t)0);
    }
    if (bytes < 0)
        status = mq_fail(err, MOEQ_LIMIT, "normalizing text: %s", utf8proc_errmsg(bytes));
    else
        mq_buffer_append(out, c.data, (size_t)bytes);
out:
    free(c.data);
    return status;
}

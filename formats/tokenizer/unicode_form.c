/*
 * unicode_form.c: normalization with utf8proc's tables, but in linear time.
 *
 * utf8proc_map puts combining marks into their canonical order by exchanging neighbours, which
 * takes n^2 steps for a run of n marks that are out of order. Here they are sorted: the steps are
 * those of the standard (UAX #15): decompose every character, order the marks of each run stably
 * by their class, and compose.
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

moeq_status mq_unicode_form(int options, const char *text, size_t n, struct mq_buffer *out,
                            moeq_error *err)
{
    struct codes c = {0};
    moeq_status status;
    MQ_TRY_OUT(decompose(options, text, n, &c, err));
    MQ_TRY_OUT(order(&c, err));
    if (!c.size)
        goto out;
    /* Composes, and writes UTF-8 over the codes. */
    const utf8proc_ssize_t bytes =
        utf8proc_reencode(c.data, (utf8proc_ssize_t)c.size, (utf8proc_option_t)options);
    if (bytes < 0)
        status = mq_fail(err, MOEQ_LIMIT, "normalizing text: %s", utf8proc_errmsg(bytes));
    else
        mq_buffer_append(out, c.data, (size_t)bytes);
out:
    free(c.data);
    return status;
}

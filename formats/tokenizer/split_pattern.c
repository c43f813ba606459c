/*
 * split_pattern.c: patterns on PCRE2.
 *
 * An expression from a file may be catastrophic, and what PCRE2's own limits count leaves much out:
 * its JIT compiler counts groups, not the characters of a*a*b, and neither counts what one item of
 * the expression runs through. So there is a callout before every item (PCRE2_AUTO_CALLOUT): it pays
 * one step, and one for each character that the place in the text has moved on since the last, from a
 * budget that grows with the text. An item that must match many times over may fail on the way
 * unseen, so each step pays for the largest such number, too. So a text of n bytes takes O(n) steps,
 * whatever the expression, or is refused.
 *
 * Three kinds of patterns need no expression: a literal, characters of a table, and `\s+$`, which
 * deepseek-llm's tokenizers have and which costs n^2 steps in a run of n spaces.
 */
#include "split_pattern.h"

#include "error.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    STEPS_PER_BYTE = 256,    /* of the budget; published patterns need below 20 */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    FIRST_BUDGET = 1 << 12,
#else
    FIRST_BUDGET = 1 << 24,  /* a twentieth of a second */
#endif
    HEAP_KIB = 256 * 1024,   /* of the interpreter's backtracking points */
    FREE_REPEATS = 8,        /* of an item, that a step pays for */
    LONGEST_REGEX = 1 << 14, /* bytes; published ones have below 1,000 */
    FIRST_JIT_STACK_BYTES = 32 * 1024,
    JIT_STACK_BYTES = 1024 * 1024,
};

enum pattern_kind { KIND_LITERAL, KIND_CHARS, KIND_LINE_ENDS, KIND_REGEX };

struct mq_pattern {
    enum pattern_kind kind;
    pcre2_code *code;                   /* KIND_REGEX; owned */
    uint32_t step_cost;                 /* KIND_REGEX */
    const struct mq_char_range *ranges; /* KIND_CHARS */
    size_t length;                      /* of the ranges or the literal */
    char literal[];                     /* or the expression as the file has it */
};

struct mq_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    uint64_t budget;
    /* of the search that is going on */
    uint32_t step_cost;
    size_t place;
};

static moeq_status new_pattern(enum pattern_kind kind, size_t length, struct mq_pattern **pattern,
                               moeq_error *err)
{
    *pattern = calloc(1, sizeof **pattern + length + 1);
    if (!*pattern)
        return mq_fail_memory(err, "reading the tokenizer's patterns");
    (*pattern)->kind = kind;
    (*pattern)->length = length;
    return MOEQ_OK;
}

moeq_status mq_pattern_literal(const char *text, size_t n, struct mq_pattern **pattern,
                               moeq_error *err)
{
    MQ_TRY(new_pattern(KIND_LITERAL, n, pattern, err));
    memcpy((*pattern)->literal, text, n);
    return MOEQ_OK;
}

moeq_status mq_pattern_chars(const struct mq_char_range *ranges, size_t count,
                             struct mq_pattern **pattern, moeq_error *err)
{
    MQ_TRY(new_pattern(KIND_CHARS, count, pattern, err));
    (*pattern)->ranges = ranges;
    return MOEQ_OK;
}

/* The largest number in braces. */
static uint32_t largest_repeat(const char *regex)
{
    unsigned long largest = 0;
    for (const char *at = regex; (at = strpbrk(at, "{,")); at++) {
        const unsigned long n = strtoul(at + 1, NULL, 10);
        largest = n > largest && n <= 65535 ? n : largest; /* PCRE2 takes no larger one */
    }
    return (uint32_t)largest;
}

moeq_status mq_pattern_regex(const char *regex, size_t n, const char *path,
                             struct mq_pattern **pattern, moeq_error *err)
{
    struct mq_buffer translated = {0};
    pcre2_compile_context *context = NULL;
    *pattern = NULL;
    moeq_status status;
    if (strcmp(regex, "\\s+$") == 0)
        return new_pattern(KIND_LINE_ENDS, 0, pattern, err);
    if (n > LONGEST_REGEX)
        return mq_fail_file(err, MOEQ_LIMIT, path,
                            "a split pattern of %zu bytes; at most %d are expected", n,
                            LONGEST_REGEX);
    MQ_TRY_OUT(mq_translate_regex(regex, n, path, &translated, err));
    context = pcre2_compile_context_create(NULL);
    MQ_TRY_OUT(new_pattern(KIND_REGEX, n, pattern, err));
    memcpy((*pattern)->literal, regex, n);
    if (!context || !mq_buffer_ok(&translated)) {
        status = mq_fail_memory(err, "compiling the tokenizer's patterns");
        goto out;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF); /* what '.' excludes, as in Oniguruma */
    int code;
    PCRE2_SIZE at;
    (*pattern)->code = pcre2_compile(
        (PCRE2_SPTR)(translated.data ? translated.data : ""), translated.size,
        PCRE2_UTF | PCRE2_UCP | PCRE2_AUTO_CALLOUT | PCRE2_NO_START_OPTIMIZE, &code, &at, context);
    if (!(*pattern)->code && code == PCRE2_ERROR_HEAP_FAILED) {
        status = mq_fail_memory(err, "compiling the tokenizer's patterns");
        goto out;
    }
    if (!(*pattern)->code) {
        char text[200];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        status = mq_fail_file(err, MOEQ_MALFORMED, path, "split pattern '%.300s': %s", regex, text);
        goto out;
    }
    /* Not every platform has the JIT compiler; the interpreter gives the same matches. */
    (void)pcre2_jit_compile((*pattern)->code, PCRE2_JIT_COMPLETE);
    (*pattern)->step_cost = 1 + largest_repeat(regex) / FREE_REPEATS;
    status = MOEQ_OK;
out:
    if (status != MOEQ_OK) {
        mq_pattern_free(*pattern);
        *pattern = NULL;
    }
    pcre2_compile_context_free(context);
    mq_buffer_free(&translated);
    return status;
}

void mq_pattern_free(struct mq_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    free(pattern);
}

/* PCRE2 calls it before each item of the expression that it tries. */
static int pay_step(pcre2_callout_block *block, void *data)
{
    struct mq_matcher *m = data;
    const size_t place = block->current_position;
    const uint64_t steps = m->step_cost + (place > m->place ? place - m->place : 0);
    if (steps > m->budget)
        return PCRE2_ERROR_MATCHLIMIT;
    m->budget -= steps;
    m->place = place;
    return 0;
}

moeq_status mq_matcher_create(struct mq_matcher **matcher, moeq_error *err)
{
    struct mq_matcher *m = *matcher = calloc(1, sizeof *m);
    if (m) {
        m->data = pcre2_match_data_create(1, NULL);
        m->context = pcre2_match_context_create(NULL);
        m->stack = pcre2_jit_stack_create(FIRST_JIT_STACK_BYTES, JIT_STACK_BYTES, NULL);
        m->budget = FIRST_BUDGET;
    }
    if (!m || !m->data || !m->context) {
        mq_matcher_free(m);
        *matcher = NULL;
        return mq_fail_memory(err, "preparing to match the tokenizer's patterns");
    }
    pcre2_set_heap_limit(m->context, HEAP_KIB);
    pcre2_set_match_limit(m->context, UINT32_MAX);
    pcre2_set_callout(m->context, pay_step, m);
    if (m->stack) /* NULL where PCRE2 has no JIT */
        pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return MOEQ_OK;
}

void mq_matcher_free(struct mq_matcher *matcher)
{
    if (!matcher)
        return;
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->stack);
    free(matcher);
}

void mq_matcher_grant(struct mq_matcher *matcher, size_t n)
{
    matcher->budget += (uint64_t)n * STEPS_PER_BYTE;
}

/* JIT first, where there is one. */
static int match(const struct mq_pattern *pattern, struct mq_matcher *matcher, const char *text,
                 size_t n, size_t from)
{
    int result = PCRE2_ERROR_JIT_STACKLIMIT;
    for (int jit = 1; jit >= 0 && result == PCRE2_ERROR_JIT_STACKLIMIT; jit--) {
        matcher->step_cost = pattern->step_cost;
        matcher->place = from;
        result = pcre2_match(pattern->code, (PCRE2_SPTR)text, n, from,
                             PCRE2_NO_UTF_CHECK | (jit ? 0 : PCRE2_NO_JIT), matcher->data,
                             matcher->context);
    }
    return result;
}

/* The first character of one of the ranges. */
static bool find_char(const struct mq_pattern *pattern, const char *text, size_t n, size_t from,
                      struct mq_span *match)
{
    for (size_t length; from < n; from += length) {
        uint32_t code;
        length = mq_utf8_next(text + from, &code);
        size_t low = 0, high = pattern->length;
        while (low < high) {
            const size_t middle = low + (high - low) / 2;
            if (pattern->ranges[middle].last < code)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < pattern->length && pattern->ranges[low].first <= code) {
            *match = (struct mq_span){from, from + length};
            return true;
        }
    }
    return false;
}

/* `\s+$`: white space up to the last place in its run that a newline or the end follows. */
static bool find_line_end(const char *text, size_t n, size_t from, struct mq_span *match)
{
    size_t start = from, end = from; /* of the run; of the match in it */
    for (size_t length; from < n; from += length) {
        uint32_t code;
        length = mq_utf8_next(text + from, &code);
        if (mq_is_white_space(code)) {
            if (from + length == n || text[from + length] == '\n')
                end = from + length;
        } else if (end > start) {
            break;
        } else {
            start = end = from + length;
        }
    }
    *match = (struct mq_span){start, end};
    return end > start;
}

moeq_status mq_pattern_find(const struct mq_pattern *pattern, struct mq_matcher *matcher,
                            const char *text, size_t n, size_t from, struct mq_span *span,
                            bool *found, moeq_error *err)
{
    *found = false;
    if (from > n)
        return MOEQ_OK;
    if (pattern->kind == KIND_LITERAL) {
        const char *at = pattern->length
                             ? memmem(text + from, n - from, pattern->literal, pattern->length)
                             : NULL;
        *found = at != NULL;
        if (at)
            *span = (struct mq_span){(size_t)(at - text), (size_t)(at - text) + pattern->length};
        return MOEQ_OK;
    }
    if (pattern->kind == KIND_CHARS || pattern->kind == KIND_LINE_ENDS) {
        *found = pattern->kind == KIND_CHARS ? find_char(pattern, text, n, from, span)
                                             : find_line_end(text, n, from, span);
        return MOEQ_OK;
    }
    const int result = match(pattern, matcher, text, n, from);
    if (result == PCRE2_ERROR_NOMATCH)
        return MOEQ_OK;
    if (result == PCRE2_ERROR_NOMEMORY)
        return mq_fail_memory(err, "matching the tokenizer's patterns");
    if (result < 0) {
        char message[200] = "it would take too many steps; break long runs of one kind of "
                            "character (digits, spaces, ...) by ends of lines, or the text into "
                            "several";
        if (result != PCRE2_ERROR_MATCHLIMIT && result != PCRE2_ERROR_HEAPLIMIT)
            pcre2_get_error_message(result, (PCRE2_UCHAR *)message, sizeof message);
        return mq_fail(err, MOEQ_LIMIT,
                       "the tokenizer's split pattern at byte %zu of a segment of %zu bytes: %s "
                       "('%.100s')",
                       from, n, message, pattern->literal);
    }
    /* Results 0 and above are matches (0: more groups than were asked for). */
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(matcher->data);
    *span = (struct mq_span){offsets[0], offsets[1]};
    *found = true;
    return MOEQ_OK;
}

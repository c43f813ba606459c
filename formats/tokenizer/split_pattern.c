/*
 * split_pattern.c: patterns on PCRE2.
 *
 * An expression from a file may be catastrophic, so its steps are bounded. PCRE2's match limit
 * counts the steps from one start position, which alone would allow limit * length steps. Here
 * the limit is small (BASE_STEPS: a word of some hundred characters); where that does not do, the
 * search goes on position by position with doubling limits, and these are paid from a budget that
 * grows with the text. What the limit does not count are scans, of `.*` over all of the text say:
 * so a search sees a window of the text only, and says whether it came to the window's end. Then
 * the window grows for the one start position that needs more, and is paid from the budget. So a
 * text of n bytes costs O(n) steps, whatever the expression.
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
    BASE_STEPS = 2000,
    WINDOW = 4096,                   /* bytes behind a start position that cost nothing */
    STEPS_PER_BYTE = 256,            /* of the budget; published patterns need below 10 */
    FIRST_BUDGET = 10 * 1000 * 1000, /* PCRE2's own default match limit */
    HEAP_KIB = 256 * 1024,           /* of the interpreter's backtracking points */
    FIRST_JIT_STACK_BYTES = 32 * 1024,
    JIT_STACK_BYTES = 1024 * 1024,
};

enum pattern_kind { KIND_LITERAL, KIND_CHARS, KIND_LINE_ENDS, KIND_REGEX };

struct mq_pattern {
    enum pattern_kind kind;
    pcre2_code *code;                   /* KIND_REGEX; owned */
    const struct mq_char_range *ranges; /* KIND_CHARS */
    size_t length;                      /* of the ranges or the literal */
    char literal[];
};

struct mq_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    uint64_t budget;
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

moeq_status mq_pattern_regex(const char *regex, size_t n, const char *path,
                             struct mq_pattern **pattern, moeq_error *err)
{
    struct mq_buffer translated = {0};
    pcre2_compile_context *context = NULL;
    *pattern = NULL;
    moeq_status status;
    if (strcmp(regex, "\\s+$") == 0)
        return new_pattern(KIND_LINE_ENDS, 0, pattern, err);
    MQ_TRY_OUT(mq_translate_regex(regex, n, path, &translated, err));
    context = pcre2_compile_context_create(NULL);
    MQ_TRY_OUT(new_pattern(KIND_REGEX, 0, pattern, err));
    if (!context || !mq_buffer_ok(&translated)) {
        status = mq_fail_memory(err, "compiling the tokenizer's patterns");
        goto out;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF); /* what '.' excludes, as in Oniguruma */
    int code;
    PCRE2_SIZE at;
    (*pattern)->code =
        pcre2_compile((PCRE2_SPTR)(translated.data ? translated.data : ""), translated.size,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_USE_OFFSET_LIMIT, &code, &at, context);
    if (!(*pattern)->code) {
        char text[200];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        status = mq_fail_file(err, MOEQ_MALFORMED, path, "split pattern '%.300s': %s", regex, text);
        goto out;
    }
    /* Not every platform has the JIT compiler; the interpreter gives the same matches. */
    (void)pcre2_jit_compile((*pattern)->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
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

/* pcre2_match with a limit on the steps from one start; JIT first, where there is one. */
static int match_limited(const struct mq_pattern *pattern, struct mq_matcher *matcher,
                         const char *text, size_t n, size_t from, uint32_t steps, uint32_t options)
{
    pcre2_set_match_limit(matcher->context, steps);
    options |= PCRE2_NO_UTF_CHECK;
    int result = pcre2_match(pattern->code, (PCRE2_SPTR)text, n, from, options, matcher->data,
                             matcher->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(pattern->code, (PCRE2_SPTR)text, n, from, options | PCRE2_NO_JIT,
                             matcher->data, matcher->context);
    return result;
}

/* Goes on where the base limit was hit: from one start position after another, with limits that
 * double until the budget is spent. */
static int match_patiently(const struct mq_pattern *pattern, struct mq_matcher *matcher,
                           const char *text, size_t n, size_t from)
{
    uint32_t steps = BASE_STEPS;
    for (;;) {
        /* With PCRE2_ANCHORED given here, PCRE2 uses its interpreter. */
        const int result = match_limited(pattern, matcher, text, n, from, steps, PCRE2_ANCHORED);
        if (result == PCRE2_ERROR_NOMATCH) {
            if (from == n)
                return result;
            uint32_t code;
            from += mq_utf8_next(text + from, &code);
            steps = BASE_STEPS;
        } else if (result == PCRE2_ERROR_MATCHLIMIT) {
            if (steps > UINT32_MAX / 2 || (uint64_t)steps * 2 > matcher->budget)
                return result;
            steps *= 2;
            matcher->budget -= steps;
        } else {
            return result;
        }
    }
}

/* Where a window from `from` on ends: at a character, or at the end. */
static size_t window_end(const char *text, size_t n, size_t from, size_t window)
{
    if (n - from <= window)
        return n;
    size_t end = from + window;
    while (((unsigned char)text[end] & 0xc0) == 0x80)
        end++; /* not behind n: the text is valid */
    return end;
}

/* One start position after another once the window has had to grow, all in it before that. */
static int match_windowed(const struct mq_pattern *pattern, struct mq_matcher *matcher,
                          const char *text, size_t n, size_t from)
{
    size_t window = WINDOW;
    for (;;) {
        const size_t end = window_end(text, n, from, window);
        const bool one = window > WINDOW; /* start position */
        pcre2_set_offset_limit(matcher->context, one ? from : PCRE2_UNSET);
        const int result = match_limited(pattern, matcher, text, end, from, BASE_STEPS,
                                         end < n ? PCRE2_PARTIAL_HARD : 0);
        pcre2_set_offset_limit(matcher->context, PCRE2_UNSET);
        if (result == PCRE2_ERROR_MATCHLIMIT)
            return match_patiently(pattern, matcher, text, n, from);
        if (result == PCRE2_ERROR_NOMATCH) {
            uint32_t code;
            if (from == n || (end == n && !one))
                return result;
            from = one ? from + mq_utf8_next(text + from, &code) : end;
            window = WINDOW;
        } else if (result == PCRE2_ERROR_PARTIAL) {
            const size_t start = pcre2_get_ovector_pointer(matcher->data)[0];
            if (start > from) {
                from = start;
                window = WINDOW;
                continue;
            }
            window *= 2;
            if (window > matcher->budget)
                return PCRE2_ERROR_MATCHLIMIT;
            matcher->budget -= window;
        } else {
            return result;
        }
    }
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
                            const char *text, size_t n, size_t from, struct mq_span *match,
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
            *match = (struct mq_span){(size_t)(at - text), (size_t)(at - text) + pattern->length};
        return MOEQ_OK;
    }
    if (pattern->kind == KIND_CHARS || pattern->kind == KIND_LINE_ENDS) {
        *found = pattern->kind == KIND_CHARS ? find_char(pattern, text, n, from, match)
                                             : find_line_end(text, n, from, match);
        return MOEQ_OK;
    }
    const int result = match_windowed(pattern, matcher, text, n, from);
    if (result == PCRE2_ERROR_NOMATCH)
        return MOEQ_OK;
    if (result == PCRE2_ERROR_NOMEMORY)
        return mq_fail_memory(err, "matching the tokenizer's patterns");
    if (result < 0) {
        char message[200] = "it would take too many steps; break long runs of one kind of "
                            "character (digits, spaces, ...) by ends of lines, or the text into "
                            "several";
        if (result != PCRE2_ERROR_MATCHLIMIT)
            pcre2_get_error_message(result, (PCRE2_UCHAR *)message, sizeof message);
        return mq_fail(err, MOEQ_LIMIT,
                       "the tokenizer's split pattern at byte %zu of a segment of %zu bytes: %s",
                       from, n, message);
    }
    /* Results 0 and above are matches (0: more groups than were asked for). */
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(matcher->data);
    *match = (struct mq_span){offsets[0], offsets[1]};
    *found = true;
    return MOEQ_OK;
}

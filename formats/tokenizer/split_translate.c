/*
 * split_translate.c: Oniguruma expressions (Ruby syntax, UTF-8) to PCRE2 ones.
 *
 * Where the two agree, text is copied. They differ in this, by their documents doc/RE of Oniguruma
 * and pcre2pattern(3):
 *   \s      here U+180E too                        -> the ranges of White_Space
 *   \v      here all vertical white space          -> \x0b
 *   \w      there UTS #18's, and, but in sets, Latin-1's numbers -> ranges
 *   \b      by that \w, too                        -> looking around
 *   ^ $     there of every line                    -> (?m:^) (?m:$)
 *   [a[b]]  there a nested set                     -> [ab]; one that is negated, refused
 *   [a&&[b]] [a&&[^b]]  there what is in both      -> looking ahead for the second; && elsewhere refused
 *   \p{Han} here script extensions too, and by the version of PCRE2  -> ranges
 *   {,n}    there {0,n}, here literal text         -> {0,n}
 *   {n}? {n,m}+   there a second quantifier        -> refused
 *   (?i:ss) there also one letter for two, U+00DF  -> refused: ff fi fl ss st, and what is not
 *           ASCII; in sets, where letters stand alone, only what is not ASCII
 *   (?<=a) and whatever is not listed here         -> refused
 */
#include "split_pattern.h"

#include "error.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

/* White_Space of Unicode's PropList.txt, unchanged since Unicode 6.3, and its complement. */
#define WHITE_SPACE                                                                             \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}" \
    "\\x{205f}\\x{3000}"
#define NOT_WHITE_SPACE                                                            \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"   \
    "\\x{1681}-\\x{1fff}"                                                          \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}" \
    "\\x{3001}-\\x{10ffff}"

/*
 * \w by Oniguruma's table of the class Word: letters, marks, decimal digits, connectors, what is
 * Alphabetic besides (the numbers Nl, and circled letters of category So), and, where it does not stand in
 * a set, the numbers of Latin-1. Its complement is a set of its own, since a set may have both kinds.
 */
#define WORD_IN_SET                                        \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}" \
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORD WORD_IN_SET "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define WORD_BOUNDARY "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"
#define NO_BOUNDARY "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))"

/* Script=Han of Unicode's Scripts.txt, as of Unicode 15.1. */
#define HAN                                                                                \
    "\\x{2e80}-\\x{2e99}\\x{2e9b}-\\x{2ef3}\\x{2f00}-\\x{2fd5}\\x{3005}\\x{3007}"          \
    "\\x{3021}-\\x{3029}\\x{3038}-\\x{303b}\\x{3400}-\\x{4dbf}\\x{4e00}-\\x{9fff}"         \
    "\\x{f900}-\\x{fa6d}\\x{fa70}-\\x{fad9}\\x{16fe2}\\x{16fe3}\\x{16ff0}\\x{16ff1}"       \
    "\\x{20000}-\\x{2a6df}\\x{2a700}-\\x{2b739}\\x{2b740}-\\x{2b81d}\\x{2b820}-\\x{2cea1}" \
    "\\x{2ceb0}-\\x{2ebe0}\\x{2ebf0}-\\x{2ee5d}\\x{2f800}-\\x{2fa1d}\\x{30000}-\\x{3134a}" \
    "\\x{31350}-\\x{323af}"

enum { MAX_GROUPS = 64 }; /* nesting */

struct translation {
    const char *regex;
    size_t n, at;
    struct mq_buffer *out;
    bool caseless[MAX_GROUPS]; /* by depth */
    size_t depth;
    char last; /* the literal just before, inside a caseless group; 0: none */
    const char *path;
    moeq_error *err;
};

static moeq_status refuse(struct translation *t, const char *what)
{
    return mq_fail_file(t->err, MOEQ_UNSUPPORTED, t->path, "split pattern '%.300s' at byte %zu: %s",
                        t->regex, t->at, what);
}

static bool looking_at(const struct translation *t, const char *text)
{
    const size_t n = strlen(text);
    return n <= t->n - t->at && memcmp(t->regex + t->at, text, n) == 0;
}

/* Copies \p{..} or \P{..}. Only general categories, and Han. */
static moeq_status put_property(struct translation *t, bool in_set)
{
    static const char han[] = "\\p{Han}";
    if (looking_at(t, han)) {
        mq_buffer_puts(t->out, in_set ? HAN : "[" HAN "]");
        t->at += sizeof han - 1;
        return MOEQ_OK;
    }
    static const char names[] = " L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S "
                                "Sm Sc Sk So Z Zs Zl Zp ";
    const char *start = t->regex + t->at;
    const char *end = memchr(start, '}', t->n - t->at);
    if (!end || start[2] != '{' || end - start < 4 || end - start > 5)
        return refuse(t, "only \\p{..} of a general category is supported");
    const size_t n = (size_t)(end - start - 3); /* 1 or 2 */
    char name[5] = " ";
    memcpy(name + 1, start + 3, n);
    name[1 + n] = ' ';
    if (!strstr(names, name))
        return refuse(t, "only \\p{..} of a general category is supported");
    mq_buffer_append(t->out, start, (size_t)(end - start + 1));
    t->at += (size_t)(end - start + 1);
    return MOEQ_OK;
}

/* \x{H...} and \uHHHH, which PCRE2 writes \x{HHHH}. */
static moeq_status put_code_point(struct translation *t)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    const bool braces = looking_at(t, "\\x{");
    size_t at = t->at + (braces ? 3 : 2);
    const size_t digits = strspn(t->regex + at, hex);
    const bool ok = braces ? digits >= 1 && digits <= 6 && t->regex[at + digits] == '}'
                           : t->regex[t->at + 1] == 'u' && digits >= 4;
    if (!ok)
        return refuse(t, "this escape is not supported");
    mq_buffer_printf(t->out, "\\x{%.*s}", braces ? (int)digits : 4, t->regex + at);
    t->at = at + (braces ? digits + 1 : 4);
    return MOEQ_OK;
}

static bool is_class_escape(const struct translation *t, size_t at)
{
    return at + 1 < t->n && t->regex[at] == '\\' && strchr("sSdDpPw", t->regex[at + 1]);
}

/* Escapes that become a text: outside of sets, and inside; NULL: not there. */
static const struct {
    char letter;
    const char *outside, *inside;
} escapes[] = {
    {'s', "[" WHITE_SPACE "]", WHITE_SPACE},
    {'S', "[^" WHITE_SPACE "]", NOT_WHITE_SPACE},
    {'w', "[" WORD "]", WORD_IN_SET},
    {'W', "[^" WORD "]", NULL},
    {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},
    {'v', "\\x{b}", "\\x{b}"},
    {'r', "\\r", "\\r"},
    {'n', "\\n", "\\n"},
    {'t', "\\t", "\\t"},
    {'f', "\\f", "\\f"},
    {'b', WORD_BOUNDARY, NULL}, /* in a set it is a backspace */
    {'B', NO_BOUNDARY, NULL},
    {'A', "\\A", NULL},
    {'z', "\\z", NULL},
    {'Z', "\\Z", NULL},
};

/* An escape, inside a set or outside. `at` stands on the backslash. */
static moeq_status put_escape(struct translation *t, bool in_set)
{
    if (t->at + 1 >= t->n)
        return refuse(t, "a backslash at the end");
    const char c = t->regex[t->at + 1];
    if (t->caseless[t->depth] && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
        return refuse(t, "this escape is not supported inside (?i:");
    if (c == 'p' || c == 'P')
        return put_property(t, in_set);
    if (c == 'x' || c == 'u')
        return put_code_point(t);
    const char *text = NULL;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (c == escapes[i].letter)
            text = in_set ? escapes[i].inside : escapes[i].outside;
    if (text) {
        mq_buffer_puts(t->out, text);
    } else {
        /* Escaped ASCII punctuation stands for itself in both. */
        if (c < ' ' || c > '~' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
            (c >= 'A' && c <= 'Z'))
            return refuse(t, "this escape is not supported");
        mq_buffer_append(t->out, t->regex + t->at, 2);
    }
    t->at += 2;
    return MOEQ_OK;
}

/*
 * What stands between the brackets of a set, up to its closing one, or of an outer one to "&&". A set within it that is not
 * negated adds its members to the outer one's. The recursion is bounded by MAX_GROUPS.
 */
// NOLINTNEXTLINE(misc-no-recursion): MAX_GROUPS
static moeq_status put_members(struct translation *t, unsigned depth)
{
    bool after_class = false; /* a '-' here is a literal, not a range */
    while (t->at < t->n && t->regex[t->at] != ']' && (depth > 0 || !looking_at(t, "&&"))) {
        const char c = t->regex[t->at];
        const bool inner = c == '[', is_class = is_class_escape(t, t->at);
        if (looking_at(t, "&&") || looking_at(t, "[^") || looking_at(t, "[:") ||
            looking_at(t, "[]") || looking_at(t, "-[") || depth == MAX_GROUPS)
            return refuse(t, "this kind of set inside a set is not supported");
        if (t->caseless[t->depth] && (unsigned char)c >= 0x80)
            return refuse(t, "only ASCII is supported inside (?i:");
        if (c == '\\') {
            MQ_TRY(put_escape(t, true));
        } else if (inner) {
            t->at++;
            MQ_TRY(put_members(t, depth + 1));
            t->at++;
            if (looking_at(t, "-"))
                return refuse(t, "a range that begins with a set is not supported");
        } else if (c == '-' && (after_class || is_class_escape(t, t->at + 1))) {
            mq_buffer_puts(t->out, "\\-");
            t->at++;
        } else {
            mq_buffer_putc(t->out, c);
            t->at++;
        }
        after_class = is_class || inner;
    }
    return t->at < t->n ? MOEQ_OK : refuse(t, "a set without an end");
}

/* A set: `at` stands on its opening bracket; of one with "&&", up to there. */
static moeq_status put_simple_set(struct translation *t)
{
    mq_buffer_putc(t->out, '[');
    t->at++;
    if (looking_at(t, "^")) {
        if (t->caseless[t->depth])
            return refuse(t, "a negated set is not supported inside (?i:");
        mq_buffer_putc(t->out, '^');
        t->at++;
    }
    if (looking_at(t, "]") || looking_at(t, "&&"))
        return refuse(t, "an empty set is not supported");
    MQ_TRY(put_members(t, 0));
    mq_buffer_putc(t->out, ']');
    return MOEQ_OK;
}

/* The second part of [a&&[b]], in front of the first: `at` stands on its opening bracket. */
static moeq_status put_both(struct translation *t, const struct mq_buffer *first)
{
    const bool without = looking_at(t, "[^");
    if (!looking_at(t, "["))
        return refuse(t, "&& is only supported before one set in brackets");
    mq_buffer_puts(t->out, without ? "(?:(?!" : "(?:(?=");
    t->at += without; /* that of "[^": its closing bracket ends what is looked for */
    MQ_TRY(put_simple_set(t));
    if (!looking_at(t, "]]"))
        return refuse(t, "&& is only supported before one set in brackets");
    t->at++;
    mq_buffer_putc(t->out, ')');
    mq_buffer_append(t->out, first->data, first->size);
    mq_buffer_putc(t->out, ')');
    return MOEQ_OK;
}

static moeq_status put_set(struct translation *t)
{
    struct mq_buffer first = {0}, *out = t->out;
    const bool negated = looking_at(t, "[^");
    t->out = &first;
    moeq_status status = put_simple_set(t);
    t->out = out;
    if (status == MOEQ_OK && looking_at(t, "&&")) {
        t->at += 2;
        status = negated || t->caseless[t->depth]
                     ? refuse(t, "&& is not supported in a negated set, nor inside (?i:")
                     : put_both(t, &first);
    } else if (status == MOEQ_OK) {
        mq_buffer_append(out, first.data, first.size);
    }
    out->failed = out->failed || first.failed;
    mq_buffer_free(&first);
    t->at += status == MOEQ_OK;
    return status;
}

/* A group's opening: `at` stands on the parenthesis. */
static moeq_status put_group(struct translation *t)
{
    static const char *const openings[] = {"(?:", "(?=", "(?!", "(?>", "(?i:"};
    const char *opening = "(";
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++)
        if (looking_at(t, openings[i]))
            opening = openings[i];
    if (strlen(opening) == 1 && (looking_at(t, "(?") || looking_at(t, "(*")))
        return refuse(t, "this kind of group is not supported");
    if (t->depth + 1 == MAX_GROUPS)
        return refuse(t, "groups nested too deep");
    const bool caseless = t->caseless[t->depth] || strcmp(opening, "(?i:") == 0;
    t->caseless[++t->depth] = caseless;
    /* Groups are never referred to: what captures there need not here. */
    mq_buffer_puts(t->out, strlen(opening) == 1 ? "(?:" : opening);
    t->at += strlen(opening);
    return MOEQ_OK;
}

/* {n}, {n,}, {n,m} and {,m}; any other brace is literal text. */
static moeq_status put_interval(struct translation *t)
{
    const char *start = t->regex + t->at + 1;
    const size_t low = strspn(start, "0123456789");
    const bool comma = start[low] == ',';
    const size_t high = comma ? strspn(start + low + 1, "0123456789") : 0;
    const char *end = start + low + comma + high;
    if (*end != '}' || low + high == 0) {
        mq_buffer_puts(t->out, "\\{");
        t->at++;
        return MOEQ_OK;
    }
    if (end[1] == '+' || (end[1] == '?' && !(comma && low)))
        return refuse(t, "a quantifier of a quantifier is not supported");
    mq_buffer_printf(t->out, "{%.*s%.*s}", low ? (int)low : 1, low ? start : "0",
                     (int)(comma + high), start + low);
    t->at = (size_t)(end + 1 - t->regex);
    return MOEQ_OK;
}

/* A literal character inside (?i:..), where pairs that fold to one letter are refused. */
static moeq_status check_caseless(struct translation *t)
{
    static const char *const pairs[] = {"ff", "fi", "fl", "ss", "st"};
    const unsigned char c = (unsigned char)t->regex[t->at];
    if (c >= 0x80)
        return refuse(t, "only ASCII is supported inside (?i:");
    const char lower = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (t->last == pairs[i][0] && lower == pairs[i][1])
            return refuse(t, "this pair of letters is not supported inside (?i:");
    t->last = lower;
    return MOEQ_OK;
}

moeq_status mq_translate_regex(const char *regex, size_t n, const char *path, struct mq_buffer *out,
                               moeq_error *err)
{
    struct translation t = {.regex = regex, .n = n, .out = out, .path = path, .err = err};
    while (t.at < n) {
        const char c = regex[t.at];
        const char last = t.last;
        t.last = 0;
        switch (c) {
        case '\\':
            MQ_TRY(put_escape(&t, false));
            continue;
        case '[':
            MQ_TRY(put_set(&t));
            continue;
        case '(':
            MQ_TRY(put_group(&t));
            continue;
        case '{':
            MQ_TRY(put_interval(&t));
            continue;
        case '^':
        case '$':
            mq_buffer_printf(out, "(?m:%c)", c);
            t.at++;
            continue;
        case ')':
            if (t.depth == 0)
                return refuse(&t, "a closing parenthesis without an opening one");
            t.depth--;
            break;
        case '|':
        case '*':
        case '+':
        case '?':
        case '.':
            break;
        default:
            t.last = last;
            if (t.caseless[t.depth])
                MQ_TRY(check_caseless(&t));
        }
        mq_buffer_putc(out, c);
        t.at++;
    }
    return MOEQ_OK;
}

/* json_scan.c: a state a token; a bit for each open bracket says which kind it is. */
#include "json_scan.h"

#include <string.h>

enum expected {
    A_VALUE,
    VALUE_OR_END, /* behind '[' */
    KEY_OR_END,   /* behind '{' */
    A_KEY,        /* behind ',' in an object */
    A_COLON,
    COMMA_OR_END,
    NOTHING, /* behind the outermost value */
};

struct state {
    struct mq_json_scan *s;
    const struct mq_json_limits *limits;
    enum expected expected;
    uint32_t depth;
    uint64_t objects; /* bit d: the bracket at depth d is '{' */
};

static bool fail(struct mq_json_scan *s, size_t at, const char *problem)
{
    s->at = at;
    s->problem = problem;
    return false;
}

/* ---- strings ---- */

/* Whether one of the eight bytes is c (Bit Twiddling Hacks, "Determine if a word has a zero byte"). */
static bool has_byte(uint64_t eight, char c)
{
    const uint64_t ones = 0x0101010101010101u, x = eight ^ ones * (unsigned char)c;
    return (x - ones) & ~x & ones << 7;
}

size_t mq_json_string_end(const char *text, size_t n, size_t at)
{
    uint64_t eight;
    for (at++; at < n && text[at] != '"'; at++) {
        at += text[at] == '\\';
        while (n > at + sizeof eight) {
            memcpy(&eight, text + at + 1, sizeof eight);
            if (has_byte(eight, '"') || has_byte(eight, '\\'))
                break;
            at += sizeof eight;
        }
    }
    return at < n ? at + 1 : n;
}

/* The value of four hexadecimal digits at `at`; -1 if they are none. */
static int32_t hex4(const struct mq_json_scan *s, size_t at)
{
    int32_t value = 0;
    if (s->n - at < 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        const char c = s->text[i], letter = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (letter >= 'a' && letter <= 'f')
            value = value * 16 + (letter - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* `at` stands on the backslash, afterwards on the last character of what it begins. no_nul: what a
 * U+0000 is; NULL where it may stand. */
static bool scan_escape(struct mq_json_scan *s, const char *no_nul)
{
    const size_t start = s->at++;
    if (s->at >= s->n || !s->text[s->at] || !strchr("\"\\/bfnrtu", s->text[s->at]))
        return fail(s, start, "a backslash that begins no escape");
    if (s->text[s->at] != 'u')
        return true;
    const int32_t code = hex4(s, s->at + 1);
    if (code < 0)
        return fail(s, start, "\\u without four hexadecimal digits");
    if (code == 0 && no_nul)
        return fail(s, start, no_nul);
    s->at += 4;
    if (code < 0xd800 || code > 0xdfff)
        return true;
    const bool follows =
        s->n - s->at > 6 && s->text[s->at + 1] == '\\' && s->text[s->at + 2] == 'u';
    const int32_t low = code < 0xdc00 && follows ? hex4(s, s->at + 3) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(s, start, "half of a surrogate pair");
    s->at += 6;
    return true;
}

/* `at` stands on the opening quote; afterwards behind the closing one. */
static bool scan_string(struct mq_json_scan *s, const char *no_nul)
{
    const size_t start = s->at++;
    for (; s->at < s->n; s->at++) {
        const unsigned char c = (unsigned char)s->text[s->at];
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c < 0x20)
            return fail(s, s->at, "a control character inside a string");
        if (c == '\\' && !scan_escape(s, no_nul))
            return false;
    }
    return fail(s, start, "a string without an end");
}

/* ---- numbers and words ---- */

size_t mq_json_number_word(const char *text, size_t n, size_t at)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t length = strlen(words[i]);
        if (length <= n - at && memcmp(text + at, words[i], length) == 0)
            return length;
    }
    return 0;
}

static size_t scan_digits(struct mq_json_scan *s)
{
    const size_t start = s->at;
    while (s->at < s->n && s->text[s->at] >= '0' && s->text[s->at] <= '9')
        s->at++;
    return s->at - start;
}

static bool scan_char(struct mq_json_scan *s, const char *chars)
{
    const bool is = s->at < s->n && s->text[s->at] && strchr(chars, s->text[s->at]);
    s->at += is;
    return is;
}

static const char no_value[] = "text that is no JSON value";

static bool scan_number(struct mq_json_scan *s, bool only_natural)
{
    const size_t start = s->at;
    bool natural = !scan_char(s, "-");
    const size_t first = s->at, digits = scan_digits(s);
    if (!digits)
        return fail(s, start, no_value);
    if (digits > 1 && s->text[first] == '0')
        return fail(s, start, "a number with a leading zero");
    if (scan_char(s, ".")) {
        natural = false;
        if (!scan_digits(s))
            return fail(s, start, no_value);
    }
    if (scan_char(s, "eE")) {
        natural = false;
        scan_char(s, "+-");
        if (!scan_digits(s))
            return fail(s, start, no_value);
    }
    if (only_natural && !natural)
        return fail(s, start, "a number that is no plain non-negative integer");
    /* 2^53 = 9007199254740992: above it cJSON's doubles skip integers. */
    if (only_natural &&
        (digits > 16 || (digits == 16 && memcmp(s->text + start, "9007199254740992", 16) > 0)))
        return fail(s, start, "an integer above 2^53");
    s->mends += s->at - start > MQ_JSON_NUMBER;
    return true;
}

/* The length of true, false or null at `at`; 0: none. */
static size_t word_size(const struct mq_json_scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t length = strlen(words[i]);
        if (length <= s->n - s->at && memcmp(s->text + s->at, words[i], length) == 0)
            return length;
    }
    return 0;
}

static bool scan_scalar(struct mq_json_scan *s, const struct mq_json_limits *limits)
{
    const size_t start = s->at, word = word_size(s);
    if (s->text[s->at] == '"')
        return scan_string(s, limits->nul_in_texts ? NULL : "the character U+0000 in a text");
    const size_t number =
        word || limits->only_natural ? 0 : mq_json_number_word(s->text, s->n, s->at);
    s->at += word + number;
    s->mends += number > 0;
    if (!word && !number && !scan_number(s, limits->only_natural))
        return false;
    if (s->at < s->n && !strchr(" \t\r\n,:]}", s->text[s->at]))
        return fail(s, start, no_value);
    return true;
}

/* ---- the structure ---- */

static enum expected after_value(const struct state *st)
{
    return st->depth ? COMMA_OR_END : NOTHING;
}

static bool open_bracket(struct state *st, bool object)
{
    struct mq_json_scan *s = st->s;
    if (st->depth >= st->limits->depth || st->depth >= MQ_JSON_DEEPEST)
        return fail(s, s->at, "nesting deeper than any such file needs");
    const uint64_t bit = (uint64_t)1 << st->depth++;
    st->objects = object ? st->objects | bit : st->objects & ~bit;
    st->expected = object ? KEY_OR_END : VALUE_OR_END;
    s->at++;
    return true;
}

static bool in_object(const struct state *st)
{
    return st->depth && st->objects >> (st->depth - 1) & 1;
}

static bool close_bracket(struct state *st, bool object)
{
    struct mq_json_scan *s = st->s;
    if (!st->depth)
        return fail(s, s->at, "a closing bracket without an opening one");
    if (in_object(st) != object)
        return fail(s, s->at, "a closing bracket of the other kind");
    if (st->expected != COMMA_OR_END && st->expected != (object ? KEY_OR_END : VALUE_OR_END))
        return fail(s, s->at, "a closing bracket where a value or key is due");
    s->at++;
    st->depth--;
    st->expected = after_value(st);
    return true;
}

/* A key, or a value that is not only punctuation. */
static bool scan_value(struct state *st)
{
    struct mq_json_scan *s = st->s;
    const char c = s->text[s->at];
    if (++s->values > st->limits->values)
        return fail(s, s->at, "more values than any such file needs");
    if (st->expected == A_KEY || st->expected == KEY_OR_END) {
        if (c != '"')
            return fail(s, s->at, "something else than a key");
        st->expected = A_COLON;
        s->members += st->depth == 1;
        return scan_string(s, "the character U+0000 in a name");
    }
    if (st->expected == NOTHING)
        return fail(s, s->at, "text after the end");
    if (st->expected != A_VALUE && st->expected != VALUE_OR_END)
        return fail(s, s->at,
                    st->expected == A_COLON ? "no colon behind a key" : "no comma between values");
    if (c == '[' || c == '{')
        return open_bracket(st, c == '{');
    st->expected = after_value(st);
    return scan_scalar(s, st->limits);
}

bool mq_json_scan(struct mq_json_scan *s, const struct mq_json_limits *limits)
{
    struct state st = {.s = s, .limits = limits};
    while (s->at < s->n) {
        const char c = s->text[s->at];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            s->at++;
        } else if (c == ',') {
            if (st.expected != COMMA_OR_END)
                return fail(s, s->at, "a comma where none is due");
            st.expected = in_object(&st) ? A_KEY : A_VALUE;
            s->at++;
        } else if (c == ':') {
            if (st.expected != A_COLON)
                return fail(s, s->at, "a colon where none is due");
            st.expected = A_VALUE;
            s->at++;
        } else if (c == ']' || c == '}') {
            if (!close_bracket(&st, c == '}'))
                return false;
        } else if (!scan_value(&st)) {
            return false;
        }
    }
    if (st.expected == NOTHING)
        return true;
    return fail(s, s->n, st.depth ? "the end inside an array or object" : "nothing");
}

/* ---- members ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_space(const struct mq_json_walk *w, size_t at)
{
    while (at < w->n && (is_space(w->text[at]) || w->text[at] == ',' || w->text[at] == ':'))
        at++;
    return at;
}

size_t mq_json_value_end(const char *text, size_t n, size_t at)
{
    size_t depth = 0;
    while (at < n) {
        const char c = text[at];
        if (c == '"') {
            at = mq_json_string_end(text, n, at);
        } else {
            if (!depth && (c == ',' || c == ']' || c == '}' || is_space(c) || !c))
                return at;
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
            at++;
        }
        if (!depth && (c == '"' || c == '}' || c == ']'))
            return at;
    }
    return n;
}

bool mq_json_walk_next(struct mq_json_walk *w)
{
    w->key = skip_space(w, w->value_end ? w->value_end : w->at + 1);
    if (w->key >= w->n || w->text[w->key] != '"')
        return false;
    w->key_end = mq_json_string_end(w->text, w->n, w->key);
    w->value = skip_space(w, w->key_end);
    w->value_end = mq_json_value_end(w->text, w->n, w->value);
    return true;
}

bool mq_json_walk_item(struct mq_json_walk *w)
{
    w->value = skip_space(w, w->value_end ? w->value_end : w->at + 1);
    if (w->value >= w->n || w->text[w->value] == ']')
        return false;
    w->value_end = mq_json_value_end(w->text, w->n, w->value);
    return true;
}

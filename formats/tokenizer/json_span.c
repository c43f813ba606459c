/* json_span.c: one pass over the text, no more than brackets and strings are looked at. */
#include "json_span.h"

#include <string.h>

static size_t skip_space(const char *s, size_t n, size_t at)
{
    while (at < n && (s[at] == ' ' || s[at] == '\n' || s[at] == '\r' || s[at] == '\t'))
        at++;
    return at;
}

/* Behind the string whose quote is at `at`; n if it has no end. */
static size_t skip_string(const char *s, size_t n, size_t at)
{
    for (at++; at < n && s[at] != '"'; at++)
        at += s[at] == '\\';
    return at < n ? at + 1 : n;
}

static size_t skip_value(const char *s, size_t n, size_t at)
{
    size_t depth = 0;
    while (at < n) {
        const char c = s[at];
        if (c == '"') {
            at = skip_string(s, n, at);
            if (!depth)
                return at;
            continue;
        }
        if ((c == ',' || c == '}' || c == ']') && !depth)
            return at;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
        if (!depth && (c == '}' || c == ']'))
            return at;
    }
    return n;
}

bool mq_json_find_member(const char *s, struct mq_json_span in, const char *key,
                         struct mq_json_span *value)
{
    const size_t end = in.at + in.size, length = strlen(key);
    const char *brace = in.size ? memchr(s + in.at, '{', in.size) : NULL;
    size_t at = brace ? (size_t)(brace - s) + 1 : end;
    while ((at = skip_space(s, end, at)) < end && s[at] == '"') {
        const size_t name = at + 1, behind = skip_string(s, end, at);
        at = skip_space(s, end, behind);
        if (at >= end || s[at] != ':')
            return false;
        at = skip_space(s, end, at + 1);
        const size_t stop = skip_value(s, end, at);
        if (behind - name == length + 1 && memcmp(s + name, key, length) == 0) {
            *value = (struct mq_json_span){at, stop - at};
            return stop > at;
        }
        at = skip_space(s, end, stop);
        if (at < end && s[at] == ',')
            at++;
    }
    return false;
}

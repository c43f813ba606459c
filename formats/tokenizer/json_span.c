/* json_span.c: one pass over the text, no more than brackets and strings are looked at (json_scan.h). */
#include "json_span.h"

#include "json_scan.h"

#include <string.h>

static size_t skip_space(const char *s, size_t n, size_t at)
{
    while (at < n && (s[at] == ' ' || s[at] == '\n' || s[at] == '\r' || s[at] == '\t'))
        at++;
    return at;
}

bool mq_json_find_member(const char *s, struct mq_json_span in, const char *key,
                         struct mq_json_span *value)
{
    const size_t end = in.at + in.size, length = strlen(key);
    const char *brace = in.size ? memchr(s + in.at, '{', in.size) : NULL;
    size_t at = brace ? (size_t)(brace - s) + 1 : end;
    while ((at = skip_space(s, end, at)) < end && s[at] == '"') {
        const size_t name = at + 1, behind = mq_json_string_end(s, end, at);
        at = skip_space(s, end, behind);
        if (at >= end || s[at] != ':')
            return false;
        at = skip_space(s, end, at + 1);
        const size_t stop = mq_json_value_end(s, end, at);
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

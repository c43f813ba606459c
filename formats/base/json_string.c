/* json_string.c: a walk over a text that is known to be well-formed JSON. */
#include "json_string.h"

#include "error.h"
#include "json_scan.h"

#include <string.h>

static uint32_t hex4(const char *s)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 |
                (uint32_t)(s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10); /* either case */
    return value;
}

static void put_utf8(struct mq_buffer *b, uint32_t c)
{
    const char bytes[4] = {(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)),
                           (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))};
    if (c < 0x80)
        mq_buffer_putc(b, (char)c);
    else if (c < 0x800)
        mq_buffer_append(b, (const char[]){(char)(0xc0 | c >> 6), bytes[3]}, 2);
    else if (c < 0x10000)
        mq_buffer_append(b, (const char[]){(char)(0xe0 | c >> 12), bytes[2], bytes[3]}, 3);
    else
        mq_buffer_append(b, bytes, 4);
}

/* Decodes what stands behind a backslash; gives the bytes taken. Surrogates come in pairs: the
 * scan has refused others. */
static size_t decode_escape(const char *s, size_t n, struct mq_buffer *out)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    const char *letter = n ? strchr(letters, *s) : NULL;
    if (n >= 5 && *s == 'u') {
        uint32_t c = hex4(s + 1);
        const bool pair = c >= 0xd800 && c < 0xdc00 && n >= 11;
        if (pair)
            c = 0x10000 + ((c & 0x3ff) << 10 | (hex4(s + 7) & 0x3ff));
        put_utf8(out, c);
        return pair ? 11 : 5;
    }
    if (n)
        mq_buffer_putc(out, letter && *s ? meanings[letter - letters] : *s);
    return 1;
}

void mq_json_decode_string(const char *text, size_t from, size_t end, struct mq_buffer *out)
{
    for (size_t at = from + 1; at + 1 < end;) {
        const char *escape = memchr(text + at, '\\', end - 1 - at);
        const size_t stop = escape ? (size_t)(escape - text) : end - 1;
        mq_buffer_append(out, text + at, stop - at);
        at = stop + (escape ? 1 + decode_escape(escape + 1, end - 2 - stop, out) : 0);
    }
}

moeq_status mq_json_string_member(const char *text, size_t n, const char *key,
                                  struct mq_buffer *value, bool *found, moeq_error *err)
{
    const size_t start = value->size, key_length = strlen(key);
    const char *brace = memchr(text, '{', n);
    struct mq_json_walk w = {.text = text, .n = n, .at = brace ? (size_t)(brace - text) : n};
    struct mq_buffer name = {0};
    *found = false;
    while (mq_json_walk_next(&w)) {
        mq_buffer_clear(&name);
        mq_json_decode_string(text, w.key, w.key_end, &name);
        if (name.size != key_length || memcmp(name.data, key, key_length) != 0)
            continue;
        value->size = start; /* forget an earlier one of this name, whatever this one's value is */
        *found = text[w.value] == '"';
        if (*found)
            mq_json_decode_string(text, w.value, w.value_end, value);
    }
    const bool ok = mq_buffer_ok(value) && mq_buffer_ok(&name);
    mq_buffer_free(&name);
    return ok ? MOEQ_OK : mq_fail_memory(err, "reading a string");
}

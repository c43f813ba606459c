/* golden_lines.c: a reader of JSON lines with known keys. */
#include "golden_lines.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned hex4(const char *s)
{
    char digits[5] = {s[0], s[1], s[2], s[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

static void put_utf8(struct mq_buffer *b, unsigned c)
{
    if (c < 0x80) {
        mq_buffer_putc(b, (char)c);
    } else if (c < 0x800) {
        mq_buffer_putc(b, (char)(0xc0 | c >> 6));
        mq_buffer_putc(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        mq_buffer_putc(b, (char)(0xe0 | c >> 12));
        mq_buffer_putc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        mq_buffer_putc(b, (char)(0x80 | (c & 0x3f)));
    } else {
        mq_buffer_putc(b, (char)(0xf0 | c >> 18));
        mq_buffer_putc(b, (char)(0x80 | (c >> 12 & 0x3f)));
        mq_buffer_putc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        mq_buffer_putc(b, (char)(0x80 | (c & 0x3f)));
    }
}

/* Behind the closing quote; `s` stands on the opening one. */
static const char *read_string(const char *s, struct mq_buffer *b)
{
    static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    mq_buffer_clear(b);
    ck_assert_int_eq(*s, '"');
    for (s++; *s != '"'; s++) {
        ck_assert_int_ne(*s, 0);
        if (*s != '\\') {
            mq_buffer_putc(b, *s);
        } else if (*++s == 'u') {
            unsigned c = hex4(s + 1);
            s += 4;
            if (c >= 0xd800 && c < 0xdc00) {
                c = 0x10000 + ((c & 0x3ff) << 10) + (hex4(s + 3) & 0x3ff);
                s += 6;
            }
            put_utf8(b, c);
        } else {
            const char *e = strchr(escapes, *s);
            ck_assert_ptr_nonnull(e);
            mq_buffer_putc(b, values[e - escapes]);
        }
    }
    return s + 1;
}

static const char *read_ids(const char *s, struct mq_ids *ids)
{
    ids->size = 0;
    ck_assert_int_eq(*s, '[');
    for (s++; *s != ']'; s += *s == ',' || *s == ' ') {
        if (*s == ' ')
            continue;
        char *end;
        if (ids->size == ids->capacity) {
            ids->capacity = ids->capacity ? ids->capacity * 2 : 256;
            ids->data = realloc(ids->data, ids->capacity * sizeof *ids->data);
        }
        ids->data[ids->size++] = (int32_t)strtol(s, &end, 10);
        ck_assert_ptr_ne(s, end);
        s = end;
    }
    return s + 1;
}

bool golden_next(const char **at, struct golden *g)
{
    static struct mq_buffer key;
    const char *s = *at;
    if (*s != '{')
        return false;
    while (*s != '}') {
        for (s++; *s == ' '; s++)
            ;
        s = read_string(s, &key);
        for (s++; *s == ' '; s++)
            ;
        if (strcmp(key.data, "text") == 0) {
            s = read_string(s, &g->text);
        } else if (strcmp(key.data, "decoded") == 0) {
            s = read_string(s, &g->decoded);
        } else if (strcmp(key.data, "decoded_skip") == 0) {
            s = read_string(s, &g->decoded_skip);
        } else if (strcmp(key.data, "cat") == 0) {
            s = read_string(s, &g->category);
        } else if (strcmp(key.data, "ids") == 0) {
            s = read_ids(s, &g->ids);
        } else {
            ck_assert_str_eq(key.data, "add_special_tokens");
            g->add_special_tokens = *s == 't';
            s += g->add_special_tokens ? 4 : 5;
        }
    }
    mq_buffer_clear(&key);
    *at = s[1] == '\n' ? s + 2 : s + 1;
    return true;
}

void golden_free(struct golden *g)
{
    mq_buffer_free(&g->text);
    mq_buffer_free(&g->decoded);
    mq_buffer_free(&g->decoded_skip);
    mq_buffer_free(&g->category);
    mq_ids_free(&g->ids);
}

const char *ids_as_text(const struct mq_tokenizer *tokenizer, const char *text)
{
    static char line[400];
    struct mq_ids ids = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_tokenizer_encode(tokenizer, text, strlen(text), true, &ids, &err));
    line[0] = '\0';
    for (size_t i = 0; i < ids.size; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%d", i ? " " : "",
                 ids.data[i]);
    mq_ids_free(&ids);
    return line;
}

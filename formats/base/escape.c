/* escape.c: text from outside in a format that has characters of its own. */
#include "escape.h"

#include "json.h"

#include <stdbool.h>
#include <string.h>

void mq_escape(struct mq_buffer *out, const char *text, mq_escape_fn *put)
{
    size_t left = strlen(text);
    while (left) {
        size_t good = left;
        if (mq_utf8_valid(text, left, &good))
            good = left;
        for (size_t i = 0; i < good; i++)
            put(out, text, i);
        text += good;
        left -= good;
        if (left) {
            mq_buffer_puts(out, "\ufffd");
            text++;
            left--;
        }
    }
}

void mq_escape_buffer(struct mq_buffer *out, struct mq_buffer *text, mq_escape_fn *put)
{
    if (text->data)
        mq_escape(out, text->data, put);
    out->failed = out->failed || text->failed;
    mq_buffer_free(text);
}

/* ---- the shell ---- */

static void quoted_char(struct mq_buffer *out, const char *text, size_t i)
{
    if (text[i] == '\'')
        mq_buffer_puts(out, "'\\''");
    else
        mq_buffer_putc(out, text[i]);
}

/* Between $' and '. */
static void control_char(struct mq_buffer *out, const char *text, size_t i)
{
    const unsigned char c = (unsigned char)text[i];
    if (c == '\n')
        mq_buffer_puts(out, "\\n");
    else if (c == '\'' || c == '\\')
        mq_buffer_printf(out, "\\%c", c);
    else if (c < 32 || c == 127)
        mq_buffer_printf(out, "\\%03o", c);
    else
        mq_buffer_putc(out, (char)c);
}

static bool has_control(const char *text)
{
    while (*text && (unsigned char)*text >= 32 && *text != 127)
        text++;
    return *text != '\0';
}

void mq_shell_word(struct mq_buffer *out, const char *prefix, const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "%+,-./:=@_";
    const bool plain =
        *text && text[strspn(text, safe)] == '\0' && prefix[strspn(prefix, safe)] == '\0';
    const bool control = has_control(text);
    mq_buffer_printf(out, "%s%s%s", plain ? "" : control ? "$'" : "'", prefix,
                     *text == '-' && !*prefix ? "./" : "");
    mq_escape(out, text, control ? control_char : quoted_char);
    mq_buffer_puts(out, plain ? "" : "'");
}

void mq_shell_command(struct mq_buffer *out, const char *form, const char *const *words)
{
    for (; *form; form++)
        if (*form == '%')
            mq_shell_word(out, "", *words++);
        else
            mq_buffer_putc(out, *form);
}

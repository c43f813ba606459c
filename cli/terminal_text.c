#include "terminal_text.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- how wide ---- */

int mq_terminal_columns(int fd)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    const int given = columns ? atoi(columns) : 0;
    if (given > 0)
        return given;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

int mq_output_columns(void)
{
    enum { LEAST = 20, MOST = 160 };
    const int columns = mq_terminal_columns(STDOUT_FILENO);
    return columns < LEAST ? LEAST : columns > MOST ? MOST : columns;
}

int mq_columns_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* ---- sentences ---- */

static void wrap(FILE *out, int columns, const char *text, int at, int from)
{
    enum { READABLE = 80, NARROW = 4 };
    const int last = (columns < READABLE || columns == INT_MAX ? columns : READABLE) - 1;
    char word[512];
    if (from > last / 2) /* a narrow terminal has no room for a column of words */
        from = NARROW;
    for (bool first = true; *text; first = false) {
        const int n = (int)strcspn(text, " ");
        snprintf(word, sizeof word, "%.*s", n, text);
        const int width = n < (int)sizeof word ? mq_columns_of(word) : n;
        if (at > from && at + !first + width > last) {
            fprintf(out, "\n%*s", from, "");
            at = from;
        } else if (!first) {
            putc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", n, text);
        at += width;
        text += n;
        text += strspn(text, " ");
    }
    putc('\n', out);
}

void mq_print_wrapped(const char *text, int at, int from)
{
    wrap(stdout, mq_output_columns(), text, at, from);
}

static void sentence(FILE *out, int columns, int from, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));
static void sentence(FILE *out, int columns, int from, const char *format, va_list arguments)
{
    char text[4096];
    vsnprintf(text, sizeof text, format, arguments);
    const int indent = (int)strspn(text, " ");
    fprintf(out, "%*s", indent, "");
    wrap(out, columns, text + indent, indent, from);
}

void mq_print_sentence(int from, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sentence(stdout, mq_output_columns(), from, format, arguments);
    va_end(arguments);
}

/* Of a line: as wide as it is where nobody knows better. */
static int line_columns(int fd)
{
    const bool known = isatty(fd) || getenv("COLUMNS");
    return known ? mq_terminal_columns(fd) : INT_MAX;
}

void mq_print_line(int from, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sentence(stdout, line_columns(STDOUT_FILENO), from, format, arguments);
    va_end(arguments);
}

void mq_print_line_rest(const char *text, int at)
{
    wrap(stdout, line_columns(STDOUT_FILENO), text, at, at);
}

void mq_say(int from, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sentence(stderr, line_columns(STDERR_FILENO), from, format, arguments);
    va_end(arguments);
}

/* ---- a model's text ---- */

/* The control character that begins here, U+0080 to U+009F being two bytes; -1: none. */
static int control_at(const unsigned char *p, size_t left)
{
    if (*p < 0x20 || *p == 0x7f)
        return *p;
    return *p == 0xc2 && left > 1 && p[1] >= 0x80 && p[1] < 0xa0 ? p[1] : -1;
}

bool mq_has_controls(const char *text)
{
    for (size_t left = strlen(text); left; text++, left--)
        if (control_at((const unsigned char *)text, left) >= 0)
            return true;
    return false;
}

void mq_print_terminal_text(FILE *out, const char *text, size_t n, bool terminal)
{
    for (size_t i = 0; i < n; i++) {
        const int control = terminal ? control_at((const unsigned char *)text + i, n - i) : -1;
        if (control < 0 || control == '\n' || control == '\t') {
            putc(text[i], out);
            continue;
        }
        fprintf(out, "\\x%02x", (unsigned)control);
        i += control >= 0x80;
    }
}

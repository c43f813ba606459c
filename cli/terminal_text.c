#include "terminal_text.h"

#include <string.h>

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

/* text_match.c: parts of names; matching is greedy and goes back to the last '*' alone. */
#include "text_match.h"

#include "json.h"

#include <stddef.h>
#include <string.h>

bool mq_ends_with(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

const char *mq_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

const char *mq_extension(const char *path)
{
    const char *name = mq_base_name(path), *dot = strrchr(name, '.');
    return dot && dot > name ? dot : path + strlen(path);
}

void mq_make_printable(char *text)
{
    const size_t n = strlen(text);
    size_t bad;
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    while (!mq_utf8_valid(text, n, &bad))
        text[bad] = '?';
}

bool mq_text_has_word(const char *words, const char *word)
{
    const size_t length = strlen(word);
    while (words && *words) {
        const size_t n = strcspn(words, " ");
        if (n == length && memcmp(words, word, n) == 0)
            return true;
        words += n + (words[n] == ' ');
    }
    return false;
}

bool mq_text_matches(const char *pattern, const char *text)
{
    const char *star = NULL, *retry = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            retry = text;
        } else if (*pattern == *text) {
            pattern++, text++;
        } else if (star) {
            pattern = star + 1;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

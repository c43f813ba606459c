/* row_label.c: a file's name without its folder and its ending. */
#include "row_label.h"

#include <stdio.h>
#include <string.h>

static const char *const endings[] = {".moeq.index.json", ".moeq", ".gguf", ".safetensors"};

/* Where the name begins in the path, and its length. */
static const char *stem_of(const char *path, size_t *length)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin && path[begin - 1] != '/')
        begin--;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t n = strlen(endings[i]);
        if (end - begin > n && strncmp(path + end - n, endings[i], n) == 0) {
            end -= n;
            break;
        }
    }
    *length = end - begin;
    return path + begin;
}

void mq_file_label(const char *path, const char *letter, bool several, char label[MQ_ROW_LABEL])
{
    size_t length, used = 0;
    const char *stem = stem_of(path, &length);
    if (several)
        used = (size_t)snprintf(label, MQ_ROW_LABEL, "%.3s ", letter);
    const size_t room = MQ_ROW_LABEL - 1 - used;
    if (length > room) { /* no half of a character */
        length = room;
        while (length && ((unsigned char)stem[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(label + used, stem, length);
    label[used + length] = '\0';
}

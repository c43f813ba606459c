/* journal.c: lines of one length, so that a journal of millions is read at once. */
#include "journal.h"

#include "error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAGIC "moeq-journal "
#define VERSION "4"

/* "t 0000002a ffffffff 89abcdef 00000000 00000000 00000000 01234567\n" */
enum { FIELDS = 7, CHECKED = 1 + (FIELDS - 1) * 9, LINE = 1 + FIELDS * 9 + 1, FIRST = 64 };

static int first_line(char text[FIRST], uint32_t plan)
{
    return snprintf(text, FIRST, MAGIC VERSION " %08" PRIx32 "\n", plan);
}

void mq_journal_begin(struct mq_buffer *text, uint32_t plan)
{
    char line[FIRST];
    mq_buffer_append(text, line, (size_t)first_line(line, plan));
}

static uint32_t check_of(const char *line)
{
    return (uint32_t)crc32_z(0, (const Bytef *)line, CHECKED);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void mq_journal_put(struct mq_buffer *text, const struct mq_journal_line *l)
{
    char line[LINE + 1];
    snprintf(line, sizeof line,
             "%c %08" PRIx32 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32,
             (char)l->kind, l->item, l->chunk, l->value, bits_of(l->lost), bits_of(l->weights),
             bits_of(l->within));
    snprintf(line + CHECKED, sizeof line - CHECKED, " %08" PRIx32 "\n", check_of(line));
    mq_buffer_append(text, line, LINE);
}

/* What a power cut leaves of a journal that had not come to the disk. */
static bool is_all_zeros(const char *text, size_t size)
{
    size_t zeros = 0;
    while (zeros < size && !text[zeros])
        zeros++;
    return size && zeros == size;
}

bool mq_journal_is(const char *text, size_t size)
{
    if (is_all_zeros(text, size))
        return true;
    return size >= sizeof MAGIC - 1 && memcmp(text, MAGIC, sizeof MAGIC - 1) == 0;
}

/* " 0000002a"; false if it is something else. */
static bool read_field(const char *at, uint32_t *value)
{
    uint32_t v = 0;
    for (int i = 1; i <= 8; i++) {
        const char c = at[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *value = v;
    return at[0] == ' ';
}

static bool read_line(const char *line, struct mq_journal_line *l)
{
    uint32_t fields[FIELDS];
    for (int i = 0; i < FIELDS; i++)
        if (!read_field(line + 1 + i * 9, &fields[i]))
            return false;
    *l = (struct mq_journal_line){(enum mq_journal_kind)(unsigned char)line[0],
                                  fields[0],
                                  fields[1],
                                  fields[2],
                                  float_of(fields[3]),
                                  float_of(fields[4]),
                                  float_of(fields[5])};
    return line[LINE - 1] == '\n' && fields[FIELDS - 1] == check_of(line);
}

moeq_status mq_journal_read(const char *text, size_t size, uint32_t plan,
                            struct mq_journal_line **lines, size_t *count, uint64_t *end,
                            moeq_error *err)
{
    char first[FIRST];
    size_t at = (size_t)first_line(first, plan);
    *lines = NULL;
    *count = 0;
    if (size < at || memcmp(text, first, at) != 0)
        return MOEQ_OK;
    struct mq_journal_line *all = calloc((size - at) / LINE + 1, sizeof *all);
    if (!all)
        return mq_fail_memory(err, "reading a journal");
    size_t n = 0;
    while (size - at >= LINE && read_line(text + at, &all[n])) {
        at += LINE;
        n++;
    }
    *lines = all;
    *count = n;
    *end = at;
    return MOEQ_OK;
}

/*
 * mutate_moeq_file.c: changes to a moeq file: to its header, its data, or the text of a side file
 * within its zlib stream. Then the data are laid out as the header says and, half of the time, the
 * checksums are made anew: else every reader would stop there.
 */
#include "mutate_safetensors.h"

#include "moeq_profile.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MAX_SIDE_BYTES = 1 << 15 };

static void store(uint8_t *p, uint32_t n, uint64_t x)
{
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

static size_t header_bytes(const uint8_t *data, size_t size)
{
    uint64_t n = 0;
    for (int i = 8; i-- && size >= 8;)
        n = n << 8 | data[i];
    return size >= 8 && n <= size - 8 ? (size_t)n : 0;
}

static bool is_checksums(const struct mutant *m, const struct place *p)
{
    const size_t n = p->name_end - p->name;
    return n == strlen(MQ_CRC_NAME) && memcmp(m->data + p->name, MQ_CRC_NAME, n) == 0;
}

/* ---- side files ---- */

/* The stream `from` with its text changed; NULL: it is none. */
static uint8_t *change_stream(struct mutant *m, const uint8_t *from, size_t n, size_t *changed)
{
    struct mutant text = {.data = malloc(MAX_SIDE_BYTES), .max = MAX_SIDE_BYTES};
    uLongf size = MAX_SIDE_BYTES, packed = compressBound(MAX_SIDE_BYTES);
    uint8_t *stream = malloc(packed);
    text.random = (uint64_t)mutate_below(m, UINT32_MAX) << 32 | mutate_below(m, UINT32_MAX);
    bool good = text.data && stream && uncompress(text.data, &size, from, n) == Z_OK;
    if (good) {
        text.size = size;
        mutate_json(&text, NULL, 0);
        good = compress2(stream, &packed, text.data, text.size, 1) == Z_OK;
    }
    free(text.data);
    if (!good) {
        free(stream);
        return NULL;
    }
    *changed = packed;
    return stream;
}

/* ---- laying out ---- */

/* The data that each tensor had, by the places that the header had for them. */
static void find_data(struct place *places, uint32_t count, const uint8_t *data, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        struct place *p = &places[i];
        const uint64_t begin = p->begin < size ? p->begin : size;
        p->from = data + begin;
        p->from_bytes = p->bytes < size - begin ? p->bytes : size - begin;
    }
}

static void write_checksums(struct mutant *m, const struct place *places, uint32_t count,
                            size_t data)
{
    uint8_t *const end = m->data + m->size, *word = end - 4 * ((size_t)count + 1), *first = word;
    for (uint32_t i = 0; i + 1 < count; i++, word += 4) {
        store(word, 4, crc32_z(0, m->data + data, places[i].bytes));
        data += places[i].bytes;
    }
    store(word, 4, crc32_z(0, m->data, 8 + header_bytes(m->data, m->size)));
    store(word + 4, 4, crc32_z(0, first, (size_t)(word + 4 - first)));
}

/* Puts the data of the places behind the header, which ends at `end`. */
static void write_file(struct mutant *m, size_t end, struct place *places, uint32_t count,
                       bool checksums)
{
    struct place *last = &places[count - 1];
    const bool table = is_checksums(m, last);
    uint64_t total = 0;
    if (table && checksums) {
        last->bytes = 4 * ((uint64_t)count + 1);
        last->reshape = last->words = true;
    }
    for (uint32_t i = 0; i < count; i++)
        total += places[i].bytes;
    m->size = end;
    mutate_lay_out(m, places, count);
    const size_t data = m->size;
    if (total > m->max - data)
        return;
    store(m->data, 8, data - 8);
    for (uint32_t i = 0; i < count; i++) {
        const struct place *p = &places[i];
        memset(m->data + m->size, 0, p->bytes);
        memcpy(m->data + m->size, p->from, p->from_bytes < p->bytes ? p->from_bytes : p->bytes);
        m->size += p->bytes;
    }
    if (table && checksums)
        write_checksums(m, places, count, data);
}

/* The changed header ends at `end`; `data` is what stood behind the old one. */
static void rebuild(struct mutant *m, size_t end, struct place *places, const uint8_t *data,
                    size_t size, bool side_file)
{
    const uint32_t count = mutate_read_places(m, 8, end, places);
    uint8_t *stream = NULL;
    if (!count)
        return;
    find_data(places, count, data, size);
    const uint32_t first = mutate_below(m, count);
    for (uint32_t i = 0; side_file && !stream && i < count; i++) {
        struct place *p = &places[(first + i) % count];
        size_t n;
        stream = change_stream(m, p->from, p->from_bytes, &n);
        if (stream) {
            p->from = stream;
            p->from_bytes = p->bytes = n;
            p->reshape = true;
        }
    }
    write_file(m, end, places, count, mutate_chance(m, 2));
    free(stream);
}

void mutate_moeq_file(struct mutant *m, const uint8_t *other, size_t other_size)
{
    const size_t n = header_bytes(m->data, m->size),
                 other_n = header_bytes(other, other ? other_size : 0);
    struct place *places = malloc(MAX_PLACES * sizeof *places);
    const size_t data_bytes = n ? m->size - 8 - n : 0;
    uint8_t *data = malloc(data_bytes + 1);
    const uint32_t what = mutate_below(m, 10);
    if (!places || !data || !n) {
        mutate_json(m, other_n ? NULL : other, other_n ? 0 : other_size); /* an index */
        goto out;
    }
    if (what < 3)
        mutate_bytes_in_place(m, 8 + n, m->size);
    memcpy(data, m->data + 8 + n, data_bytes);
    const size_t size = m->size;
    if (what >= 6)
        mutate_header(m, 8, 8 + n, places, other_n ? other + 8 : NULL, other_n);
    const size_t end = 8 + n + m->size - size;
    const bool wrong = mutate_chance(m, 12); /* what the file says of its parts */
    store(m->data, 8, wrong && mutate_chance(m, 4) ? mutate_edge(m) : end - 8);
    if (!wrong)
        rebuild(m, end, places, data, data_bytes, what >= 3 && what < 6);
out:
    free(places);
    free(data);
}

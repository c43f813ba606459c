/*
 * mutate_parts.c: changes to one part of an input of several (u32 length, bytes, ...), as what the
 * part looks like, with its length; now and then parts change places.
 */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 16 };

struct part {
    size_t at, size; /* of its bytes, behind the length */
};

static uint32_t read_parts(const uint8_t *data, size_t size, struct part *parts)
{
    uint32_t count = 0;
    for (size_t at = 0; count < MAX_PARTS && size - at >= 4; count++) {
        const size_t n = data[at] | (size_t)data[at + 1] << 8 | (size_t)data[at + 2] << 16 |
                         (size_t)data[at + 3] << 24;
        at += 4;
        parts[count] = (struct part){at, n < size - at ? n : size - at};
        at += parts[count].size;
    }
    return count;
}

static mutate_fn *mutator_of(const uint8_t *p, size_t n)
{
    if (n >= 4 && memcmp(p, "GGUF", 4) == 0)
        return mutate_gguf;
    return n > 8 && p[8] == '{' && p[0] != '{' ? mutate_moeq_file : mutate_json;
}

/* The part of the other input that looks like this one. */
static struct part like(const uint8_t *other, size_t other_size, mutate_fn *mutate, uint32_t from)
{
    struct part parts[MAX_PARTS];
    const uint32_t count = other ? read_parts(other, other_size, parts) : 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct part *p = &parts[(from + i) % count];
        if (p->size && mutator_of(other + p->at, p->size) == mutate)
            return *p;
    }
    return (struct part){0};
}

static void put_part(struct mutant *m, const struct part *part, const uint8_t *bytes, size_t n)
{
    if (!mutate_splice(m, part->at, part->at + part->size, bytes, n))
        return;
    for (uint32_t i = 0; i < 4; i++)
        m->data[part->at - 4 + i] = (uint8_t)(n >> 8 * i);
}

void mutate_parts(struct mutant *m, const uint8_t *other, size_t other_size)
{
    struct part parts[MAX_PARTS];
    const uint32_t count = read_parts(m->data, m->size, parts);
    const struct part *part = &parts[mutate_below(m, count)],
                      *from = &parts[mutate_below(m, count)];
    if (!count || mutate_chance(m, 40)) {
        mutate_bytes(m, 0, m->size);
        return;
    }
    if (mutate_chance(m, 20)) { /* another part in its place, or none */
        put_part(m, part, m->data + from->at, mutate_chance(m, 3) ? 0 : from->size);
        return;
    }
    struct mutant text = {.size = part->size,
                          .max = part->size + (m->max - m->size),
                          .random = (uint64_t)mutate_below(m, UINT32_MAX) << 32 | m->random >> 32};
    mutate_fn *mutate = mutator_of(m->data + part->at, part->size);
    const struct part theirs = like(other, other_size, mutate, mutate_below(m, MAX_PARTS));
    text.data = malloc(text.max + 1);
    if (!text.data)
        return;
    memcpy(text.data, m->data + part->at, part->size);
    mutate(&text, theirs.size ? other + theirs.at : NULL, theirs.size);
    put_part(m, part, text.data, text.size);
    free(text.data);
}

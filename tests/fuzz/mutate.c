/* mutate.c: what the mutators share. */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>

/* splitmix64 */
static uint64_t next_random(struct mutant *m)
{
    uint64_t x = m->random += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint32_t mutate_below(struct mutant *m, uint32_t n)
{
    return n ? (uint32_t)(next_random(m) % n) : 0;
}

bool mutate_chance(struct mutant *m, uint32_t in)
{
    return mutate_below(m, in) == 0;
}

bool mutate_splice(struct mutant *m, size_t at, size_t end, const void *bytes, size_t n)
{
    if (at > end || end > m->size || n > m->max || m->size - (end - at) > m->max - n)
        return false;
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        return false;
    if (n)
        memcpy(copy, bytes, n);
    memmove(m->data + at + n, m->data + end, m->size - end);
    memcpy(m->data + at, copy, n);
    m->size += n - (end - at);
    free(copy);
    return true;
}

/* A copy with room to grow, as libFuzzer's mutations need it. */
static void mutate_copy(struct mutant *m, size_t at, size_t end, bool in_place)
{
    const size_t n = end - at, room = in_place ? n : m->max - m->size + n;
    const size_t cap = in_place || room < n + 256 ? room : n + 256;
    uint8_t *copy = malloc(cap + 1);
    if (copy && cap) {
        memcpy(copy, m->data + at, n);
        const size_t changed = LLVMFuzzerMutate(copy, n, cap);
        if (in_place)
            memcpy(m->data + at, copy, changed);
        else
            mutate_splice(m, at, end, copy, changed);
    }
    free(copy);
}

void mutate_bytes(struct mutant *m, size_t at, size_t end)
{
    mutate_copy(m, at, end, false);
}

void mutate_bytes_in_place(struct mutant *m, size_t at, size_t end)
{
    if (at < end)
        mutate_copy(m, at, end, true);
}

uint64_t mutate_edge(struct mutant *m)
{
    const unsigned bits[] = {7, 8, 15, 16, 31, 32, 53, 62, 63};
    const uint64_t power = 1ull << bits[mutate_below(m, sizeof bits / sizeof *bits)];
    switch (mutate_below(m, 4)) {
    case 0:
        return mutate_below(m, 9);
    case 1:
        return power;
    case 2:
        return power - 1;
    default:
        return 0 - (uint64_t)mutate_below(m, 3);
    }
}

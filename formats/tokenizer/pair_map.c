/*
 * pair_map.c: open addressing with linear probing, at most three fifths full: the most of a large tokenizer's memory.
 *
 * As in strmap.c the hash is seeded per map, because the keys are a file's choice.
 */
#include "pair_map.h"

#include <stdlib.h>
#include <string.h>

struct mq_pair_slot {
    uint64_t key;
    struct mq_pair_value value;
};

#define EMPTY_KEY UINT64_MAX /* (UINT32_MAX, UINT32_MAX), which is no key */

static uint64_t join(uint32_t a, uint32_t b)
{
    return (uint64_t)a << 32 | b;
}

/* Where a key would go: the finalizer of MurmurHash3 over the seeded key, scaled to a capacity that need not be a power of
 * two. */
static size_t first_place(const struct mq_pair_map *map, uint64_t key)
{
    uint64_t h = key ^ map->seed;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return (size_t)(((h ^ h >> 33) >> 32) * map->capacity >> 32);
}

static bool allocate(struct mq_pair_map *map, size_t capacity)
{
    if (capacity > UINT32_MAX || capacity > SIZE_MAX / sizeof *map->slots)
        return false;
    struct mq_pair_slot *slots = malloc(capacity * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0xff, capacity * sizeof *slots); /* EMPTY_KEY everywhere */
    map->slots = slots;
    map->capacity = capacity;
    return true;
}

bool mq_pair_map_init(struct mq_pair_map *map, size_t expected)
{
    memset(map, 0, sizeof *map);
    if (expected > UINT32_MAX || !allocate(map, 16 + (size_t)((uint64_t)expected * 5 / 3)))
        return false;
    map->seed = 0x9e3779b97f4a7c15u * (uint64_t)(uintptr_t)map->slots;
    return true;
}

void mq_pair_map_free(struct mq_pair_map *map)
{
    free(map->slots);
    memset(map, 0, sizeof *map);
}

/* The slot that holds the key, or the empty one where it would go. */
static struct mq_pair_slot *find_slot(const struct mq_pair_map *map, uint64_t key)
{
    size_t i = first_place(map, key);
    while (map->slots[i].key != key && map->slots[i].key != EMPTY_KEY)
        i = i + 1 < map->capacity ? i + 1 : 0;
    return &map->slots[i];
}

static bool grow(struct mq_pair_map *map)
{
    if (!map->capacity)
        return mq_pair_map_init(map, 0);
    struct mq_pair_slot *old = map->slots;
    const size_t old_capacity = map->capacity;
    if (!allocate(map, old_capacity * 2))
        return false;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].key != EMPTY_KEY)
            *find_slot(map, old[i].key) = old[i];
    free(old);
    return true;
}

bool mq_pair_map_set(struct mq_pair_map *map, uint32_t a, uint32_t b, struct mq_pair_value value)
{
    if (map->count + 1 > map->capacity / 5 * 3 && !grow(map))
        return false;
    struct mq_pair_slot *slot = find_slot(map, join(a, b));
    if (slot->key == EMPTY_KEY) {
        slot->key = join(a, b);
        map->count++;
    }
    slot->value = value;
    return true;
}

const struct mq_pair_value *mq_pair_map_get(const struct mq_pair_map *map, uint32_t a, uint32_t b)
{
    if (!map->capacity)
        return NULL;
    const struct mq_pair_slot *slot = find_slot(map, join(a, b));
    return slot->key == EMPTY_KEY ? NULL : &slot->value;
}

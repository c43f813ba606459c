/*
 * strmap.c: open addressing with linear probing, at most two thirds full.
 *
 * The hash is seeded per map from where its memory lies, so that a crafted file cannot prepare
 * collisions (names in a header are an attacker's choice).
 */
#include "strmap.h"

#include <stdlib.h>
#include <string.h>

struct mq_strmap_slot {
    const char *key; /* NULL: empty */
    uint32_t length, value;
    uint32_t hash;
};

static bool is_full(size_t count, size_t capacity)
{
    return count > capacity / 3 * 2;
}

/* FNV-1a over the bytes from a seeded basis, then the finalizer of MurmurHash3. */
static uint32_t hash_key(const struct mq_strmap *map, const char *key, size_t length)
{
    uint64_t h = map->seed;
    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)key[i]) * 0x100000001b3u;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return (uint32_t)(h ^ h >> 33);
}

bool mq_strmap_init(struct mq_strmap *map, size_t expected)
{
    const size_t capacity = expected <= UINT32_MAX / 2 ? 16 + expected + expected / 2 : 0;
    memset(map, 0, sizeof *map);
    if (!capacity)
        return false;
    map->slots = calloc(capacity, sizeof *map->slots);
    map->capacity = map->slots ? capacity : 0;
    map->seed = 0xcbf29ce484222325u ^ (uint64_t)(uintptr_t)map->slots;
    return map->slots != NULL;
}

void mq_strmap_free(struct mq_strmap *map)
{
    free(map->slots);
    memset(map, 0, sizeof *map);
}

/* The slot that holds the key, or the empty one where it would go. */
static struct mq_strmap_slot *find_slot(const struct mq_strmap *map, const char *key, size_t length,
                                        uint32_t hash)
{
    /* The hash, scaled to the capacity. */
    for (size_t i = (size_t)((uint64_t)hash * map->capacity >> 32);;
         i = i + 1 < map->capacity ? i + 1 : 0) {
        struct mq_strmap_slot *s = &map->slots[i];
        if (!s->key)
            return s;
        if (s->hash == hash && s->length == length && memcmp(s->key, key, length) == 0)
            return s;
    }
}

static bool grow(struct mq_strmap *map)
{
    if (!map->capacity)
        return mq_strmap_init(map, 0);
    const size_t capacity = map->capacity * 2;
    if (capacity > UINT32_MAX)
        return false;
    struct mq_strmap_slot *old = map->slots, *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return false;
    const size_t old_capacity = map->capacity;
    map->slots = slots;
    map->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].key)
            *find_slot(map, old[i].key, old[i].length, old[i].hash) = old[i];
    free(old);
    return true;
}

enum mq_strmap_result mq_strmap_add(struct mq_strmap *map, const char *key, size_t length,
                                    uint32_t value)
{
    if (length > UINT32_MAX)
        return MQ_STRMAP_NO_MEMORY;
    if (is_full(map->count + 1, map->capacity) && !grow(map))
        return MQ_STRMAP_NO_MEMORY;
    const uint32_t hash = hash_key(map, key, length);
    struct mq_strmap_slot *s = find_slot(map, key, length, hash);
    if (s->key)
        return MQ_STRMAP_DUPLICATE;
    *s = (struct mq_strmap_slot){key, (uint32_t)length, value, hash};
    map->count++;
    return MQ_STRMAP_ADDED;
}

bool mq_strmap_get(const struct mq_strmap *map, const char *key, size_t length, uint32_t *value)
{
    if (!map->capacity)
        return false;
    const struct mq_strmap_slot *s = find_slot(map, key, length, hash_key(map, key, length));
    if (!s->key)
        return false;
    *value = s->value;
    return true;
}

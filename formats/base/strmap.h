/* strmap.h: text -> uint32 hash map. Keys are borrowed: they must outlive the map. */
#ifndef MQ_STRMAP_H
#define MQ_STRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mq_strmap {
    struct mq_strmap_slot *slots;
    size_t capacity, count;
    uint64_t seed;
};

/* Prepares for about `expected` keys. False when out of memory. */
bool mq_strmap_init(struct mq_strmap *map, size_t expected);
void mq_strmap_free(struct mq_strmap *map);

enum mq_strmap_result { MQ_STRMAP_ADDED, MQ_STRMAP_DUPLICATE, MQ_STRMAP_NO_MEMORY };

/* Adds a key; a key that is there already keeps its old value. */
enum mq_strmap_result mq_strmap_add(struct mq_strmap *map, const char *key, size_t length,
                                    uint32_t value);
bool mq_strmap_get(const struct mq_strmap *map, const char *key, size_t length, uint32_t *value);

#endif

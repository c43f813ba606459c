/* pair_map.h: (uint32, uint32) -> (uint32, uint32) hash map: merges and the edges of tries. */
#ifndef MQ_PAIR_MAP_H
#define MQ_PAIR_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mq_pair_value {
    uint32_t first, second;
};

struct mq_pair_map {
    struct mq_pair_slot *slots;
    size_t capacity, count;
    uint64_t seed;
};

/* Prepares for about `expected` keys. False when out of memory. */
bool mq_pair_map_init(struct mq_pair_map *map, size_t expected);
void mq_pair_map_free(struct mq_pair_map *map);

/* Sets the value of (a, b), replacing an older one. Not both may be UINT32_MAX. False when out of
 * memory. */
bool mq_pair_map_set(struct mq_pair_map *map, uint32_t a, uint32_t b, struct mq_pair_value value);

/* The value of (a, b), or NULL. */
const struct mq_pair_value *mq_pair_map_get(const struct mq_pair_map *map, uint32_t a, uint32_t b);

#endif

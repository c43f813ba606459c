/* ids.c: a growing list of token ids. */
#include "tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

void mq_ids_free(struct mq_ids *ids)
{
    free(ids->data);
    memset(ids, 0, sizeof *ids);
}

bool mq_ids_push(struct mq_ids *ids, int32_t id)
{
    if (ids->size == ids->capacity) {
        const size_t capacity = ids->capacity ? ids->capacity * 2 : 64;
        int32_t *data = capacity <= SIZE_MAX / sizeof *data
                            ? realloc(ids->data, capacity * sizeof *data)
                            : NULL;
        if (!data)
            return false;
        ids->data = data;
        ids->capacity = capacity;
    }
    ids->data[ids->size++] = id;
    return true;
}

/* dtype.c: the element types that a safetensors header can name. */
#include "dtype.h"

#include <string.h>

static const struct {
    const char *name;
    uint32_t bytes;
    const char *storage;
} dtypes[] = {
#define ROW(name, bytes, storage) {#name, bytes, storage},
    MQ_DTYPE_LIST(ROW)
#undef ROW
};

const char *mq_dtype_name(enum mq_dtype dtype)
{
    return dtypes[dtype].name;
}

uint32_t mq_dtype_bytes(enum mq_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *mq_dtype_storage(enum mq_dtype dtype)
{
    return dtypes[dtype].storage;
}

bool mq_dtype_find(const char *name, enum mq_dtype *dtype)
{
    for (int i = 0; i < MQ_DTYPE_COUNT; i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            *dtype = (enum mq_dtype)i;
            return true;
        }
    return false;
}

/* dtype.h: the element types that a safetensors header can name. */
#ifndef MQ_DTYPE_H
#define MQ_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name as in the header, bytes an element, storage: the name of the level (quantize/levels.h) that
 * decodes such elements to weights, or NULL if they are no weights by themselves. */
#define MQ_DTYPE_LIST(X) \
    X(BOOL, 1, NULL)     \
    X(U8, 1, NULL)       \
    X(I8, 1, NULL)       \
    X(F8_E5M2, 1, NULL)  \
    X(F8_E4M3, 1, NULL)  \
    X(I16, 2, NULL)      \
    X(U16, 2, NULL)      \
    X(F16, 2, "f16")     \
    X(BF16, 2, "bf16")   \
    X(I32, 4, NULL)      \
    X(U32, 4, NULL)      \
    X(F32, 4, "f32")     \
    X(F64, 8, NULL)      \
    X(I64, 8, NULL)      \
    X(U64, 8, NULL)

enum mq_dtype {
#define MQ_DTYPE_ENUM(name, bytes, storage) MQ_##name,
    MQ_DTYPE_LIST(MQ_DTYPE_ENUM)
#undef MQ_DTYPE_ENUM
        MQ_DTYPE_COUNT
};

const char *mq_dtype_name(enum mq_dtype dtype);
uint32_t mq_dtype_bytes(enum mq_dtype dtype);
const char *mq_dtype_storage(enum mq_dtype dtype);
bool mq_dtype_find(const char *name, enum mq_dtype *dtype);

#endif

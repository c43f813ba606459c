/* int8.c: which kernel of int8.h runs where. */
#include "int8.h"

#include "compute.h"

#include <stdlib.h>
#include <string.h>

static const char *const compute_names[MQ_COMPUTE_COUNT] = {"f32", "int8"};

const char *mq_compute_name(enum mq_compute compute)
{
    return compute_names[compute];
}

bool mq_compute_find(const char *name, enum mq_compute *compute)
{
    for (int i = 0; i < MQ_COMPUTE_COUNT; i++)
        if (strcmp(name, compute_names[i]) == 0) {
            *compute = (enum mq_compute)i;
            return true;
        }
    return false;
}

#define ROW(variant, isa, feature)                                            \
    {                                                                         \
        {#variant, mq_int8_quantize_##variant, mq_int8_finish_pack_##variant, \
         mq_int8_multiply_##variant},                                         \
            isa, feature                                                      \
    }

/* From the reference to the best. AVX-512 without VNNI has no use for its width: it lacks AVX2's
 * vpsignb, and its vpmaddubsw saturates like AVX2's. */
static const struct row {
    struct mq_int8_kernels kernels;
    enum mq_isa isa;
    enum mq_cpu_feature feature;
} rows[] = {
    ROW(generic, MQ_ISA_GENERIC, MQ_CPU_ANY),
#if defined(__x86_64__)
    /* clang-format off */
    ROW(avx2, MQ_ISA_AVX2, MQ_CPU_ANY),
    ROW(avxvnni, MQ_ISA_AVX2, MQ_CPU_AVX_VNNI),
    ROW(vnni, MQ_ISA_AVX512, MQ_CPU_AVX512_VNNI),
    ROW(amx, MQ_ISA_AVX512, MQ_CPU_AMX_INT8),
/* clang-format on */
#endif
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool is_available(const struct row *row)
{
    const char *best = getenv("MOEQ_INT8");
    for (const struct row *below = rows; best && below < row; below++)
        if (strcmp(best, below->kernels.name) == 0)
            return false;
    return mq_isa_available(row->isa) && mq_cpu_has(row->feature);
}

const struct mq_int8_kernels *mq_int8_kernels_get(enum mq_isa isa)
{
    size_t i = ROWS - 1;
    while (i > 0 && (rows[i].isa > isa || !is_available(&rows[i])))
        i--;
    return &rows[i].kernels;
}

const struct mq_int8_kernels *mq_int8_variant(size_t i, bool *available)
{
    if (i >= ROWS)
        return NULL;
    *available = is_available(&rows[i]);
    return &rows[i].kernels;
}

/* kernels.c: the table of kernels per instruction set. */
#include "kernels.h"

/* A kernel for each row of MQ_ACTIVATION_LIST. */
#define GENERIC(id, name) [MQ_ACTIVATION_##id] = mq_##name##_times_generic,
#define NEON(id, name) [MQ_ACTIVATION_##id] = mq_##name##_times_neon,
#define AVX2(id, name) [MQ_ACTIVATION_##id] = mq_##name##_times_avx2,
#define AVX512(id, name) [MQ_ACTIVATION_##id] = mq_##name##_times_avx512,

#define TABLE(isa, ACTIVATION)                                                                \
    {                                                                                         \
        .pack = mq_gemm_pack_##isa, .multiply = mq_gemm_multiply_##isa,                       \
        .accumulate = mq_gemm_accumulate_##isa, .multiply_rows = mq_gemv_multiply_rows_##isa, \
        .rms_norm = mq_rms_norm_##isa, .layer_norm = mq_layer_norm_##isa,                     \
        .softmax = mq_softmax_##isa, .rotate = mq_rotate_##isa,                               \
        .activate_times = {MQ_ACTIVATION_LIST(ACTIVATION)}, .softcap = mq_softcap_##isa,      \
        .sigmoid_times = mq_sigmoid_times_##isa, .add_scaled = mq_add_scaled_##isa,           \
        .sum_squares = mq_sum_squares_##isa, .exact_squares = mq_exact_squares_##isa,         \
        .exact_column_squares = mq_exact_column_squares_##isa                                 \
    }

static const struct mq_kernels tables[MQ_ISA_COUNT] = {
    [MQ_ISA_GENERIC] = TABLE(generic, GENERIC),
#if defined(__x86_64__)
    [MQ_ISA_AVX2] = TABLE(avx2, AVX2),
    [MQ_ISA_AVX512] = TABLE(avx512, AVX512),
#elif defined(__aarch64__)
    [MQ_ISA_NEON] = TABLE(neon, NEON),
#endif
};

const struct mq_kernels *mq_kernels_get(enum mq_isa isa)
{
    return &tables[tables[isa].multiply ? isa : MQ_ISA_GENERIC];
}

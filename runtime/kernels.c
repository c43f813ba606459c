/* kernels.c: the table of kernels per instruction set. */
#include "kernels.h"

/* A kernel for each row of MQ_ACTIVATION_LIST. */
#define ACTIVATIONS(isa) [MQ_ACTIVATION_SILU] = mq_silu_times_##isa
_Static_assert(MQ_ACTIVATIONS == 1, "every activation needs its kernel above");

#define TABLE(isa)                                                                         \
    {                                                                                      \
        mq_gemm_pack_##isa, mq_gemm_multiply_##isa, mq_rms_norm_##isa, mq_softmax_##isa,   \
            mq_rotate_##isa, {ACTIVATIONS(isa)}, mq_add_scaled_##isa, mq_sum_squares_##isa \
    }

static const struct mq_kernels tables[MQ_ISA_COUNT] = {
    [MQ_ISA_GENERIC] = TABLE(generic),
#if defined(__x86_64__)
    [MQ_ISA_AVX2] = TABLE(avx2),
    [MQ_ISA_AVX512] = TABLE(avx512),
#elif defined(__aarch64__)
    [MQ_ISA_NEON] = TABLE(neon),
#endif
};

const struct mq_kernels *mq_kernels_get(enum mq_isa isa)
{
    return &tables[tables[isa].multiply ? isa : MQ_ISA_GENERIC];
}

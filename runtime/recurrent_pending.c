/* recurrent_pending.c: steps that no family has yet. */
#include "pass_int.h"

#include "error.h"

#define PENDING(name)                                                                            \
    moeq_status mq_pass_##name(struct mq_pass *pass, const struct mq_step *step, int32_t layer,  \
                               moeq_error *err)                                                  \
    {                                                                                            \
        (void)pass, (void)step, (void)layer;                                                     \
        return mq_fail(err, MOEQ_UNSUPPORTED, "the step " #name " is not implemented");          \
    }                                                                                            \
    size_t mq_pass_##name##_work(const struct mq_pass_sizes *s, const struct mq_layer *l)        \
    {                                                                                            \
        (void)s, (void)l;                                                                        \
        return 0;                                                                                \
    }                                                                                            \
    uint64_t mq_pass_##name##_int8(const struct mq_pass_sizes *s, const struct mq_layer *l)      \
    {                                                                                            \
        (void)s, (void)l;                                                                        \
        return 0;                                                                                \
    }
PENDING(delta)
PENDING(convolution)
PENDING(mamba)

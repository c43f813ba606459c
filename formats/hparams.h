/* hparams.h: what config.json says about the maths, in one family-independent struct. */
#ifndef MQ_HPARAMS_H
#define MQ_HPARAMS_H

#include <stdbool.h>
#include <stdint.h>

enum mq_rope_type {
    MQ_ROPE_DEFAULT, /* frequency_i = theta^(-2i / head_dim), rotate-half */
    MQ_ROPE_LLAMA3,  /* low frequencies divided by `factor`, a linear ramp between */
    MQ_ROPE_LINEAR,  /* all frequencies divided by `factor` */
};

struct mq_rope {
    enum mq_rope_type type;
    double theta;
    double factor, low_freq_factor, high_freq_factor; /* LLAMA3 (factor: LINEAR too) */
    double original_max_positions;                    /* LLAMA3 */
    /* Not 0: true up to so many positions; beyond, the frequencies would depend on the sequence's
     * length (rope type dynamic), which is not implemented. */
    uint32_t exact_positions;
};

struct mq_hparams {
    uint32_t layers, hidden, heads, kv_heads, head_dim, vocab;
    uint32_t ffn;            /* rows of an expert's (or the dense MLP's) gate and up matrices */
    uint32_t experts, top_k; /* 0, 0: every layer is dense */
    uint32_t max_positions;
    uint32_t sliding_window; /* query i sees keys j with i - window < j <= i; 0: all j <= i */
    float rms_eps;
    struct mq_rope rope;
    bool tied_head;   /* the head is the embedding matrix */
    int32_t bos, eos; /* -1 where none */
};

#endif

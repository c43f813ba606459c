/*
 * fit.h: which levels of a model fit a graphics card, with how much to spare, and how fast they can
 * be at best. Arithmetic on plans only: no weight is read, so a view of config.json alone is
 * enough.
 *
 * What must be on the cards, as a runtime (runtimes.h) takes it:
 *
 *     weights  every byte that a plan gives them. llama.cpp keeps the embedding table on the host, since
 *              a token reads one row of it, unless the head is tied to it or memory is unified
 *     KV cache keys and values of the context, in whole cells; of a layer with a window only that, where
 *              the runtime does so for the architecture (fit_memory.c)
 *     compute  on each card, the activations of one micro-batch (fit_memory.c)
 *     margin   on each card, for the driver and fragmentation
 *
 * Several cards: whole layers in order, card after card, the head on the last (llama.cpp's layer
 * split); one stream of tokens then passes them in turn, each at its own bandwidth. Or an equal part of
 * each layer on every card (vLLM's tensor parallelism).
 */
#ifndef MQ_FIT_H
#define MQ_FIT_H

#include "gpus.h"
#include "plan.h"
#include "runtimes.h"

#include <cjson/cJSON.h>

enum {
    MQ_FIT_COPIES = 4, /* of inputs that a pipeline of cards holds: GGML_SCHED_MAX_COPIES of ggml */
    MQ_FIT_HOST_GIB = 64, /* unless it is given: what such boards hold with one module a channel */
    MQ_FIT_HOST_GBS = 90, /* two channels of DDR5-5600: 2 x 8 B x 5.6e9/s = 89.6 GB/s */
    MQ_FIT_MIN_CONTEXT = 512, /* tokens; a shorter context is not offered as an answer */
    MQ_FIT_MAX_CONTEXT = 1 << 24,
    MQ_FIT_MAX_ROWS = 32,
};

struct mq_fit_card {
    const struct mq_gpu *gpu; /* NULL: its memory was given as a number */
    uint64_t label_bytes;     /* of its memory; 0: unknown */
    uint64_t usable_bytes;
    uint32_t bandwidth_gbs; /* 0: unknown */
};

struct mq_fit_target {
    struct mq_fit_card card[MQ_GPU_MAX_CARDS];
    uint32_t cards;
    bool unified;                     /* no host memory beside it */
    uint64_t host_bytes;              /* of the host's memory; 0: MQ_FIT_HOST_GIB */
    bool no_flash_attention;          /* the runtime stores attention's scores */
    const struct mq_runtime *runtime; /* NULL: the first, llama.cpp */
};
/* What of the host's memory weights may take: the system needs an eighth. */
uint64_t mq_fit_target_host(const struct mq_fit_target *target);
const struct mq_runtime *mq_fit_target_runtime(const struct mq_fit_target *target);

/* Adds n cards of the table, or of so many usable bytes; false if these are too many. */
bool mq_fit_target_add(struct mq_fit_target *target, const struct mq_gpu *gpu, uint64_t label_bytes,
                       uint32_t n);
bool mq_fit_target_add_bytes(struct mq_fit_target *target, uint64_t usable_bytes, uint32_t n);

/* True if all cards are the same. */
bool mq_fit_target_is_even(const struct mq_fit_target *target);
uint64_t mq_fit_target_usable(const struct mq_fit_target *target); /* of all cards */

enum mq_fit_verdict {
    MQ_FIT_FITS,    /* with spare_bytes left */
    MQ_FIT_SHORTER, /* not with this context, but with max_context */
    MQ_FIT_OFFLOAD, /* only if part of the weights stay on the host */
    MQ_FIT_NO,      /* not at all: unified memory too small, or head and buffers alone too large */
};
const char *mq_fit_verdict_name(enum mq_fit_verdict verdict); /* "fits", "shorter_context", ... */

/* The fewest layers that must stay on the host: as wholes with their KV cache, or only their
 * experts. */
struct mq_fit_offload {
    bool possible;
    uint32_t layers;
    uint64_t bytes;                     /* on the host */
    uint64_t active_bytes;              /* of them, read for one token */
    double tokens_per_second;           /* upper bound then; 0: bandwidth unknown */
    uint32_t on_card[MQ_GPU_MAX_CARDS]; /* layers on each card, the head as one more */
};

struct mq_fit_row {
    const char *name; /* borrowed */
    bool quantized;   /* any of its tensors */
    bool as_stored;   /* the source's own files */
    bool requantized; /* any that the source has quantized, at another level */
    uint64_t weights, weight_bytes;
    double bits_per_weight, expert_bits; /* of all; of experts, or the MLPs of a dense model */
    uint64_t host_embedding_bytes, card_weight_bytes;
    /* on all cards together */
    uint64_t kv_bytes, state_bytes, compute_bytes, margin_bytes, needed_bytes;
    int64_t spare_bytes; /* what all cards have, minus what is needed */
    enum mq_fit_verdict verdict;
    uint64_t max_context; /* tokens, at most the model's; 0: the weights alone do not fit */
    uint32_t on_card[MQ_GPU_MAX_CARDS]; /* layers on each, the head as one more; 0: does not fit */
    struct mq_fit_offload layers, experts; /* with the whole context; unless it fits */
    uint64_t active_bytes;    /* weights read for one token, wherever they are */
    double tokens_per_second; /* upper bound for one stream; 0: bandwidth unknown */
    bool has_quality;         /* from mq_fit_join_quality; NAN: not measured */
    double kld_mean, ppl_ratio, exact_set_rate;
};

/* What fit_memory.c counts buffers by. */
struct mq_fit_buffers {
    uint64_t numbers;   /* of activations, a token of the micro-batch; without logits */
    uint64_t attention; /* of them, of attention alone */
    uint64_t scores;    /* without FlashAttention, for each token of the context */
    uint64_t copied;    /* of a quantized cache, for each token of the context */
    uint64_t window;    /* of layers that keep one; 0: none does */
    uint64_t least_reach, most_reach; /* tokens that a layer sees; 0: all */
};

struct mq_fit {
    const struct mq_view *view;
    struct mq_fit_target target;
    uint64_t context;
    const struct mq_kv_kind *kv;
    uint64_t parameters,
        active_parameters;   /* active: without the experts that a token does not use */
    uint64_t kv_token_bytes; /* all layers, */
    uint64_t window_token_bytes; /* and those of them that keep no more than their window */
    uint64_t state_bytes;    /* of recurrent layers, whatever the context: one sequence's */
    uint64_t compute_bytes;  /* one card, with the whole context; several hold copies of inputs */
    uint64_t compute_few_logits_bytes; /* the same with the logits of one token (runtimes.c) */
    struct mq_fit_buffers buffers;
    struct mq_fit_row rows[MQ_FIT_MAX_ROWS];
    size_t rows_count;
    const char *quality_path; /* borrowed; NULL: no quality was joined */
    const char
        *unread; /* borrowed: a storage of the source that the runtime does not have; NULL: none */
    const char *mix; /* borrowed: options of the rows' levels, " --attention q4_k"; NULL: none */
};

/* context 0: the model's own, at most 8192. Fails if the target's runtime does not have this kind of
 * cache, or not for heads as long as the model's. */
moeq_status mq_fit_begin(const struct mq_view *view, const struct mq_fit_target *target,
                         uint64_t context, const struct mq_kv_kind *kv, struct mq_fit *fit,
                         moeq_error *err);

/* Adds the row of one way to quantize. */
moeq_status mq_fit_add(struct mq_fit *fit, const char *name, const struct mq_policy *policy,
                       moeq_error *err);

/* Adds the row of a model as it is stored: what a runtime that loads it so holds. */
moeq_status mq_fit_add_stored(struct mq_fit *fit, const char *name, moeq_error *err);
#define MQ_FIT_AS_STORED "as stored"

/* Adds the rows of who names no levels: of a model that its makers quantized first it as it is stored, if the runtime
 * loads that; every level that the runtime reads, but for what `mix` gives classes and tensors; of a moeq or GGUF
 * file one, as it is stored. */
moeq_status mq_fit_add_usual(struct mq_fit *fit, const struct mq_policy *mix, moeq_error *err);

/*
 * Takes quality from a result of `moeq sweep --json`, by the rows' names; an unquantized row that
 * the sweep does not name is its baseline. Fails if the sweep is of another model, or of the same
 * levels with other bytes (another mix).
 */
moeq_status mq_fit_join_quality(struct mq_fit *fit, const char *path, moeq_error *err);

/* Of the rows that fit with the whole context: the one with the lowest mean KL divergence, or,
 * where no row that fits was measured, the one with most bytes. -1: none fits. */
int mq_fit_best(const struct mq_fit *fit);

/*
 * What to run, weighing memory against speed. -1: there is none.
 *
 *     on_card   mq_fit_best
 *     offload   of the rows with more bytes than that, whose part on the host fits there: the largest whose
 *               bound is still half of on_card's, else the smallest; where nothing fits, the largest that
 *               is as fast as people read (MQ_FIT_READING), else the fastest; where the host is too
 *               small for each, the one that needs least of it
 *     take      on_card, unless there is none, or it is poor (experts below 4 bits, or KL divergence of 3
 *               bits and worse) while offload is not and keeps half of the speed
 */
enum { MQ_FIT_READING = 10 }; /* tokens a second: 300 words a minute are 7 */
struct mq_fit_choice {
    int on_card, offload, take;
};
struct mq_fit_choice mq_fit_choose(const struct mq_fit *fit);

/* How a row that does not fit is split: experts on the host where the model has some, else layers; NULL
 * if it cannot be. */
const struct mq_fit_offload *mq_fit_row_offload(const struct mq_fit_row *row);
/* What the host then holds, the embedding table too. Only of a row that can be split. */
uint64_t mq_fit_row_host_bytes(const struct mq_fit_row *row);

/* The fewest cards, all as the first one, that the row's weights and whole context fit on in equal parts, of numbers
 * that divide the heads; 0: none (layers stay whole, cards differ, or more than MQ_GPU_MAX_CARDS). */
uint32_t mq_fit_cards_needed(const struct mq_fit *fit, const struct mq_fit_row *row);
/* What all cards have for weights: without margin and buffers. */
uint64_t mq_fit_weights_room(const struct mq_fit *fit);

/* What the cache holds of so many tokens, all layers together. */
uint64_t mq_fit_kv_bytes(const struct mq_fit *fit, uint64_t tokens);

/* The whole result as one document; NULL when out of memory. */
cJSON *mq_fit_json(const struct mq_fit *fit);

/* The assumptions as sentences, in order; the first empty one ends them. */
enum { MQ_FIT_ASSUMPTIONS = 16, MQ_FIT_SENTENCE = 320 };
void mq_fit_assumptions(const struct mq_fit *fit, char text[MQ_FIT_ASSUMPTIONS][MQ_FIT_SENTENCE]);

#endif

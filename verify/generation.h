/*
 * generation.h: what a model says after a prompt, token by token, and where two models part.
 *
 * A step costs one token's way through the layers (runtime/sequence.h); its logits are those that
 * the evaluator gives, so that the continuation of a prompt says of a quantized model what the
 * figures of verify cannot.
 */
#ifndef MQ_GENERATION_H
#define MQ_GENERATION_H

#include "evaluator.h"
#include "sampler.h"
#include "tokenizer.h"

struct mq_generation_options {
    size_t most;    /* tokens to give at most, at least 1 */
    size_t context; /* tokens of prompt and continuation at most; 0: the model's positions */
    struct mq_sampling sampling;
    const struct mq_ids *ends; /* tokens that end it; NULL: none */
    uint64_t keep_bytes; /* for logits of the first tokens, which mq_generation_compare wants */
    /* Called with each token as it is chosen, and the seconds since the one before; NULL is fine.
     * Other than MOEQ_OK ends everything. */
    moeq_status (*on_token)(void *user, int32_t id, double logprob, moeq_error *err);
    void *user;
};

/* Why it ended. */
#define MQ_GENERATION_END_LIST(X)                           \
    X(LENGTH, "length")   /* as many tokens as asked for */ \
    X(END, "end")         /* a token that ends a text */    \
    X(CONTEXT, "context") /* the context is full */         \
    X(INTERRUPTED, "interrupted")
enum mq_generation_end {
#define MQ_GENERATION_END_ENUM(id, name) MQ_GENERATION_##id,
    MQ_GENERATION_END_LIST(MQ_GENERATION_END_ENUM)
#undef MQ_GENERATION_END_ENUM
};
const char *mq_generation_end_name(enum mq_generation_end end);

/* Zero-initialize it; free with mq_generation_free. */
struct mq_generation {
    int32_t *ids;     /* [count], without the token that ended it */
    double *logprobs; /* [count]: of each, in nats, of the whole vocabulary at temperature 1 */
    size_t count;
    int32_t end_id; /* the token that ended it; -1: none */
    enum mq_generation_end end;
    size_t prompt_tokens, context, at_once;
    uint64_t cache_bytes, other_bytes, weights_bytes; /* weights_bytes: kept at most */
    double prompt_seconds, seconds; /* until the first logits; and of all steps behind */
    float *logits;                  /* [kept][vocab]: before each choice; NULL: not kept */
    size_t kept, vocab;
};
void mq_generation_free(struct mq_generation *generation);

/*
 * Goes on from a prompt. An interruption (context->cancel) is an end like others: the status is
 * MOEQ_OK. Fails for a prompt that leaves no room in the context, naming the key of config.json that
 * says so, and where the memory does not suffice.
 */
moeq_status mq_generate(const struct mq_context *context, const struct mq_arm *arm,
                        const struct mq_ids *prompt, const struct mq_generation_options *options,
                        struct mq_generation *generation, moeq_error *err);

/* The same for several prompts, one after the other: what the model keeps is there for each. `tokens`:
 * of a prompt and its continuation at most. `arm` must outlive it. */
struct mq_generator;
moeq_status mq_generator_create(const struct mq_context *context, const struct mq_arm *arm,
                                size_t tokens, struct mq_generator **generator, moeq_error *err);
void mq_generator_destroy(struct mq_generator *generator); /* NULL is fine */
moeq_status mq_generator_run(struct mq_generator *generator, const struct mq_ids *prompt,
                             const struct mq_generation_options *options,
                             struct mq_generation *generation, moeq_error *err);
/* How many tokens a prompt and its continuation take, or why there is no room for them. */
moeq_status mq_generation_room(const struct mq_view *view, size_t prompt,
                               const struct mq_generation_options *options, size_t *tokens,
                               moeq_error *err);

/* The first place at which two continuations of one prompt choose another token. */
struct mq_parting {
    bool parts;          /* false: one begins with all of the other */
    size_t at;           /* the number of the token, from 0 */
    int32_t base_id, id; /* what each chose there; a token that ends the text counts */
    /* Probabilities of both tokens in both models; NaN where the logits were not kept. */
    double base_of_base, base_of_other, other_of_base, other_of_other;
};
struct mq_parting mq_generation_compare(enum mq_isa isa, const struct mq_generation *base,
                                        const struct mq_generation *other);

#endif

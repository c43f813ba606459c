/*
 * evaluation_parts.c: what the layers of an evaluation cost, of which pipeline.c makes its division.
 *
 * In multiply-adds of a product, roughly: how ranks divide leaves no trace in what they compute.
 */
#include "arms_int.h"

#include "checked.h"
#include "error.h"

#include <stdlib.h>

/* Of a weight: to read it from the page cache, decode and pack it; to encode it on the fly, once; to read it from a
 * store that serves all processes (about 4 GB/s, where a machine does 200 G multiply-adds a second); and to encode it
 * with error feedback, which is what wants layers whole. */
enum { PACK = 16, ENCODE = 300, READ = 100, FEEDBACK = 4096 };
/* The same from a rank's own disk, for each batch anew where the page cache does not hold its share of the weights. */
enum { READ_AGAIN = 500 };
/* Of a logit, to judge it. */
enum { JUDGE = 16 };

/* The arms that run in a layer, and those of them that encode. */
static void count_arms(const struct mq_arm *arms, size_t count, uint32_t layer, double *run,
                       double *encode)
{
    *run = *encode = 0;
    for (size_t a = 0; a < count; a++) {
        if (arms[a].playback || (a && layer < mq_arm_own_from(&arms[0], &arms[a])))
            continue;
        *run += 1;
        *encode += arms[a].levels != NULL;
    }
}

/* What a token's mixer does besides products with weights. */
static double mixer_cost(const struct mq_layer *layer, const struct mq_hparams *hp, size_t length)
{
    const struct mq_layer_attention *a = &layer->attention;
    const double keys = (double)length / 2;
    if (a->kind == MQ_MIXER_GROUPED || a->kind == MQ_MIXER_LATENT)
        return (double)a->heads * ((double)a->head_dim + (double)a->value_dim) * keys;
    return 4 * (double)mq_layer_state_numbers(layer, hp->hidden);
}

static struct mq_layer_cost layer_cost(const struct mq_arm *arms, size_t count, uint32_t layer,
                                       size_t length, bool whole)
{
    const struct mq_hparams *hp = &arms[0].view->hparams;
    const struct mq_program *program = arms[0].view->program->layers[layer];
    const struct mq_layer_router *router = &program->layer.ffn.router;
    double run, encode, weights = 0, met = mixer_cost(&program->layer, hp, length);
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    count_arms(arms, count, layer, &run, &encode);
    while ((slot = mq_program_next(program, &at))) {
        const double n = (double)slot->rows * (double)slot->cols;
        weights += n * (slot->per_expert ? router->experts : 1);
        met += n * (slot->per_expert ? router->top_k : 1);
    }
    return (struct mq_layer_cost){.once = weights * (whole ? FEEDBACK : ENCODE * encode),
                                  .batch = weights * PACK * run,
                                  .token = met * run,
                                  .read = weights * READ};
}

/* Whether some rank's machine has less memory than its ranks' shares of the weights. */
static moeq_status is_cold(const struct mq_context *context, const struct mq_arm *arms, size_t count,
                           bool *cold, moeq_error *err)
{
    const struct mq_peers *peers = context->peers;
    const uint32_t layers = arms[0].view->hparams.layers;
    uint64_t bytes = 0, here = 0;
    for (size_t a = 0; a < count; a++)
        for (size_t i = 0; (a == 0 || arms[a].view != arms[a - 1].view) &&
                           i < arms[a].view->tensors_count; i++)
            bytes += arms[a].view->tensors[i].rows * arms[a].view->tensors[i].row_bytes;
    for (unsigned r = 0; r < peers->count; r++)
        here += peers->host_number(peers->user, r) == peers->host_number(peers->user, peers->rank);
    const uint64_t shares = mq_min_u64(peers->count, layers);
    uint64_t is = bytes / shares * mq_min_u64(here, shares) > mq_physical_memory_bytes() / 4 * 3;
    MQ_TRY(mq_peers_reduce(peers, MQ_MOST, &is, 1, err));
    *cold = is;
    return MOEQ_OK;
}

/* Of the tokens whose logits are wanted. */
static struct mq_layer_cost head_cost(const struct mq_arm *arms, size_t count,
                                      const struct mq_windows *windows,
                                      const struct mq_observer *observer)
{
    const struct mq_hparams *hp = &arms[0].view->hparams;
    const size_t tokens = windows->count * windows->length;
    const double weights = (double)hp->vocab * hp->hidden;
    size_t wanted = 0;
    if (!observer->on_logits)
        return (struct mq_layer_cost){0};
    for (size_t t = 0; t < tokens; t++)
        wanted += !observer->wants_logits || observer->wants_logits(observer->user, t);
    return (struct mq_layer_cost){.batch = weights * PACK * (double)count,
                                  .token = hp->vocab * ((double)hp->hidden + JUDGE) *
                                           (double)count * (double)wanted / (double)tokens,
                                  .read = weights * READ};
}

moeq_status mq_evaluation_parts(const struct mq_context *context, const struct mq_arm *arms,
                                size_t arms_count, const struct mq_windows *windows,
                                const struct mq_observer *observer, struct mq_part **parts,
                                struct mq_pipelines *division, moeq_error *err)
{
    const unsigned ranks = mq_peers_count(context->peers);
    const uint32_t layers = arms[0].view->hparams.layers;
    bool cold = false;
    *parts = NULL;
    if (ranks > 1)
        MQ_TRY(is_cold(context, arms, arms_count, &cold, err));
    struct mq_layer_cost *costs = calloc((size_t)layers + 1, sizeof *costs);
    *parts = calloc(ranks, sizeof **parts);
    if (!costs || !*parts) {
        free(costs);
        free(*parts);
        *parts = NULL;
        return mq_fail_memory(err, "dividing an evaluation");
    }
    for (uint32_t layer = 0; layer < layers && ranks > 1; layer++)
        costs[layer] = layer_cost(arms, arms_count, layer, windows->length, observer->whole);
    if (ranks > 1)
        costs[layers] = head_cost(arms, arms_count, windows, observer);
    for (uint32_t i = 0; i <= layers && cold; i++)
        costs[i].batch += costs[i].read / READ * READ_AGAIN;
    const bool one = observer->one_pipeline || observer->whole;
    const struct mq_pipeline_work work = {
        .costs = costs,
        .layers = layers,
        .windows = windows->count,
        .length = windows->length,
        .batch_tokens = context->batch_tokens ? context->batch_tokens : observer->whole ? 2048 : 0,
        .pipelines = one ? 1 : context->pipelines,
        .again = cold,
        .apart = observer->whole,
    };
    const struct mq_pipelines d = mq_pipeline_divide(&work, ranks);
    for (unsigned r = 0; r < ranks; r++)
        (*parts)[r] = mq_pipeline_part(&work, &d, r);
    if (division)
        *division = d;
    free(costs);
    return MOEQ_OK;
}

/* layer_words.c: the pieces of layer.h by the names that papers and model cards have for them. */
#include "layer_words.h"

#include "layer.h"

/* X(words, condition on an attention `a`, a feed-forward part `f`, a router `r` and a layer `l`) */
#define FEATURES(X)                                                                       \
    X("grouped attention", a->kind == MQ_MIXER_GROUPED)                                   \
    X("latent attention", a->kind == MQ_MIXER_LATENT)                                     \
    X("gated DeltaNet", a->kind == MQ_MIXER_DELTA)                                        \
    X("short convolution", a->kind == MQ_MIXER_CONVOLUTION)                               \
    X("Mamba2", a->kind == MQ_MIXER_MAMBA)                                                \
    X("window", a->window)                                                                \
    X("chunks", a->chunk)                                                                 \
    X("indexer beyond its keys", a->indexed)                                              \
    X("no positions", grouped && a->rope == MQ_ROPE_OF_NONE)                              \
    X("rotary part", grouped && a->rope && a->rotary_dim < a->head_dim)                   \
    X("rotary neighbours", grouped && a->rope && a->pairs == MQ_ROTARY_NEIGHBOURS)        \
    X("norms of q and k", a->qk_norm)                                                     \
    X("biases of q, k, v", grouped && a->qkv_bias)                                        \
    X("sinks", a->sinks)                                                                  \
    X("output gate", a->gate)                                                             \
    X("soft cap of scores", a->softcap != 0)                                              \
    X("clip of q, k, v", a->clip != 0)                                                    \
    X("norms after branches", l->norm_mixed || l->norm_ffn_out)                           \
    X("norms of 1 + w", l->norm == MQ_NORM_RMS_PLUS_ONE)                                  \
    X("LayerNorm", l->norm == MQ_NORM_LAYER)                                              \
    X("dense layers", f->kind == MQ_FFN_DENSE)                                            \
    X("MLP beside the experts", f->kind == MQ_FFN_BOTH)                                   \
    X("shared experts", routed && f->shared_rows && !f->shared_gate)                      \
    X("gated shared expert", routed && f->shared_rows && f->shared_gate)                  \
    X("GELU", f->kind && f->activation == MQ_ACTIVATION_GELU_TANH)                        \
    X("squared ReLU", f->kind && f->activation == MQ_ACTIVATION_RELU2)                    \
    X("limited SwiGLU", f->kind && f->activation == MQ_ACTIVATION_SWIGLU_OAI)             \
    X("router: softmax", scores && r->score == MQ_SCORE_SOFTMAX)                          \
    X("router: sigmoid",                                                                  \
      routed && (r->score == MQ_SCORE_SIGMOID || r->weights == MQ_WEIGHTS_SIGMOID))       \
    X("router: softmax of the chosen", routed && r->weights == MQ_WEIGHTS_SOFTMAX_CHOSEN) \
    X("router: sparsemixer", routed && r->weights == MQ_WEIGHTS_SPARSEMIXER)              \
    X("bias for the choice", routed && r->choice_bias)                                    \
    X("groups of experts", routed && r->groups > 1)                                       \
    X("weights divided by their sum", scores && r->normalize)                             \
    X("weights scaled", routed && (r->scale != 1 || r->expert_scale))                     \
    X("weights on inputs", routed && f->weigh_input)

enum {
#define COUNT(words, condition) +1
    FEATURE_COUNT = 0 FEATURES(COUNT)
#undef COUNT
};

static void mark(const struct mq_layer *l, bool has[FEATURE_COUNT])
{
    const struct mq_layer_attention *a = &l->attention;
    const struct mq_layer_ffn *f = &l->ffn;
    const struct mq_layer_router *r = &f->router;
    const bool grouped = a->kind == MQ_MIXER_GROUPED;
    const bool routed = f->kind == MQ_FFN_ROUTED || f->kind == MQ_FFN_BOTH;
    const bool scores = routed && r->weights == MQ_WEIGHTS_SCORES;
    size_t i = 0;
#define MARK(words, condition) has[i++] |= (condition);
    FEATURES(MARK)
#undef MARK
}

cJSON *mq_layer_words_json(const struct mq_view *view)
{
    static const char *const words[] = {
#define WORDS(words, condition) words,
        FEATURES(WORDS)
#undef WORDS
    };
    bool has[FEATURE_COUNT] = {false};
    struct mq_json_tree b = {0};
    cJSON *list = mq_json_array(&b);
    for (size_t i = 0; i < view->program->kinds_count; i++)
        mark(&view->program->kinds[i].layer, has);
    for (size_t i = 0; i < FEATURE_COUNT; i++)
        if (has[i])
            mq_json_append(&b, list, cJSON_CreateString(words[i]));
    return mq_json_finish(&b, list);
}

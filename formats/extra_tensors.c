/*
 * extra_tensors.c: tensors that the model has no place for.
 *
 * One that nothing has asked for may be a bias or a norm of a variant that would be computed
 * wrongly without it: an error. But checkpoints carry much that is no weight of the model: what
 * training needed, what follows from config.json, parts for other tasks. One table names those.
 */
#include "tensor_set_view.h"

#include "checked.h"
#include "error.h"
#include "open_options.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FREQUENCIES "rotary frequencies, which follow from config.json"
#define MASKS "causal masks, which are the same in all models"
#define KV_SCALES "scales of an 8-bit KV cache, which moeq does not use"
#define OTHER_HEAD "a head for scores or classes, which has no part in the probabilities of tokens"
#define SPECULATIVE "heads that guess further tokens, which have no part in the next one's"
#define SENSES "the parts that see or hear; moeq evaluates text alone"
#define COUNTERS "what training kept of itself"

#define STATISTICS "statistics of activations, which quantizers measure"
#define STEERING "control vectors, which Transformers does not apply either"
#define AVERAGE                                                                                \
    "a second model, the average of the first one over its training (EMA); what stands under " \
    "the official names is read, as in Transformers"
#define ZERO_BIASES "biases of zeros, which GPTQ's tools gave to every matrix"
#define NUMBERS "integers, truth values or nothing at all, which weights never are"

/* '*' stands for any characters. Of names that weights could have too, only those of 3 or more
 * dimensions or of none count. */
static const struct harmless {
    const char *pattern, *why;
    bool no_matrix;
} harmless[] = {
    {"*rotary_emb.inv_freq", FREQUENCIES, false},
    {"*rotary_emb.original_inv_freq", FREQUENCIES, false},
    {"*rotary_emb.cos_cached", FREQUENCIES, false},
    {"*rotary_emb.sin_cached", FREQUENCIES, false},
    {"*rotary_emb._cos_cached", FREQUENCIES, false},
    {"*rotary_emb._sin_cached", FREQUENCIES, false},
    {"*.cos_cached", FREQUENCIES, false},
    {"*.sin_cached", FREQUENCIES, false},
    {"*rope.freqs", FREQUENCIES, false},
    {"*rope_freqs.weight", FREQUENCIES, false},
    {"*position_ids", "position numbers, which are the same in all models", false},
    {"*attn.bias", MASKS, true},
    {"*attention.bias", MASKS, true},
    {"*.masked_bias", MASKS, false},
    {"*.causal_mask", MASKS, false},
    {"*.attn_mask", MASKS, false},
    {"*.attention_mask", MASKS, false},
    {"*.k_scale", KV_SCALES, false},
    {"*.v_scale", KV_SCALES, false},
    {"*.kv_scale", KV_SCALES, false},
    {"*.q_scale", KV_SCALES, false},
    {"*.prob_scale", KV_SCALES, false},
    {"*.k_proj.output_scale", KV_SCALES, false},
    {"*.v_proj.output_scale", KV_SCALES, false},
    {"*.k_proj.output_zero_point", KV_SCALES, false},
    {"*.v_proj.output_zero_point", KV_SCALES, false},
    {"v_head.*", OTHER_HEAD, false},
    {"*.v_head.*", OTHER_HEAD, false},
    {"value_head.*", OTHER_HEAD, false},
    {"*.value_head.*", OTHER_HEAD, false},
    {"score.*", OTHER_HEAD, false},
    {"*.score.weight", OTHER_HEAD, false},
    {"reward_head.*", OTHER_HEAD, false},
    {"classifier.*", OTHER_HEAD, false},
    {"qa_outputs.*", OTHER_HEAD, false},
    {"mtp.*", SPECULATIVE, false},
    {"model.mtp.*", SPECULATIVE, false},
    {"model.mtp_*", SPECULATIVE, false},
    {"medusa_head*", SPECULATIVE, false},
    {"*vision_tower.*", SENSES, false},
    {"*vision_model.*", SENSES, false},
    {"*visual.*", SENSES, false},
    {"*multi_modal_projector.*", SENSES, false},
    {"*mm_projector.*", SENSES, false},
    {"*vision_encoder.*", SENSES, false},
    {"*vision_language_adapter.*", SENSES, false},
    {"patch_merger.*", SENSES, false}, /* Mistral's own names */
    {"pre_mm_projector_norm.*", SENSES, false},
    {"*embed_vision.*", SENSES, false},
    {"*embed_audio.*", SENSES, false},
    {"*audio_tower.*", SENSES, false},
    {"*image_newline", SENSES, false},
    {"*.act_scale", STATISTICS, false},
    {"*.act_scales", STATISTICS, false},
    {"*.input_scale", STATISTICS, false},
    {"*.input_global_scale", STATISTICS, false}, /* compressed-tensors' NVFP4 */
    {"*_proj_input_scale", STATISTICS, false},
    {"*.activation_scale", STATISTICS, false},
    {"*_proj_activation_scale", STATISTICS, false}, /* of fused experts: Transformers' FP8Experts */
    {"*.control_vector", STEERING, false},
    {"ema.*", AVERAGE, false},
    {"ema_model.*", AVERAGE, false},
    {"model_ema.*", AVERAGE, false},
    {"optimizer.*", COUNTERS, false},
    {"*.optimizer.*", COUNTERS, false},
    {"*.exp_avg", COUNTERS, false},
    {"*.exp_avg_sq", COUNTERS, false},
    {"*.momentum_buffer", COUNTERS, false},
    {"lr_scheduler.*", COUNTERS, false},
    {"*._extra_state", COUNTERS, false},
    {"*.num_batches_tracked", COUNTERS, false},
    {"*total_ops", COUNTERS, false},
    {"*total_params", COUNTERS, false},
};
enum { HARMLESS = sizeof harmless / sizeof *harmless };

/* Names that adapters (PEFT) give. */
static const char *const adapters[] = {
    "*lora_*",   "*.base_layer.*", "*.modules_to_save.*", "*.original_module.*",
    "*adapter*", "*.ia3_l*",       "prompt_embeddings"};

/* What another unknown tensor may be. */
static const struct {
    const char *pattern, *what;
} suspects[] = {
    {"*.bias", "it is a bias, and adds to every result: is the model_type right?"},
    {"*norm*", "it is a norm that this model_type does not have: is the model_type right?"},
};

const char *mq_adapter_says(const char *name)
{
    for (size_t i = 0; i < sizeof adapters / sizeof *adapters; i++)
        if (mq_text_matches(adapters[i], name))
            return "it belongs to an adapter that is not merged into the weights: merge it (peft: "
                   "model.merge_and_unload(), then save_pretrained), and give the result's folder";
    return NULL;
}

/* What is packed or scaled has been refused before (quantized_source.c). */
static bool is_no_weight(const struct mq_st_entry *e)
{
    switch (e->dtype) {
    case MQ_F8_E5M2:
    case MQ_F8_E4M3:
    case MQ_F16:
    case MQ_BF16:
    case MQ_F32:
    case MQ_F64:
        return e->size_bytes == 0;
    default:
        return true;
    }
}

/* The number at a place of a name that ends with a dot, -1 if there is none. */
static long number_at(const char *at)
{
    char *end = NULL;
    const long n = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : -1;
    return end && *end == '.' ? n : -1;
}

/* The number of the layer that a tensor is of by its name, -1 if it is of none. */
static long layer_of(const struct mq_family *family, const char *name)
{
    const char *prefix;
    const size_t n = mq_family_layer_prefix(family, &prefix);
    return n && strncmp(name, prefix, n) == 0 ? number_at(name + n) : -1;
}

/* Whether a tensor is of a layer behind the last that guesses further tokens (DeepSeek-V3 and its kin):
 * such a one has a norm of the embeddings, which no layer of the model has. */
static bool guesses(const struct mq_view *view, const struct mq_tensor_set *set, const char *name)
{
    char norm[256];
    const char *prefix;
    const long layer = layer_of(view->family, name);
    const int n = (int)mq_family_layer_prefix(view->family, &prefix);
    if (layer < (long)view->hparams.layers)
        return false;
    snprintf(norm, sizeof norm, "%.*s%ld.enorm.weight", n, prefix, layer);
    return mq_tensor_set_find(set, norm);
}

static const char *why_harmless(const struct mq_view *view, const struct mq_tensor_set *set,
                                const struct mq_located *at)
{
    const uint32_t dims = at->entry->dims;
    for (const struct mq_tensor_skip *s = view->family->skips; s && s->pattern; s++)
        if (mq_text_matches(s->pattern, at->name))
            return s->why;
    for (size_t i = 0; i < HARMLESS; i++)
        if (mq_text_matches(harmless[i].pattern, at->name) &&
            !(harmless[i].no_matrix && (dims == 1 || dims == 2)))
            return harmless[i].why;
    if (guesses(view, set, at->name))
        return SPECULATIVE;
    return is_no_weight(at->entry) ? NUMBERS : NULL;
}

/* The number behind a part of a name (".experts."), -1 if it has none. */
static long number_after(const char *name, const char *part)
{
    const char *at = strstr(name, part);
    return at ? number_at(at + strlen(part)) : -1;
}

static moeq_status refuse(const struct mq_view *view, const struct mq_tensor_set *set,
                          const struct mq_located *at, moeq_error *err)
{
    const struct mq_hparams *h = &view->hparams;
    const long layer = layer_of(view->family, at->name);
    const long expert = number_after(at->name, ".experts.");
    char why[320] = "";
    if (layer >= (long)h->layers)
        snprintf(why, sizeof why, ": it is of layer %ld, and num_hidden_layers is %u", layer,
                 h->layers);
    else if (h->experts && expert >= (long)h->experts)
        snprintf(why, sizeof why, ": it is of expert %ld, and there are %u", expert, h->experts);
    else if (!h->experts && expert >= 0)
        snprintf(why, sizeof why, ": it is an expert's, and a %s model has none",
                 view->family->name);
    else if (mq_adapter_says(at->name))
        snprintf(why, sizeof why, ": %s", mq_adapter_says(at->name));
    for (size_t i = 0; i < sizeof suspects / sizeof *suspects && !why[0]; i++)
        if (mq_text_matches(suspects[i].pattern, at->name))
            snprintf(why, sizeof why, ": %s", suspects[i].what);
    return mq_fail_tensor(err, MOEQ_UNSUPPORTED, mq_tensor_set_path(set, at), at->entry->name,
                          at->entry->offset, "has no place in a %s model of this config.json%s",
                          view->family->name, why);
}

/* Whether a bias beside a matrix of GPTQ's has no numbers but 0: AutoGPTQ wrote those of layers that have none. */
static moeq_status is_zero_bias(const struct mq_view *view, const struct mq_tensor_set *set,
                                const struct mq_located *at, bool *yes, moeq_error *err)
{
    enum { END = sizeof "bias" - 1, PIECE = 4096 };
    const struct mq_st_entry *e = at->entry;
    char codes[512], bytes[PIECE];
    *yes = false;
    if (view->claim.method != MQ_SOURCE_GPTQ || !mq_ends_with(at->name, ".bias") ||
        strlen(at->name) >= sizeof codes - 8 || !mq_dtype_storage(e->dtype))
        return MOEQ_OK;
    snprintf(codes, sizeof codes, "%.*sqweight", (int)(strlen(at->name) - END), at->name);
    if (!mq_tensor_set_find(set, codes))
        return MOEQ_OK;
    for (uint64_t done = 0, n; done < e->size_bytes; done += n) {
        n = mq_min_u64(PIECE, e->size_bytes - done);
        MQ_TRY(mq_file_read_at(&set->shards[at->shard].file, e->offset + done, bytes, n, err));
        for (uint64_t i = 0; i < n; i++)
            if (bytes[i])
                return MOEQ_OK;
    }
    *yes = true;
    return MOEQ_OK;
}

/* What is said of one kind of them. */
struct kind {
    const char *why;
    size_t count;
    uint64_t bytes;
    char names[400];
};

/* One kind for each reason. */
static void count_in(struct kind *kinds, const char *why, const struct mq_located *at)
{
    struct kind *k = kinds;
    while (k->why && strcmp(k->why, why) != 0)
        k++;
    const size_t n = strlen(k->names);
    k->why = why;
    k->bytes += at->entry->size_bytes;
    if (k->count < 2)
        snprintf(k->names + n, sizeof k->names - n, "%s%.150s", k->count ? ", " : "",
                 at->entry->name);
    else if (k->count == 2)
        snprintf(k->names + n, sizeof k->names - n, ", ...");
    k->count++;
}

moeq_status mq_judge_extra_tensors(struct mq_view *view, const struct mq_tensor_set *set,
                                   moeq_error *err)
{
    size_t skips = 0;
    while (view->family->skips && view->family->skips[skips].pattern)
        skips++;
    struct kind *kinds = calloc(HARMLESS + skips + 3, sizeof *kinds);
    moeq_status status = kinds ? MOEQ_OK : mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < set->count && status == MOEQ_OK; i++) {
        const struct mq_located *at = &set->tensors[i];
        /* A moeq file has none of others', and side files of its own. */
        if (at->used || (view->kind == MQ_VIEW_MOEQ && strncmp(at->name, "moeq.", 5) == 0))
            continue;
        bool zeros = false;
        const char *why = view->kind == MQ_VIEW_MOEQ ? NULL : why_harmless(view, set, at);
        if (!why)
            status = is_zero_bias(view, set, at, &zeros, err);
        why = zeros ? ZERO_BIASES : why;
        if (status != MOEQ_OK)
            break;
        if (why)
            count_in(kinds, why, at);
        else
            status = refuse(view, set, at, err);
    }
    for (const struct kind *k = kinds; status == MOEQ_OK && k->why; k++)
        status = mq_view_note(view, err, "%zu tensor%s (%" PRIu64 " bytes) %s left out: %s (%s)",
                              k->count, k->count == 1 ? "" : "s", k->bytes,
                              k->count == 1 ? "is" : "are", k->why, k->names);
    free(kinds);
    return status;
}

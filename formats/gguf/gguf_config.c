/*
 * gguf_config.c: metadata -> the text of a config.json.
 *
 * Everything after this reads the text, as if the model had come in a folder: one parser decides
 * what hyper-parameters mean, and a conversion carries the text along. As there, every key of the
 * architecture must be known: one that is not may change the maths.
 */
#include "gguf_int.h"
#include "gguf_saying.h"

#include "error.h"
#include "json.h"
#include "text_match.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The size of a number that config.c takes. */
enum { MAX_SIZE = 1 << 24, MAX_ARCHITECTURE = 63 };

enum rule {
    KNOWN,       /* read here, or without effect on the maths */
    ONE,         /* implemented only as 1 or true */
    ZERO_OR_ONE, /* the same, with 0 for unset */
};

static const struct {
    const char *pattern;
    enum rule rule;
} known[] = {
    {MQ_GGUF_KEY_VOCAB, KNOWN},
    {MQ_GGUF_KEY_CONTEXT, KNOWN},
    {MQ_GGUF_KEY_HIDDEN, KNOWN},
    {MQ_GGUF_KEY_LAYERS, KNOWN},
    {MQ_GGUF_KEY_FFN, KNOWN},
    {MQ_GGUF_KEY_HEADS, KNOWN},
    {MQ_GGUF_KEY_KV_HEADS, KNOWN},
    {MQ_GGUF_KEY_KEY_LENGTH, KNOWN},
    {MQ_GGUF_KEY_VALUE_LENGTH, KNOWN},
    {MQ_GGUF_KEY_RMS_EPS, KNOWN},
    {MQ_GGUF_KEY_SLIDING_WINDOW, KNOWN},
    {MQ_GGUF_KEY_EXPERTS, KNOWN},
    {MQ_GGUF_KEY_TOP_K, KNOWN},
    {MQ_GGUF_KEY_ROPE_DIMS, KNOWN},
    {MQ_GGUF_KEY_ROPE_THETA, KNOWN},
    {MQ_GGUF_KEY_ROPE_SCALING, KNOWN},
    {MQ_GGUF_KEY_ROPE_FACTOR, KNOWN},
    {"%s.rope.scale_linear", KNOWN},
    {MQ_GGUF_KEY_ROPE_ORIGINAL, KNOWN},
    {MQ_GGUF_KEY_ROPE_THETA_LOCAL, KNOWN},
    {MQ_GGUF_KEY_ROPE_MAGNITUDE, KNOWN},
    {MQ_GGUF_KEY_YARN_FAST, KNOWN},
    {MQ_GGUF_KEY_YARN_SLOW, KNOWN},
    {MQ_GGUF_KEY_YARN_LOG, KNOWN},
    {"%s.rope.scaling.finetuned", KNOWN},
    {"%s.tensor_data_layout", KNOWN}, /* a note on where the weights came from */
    {"%s.pooling_type", KNOWN},       /* of embedding models' output */
    {MQ_GGUF_KEY_EPS, KNOWN},
    {MQ_GGUF_KEY_NEXTN, KNOWN},
    {"%s.attention.causal", ONE},
    {"%s.expert_weights_norm", ONE},
    {"%s.expert_weights_scale", ZERO_OR_ONE},
    {"%s.expert_gating_func", ZERO_OR_ONE}, /* 1: softmax */
    {"%s.expert_group_count", ZERO_OR_ONE},
    {"%s.expert_group_used_count", ZERO_OR_ONE},
    {"%s.logit_scale", ZERO_OR_ONE},
    {"%s.residual_scale", ZERO_OR_ONE},
    {"%s.embedding_scale", ZERO_OR_ONE},
};

static moeq_status note_ignored(struct mq_view *view, const struct mq_gguf_key *key,
                                moeq_error *err)
{
    return mq_view_note(view, err, "the metadata's \"%.80s\" is ignored, as was asked for",
                        key->name);
}

/* Whether a row of the architecture is of a key. */
static bool has_row(const struct mq_gguf_arch *arch, const char *pattern)
{
    for (const struct mq_gguf_row *row = arch->rows; row && (row->pattern || row->kind); row++)
        if (row->pattern && strcmp(row->pattern, pattern) == 0)
            return true;
    return false;
}

static moeq_status check_key(const struct mq_gguf *g, const struct mq_gguf_key *key,
                             const struct mq_gguf_arch *arch, struct mq_view *view,
                             moeq_error *err)
{
    char name[200];
    double value = 0;
    const bool number =
        key->type != MQ_GGUF_ARRAY && mq_gguf_any_number(g, key, 0, &value);
    snprintf(name, sizeof name, "%%s%s", key->name + strlen(arch->name));
    if (has_row(arch, name))
        return MOEQ_OK;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        snprintf(name, sizeof name, known[i].pattern, arch->name);
        if (strcmp(name, key->name) != 0)
            continue;
        if (known[i].rule == KNOWN || (number && value == 1) ||
            (number && value == 0 && known[i].rule == ZERO_OR_ONE))
            return MOEQ_OK;
        if (mq_view_ignores_key(view, key->name))
            return note_ignored(view, key, err);
        if (!number)
            return mq_gguf_fail_key(g, key, MOEQ_UNSUPPORTED, err, "expected a number");
        return mq_gguf_fail_key(g, key, MOEQ_UNSUPPORTED, err,
                                "%g is not implemented (only 1). --ignore-config %.80s goes on "
                                "without it, at the risk of wrong results",
                                value, key->name);
    }
    if (number && value == 0) /* how a key says that it is off */
        return MOEQ_OK;
    if (mq_view_ignores_key(view, key->name))
        return note_ignored(view, key, err);
    return mq_gguf_fail_key(g, key, MOEQ_UNSUPPORTED, err,
                            "is a key that moeq does not know: it may change the maths. Where it "
                            "was written by a tool and the model does without, --ignore-config "
                            "%.80s goes on",
                            key->name);
}

/* A whole number from 1 to MAX_SIZE; `otherwise` where the key is absent (0: required). */
static moeq_status read_size(const struct mq_gguf *g, const char *pattern, const char *architecture,
                             uint32_t otherwise, uint32_t *size, moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_arch_key(g, pattern, architecture);
    uint64_t value = otherwise;
    if (!key && !otherwise) {
        char name[200];
        snprintf(name, sizeof name, pattern, architecture);
        return mq_fail_file(err, MOEQ_MALFORMED, g->file.path, "key '%s' is missing", name);
    }
    if (key && key->type == MQ_GGUF_ARRAY)
        return mq_gguf_fail_key(g, key, MOEQ_UNSUPPORTED, err,
                                "one value for each layer is not implemented");
    if (key && (!mq_gguf_whole(g, key, 0, &value) || value < 1 || value > MAX_SIZE))
        return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected a whole number from 1 to %d",
                                MAX_SIZE);
    *size = (uint32_t)value;
    return MOEQ_OK;
}

/* The same for a number whose absence is said by 0 too. */
static moeq_status read_optional(const struct mq_gguf *g, const char *pattern,
                                 const char *architecture, uint32_t *size, moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_arch_key(g, pattern, architecture);
    uint64_t value;
    *size = 0;
    if (!key || (key->type != MQ_GGUF_ARRAY && mq_gguf_whole(g, key, 0, &value) && value == 0))
        return MOEQ_OK;
    return read_size(g, pattern, architecture, 0, size, err);
}

/* What the sizes are called here. */
struct sizes {
    uint32_t vocab, context, hidden, layers, ffn, heads, kv_heads, head_dim, rotary_dim;
    uint32_t experts, top_k, window;
};

/* Of several numbers, one for each layer, the last that is not 0; where there is none, that of experts. */
static moeq_status read_ffn(const struct mq_gguf *g, const char *a, struct sizes *s,
                            moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_arch_key(g, MQ_GGUF_KEY_FFN, a);
    double value;
    if (!key && mq_gguf_arch_key(g, "%s.expert_feed_forward_length", a))
        return read_size(g, "%s.expert_feed_forward_length", a, 0, &s->ffn, err);
    if (!key || key->type != MQ_GGUF_ARRAY)
        return read_size(g, MQ_GGUF_KEY_FFN, a, 0, &s->ffn, err);
    for (uint64_t i = 0; i < key->count; i++) {
        if (!mq_gguf_number(g, key, i, &value) || !(value >= 0 && value <= MAX_SIZE) ||
            value != floor(value))
            return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected whole numbers");
        s->ffn = value > 0 ? (uint32_t)value : s->ffn;
    }
    return s->ffn ? MOEQ_OK : mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "no layer has a size");
}

/* Of several numbers, one for each layer, the first that is not 0: rows of the architecture say which
 * layers have others. */
static moeq_status read_kv_heads(const struct mq_gguf *g, const char *a, struct sizes *s,
                                 moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_arch_key(g, MQ_GGUF_KEY_KV_HEADS, a);
    double value = 0;
    if (!key || key->type != MQ_GGUF_ARRAY)
        return read_size(g, MQ_GGUF_KEY_KV_HEADS, a, s->heads, &s->kv_heads, err);
    for (uint64_t i = 0; i < key->count && value == 0; i++)
        if (!mq_gguf_number(g, key, i, &value) || !(value >= 0 && value <= MAX_SIZE) ||
            value != floor(value))
            return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected whole numbers");
    if (value == 0)
        return mq_gguf_fail_key(g, key, MOEQ_UNSUPPORTED, err, "no layer has heads of keys");
    s->kv_heads = (uint32_t)value;
    return MOEQ_OK;
}

/* The length of a head, which keys and values share. The part of it that is turned may be less in
 * families of which config.json can say so. */
static moeq_status read_head_dim(const struct mq_gguf *g, const char *a, struct sizes *s,
                                 moeq_error *err)
{
    uint32_t value_dim;
    if (!mq_gguf_arch_key(g, MQ_GGUF_KEY_KEY_LENGTH, a) && s->hidden % s->heads)
        return mq_fail_file(err, MOEQ_MALFORMED, g->file.path,
                            "an embedding_length of %u is no multiple of %u heads, and there is no "
                            "attention.key_length",
                            s->hidden, s->heads);
    MQ_TRY(read_size(g, MQ_GGUF_KEY_KEY_LENGTH, a, s->hidden / s->heads, &s->head_dim, err));
    MQ_TRY(read_size(g, MQ_GGUF_KEY_VALUE_LENGTH, a, s->head_dim, &value_dim, err));
    if (value_dim != s->head_dim && !has_row(mq_gguf_arch_find(a), MQ_GGUF_KEY_VALUE_LENGTH))
        return mq_gguf_fail_key(g, mq_gguf_arch_key(g, MQ_GGUF_KEY_VALUE_LENGTH, a),
                                MOEQ_UNSUPPORTED, err, "%u is not implemented beside heads of %u",
                                value_dim, s->head_dim);
    return read_size(g, MQ_GGUF_KEY_ROPE_DIMS, a, s->head_dim, &s->rotary_dim, err);
}

/* Layers behind the last guess further tokens: they are counted by the number of blocks, and are
 * not read. */
static moeq_status read_layers(const struct mq_gguf *g, const char *a, struct sizes *s,
                               moeq_error *err)
{
    uint32_t further;
    MQ_TRY(read_size(g, MQ_GGUF_KEY_LAYERS, a, 0, &s->layers, err));
    MQ_TRY(read_optional(g, MQ_GGUF_KEY_NEXTN, a, &further, err));
    if (further >= s->layers)
        return mq_gguf_fail_key(g, mq_gguf_arch_key(g, MQ_GGUF_KEY_NEXTN, a), MOEQ_MALFORMED, err,
                                "%u of %u blocks", further, s->layers);
    s->layers -= further;
    return MOEQ_OK;
}

static moeq_status read_sizes(const struct mq_gguf *g, const char *a, struct sizes *s,
                              moeq_error *err)
{
    const struct mq_gguf_key *tokens = mq_gguf_find(g, MQ_GGUF_KEY_TOKENS);
    const uint32_t listed = tokens && tokens->type == MQ_GGUF_ARRAY && tokens->count <= MAX_SIZE
                                ? (uint32_t)tokens->count
                                : 0;
    MQ_TRY(read_size(g, MQ_GGUF_KEY_VOCAB, a, listed, &s->vocab, err));
    MQ_TRY(read_size(g, MQ_GGUF_KEY_CONTEXT, a, 0, &s->context, err));
    MQ_TRY(read_size(g, MQ_GGUF_KEY_HIDDEN, a, 0, &s->hidden, err));
    MQ_TRY(read_layers(g, a, s, err));
    MQ_TRY(read_ffn(g, a, s, err));
    MQ_TRY(read_size(g, MQ_GGUF_KEY_HEADS, a, 0, &s->heads, err));
    MQ_TRY(read_kv_heads(g, a, s, err));
    MQ_TRY(read_optional(g, MQ_GGUF_KEY_EXPERTS, a, &s->experts, err));
    MQ_TRY(read_optional(g, MQ_GGUF_KEY_SLIDING_WINDOW, a, &s->window, err));
    if (s->experts)
        MQ_TRY(read_size(g, MQ_GGUF_KEY_TOP_K, a, 0, &s->top_k, err));
    return read_head_dim(g, a, s, err);
}

static bool has_experts(const struct mq_family *family)
{
    for (const struct mq_tensor_name *p = family->names; p->name; p++)
        if (p->role == MQ_ROLE_ROUTER)
            return true;
    return false;
}

/* The next family of an architecture in the table, with or without experts as the file; NULL. */
static const struct mq_family *next_family(const char *architecture, bool experts, size_t *i)
{
    while (*i < mq_families_count) {
        const struct mq_family *f = mq_families[(*i)++];
        if (f->gguf_architecture && strcmp(f->gguf_architecture, architecture) == 0 &&
            has_experts(f) == experts)
            return f;
    }
    return NULL;
}

/* Each architecture once. */
static void list_architectures(char *list, size_t room)
{
    size_t n = 0;
    list[0] = '\0';
    for (size_t i = 0; i < mq_families_count && n < room; i++) {
        const char *name = mq_families[i]->gguf_architecture;
        bool again = !name;
        for (size_t k = 0; k < i && !again; k++)
            again = mq_families[k]->gguf_architecture &&
                    strcmp(mq_families[k]->gguf_architecture, name) == 0;
        if (!again)
            n += (size_t)snprintf(list + n, room - n, "%s%s", n ? ", " : "", name);
    }
}

#define MERGE_LORA "it has no weights of its own: merge it into its base model (llama-export-lora)"

/* GGUF files that are no models of language by themselves, told by general.type, by the
 * architecture or, of files from before there was a type, by a key. (Source: the `gguf` package's
 * GGUFType; convert_lora_to_gguf.py, imatrix.cpp and mtmd of llama.cpp.) */
static const struct {
    const char *type, *architecture, *key; /* one of them, or tensors of a LoRA's */
    bool lora;
    const char *is, *advice;
} others[] = {
    {.type = "adapter", .is = "a LoRA adapter", .advice = MERGE_LORA},
    {.key = "adapter.type", .is = "a LoRA adapter", .advice = MERGE_LORA},
    {.lora = true, .is = "a LoRA adapter", .advice = MERGE_LORA},
    {.architecture = "controlvector",
     .is = "a control vector",
     .advice = "it has no weights of its own: give the model that it steers"},
    {.type = "imatrix",
     .is = "an importance matrix",
     .advice = "it has no weights: give the model that it was made of"},
    {.key = "imatrix.chunk_count",
     .is = "an importance matrix",
     .advice = "it has no weights: give the model that it was made of"},
    {.type = "mmproj",
     .is = "the projector of a model that sees or hears (mmproj)",
     .advice = "give the language model's file beside it"},
    {.type = "clip-vision",
     .is = "the projector of a model that sees (mmproj)",
     .advice = "give the language model's file beside it"},
    {.architecture = "clip",
     .is = "the projector of a model that sees or hears (mmproj)",
     .advice = "give the language model's file beside it"},
};

/* As llama.cpp's adapters have them, also those from before general.type. */
static bool is_lora(const struct mq_gguf *g)
{
    for (size_t i = 0; i < g->tensors_count; i++)
        if (mq_ends_with(g->tensors[i].name, ".lora_a"))
            return true;
    return false;
}

static moeq_status refuse_others(const struct mq_gguf *g, moeq_error *err)
{
    const struct mq_gguf_key *type = mq_gguf_find(g, MQ_GGUF_KEY_TYPE);
    const struct mq_gguf_key *architecture = mq_gguf_find(g, MQ_GGUF_KEY_ARCHITECTURE);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if ((others[i].type && mq_gguf_text_is(g, type, others[i].type)) ||
            (others[i].architecture && mq_gguf_text_is(g, architecture, others[i].architecture)) ||
            (others[i].key && mq_gguf_find(g, others[i].key)) || (others[i].lora && is_lora(g)))
            return mq_fail_file(err, MOEQ_UNSUPPORTED, g->file.path, "is %s, no model: %s",
                                others[i].is, others[i].advice);
    if (type && !mq_gguf_text_is(g, type, "model"))
        return mq_gguf_fail_key(g, type, MOEQ_UNSUPPORTED, err,
                                "expected \"model\": this is an adapter, a projector or the like");
    return MOEQ_OK;
}

/* After the architecture is known to be one of moeq's. */
static moeq_status refuse_empty(const struct mq_gguf_set *set, moeq_error *err)
{
    if (set->count)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_UNSUPPORTED, set->files[0].file.path,
                        "has a vocabulary and no tensors, as llama.cpp's ggml-vocab-*.gguf: give "
                        "the model's file");
}

static bool is_supported(const char *architecture)
{
    size_t with = 0, without = 0;
    return mq_gguf_arch_find(architecture) &&
           (next_family(architecture, true, &with) || next_family(architecture, false, &without));
}

static moeq_status read_architecture(const struct mq_gguf *g, char name[MAX_ARCHITECTURE + 1],
                                     moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_GGUF_KEY_ARCHITECTURE);
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    MQ_TRY(refuse_others(g, err));
    if (!key)
        return mq_fail_file(err, MOEQ_MALFORMED, g->file.path,
                            "key '" MQ_GGUF_KEY_ARCHITECTURE "' is missing");
    if (key->type != MQ_GGUF_STRING || !mq_gguf_next(&s) || !s.size || s.size > MAX_ARCHITECTURE ||
        memchr(s.text, '\0', s.size))
        return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected a short text");
    memcpy(name, s.text, s.size);
    name[s.size] = '\0';
    if (is_supported(name))
        return MOEQ_OK;
    char list[800];
    list_architectures(list, sizeof list);
    return mq_gguf_fail_key(g, key, MOEQ_UNSUPPORTED, err,
                            "architecture \"%.60s\" is not supported (supported: %s)", name, list);
}

/* The id of a special token; false if there is none (-1 says so too). */
static bool token_id(const struct mq_gguf *g, const char *key_name, uint32_t vocab, uint64_t *id)
{
    const struct mq_gguf_key *key = mq_gguf_find(g, key_name);
    return key && key->type != MQ_GGUF_ARRAY && mq_gguf_whole(g, key, 0, id) && *id < vocab;
}

/* A text may end by several tokens: eos_token_id is a list then, as in Hugging Face's files. */
static void say_tokens(struct mq_gguf_saying *s, uint32_t vocab)
{
    static const char *const ends[] = {MQ_GGUF_KEY_EOS, MQ_GGUF_KEY_EOT, MQ_GGUF_KEY_EOM};
    uint64_t id, seen[3] = {0};
    size_t n = 0;
    if (token_id(s->gguf, MQ_GGUF_KEY_BOS, vocab, &id))
        mq_gguf_say(s, "bos_token_id", "%" PRIu64, id);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        bool again = !token_id(s->gguf, ends[i], vocab, &id);
        for (size_t k = 0; k < n; k++)
            again = again || seen[k] == id;
        if (!again)
            seen[n++] = id;
    }
    if (n == 1)
        mq_gguf_say(s, "eos_token_id", "%" PRIu64, seen[0]);
    else if (n == 2)
        mq_gguf_say(s, "eos_token_id", "[%" PRIu64 ", %" PRIu64 "]", seen[0], seen[1]);
    else if (n)
        mq_gguf_say(s, "eos_token_id", "[%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", seen[0], seen[1],
                    seen[2]);
    if (token_id(s->gguf, MQ_GGUF_KEY_PAD, vocab, &id))
        mq_gguf_say(s, "pad_token_id", "%" PRIu64, id);
}

#define FIELD(member) offsetof(struct mq_hparams, member)

static void say_buffer(struct mq_gguf_saying *s, const char *key, struct mq_buffer *text)
{
    mq_gguf_say_text(s, key,
                     mq_buffer_ok(text) ? mq_arena_strndup(s->arena, text->data, text->size) : NULL);
    mq_buffer_free(text);
}

static void say_real(struct mq_gguf_saying *s, const char *key, double value)
{
    struct mq_buffer text = {0};
    mq_buffer_put_number(&text, value);
    say_buffer(s, key, &text);
}

/* The part of a head that is turned, where the family can say it. */
static moeq_status say_rotary_dim(struct mq_gguf_saying *s, const struct sizes *z, moeq_error *err)
{
    if (mq_gguf_say_field(s, FIELD(rotary_dim), z->rotary_dim))
        return MOEQ_OK;
    if (s->family->default_rotary_part > 0) {
        say_real(s, "partial_rotary_factor", (double)z->rotary_dim / z->head_dim);
        return MOEQ_OK;
    }
    if (z->rotary_dim == z->head_dim)
        return MOEQ_OK;
    return mq_gguf_fail_key(s->gguf, mq_gguf_arch_key(s->gguf, MQ_GGUF_KEY_ROPE_DIMS, s->arch->name),
                            MOEQ_UNSUPPORTED, err, "%u is not implemented beside heads of %u",
                            z->rotary_dim, z->head_dim);
}

static moeq_status say_sizes(struct mq_gguf_saying *s, const struct sizes *z, moeq_error *err)
{
    const struct {
        size_t field;
        uint32_t value;
        bool optional;
    } numbers[] = {
        {FIELD(hidden), z->hidden, false},       {FIELD(ffn), z->ffn, false},
        {FIELD(layers), z->layers, false},       {FIELD(heads), z->heads, false},
        {FIELD(kv_heads), z->kv_heads, false},   {FIELD(head_dim), z->head_dim, false},
        {FIELD(vocab), z->vocab, false},         {FIELD(max_positions), z->context, false},
        {FIELD(experts), z->experts, true},      {FIELD(top_k), z->top_k, true},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].value || !numbers[i].optional)
            mq_gguf_say_field(s, numbers[i].field, numbers[i].value);
    MQ_TRY(say_rotary_dim(s, z, err));
    const struct mq_config_key *window = mq_gguf_config_key(s->family, FIELD(sliding_window));
    if (window && z->window)
        mq_gguf_say(s, window->key, "%u", z->window);
    else if (window)
        mq_gguf_say(s, window->key, "null");
    return MOEQ_OK;
}

/* Families that read a number of their own beside the others have them in rope_parameters. */
static const char *rope_name(const struct mq_family *family)
{
    for (const struct mq_config_key *k = family->keys; k->key; k++)
        if (strncmp(k->key, "rope_parameters.", 16) == 0)
            return "rope_parameters";
    return "rope_scaling";
}

/* rope_scaling, or of a family whose layers of sliding attention have positions of their own what
 * says those of both. */
static moeq_status say_rope(struct mq_gguf_saying *s, struct mq_gguf_set *set, double theta,
                            uint32_t dim, moeq_error *err)
{
    const struct mq_family *f = s->family;
    struct mq_buffer scaling = {0}, both = {0};
    double local;
    const moeq_status status = mq_gguf_rope_scaling(s, set, theta, dim, &scaling, err);
    if (status != MOEQ_OK) {
        mq_buffer_free(&scaling);
        return status;
    }
    if (!f->local_rope || f->local_theta_key) {
        if (f->default_rope && mq_buffer_ok(&scaling) && scaling.data[0] != '{') {
            mq_buffer_free(&scaling); /* a file that says nothing has no scaling, whatever its class */
            mq_buffer_puts(&scaling, "{\"rope_type\": \"default\"}");
        }
        say_real(s, f->theta_key ? f->theta_key : "rope_theta", theta);
        say_buffer(s, rope_name(f), &scaling);
        if (!f->local_rope)
            return MOEQ_OK;
    }
    MQ_TRY(mq_gguf_positive(s->gguf,
                            mq_gguf_arch_key(s->gguf, MQ_GGUF_KEY_ROPE_THETA_LOCAL, s->arch->name),
                            theta, &local, err));
    if (f->local_theta_key) {
        say_real(s, f->local_theta_key, local);
        return MOEQ_OK;
    }
    mq_buffer_puts(&both, "{\"full_attention\": {");
    if (mq_buffer_ok(&scaling) && scaling.data[0] == '{') /* without its brackets */
        mq_buffer_printf(&both, "%.*s, ", (int)scaling.size - 2, scaling.data + 1);
    mq_buffer_puts(&both, "\"rope_theta\": ");
    mq_buffer_put_number(&both, theta);
    mq_buffer_puts(&both, "}, \"sliding_attention\": {\"rope_type\": \"default\", "
                          "\"partial_rotary_factor\": 1, \"rope_theta\": ");
    mq_buffer_put_number(&both, local);
    mq_buffer_puts(&both, "}}");
    mq_buffer_free(&scaling);
    say_buffer(s, "rope_parameters", &both);
    return MOEQ_OK;
}

/* How positions are stretched, and the activation of all families but those that say their own. */
static moeq_status say_rest(struct mq_gguf_saying *s, struct mq_gguf_set *set,
                            const struct sizes *z, moeq_error *err)
{
    const char *a = s->arch->name, *eps_key = s->arch->layer_norm ? MQ_GGUF_KEY_EPS
                                                                   : MQ_GGUF_KEY_RMS_EPS;
    const struct mq_config_key *act = mq_gguf_config_key(s->family, FIELD(activation));
    double eps, theta;
    MQ_TRY(mq_gguf_positive(s->gguf, mq_gguf_arch_key(s->gguf, eps_key, a), 0, &eps, err));
    if (eps == 0) {
        char name[200];
        snprintf(name, sizeof name, eps_key, a);
        return mq_fail_file(err, MOEQ_MALFORMED, s->gguf->file.path, "key '%s' is missing or 0",
                            name);
    }
    /* where it is absent, llama.cpp takes 10000, as the first Llama had */
    MQ_TRY(mq_gguf_positive(s->gguf, mq_gguf_arch_key(s->gguf, MQ_GGUF_KEY_ROPE_THETA, a), 1e4,
                            &theta, err));
    mq_gguf_say_field(s, FIELD(rms_eps), eps);
    const moeq_status status = say_rope(s, set, theta, z->rotary_dim, err);
    if (act && strcmp(act->key, "hidden_act") == 0)
        mq_gguf_say_field(s, FIELD(activation), MQ_ACTIVATION_SILU);
    mq_gguf_say_field(s, FIELD(tied_head), !s->has(s->has_user, MQ_ROLE_HEAD, -1));
    return status;
}

moeq_status mq_gguf_say_config(struct mq_gguf_saying *s, struct mq_gguf_set *set, moeq_error *err)
{
    const struct mq_gguf *g = s->gguf;
    const char *a = s->arch->name;
    struct sizes z = {0};
    const size_t prefix = strlen(a);
    for (size_t i = 0; i < g->keys_count; i++)
        if (strncmp(g->keys[i].name, a, prefix) == 0 && g->keys[i].name[prefix] == '.')
            MQ_TRY(check_key(g, &g->keys[i], s->arch, s->view, err));
    MQ_TRY(read_sizes(g, a, &z, err));
    if (set && z.layers > set->count)
        return mq_fail_file(err, MOEQ_MALFORMED, g->file.path, "%u blocks, and %zu tensors in all",
                            z.layers, set->count);
    s->layers = z.layers;
    mq_gguf_say_text(s, "architectures",
                     mq_arena_printf(s->arena, "[\"%s\"]", s->family->architecture));
    mq_gguf_say_text(s, "model_type", mq_arena_printf(s->arena, "\"%s\"", s->family->name));
    MQ_TRY(say_sizes(s, &z, err));
    say_tokens(s, z.vocab);
    MQ_TRY(say_rest(s, set, &z, err));
    return mq_gguf_read_rows(s, err);
}

static bool has_named(const struct mq_gguf_saying *s, const char *pattern, int32_t layer)
{
    static const char block[] = "blk.{layer}";
    const bool one = layer >= 0 || !strstr(pattern, "{layer}");
    const uint32_t first = layer >= 0 ? (uint32_t)layer : 0;
    for (uint32_t i = first; i < (one ? first + 1 : s->layers); i++) {
        char name[120];
        if (strncmp(pattern, block, sizeof block - 1) == 0)
            snprintf(name, sizeof name, "blk.%u%s", i, pattern + sizeof block - 1);
        else
            snprintf(name, sizeof name, "%s", pattern);
        if (mq_gguf_set_find(s->set, name))
            return true;
    }
    return false;
}

static bool set_has(const void *user, enum mq_role role, int32_t layer)
{
    const struct mq_gguf_saying *s = user;
    const char *joint = mq_gguf_joint_name(role);
    return has_named(s, mq_gguf_role_name(s->arch, role), layer) ||
           (joint && has_named(s, joint, layer));
}

static moeq_status try_family(struct mq_gguf_saying *s, struct mq_gguf_set *set, const char *path,
                              moeq_error *err)
{
    struct mq_buffer *json = &s->view->side[MQ_SIDE_CONFIG];
    s->count = 0;
    mq_buffer_free(json);
    MQ_TRY(mq_gguf_say_config(s, set, err));
    MQ_TRY(mq_gguf_print(s, json, err));
    MQ_TRY(mq_config_parse(s->view, path, err));
    const char *pattern = mq_gguf_row_that_fails(s, s->view);
    if (!pattern)
        return MOEQ_OK;
    char key[200];
    snprintf(key, sizeof key, pattern, s->arch->name);
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                        "its keys are those of no %s model: %s is another", s->family->name, key);
}

/* The first family of the architecture that the keys are those of. */
moeq_status mq_gguf_config(struct mq_gguf_set *set, struct mq_view *view, const char *path,
                           moeq_error *err)
{
    char a[MAX_ARCHITECTURE + 1];
    struct mq_gguf_saying s = {
        .gguf = &set->files[0], .view = view, .arena = view->arena, .set = set, .has = set_has};
    uint32_t experts;
    size_t i = 0;
    s.has_user = &s;
    MQ_TRY(read_architecture(s.gguf, a, err));
    MQ_TRY(refuse_empty(set, err));
    s.arch = mq_gguf_arch_find(a);
    MQ_TRY(read_optional(s.gguf, MQ_GGUF_KEY_EXPERTS, a, &experts, err));
    s.family = next_family(a, experts > 0, &i);
    if (!s.family)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, s.gguf->file.path,
                            "architecture \"%s\" is not supported %s experts", a,
                            experts ? "with" : "without");
    const size_t notes = view->notes_count;
    moeq_status status = try_family(&s, set, path, err);
    while (status == MOEQ_UNSUPPORTED && (s.family = next_family(a, experts > 0, &i))) {
        moeq_error other = {0};
        const size_t before = view->notes_count;
        view->notes_count = notes;
        if (try_family(&s, set, path, &other) == MOEQ_OK) {
            *err = (moeq_error){0};
            return MOEQ_OK;
        }
        view->notes_count = before;
    }
    return status;
}

/*
 * tensor_names.c: checkpoints whose tensors stand under other names than the official ones only in
 * what comes before or between them.
 *
 * Training code wraps a model, and saving the wrapper puts its name into each tensor's:
 *
 *     _orig_mod.model.layers.0...              torch.compile
 *     module.model.layers.0...                 DistributedDataParallel, DeepSpeed
 *     base_model.model.model.layers.0...       PEFT
 *     layers.0...                              LlamaModel, without its ...ForCausalLM
 *     language_model.model.layers.0...         the text part of a model that sees images
 *     model.language_model.layers.0...         the same since Transformers 4.52
 *
 * Some wrap single layers, so their names are taken out wherever they stand; what comes before the
 * first layer's first norm is found once and holds for all names. (Transformers adds or strips its
 * base_model_prefix in the same way: core_model_loading.py, rename_source_key.)
 */
#include "tensor_set_view.h"

#include "error.h"
#include "open_options.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

/* Parts of a name that stand for a wrapper and never for a module of a model. */
static const char *const wrappers[] = {
    "_orig_mod",                  /* torch.compile */
    "module",                     /* DataParallel, DistributedDataParallel, DeepSpeed */
    "_fsdp_wrapped_module",       /* FullyShardedDataParallel */
    "_checkpoint_wrapped_module", /* activation checkpointing */
    "_forward_module",            /* Lightning */
};

/* Where the official names have their body ("model.") and the two tensors that it is known by. */
struct anchors {
    const char *layer, *embedding; /* official names */
    size_t body;                   /* length of what they begin with */
};

struct mapper {
    struct mq_view *view;
    struct mq_tensor_set *set;
    struct anchors official;
    const char *prefix; /* what stands in place of the body; "" for nothing */
    moeq_error *err;
};

/* ---- wrappers ---- */

static bool is_wrapper(const char *part, size_t n)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strlen(wrappers[i]) == n && memcmp(wrappers[i], part, n) == 0)
            return true;
    return false;
}

/* The name without its wrappers: itself if it has none; NULL when out of memory. */
static const char *unwrap(struct mq_arena *arena, const char *name)
{
    char *copy = NULL, *end = NULL;
    for (const char *part = name; *part;) {
        const size_t n = strcspn(part, "."), whole = n + (part[n] == '.');
        if (is_wrapper(part, n) && part[n]) {
            if (!copy) {
                copy = mq_arena_strdup(arena, name);
                if (!copy)
                    return NULL;
                end = copy + (part - name);
            }
        } else if (copy) {
            memcpy(end, part, whole);
            end += whole;
        }
        part += whole;
    }
    if (!copy)
        return name;
    *end = '\0';
    return copy;
}

static moeq_status unwrap_all(struct mapper *m)
{
    size_t changed = 0;
    const char *example = NULL;
    for (size_t i = 0; i < m->set->count; i++) {
        struct mq_located *at = &m->set->tensors[i];
        const char *name = unwrap(m->view->arena, at->name);
        if (!name)
            return mq_fail_memory(m->err, "opening a model");
        if (name != at->name) {
            example = example ? example : at->name;
            changed++;
        }
        at->name = name;
    }
    if (!changed)
        return MOEQ_OK;
    MQ_TRY(mq_tensor_set_rename(m->set, m->err));
    return mq_view_note(m->view, m->err,
                        "%zu tensors have a wrapper's name in theirs, as '%.200s' has (of a model "
                        "that was saved while training): they are read without it",
                        changed, example);
}

/* ---- what stands before ---- */

/* The first tensor of the first layer, and the embeddings. */
static moeq_status find_anchors(struct mapper *m)
{
    struct anchors *a = &m->official;
    struct mq_slot_at at = {0};
    const struct mq_slot *first = mq_program_next(m->view->program->layers[0], &at);
    a->embedding = mq_family_name(m->view->family, MQ_ROLE_EMBEDDING);
    a->layer =
        mq_pattern_expand(m->view->arena, mq_family_name(m->view->family, first->role), 0, 0);
    if (!a->layer)
        return mq_fail_memory(m->err, "opening a model");
    for (size_t i = 0; a->layer[i] && a->layer[i] == a->embedding[i]; i++)
        if (a->layer[i] == '.')
            a->body = i + 1;
    return MOEQ_OK;
}

/* Whether the set has PREFIX + official name without its body. */
static bool has(const struct mapper *m, const char *prefix, const char *official)
{
    char name[1024];
    const int n = snprintf(name, sizeof name, "%s%s", prefix, official + m->official.body);
    return n > 0 && (size_t)n < sizeof name && mq_tensor_set_find(m->set, name);
}

/* Of two places for a first layer, the one with embeddings beside it. */
static moeq_status choose(struct mapper *m, const char *prefix)
{
    if (!m->prefix) {
        m->prefix = prefix;
        return MOEQ_OK;
    }
    const bool old = has(m, m->prefix, m->official.embedding);
    const bool new = has(m, prefix, m->official.embedding);
    if (old && new)
        return mq_fail_file(m->err, MOEQ_UNSUPPORTED, m->view->path,
                            "holds several models: tensors begin with '%.100s' and with '%.100s'; "
                            "the official names begin with '%.*s'",
                            m->prefix, prefix, (int)m->official.body, m->official.layer);
    if (new)
        m->prefix = prefix;
    return MOEQ_OK;
}

static moeq_status find_prefix(struct mapper *m)
{
    const char *layer = m->official.layer + m->official.body;
    if (mq_tensor_set_find(m->set, m->official.layer))
        return MOEQ_OK;
    for (size_t i = 0; i < m->set->count; i++) {
        const char *name = m->set->tensors[i].name;
        const size_t n = strlen(name), k = strlen(layer);
        if (!mq_ends_with(name, layer) || (n > k && name[n - k - 1] != '.'))
            continue;
        const char *prefix = mq_arena_strndup(m->view->arena, name, n - k);
        if (!prefix)
            return mq_fail_memory(m->err, "opening a model");
        MQ_TRY(choose(m, prefix));
    }
    return MOEQ_OK;
}

/* ---- mapping ---- */

/* Whether a name without what stands before it begins as one of the official body's names does:
 * with "layers", "embed_tokens", "norm". */
static bool is_of_body(const struct mapper *m, const char *rest)
{
    const size_t n = strcspn(rest, ".");
    for (const struct mq_tensor_name *p = m->view->family->names; p->name; p++)
        if (strncmp(p->name, m->official.layer, m->official.body) == 0) {
            const char *own = p->name + m->official.body;
            if (strcspn(own, ".") == n && memcmp(own, rest, n) == 0)
                return true;
        }
    return false;
}

/* The official name of a tensor outside of the body (lm_head.weight) that stands under the first
 * parts of the prefix, or under none; NULL if it is none. */
static const char *find_outer(const struct mapper *m, const char *name)
{
    for (const struct mq_tensor_name *p = m->view->family->names; p->name; p++) {
        if (strncmp(p->name, m->official.layer, m->official.body) == 0 ||
            !mq_ends_with(name, p->name))
            continue;
        const size_t before = strlen(name) - strlen(p->name);
        if ((before == 0 || name[before - 1] == '.' || name[before - 1] == '/') &&
            strncmp(name, m->prefix, before) == 0)
            return p->name;
    }
    return NULL;
}

static moeq_status map_all(struct mapper *m)
{
    const size_t n = strlen(m->prefix);
    for (size_t i = 0; i < m->set->count; i++) {
        struct mq_located *at = &m->set->tensors[i];
        const char *outer = find_outer(m, at->name), *name = outer;
        if (!outer && strncmp(at->name, m->prefix, n) == 0 && is_of_body(m, at->name + n))
            name = mq_arena_printf(m->view->arena, "%.*s%s", (int)m->official.body,
                                   m->official.layer, at->name + n);
        else if (!outer)
            continue;
        if (!name)
            return mq_fail_memory(m->err, "opening a model");
        at->name = name;
    }
    MQ_TRY(mq_tensor_set_rename(m->set, m->err));
    if (n && !m->official.body)
        return mq_view_note(m->view, m->err,
                            "its tensors' names begin with '%.100s', which the official ones lack: "
                            "they are read, and written, under those",
                            m->prefix);
    if (n)
        return mq_view_note(m->view, m->err,
                            "its tensors' names begin with '%.100s' in place of '%.*s': they are "
                            "read, and written, under the official names",
                            m->prefix, (int)m->official.body, m->official.layer);
    return mq_view_note(m->view, m->err,
                        "its tensors' names lack the official '%.*s' (saved as the base model "
                        "alone): they are read, and written, under the official names",
                        (int)m->official.body, m->official.layer);
}

moeq_status mq_tensor_set_map_names(struct mq_view *view, struct mq_tensor_set *set,
                                    moeq_error *err)
{
    struct mapper m = {.view = view, .set = set, .err = err};
    MQ_TRY(unwrap_all(&m));
    MQ_TRY(find_anchors(&m));
    MQ_TRY(find_prefix(&m));
    return m.prefix ? map_all(&m) : MOEQ_OK;
}

/* ---- names of other models ---- */

/* Beginnings that tell what a checkpoint is, as published ones have them. */
static const struct {
    const char *begin, *model;
} others[] = {
    {"layers.0.attention.w", "the layout of Meta's and Mistral's own releases (consolidated)"},
    {"tok_embeddings.", "the layout of Meta's and Mistral's own releases (consolidated)"},
    {"transformer.h.", "GPT-2, GPT-J or Falcon"},
    {"h.0.", "GPT-2 or BLOOM"},
    {"gpt_neox.", "GPT-NeoX (Pythia)"},
    {"backbone.", "Mamba"},
    {"transformer.blocks.", "MPT or DBRX"},
    {"transformer.encoder.", "ChatGLM"},
    {"transformer.word_embeddings.", "Falcon or BLOOM"},
    {"model.decoder.", "OPT or BART"},
    {"decoder.layers.", "Megatron or OPT"},
    {"encoder.block.", "T5"},
    {"decoder.block.", "T5"},
    {"bert.", "BERT"},
    {"encoder.layer.", "BERT"},
    {"roberta.", "RoBERTa"},
    {"distilbert.", "DistilBERT"},
    {"rwkv.", "RWKV"},
    {"blocks.0.", "RWKV"},
    {"blk.0.", "GGUF"},
};

/* Whether names of the family begin so, too: of layer 0 where the beginning has one. */
static bool is_own(const struct mq_family *family, const char *begin)
{
    const char *prefix;
    const size_t n = mq_family_layer_prefix(family, &prefix);
    for (const struct mq_tensor_name *p = family->names; p->name; p++) {
        const char *rest = p->name, *want = begin;
        if (strncmp(rest, prefix, n) == 0 && strncmp(want, prefix, n) == 0 && want[n] == '0') {
            rest += n + strlen("{layer}");
            want += n + 1;
        }
        if (strncmp(rest, want, strlen(want)) == 0)
            return true;
    }
    return false;
}

const char *mq_tensor_set_guess(const struct mq_tensor_set *set, const struct mq_family *family)
{
    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            if (strncmp(set->tensors[i].name, others[k].begin, strlen(others[k].begin)) == 0 &&
                !is_own(family, others[k].begin))
                return others[k].model;
    return NULL;
}

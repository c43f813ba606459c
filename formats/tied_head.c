/*
 * tied_head.c: whether the head is the embedding matrix.
 *
 * config.json's tie_word_embeddings and what is stored do not always agree: tuning an lm_head makes
 * it another matrix than the embeddings, and the config stays. Transformers 5 goes by the weights
 * (modeling_utils.py, tie_weights): if both matrices are stored and differ, they are not tied; if
 * one of the two is missing, the other serves for both. Transformers 4 and others tie by the config
 * alone. Never without a word: what differs from the config is a note.
 */
#include "tensor_set_view.h"

#include "checked.h"
#include "error.h"
#include "f16.h"
#include "open_options.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct matrices {
    struct mq_located *head, *embedding; /* NULL where not stored */
    const char *head_name, *embedding_name;
};

static struct matrices find_matrices(const struct mq_view *view, const struct mq_tensor_set *set)
{
    struct matrices m = {0};
    for (const struct mq_tensor_name *p = view->family->names; p->name; p++) {
        if (p->role == MQ_ROLE_HEAD)
            m.head_name = p->name;
        else if (p->role == MQ_ROLE_EMBEDDING)
            m.embedding_name = p->name;
    }
    m.head = mq_tensor_set_find(set, m.head_name);
    m.embedding = mq_tensor_set_find(set, m.embedding_name);
    return m;
}

/* ---- whether they are the same ---- */

static float value_at(const char *bytes, enum mq_dtype dtype, size_t i)
{
    uint16_t half;
    float value;
    if (dtype == MQ_F32) {
        memcpy(&value, bytes + i * sizeof value, sizeof value);
        return value;
    }
    memcpy(&half, bytes + i * sizeof half, sizeof half);
    return dtype == MQ_F16 ? mq_f16_to_f32(half) : mq_bf16_to_f32(half);
}

/* In whatever dtype: a head is often kept in float32 beside weights in bfloat16. -0 is 0; one NaN
 * is another only if its bits are. */
static bool same_values(const char *a, enum mq_dtype a_dtype, const char *b, enum mq_dtype b_dtype,
                        size_t count)
{
    if (a_dtype == b_dtype && memcmp(a, b, count * mq_dtype_bytes(a_dtype)) == 0)
        return true;
    for (size_t i = 0; i < count; i++) {
        const float x = value_at(a, a_dtype, i), y = value_at(b, b_dtype, i);
        if (x != y && mq_float_bits(x) != mq_float_bits(y))
            return false;
    }
    return true;
}

static moeq_status read_values(const struct mq_tensor_set *set, const struct mq_located *at,
                               uint64_t first, size_t count, char *bytes, moeq_error *err)
{
    const uint32_t size = mq_dtype_bytes(at->entry->dtype);
    return mq_file_read_at(&set->shards[at->shard].file, at->entry->offset + first * size, bytes,
                           count * size, err);
}

/* Whether the two hold the same values; stops at the first difference. */
static moeq_status are_equal(const struct mq_tensor_set *set, const struct matrices *m, bool *equal,
                             moeq_error *err)
{
    enum { CHUNK = 1 << 18 };
    const struct mq_st_entry *a = m->head->entry, *b = m->embedding->entry;
    *equal = mq_dtype_storage(a->dtype) && mq_dtype_storage(b->dtype) && a->dims == b->dims &&
             memcmp(a->shape, b->shape, sizeof a->shape) == 0;
    if (!*equal)
        return MOEQ_OK;
    char *bytes = malloc(2 * sizeof(float) * CHUNK);
    if (!bytes)
        return mq_fail_memory(err, "comparing the head with the embeddings");
    char *others = bytes + sizeof(float) * CHUNK;
    const uint64_t count = a->size_bytes / mq_dtype_bytes(a->dtype);
    moeq_status status = MOEQ_OK;
    for (uint64_t at = 0; at < count && *equal; at += CHUNK) {
        const size_t n = (size_t)mq_min_u64(CHUNK, count - at);
        MQ_TRY_OUT(read_values(set, m->head, at, n, bytes, err));
        MQ_TRY_OUT(read_values(set, m->embedding, at, n, others, err));
        *equal = same_values(bytes, a->dtype, others, b->dtype, n);
    }
out:
    free(bytes);
    return status;
}

/* ---- what is decided ---- */

/* What else may be the head: of its shape or, in any other, by its name. NULL. */
static const struct mq_located *
find_other(const struct mq_view *view, const struct mq_tensor_set *set, const struct matrices *m)
{
    static const char *const names[] = {"*lm_head*", "output.weight", "*.output.weight",
                                        "*embed_out*"};
    const struct mq_located *by_name = NULL;
    for (size_t i = 0; i < set->count; i++) {
        const struct mq_located *at = &set->tensors[i];
        if (at == m->embedding || at->entry->dims != 2 || strstr(at->name, "layers."))
            continue;
        if (at->entry->shape[0] == view->hparams.vocab &&
            at->entry->shape[1] == view->hparams.hidden)
            return at;
        for (size_t k = 0; k < sizeof names / sizeof *names && !by_name; k++)
            by_name = mq_text_matches(names[k], at->name) ? at : NULL;
    }
    return by_name;
}

/* The sentence on that, with a blank in front; "". */
static void describe_other(const struct mq_view *view, const struct mq_tensor_set *set,
                           const struct matrices *m, char *text, size_t room)
{
    const struct mq_located *at = find_other(view, set, m);
    const char *adapter = at ? mq_adapter_says(at->name) : NULL;
    text[0] = '\0';
    if (adapter)
        snprintf(text, room, " There is '%.200s': %s", at->entry->name, adapter);
    else if (at)
        snprintf(text, room,
                 " There is '%.200s' of shape [%" PRIu64 ", %" PRIu64 "]: if it is the head, give "
                 "it the name %s (Python: load_file and save_file of safetensors.torch)",
                 at->entry->name, at->entry->shape[0], at->entry->shape[1], m->head_name);
}

static moeq_status fail_without_head(const struct mq_view *view, const struct mq_tensor_set *set,
                                     const struct matrices *m, moeq_error *err)
{
    const bool scores = mq_tensor_set_find(set, "score.weight") != NULL;
    char other[600];
    describe_other(view, set, m, other, sizeof other);
    return mq_fail_about(err, m->head_name,
                         mq_fail_file(
        err, MOEQ_NOT_FOUND, view->path,
        "tensor '%s' is missing, and config.json does not tie it to the embeddings "
        "(tie_word_embeddings): Transformers would begin with random weights.%s%s",
        m->head_name,
        scores ? " Its score.weight is the head of a classification or reward model, which has no "
                 "probabilities of tokens."
               : "",
        other[0] ? other
                 : " If the model was made with a tied head, --lm-head tied takes the embeddings "
                   "for it"));
}

/* As Transformers 5: tied by the config unless both are stored and differ. */
static moeq_status choose_by_weights(struct mq_view *view, const struct mq_tensor_set *set,
                                     const struct matrices *m, moeq_error *err)
{
    bool equal;
    if (!m->head && m->embedding && !view->hparams.tied_head)
        return fail_without_head(view, set, m, err);
    if (!m->head || !m->embedding || !view->hparams.tied_head)
        return MOEQ_OK;
    MQ_TRY(are_equal(set, m, &equal, err));
    m->head->used = true;
    if (equal)
        return MOEQ_OK;
    view->hparams.tied_head = false;
    view->options.lm_head = MQ_HEAD_STORED;
    return mq_view_note(view, err,
                        "config.json ties the head to the embeddings (tie_word_embeddings), but "
                        "%s is stored and differs from them: it is the head, as in Transformers 5. "
                        "--lm-head tied leaves it out",
                        m->head_name);
}

static moeq_status choose_by_user(struct mq_view *view, const struct mq_tensor_set *set,
                                  const struct matrices *m, moeq_error *err)
{
    char other[600];
    const bool tied = view->options.lm_head == MQ_HEAD_TIED, by_config = view->hparams.tied_head;
    if (!tied && !m->head) {
        describe_other(view, set, m, other, sizeof other);
        return mq_fail_file(err, MOEQ_NOT_FOUND, view->path,
                            "--lm-head stored, but no tensor '%s' is stored.%s", m->head_name,
                            other);
    }
    view->hparams.tied_head = tied;
    if (m->head)
        m->head->used = true;
    if (tied && m->head)
        return mq_view_note(view, err,
                            "%s is left out: the embeddings are the head, as was asked for "
                            "(--lm-head tied)",
                            m->head_name);
    /* Of a moeq file the choice is its source's, and noted there. */
    if (tied == by_config || view->kind == MQ_VIEW_MOEQ)
        return MOEQ_OK;
    return mq_view_note(view, err,
                        "%s the head, as was asked for (--lm-head %s), although config.json has "
                        "tie_word_embeddings %s",
                        tied ? "the embeddings are" : "the stored lm_head.weight is",
                        tied ? "tied" : "stored", by_config ? "true" : "false");
}

/* A tied model of which the head alone was saved. */
static moeq_status head_for_embeddings(struct mq_view *view, struct mq_tensor_set *set,
                                       const struct matrices *m, moeq_error *err)
{
    m->head->name = m->embedding_name;
    m->head->used = false;
    MQ_TRY(mq_tensor_set_rename(set, err));
    return mq_view_note(view, err,
                        "there are no %s; the head is tied to them, so that %s serves for both, as "
                        "in Transformers 5",
                        m->embedding_name, m->head_name);
}

/* A head that was put into the body: nothing else can be meant by that name. */
static moeq_status take_inner_head(struct mq_view *view, struct mq_tensor_set *set,
                                   struct matrices *m, moeq_error *err)
{
    struct mq_located *inner = mq_tensor_set_find(set, "model.lm_head.weight");
    if (m->head || !inner)
        return MOEQ_OK;
    inner->name = m->head_name;
    m->head = inner;
    MQ_TRY(mq_tensor_set_rename(set, err));
    return mq_view_note(view, err,
                        "the head stands under the name '%s': it is read, and written, as '%s'",
                        inner->entry->name, m->head_name);
}

moeq_status mq_choose_head(struct mq_view *view, struct mq_tensor_set *set, moeq_error *err)
{
    struct matrices m = find_matrices(view, set);
    if (view->kind == MQ_VIEW_MOEQ && view->options.lm_head == MQ_HEAD_DEFAULT) {
        /* What was decided when it was made shows by what it stores. */
        view->hparams.tied_head = view->hparams.tied_head && !m.head;
        return MOEQ_OK;
    }
    if (view->kind != MQ_VIEW_MOEQ)
        MQ_TRY(take_inner_head(view, set, &m, err));
    if (view->options.lm_head == MQ_HEAD_DEFAULT)
        MQ_TRY(choose_by_weights(view, set, &m, err));
    else
        MQ_TRY(choose_by_user(view, set, &m, err));
    if (view->hparams.tied_head && m.head && !m.embedding)
        return head_for_embeddings(view, set, &m, err);
    return MOEQ_OK;
}

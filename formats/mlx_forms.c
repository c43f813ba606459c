/*
 * mlx_forms.c: tensors that MLX's folders have in another form (mlx_lm, each model's `sanitize`).
 *
 *     experts  of "...experts.7.w1.weight" (or gate_proj) all are "...switch_mlp.gate_proj.weight", in some
 *              families "...experts.gate_proj.weight" or "...experts.switch_glu.gate_proj.weight"
 *     norms    of families that multiply by 1 + w: 1 + w (qwen3_next.py, qwen3_5.py)
 *     kv_b     of latent attention [heads (plain + value), rank]: of each head the keys' rows transposed,
 *              embed_q [heads, rank, plain], and the values', unembed_out [heads, value, rank]
 *              (deepseek_v3.py and its kin)
 *
 * The latter two are read as f32: a norm of 1 + w that is stored in f32 or less, less 1, plus 1 is itself again.
 */
#include "mlx_forms.h"

#include "assembly.h"
#include "error.h"
#include "family.h"
#include "integer_rows.h"
#include "mlx_rows.h"
#include "place_tensor.h"
#include "text_match.h"

#include <string.h>

/* ---- experts ---- */

static moeq_status place_stacked(struct mq_view *view, const struct mq_tensor_set *set,
                                 struct mq_tensor *t, bool *found, moeq_error *err)
{
    static const struct {
        enum mq_role role;
        const char *name;
    } matrices[] = {
        {MQ_ROLE_EXPERT_GATE, "gate_proj.weight"}, {MQ_ROLE_EXPERT_UP, "up_proj.weight"},
        {MQ_ROLE_EXPERT_DOWN, "down_proj.weight"}, {MQ_ROLE_EXPERT_GATE_BIAS, "gate_proj.bias"},
        {MQ_ROLE_EXPERT_UP_BIAS, "up_proj.bias"},  {MQ_ROLE_EXPERT_DOWN_BIAS, "down_proj.bias"}};
    static const char *const stacks[] = {"switch_mlp.", "experts.", "experts.switch_glu."};
    const char *experts = strstr(t->name, "experts.");
    for (size_t m = 0; experts && m < sizeof matrices / sizeof *matrices; m++) {
        if (matrices[m].role != t->role)
            continue;
        for (size_t i = 0; i < sizeof stacks / sizeof *stacks && !*found; i++) {
            const char *name = mq_arena_printf(view->arena, "%.*s%s%s", (int)(experts - t->name),
                                               t->name, stacks[i], matrices[m].name);
            const struct mq_tensor_alias alias[] = {{t->role, name, 1, 0}, {0}};
            if (!name)
                return mq_fail_memory(err, "opening a model");
            MQ_TRY(mq_place_tensor(view, set, name, alias, t, found, err));
        }
    }
    return MOEQ_OK;
}

/* ---- tensors that are read as f32 ---- */

static moeq_status set_form(struct mq_view *view, struct mq_tensor *t,
                            const struct mq_mlx_form *form, moeq_error *err)
{
    struct mq_mlx_form *copy = mq_arena_alloc(view->arena, 1, sizeof *copy);
    struct mq_assembly *a = mq_arena_alloc(view->arena, 1, sizeof *a);
    if (!copy || !a)
        return mq_fail_memory(err, "opening a model");
    *copy = *form;
    *a = (struct mq_assembly){.mlx = copy,
                              .stored_bytes =
                                  mq_tensor_stored_bytes(&form->first) +
                                  (form->is_norm ? 0 : mq_tensor_stored_bytes(&form->second))};
    t->file = form->first.file;
    t->offset = form->first.offset;
    t->storage = "f32";
    t->row_bytes = t->cols * sizeof(float);
    t->assembly = a;
    return MOEQ_OK;
}

moeq_status mq_mlx_place_norm(struct mq_view *view, const struct mq_tensor_set *set,
                              struct mq_tensor *t, moeq_error *err)
{
    static const enum mq_role roles[] = {MQ_ROLE_ATTN_NORM, MQ_ROLE_FFN_NORM, MQ_ROLE_OUTPUT_NORM,
                                         MQ_ROLE_ATTN_Q_NORM, MQ_ROLE_ATTN_K_NORM};
    const char *form = mq_metadata_get(set->shards[t->file].metadata, "format");
    bool is_one = false;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        is_one |= roles[i] == t->role;
    if (!is_one || t->assembly || view->program->layers[0]->layer.norm != MQ_NORM_RMS_PLUS_ONE ||
        (view->claim.method != MQ_SOURCE_MLX && !(form && strcmp(form, "mlx") == 0)))
        return MOEQ_OK;
    const struct mq_mlx_form norm = {.is_norm = true, .first = *t};
    return set_form(view, t, &norm, err);
}

/* A tensor of three dimensions as the matrix [a b, c], whose scales then are matrices too. */
static moeq_status flatten(struct mq_view *view, const struct mq_tensor_set *set, const char *name,
                           const char *end, moeq_error *err)
{
    const char *whole = mq_arena_printf(view->arena, "%s%s", name, end);
    struct mq_located *at = whole ? mq_tensor_set_find(set, whole) : NULL;
    struct mq_st_entry *entry = mq_arena_alloc(view->arena, 1, sizeof *entry);
    if (!whole || !entry)
        return mq_fail_memory(err, "opening a model");
    if (!at || at->entry->dims != 3)
        return MOEQ_OK;
    *entry = *at->entry;
    entry->dims = 2;
    entry->shape[0] *= entry->shape[1]; /* no more than its bytes */
    entry->shape[1] = entry->shape[2];
    at->entry = entry;
    return MOEQ_OK;
}

/* One of the two, of so many rows and columns. Its integers are to be floats at once. */
static moeq_status place_half(struct mq_view *view, const struct mq_tensor_set *set,
                              const struct mq_tensor *t, const char *module, uint64_t rows,
                              uint64_t cols, struct mq_tensor *half, bool *found, moeq_error *err)
{
    static const char *const ends[] = {".weight", ".scales", ".biases"};
    const size_t n = strlen(t->name) - strlen("kv_b_proj.weight");
    const char *name = mq_arena_printf(view->arena, "%.*s%s", (int)n, t->name, module);
    *half = *t;
    if (!name)
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        MQ_TRY(flatten(view, set, name, ends[i], err));
    half->name = name;
    half->rows = rows;
    half->cols = cols;
    name = mq_arena_printf(view->arena, "%s.weight", name);
    if (!name)
        return mq_fail_memory(err, "opening a model");
    MQ_TRY(mq_place_tensor(view, set, name, NULL, half, found, err));
    if (!*found || !half->assembly)
        return MOEQ_OK;
    if (!half->assembly->integers)
        return mq_fail_about(err, name,
                             mq_fail_file(err, MOEQ_UNSUPPORTED, view->path,
                                          "tensor '%s' is stored as %s: expected numbers or MLX's "
                                          "affine integers",
                                          name, half->storage));
    struct mq_integers *in = mq_arena_alloc(view->arena, 1, sizeof *in);
    struct mq_assembly *a = mq_arena_alloc(view->arena, 1, sizeof *a);
    if (!in || !a)
        return mq_fail_memory(err, "opening a model");
    *a = *half->assembly;
    *in = *a->integers;
    in->as_floats = true;
    a->integers = in;
    half->assembly = a;
    mq_integers_choose(in, half);
    return MOEQ_OK;
}

static moeq_status place_kv_b(struct mq_view *view, const struct mq_tensor_set *set,
                              struct mq_tensor *t, bool *found, moeq_error *err)
{
    const struct mq_hparams *h = &view->hparams;
    struct mq_mlx_form form = {.plain = h->plain_dim, .value = h->value_dim, .rank = t->cols};
    bool second = false;
    if (!mq_ends_with(t->name, "kv_b_proj.weight") ||
        t->rows != (uint64_t)h->heads * (form.plain + form.value))
        return MOEQ_OK;
    MQ_TRY(place_half(view, set, t, "embed_q", h->heads * form.rank, form.plain, &form.first, found,
                      err));
    if (*found)
        MQ_TRY(place_half(view, set, t, "unembed_out", h->heads * form.value, form.rank,
                          &form.second, &second, err));
    *found = *found && second;
    return *found ? set_form(view, t, &form, err) : MOEQ_OK;
}

moeq_status mq_mlx_place(struct mq_view *view, const struct mq_tensor_set *set, struct mq_tensor *t,
                         bool *found, moeq_error *err)
{
    if (t->role == MQ_ROLE_ATTN_KV_B)
        return place_kv_b(view, set, t, found, err);
    return t->expert < 0 ? MOEQ_OK : place_stacked(view, set, t, found, err);
}

/*
 * gguf_view.c: GGUF files as a model view.
 *
 * The same table as for a folder, under the same names: what GGUF has otherwise is said per tensor.
 * A 3-D tensor of experts is one row of the table for each, some way into it; rows of q and k that
 * stand in interleaved order are marked (mq_tensor.stored_interleaved).
 */
#include "gguf_arch.h"
#include "gguf_carried.h"
#include "gguf_form.h"
#include "gguf_int.h"
#include "gguf_model.h"

#include "error.h"
#include "json.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "sums_list.h"
#include "token_profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_CHAT_TEMPLATE = 16 << 20, /* as mq_side_files has it */
    MAX_SHOWN_BYTES = 200,        /* of a metadata value for people to read */
};

static void print_shape(char *text, size_t room, const uint64_t *ne)
{
    uint32_t dims = MQ_GGUF_MAX_DIMS;
    while (dims > 1 && ne[dims - 1] == 1)
        dims--;
    size_t n = (size_t)snprintf(text, room, "[");
    for (uint32_t d = 0; d < dims && n < room; d++)
        n += (size_t)snprintf(text + n, room - n, "%s%" PRIu64, d ? ", " : "", ne[d]);
    if (n < room)
        snprintf(text + n, room - n, "]");
}

static const struct mq_gguf_arch *arch_of(const struct mq_view *view)
{
    return mq_gguf_arch_find(view->family->gguf_architecture);
}

/* Where a tensor of the view stands. */
struct found {
    struct mq_gguf_at *at;
    bool joined; /* of experts: one tensor for all */
    /* rows (of a vector: numbers) of a tensor that holds several matrices, gate before up, or q, k and v:
     * those before this one's, and all */
    uint64_t before, all;
};

static moeq_status find_by(const struct mq_gguf_set *set, struct mq_view *view,
                           const struct mq_tensor *t, const char *pattern, struct mq_gguf_at **at,
                           moeq_error *err)
{
    const char *name = mq_pattern_expand(view->arena, pattern, t->layer, t->expert);
    if (!name)
        return mq_fail_memory(err, "opening a model");
    *at = mq_gguf_set_find(set, name);
    return MOEQ_OK;
}

const char *mq_gguf_joint(const struct mq_view *view, const struct mq_tensor *t, uint64_t *before,
                          uint64_t *all)
{
    const char *name = t->layer < 0 ? NULL : mq_gguf_joint_name(t->role);
    const struct mq_slot *slot;
    struct mq_slot_at at = {0};
    *before = *all = 0;
    while (name && (slot = mq_program_next(view->program->layers[t->layer], &at))) {
        const char *other = mq_gguf_joint_name(slot->role);
        if (slot->role == t->role)
            *before = *all;
        if (other && strcmp(other, name) == 0) /* they stand in this order */
            *all += slot->is_vector ? slot->cols : slot->rows;
    }
    return name;
}

/* Experts: one tensor for all, one for gate and up of all, or one for each; q, k and v: one for each, or
 * one for all three. */
static moeq_status locate(const struct mq_gguf_set *set, struct mq_view *view,
                          const struct mq_tensor *t, struct found *f, moeq_error *err)
{
    const struct mq_gguf_role *role = mq_gguf_role(t->role);
    const char *pattern = mq_gguf_role_name(arch_of(view), t->role);
    const uint64_t own = t->dims == 1 ? t->cols : t->rows;
    const char *joint = NULL;
    uint64_t before, all;
    *f = (struct found){.joined = t->expert >= 0, .all = own};
    MQ_TRY(find_by(set, view, t, pattern, &f->at, err));
    if (!f->at && (t->role == MQ_ROLE_EXPERT_GATE || t->role == MQ_ROLE_EXPERT_UP)) {
        joint = MQ_GGUF_GATE_UP;
        before = t->role == MQ_ROLE_EXPERT_UP ? own : 0;
        all = 2 * own;
    } else if (!f->at) {
        joint = mq_gguf_joint(view, t, &before, &all);
    }
    if (joint)
        MQ_TRY(find_by(set, view, t, joint, &f->at, err));
    if (joint && f->at) {
        f->before = before;
        f->all = all;
    }
    if (!f->at && role->split_name) {
        MQ_TRY(find_by(set, view, t, role->split_name, &f->at, err));
        f->joined = false;
    }
    if (f->at)
        return MOEQ_OK;
    const char *name = mq_pattern_expand(view->arena, pattern, t->layer, t->expert);
    return name ? mq_view_fail_missing(view, name, err) : mq_fail_memory(err, "opening a model");
}

uint32_t mq_gguf_interleaved_heads(const struct mq_view *view, const struct mq_tensor *t)
{
    if (t->layer < 0 || !arch_of(view)->interleaved)
        return 0;
    const struct mq_layer_attention *a = &view->program->layers[t->layer]->layer.attention;
    return t->role == MQ_ROLE_ATTN_Q   ? a->heads
           : t->role == MQ_ROLE_ATTN_K ? a->kv_heads
                                       : 0;
}

/* A vector that this format has for each expert is one matrix. */
static void expected_shape(const struct mq_view *view, const struct mq_tensor *t,
                           const struct found *f, uint64_t ne[MQ_GGUF_MAX_DIMS])
{
    const uint64_t experts = f->joined ? view->hparams.experts : 1;
    const bool vector = t->dims == 1, vectors = f->joined && vector;
    ne[0] = vector ? f->all : t->cols;
    ne[1] = vectors ? experts : vector ? 1 : f->all;
    ne[2] = vectors ? 1 : experts;
    ne[3] = 1;
}

static moeq_status check_shape(const struct mq_gguf *g, const struct mq_gguf_tensor *e,
                               const uint64_t *ne, moeq_error *err)
{
    char want[120], have[120];
    if (memcmp(e->ne, ne, sizeof e->ne) == 0)
        return MOEQ_OK;
    print_shape(want, sizeof want, ne);
    print_shape(have, sizeof have, e->ne);
    return mq_fail_tensor(err, MOEQ_MALFORMED, g->file.path, e->name, e->offset,
                          "expected shape %s (fastest first) from the metadata, found %s", want,
                          have);
}

/* Of a matrix in two tensors: both must be stored alike, or be numbers that can be made f32. */
static moeq_status choose_storage(const struct mq_gguf *g, const struct mq_gguf_at *const at[2],
                                  const struct mq_form *f, struct mq_tensor *t, moeq_error *err)
{
    const struct mq_gguf_tensor *a = at[0]->tensor, *b = at[1]->tensor;
    t->storage = a->type->storage;
    t->row_bytes = a->row_bytes;
    if (!(f->what & MQ_FORM_KV_B)) {
        if (a->type == b->type)
            return MOEQ_OK;
        return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, b->name, b->offset,
                              "is %s and '%s' is %s: halves of a matrix of different types are not "
                              "implemented",
                              b->type->name, a->name, a->type->name);
    }
    t->storage = "f32";
    t->row_bytes = t->cols * sizeof(float);
    for (int i = 0; i < 2; i++)
        if (!mq_form_can_decode(at[i]->tensor->type->storage))
            return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, at[i]->tensor->name,
                                  at[i]->tensor->offset,
                                  "is %s: a matrix whose columns stand as rows can only be read "
                                  "from F32, F16, BF16 and Q8_0",
                                  at[i]->tensor->type->name);
    return MOEQ_OK;
}

/* A matrix in two tensors. *found: whether both are there, or one of them. */
static moeq_status place_two(const struct mq_gguf_set *set, struct mq_view *view,
                             struct mq_tensor *t, const struct mq_form *form, bool *found,
                             moeq_error *err)
{
    struct mq_gguf_at *at[2];
    uint64_t ne[MQ_GGUF_MAX_DIMS] = {1, 1, 1, 1};
    uint32_t dims;
    for (int i = 0; i < 2; i++)
        MQ_TRY(find_by(set, view, t, form->names[i], &at[i], err));
    *found = at[0] || at[1];
    if (!*found)
        return MOEQ_OK;
    if (!at[0] || !at[1]) {
        const char *name = mq_pattern_expand(view->arena, form->names[at[0] != NULL], t->layer, -1);
        return name ? mq_view_fail_missing(view, name, err)
                    : mq_fail_memory(err, "opening a model");
    }
    struct mq_form *f = mq_arena_alloc(view->arena, 1, sizeof *f);
    if (!f)
        return mq_fail_memory(err, "opening a model");
    *f = *form;
    const struct mq_gguf *g = &set->files[at[1]->file];
    mq_form_shape(view, t, f, ne, &dims);
    MQ_TRY(check_shape(&set->files[at[0]->file], at[0]->tensor, ne, err));
    const bool turned = f->what & MQ_FORM_KV_B;
    const uint64_t second[MQ_GGUF_MAX_DIMS] = {
        turned ? f->plain : t->cols, turned ? t->cols : f->rows_of[1], turned ? f->heads : 1, 1};
    MQ_TRY(check_shape(g, at[1]->tensor, second, err));
    MQ_TRY(choose_storage(g, (const struct mq_gguf_at *const[2]){at[0], at[1]}, f, t, err));
    at[0]->used = at[1]->used = true;
    t->stored_name = at[0]->tensor->name;
    t->file = at[0]->file;
    t->offset = at[0]->tensor->offset;
    f->first_storage = at[0]->tensor->type->storage;
    f->second_storage = at[1]->tensor->type->storage;
    f->first_row_bytes = at[0]->tensor->row_bytes;
    f->second_row_bytes = at[1]->tensor->row_bytes;
    f->second_file = at[1]->file;
    f->second_offset = at[1]->tensor->offset;
    t->form = f;
    return MOEQ_OK;
}

static moeq_status check_form(const struct mq_gguf *g, const struct mq_gguf_tensor *e,
                              const struct mq_form *form, moeq_error *err)
{
    const bool values = form->what & (MQ_FORM_PLUS_ONE | MQ_FORM_MINUS_EXP);
    if (values && strcmp(e->type->storage, "f32") != 0)
        return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, e->name, e->offset,
                              "is %s, and only F32 is implemented of what is stored as another "
                              "function of its values",
                              e->type->name);
    if (form->columns && !mq_form_columns_fit(form, e->type->block_weights))
        return mq_fail_tensor(
            err, MOEQ_UNSUPPORTED, g->file.path, e->name, e->offset,
            "is %s, whose blocks of %u are no parts of a head: its columns cannot "
            "be put in order",
            e->type->name, e->type->block_weights);
    return MOEQ_OK;
}

/* Where in its tensor a matrix or a vector stands. */
static moeq_status find_rows(const struct mq_gguf *g, const struct mq_gguf_tensor *e,
                             const struct found *f, struct mq_tensor *t, moeq_error *err)
{
    const uint64_t expert = f->joined ? (uint64_t)t->expert : 0;
    const bool vector = t->dims == 1;
    t->offset = e->offset + (vector ? expert : expert * f->all + f->before) * t->row_bytes;
    if (!vector || f->all == t->cols)
        return MOEQ_OK;
    if (e->type->block_weights != 1)
        return mq_fail_tensor(err, MOEQ_UNSUPPORTED, g->file.path, e->name, e->offset,
                              "is %s: a vector of several can only be read of numbers by themselves",
                              e->type->name);
    t->offset += f->before * e->type->block_bytes;
    t->row_bytes = t->cols * e->type->block_bytes;
    return MOEQ_OK;
}

static moeq_status place(void *user, struct mq_view *view, struct mq_tensor *t, moeq_error *err)
{
    const struct mq_gguf_set *set = user;
    const struct mq_form *form;
    struct found f;
    uint64_t ne[MQ_GGUF_MAX_DIMS];
    uint32_t dims;
    bool two = false;
    MQ_TRY(mq_gguf_form(view, t, view->arena, &form, err));
    if (form && form->names[0])
        MQ_TRY(place_two(set, view, t, form, &two, err));
    if (two)
        return MOEQ_OK;
    if (form && form->names[0])
        form = NULL; /* an older file, with the whole */
    MQ_TRY(locate(set, view, t, &f, err));
    const struct mq_gguf_tensor *e = f.at->tensor;
    const struct mq_gguf *g = &set->files[f.at->file];
    expected_shape(view, t, &f, ne);
    if (form)
        mq_form_shape(view, t, form, ne, &dims);
    MQ_TRY(check_shape(g, e, ne, err));
    if (form)
        MQ_TRY(check_form(g, e, form, err));
    t->stored_name =
        f.joined ? mq_arena_printf(view->arena, "%s expert %d", e->name, t->expert) : e->name;
    if (!t->stored_name)
        return mq_fail_memory(err, "opening a model");
    f.at->used = true;
    t->storage = e->type->storage;
    t->row_bytes = form && !form->rows && t->rows == 1 ? e->size_bytes : e->row_bytes;
    t->file = f.at->file;
    MQ_TRY(find_rows(g, e, &f, t, err));
    t->stored_interleaved = mq_gguf_interleaved_heads(view, t);
    t->form = form;
    return MOEQ_OK;
}

/* A file with output.weight has a head of its own, whatever there is to say about one; a user may
 * want the embeddings for it all the same. */
static moeq_status choose_head(const struct mq_gguf_set *set, struct mq_view *view, moeq_error *err)
{
    const char *name = mq_gguf_role_name(arch_of(view), MQ_ROLE_HEAD);
    struct mq_gguf_at *head = mq_gguf_set_find(set, name);
    if (view->options.lm_head == MQ_HEAD_STORED && !head)
        return mq_fail_file(err, MOEQ_NOT_FOUND, view->path,
                            "--lm-head stored, but no tensor '%s' is stored", name);
    if (view->options.lm_head != MQ_HEAD_TIED || !head)
        return MOEQ_OK;
    view->hparams.tied_head = head->used = true;
    return mq_view_note(view, err,
                        "%s is left out: the embeddings are the head, as was asked for (--lm-head "
                        "tied)",
                        name);
}

/* Whether a tensor is of a layer behind the last, which guesses further tokens. */
static bool is_behind(const struct mq_view *view, const char *name)
{
    unsigned number;
    char dot;
    return sscanf(name, "blk.%9u%c", &number, &dot) == 2 && dot == '.' &&
           number >= view->hparams.layers;
}

static moeq_status refuse_unused(const struct mq_gguf_set *set, struct mq_view *view,
                                 moeq_error *err)
{
    size_t behind = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct mq_gguf_at *at = &set->tensors[i];
        behind += !at->used && is_behind(view, at->tensor->name);
        if (!at->used && !is_behind(view, at->tensor->name))
            return mq_fail_tensor(err, MOEQ_UNSUPPORTED, set->files[at->file].file.path,
                                  at->tensor->name, at->tensor->offset,
                                  "has no place in a %s model of this metadata: it may change the "
                                  "maths",
                                  view->family->name);
    }
    return behind ? mq_view_note(view, err,
                                 "%zu tensors of layers behind the last are left out: they guess "
                                 "further tokens",
                                 behind)
                  : MOEQ_OK;
}

static bool is_in_blocks(const struct mq_tensor *t)
{
    return mq_gguf_type_by_storage(t->storage)->block_weights != 1;
}

/* ---- metadata for people ---- */

/* The value as a short text; false for arrays, and for texts that are long or not UTF-8. */
static bool show(const struct mq_gguf *g, const struct mq_gguf_key *key, char *text, size_t room)
{
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    double number;
    if (key->type == MQ_GGUF_ARRAY)
        return false;
    if (mq_gguf_next(&s)) {
        if (s.size >= room || memchr(s.text, '\0', s.size) || memchr(s.text, '\n', s.size) ||
            !mq_utf8_valid(s.text, s.size, NULL))
            return false;
        memcpy(text, s.text, s.size);
        text[s.size] = '\0';
        return true;
    }
    if (!mq_gguf_number(g, key, 0, &number))
        return false;
    snprintf(text, room, "%.10g", number);
    return true;
}

/* Lines of SHA-256 sums, as moeq writes them; NULL: it is something else. */
static const char *source_sums(const struct mq_gguf *g, const struct mq_gguf_key *key,
                               struct mq_arena *arena)
{
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    const bool lines = strcmp(key->name, MQ_META_SOURCE_SUMS) == 0 && key->type == MQ_GGUF_STRING &&
                       mq_gguf_next(&s) && s.size <= MQ_SUMS_MAX_BYTES &&
                       !memchr(s.text, '\0', s.size) && mq_utf8_valid(s.text, s.size, NULL);
    return lines ? mq_arena_strndup(arena, s.text, s.size) : NULL;
}

/* The keys general.*: what the model is called, who made it and how; and the sums of what it was made of. */
static moeq_status copy_metadata(const struct mq_gguf *g, struct mq_view *view, moeq_error *err)
{
    static const char prefix[] = "general.";
    char text[MAX_SHOWN_BYTES];
    size_t n = 0;
    view->metadata = mq_arena_alloc(view->arena, 2 * (g->keys_count + 1) + 1, sizeof(char *));
    if (!view->metadata)
        return mq_fail_memory(err, "opening a model");
    view->metadata[n++] = "gguf.version";
    view->metadata[n++] = mq_arena_printf(view->arena, "%u", g->version);
    for (size_t i = 0; i < g->keys_count && view->metadata[n - 1]; i++) {
        const char *sums = source_sums(g, &g->keys[i], view->arena);
        if (!sums && (strncmp(g->keys[i].name, prefix, sizeof prefix - 1) != 0 ||
                      !show(g, &g->keys[i], text, sizeof text)))
            continue;
        view->metadata[n++] = g->keys[i].name;
        view->metadata[n++] = sums ? sums : mq_arena_strdup(view->arena, text);
    }
    return view->metadata[n - 1] ? MOEQ_OK : mq_fail_memory(err, "opening a model");
}

/* What moeq has written of how the model was read that it made the file of. */
static moeq_status read_notes(const struct mq_gguf *g, struct mq_view *view, moeq_error *err)
{
    enum { MAX_NOTES_BYTES = 1 << 17 };
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_META_NOTES);
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    if (!key || key->type != MQ_GGUF_STRING || !mq_gguf_next(&s) || s.size > MAX_NOTES_BYTES)
        return MOEQ_OK;
    const char *text = mq_arena_strndup(view->arena, s.text, s.size);
    const char *const metadata[] = {MQ_META_NOTES, text, NULL};
    if (!text)
        return mq_fail_memory(err, "opening a model");
    return mq_view_read_choices(view, metadata, view->path, err);
}

/* By what moeq has calibrated it. */
static moeq_status read_calibrated_on(const struct mq_gguf *g, struct mq_view *view,
                                      moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_META_CALIBRATED_ON);
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    if (!key || key->type != MQ_GGUF_STRING || !mq_gguf_next(&s) || s.size > MQ_PROFILE_BYTES_MAX)
        return MOEQ_OK;
    view->calibrated_on = mq_arena_strndup(view->arena, s.text, s.size);
    return view->calibrated_on ? MOEQ_OK : mq_fail_memory(err, "opening a model");
}

static moeq_status copy_chat_template(const struct mq_gguf *g, struct mq_view *view,
                                      moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_GGUF_KEY_CHAT_TEMPLATE);
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    if (!key || key->type != MQ_GGUF_STRING || !mq_gguf_next(&s))
        return MOEQ_OK;
    if (s.size > MAX_CHAT_TEMPLATE)
        return mq_gguf_fail_key(g, key, MOEQ_LIMIT, err, "a chat template of %zu bytes", s.size);
    mq_buffer_append(&view->side[MQ_SIDE_CHAT_TEMPLATE], s.text, s.size);
    return mq_buffer_ok(&view->side[MQ_SIDE_CHAT_TEMPLATE])
               ? MOEQ_OK
               : mq_fail_memory(err, "opening a model");
}

static moeq_status adopt_files(struct mq_view *view, struct mq_gguf_set *set, moeq_error *err)
{
    view->files = mq_arena_alloc(view->arena, set->files_count, sizeof *view->files);
    if (!view->files)
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < set->files_count; i++) {
        struct mq_gguf *g = &set->files[i];
        MQ_TRY(mq_view_adopt_file(view, &g->file, g->data_offset, g->header_crc32, err));
    }
    return MOEQ_OK;
}

moeq_status mq_gguf_open(const char *path, struct mq_view *view, moeq_error *err)
{
    struct mq_gguf_set set;
    const struct mq_view_source source = {.user = &set, .place = place};
    const char *note;
    moeq_status status = mq_gguf_set_open(path, view->arena, &set, err);
    if (status != MOEQ_OK)
        goto out;
    const struct mq_gguf *first = &set.files[0];
    view->kind = MQ_VIEW_GGUF;
    MQ_TRY_OUT(mq_gguf_config(&set, view, path, err));
    MQ_TRY_OUT(choose_head(&set, view, err));
    MQ_TRY_OUT(mq_view_build(view, &source, err));
    MQ_TRY_OUT(refuse_unused(&set, view, err));
    MQ_TRY_OUT(mq_view_note_quantized(view, is_in_blocks, err));
    MQ_TRY_OUT(mq_gguf_tokenizer(first, view->arena, &view->side[MQ_SIDE_TOKENIZER],
                                 &view->tokenizer_problem, &note, err));
    if (note)
        MQ_TRY_OUT(mq_view_note(view, err, "%s", note));
    MQ_TRY_OUT(mq_gguf_note_tokenizer(first, view, err));
    MQ_TRY_OUT(copy_chat_template(first, view, err));
    MQ_TRY_OUT(copy_metadata(first, view, err));
    MQ_TRY_OUT(read_notes(first, view, err));
    MQ_TRY_OUT(read_calibrated_on(first, view, err));
    MQ_TRY_OUT(mq_gguf_carry(first, view, err));
    MQ_TRY_OUT(adopt_files(view, &set, err));
out:
    mq_gguf_set_free(&set);
    return status;
}

/* calibration.c: the matrices of a calibration, and reading its file. */
#include "calibration.h"

#include "checked.h"
#include "error.h"
#include "family.h"
#include "integrity.h"
#include "json.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "token_profile.h"
#include "text_match.h"
#include "view_int.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 16 << 20, MAX_TEXTS = 1 << 12, MAX_TEXTS_BYTES = MQ_PROFILE_BYTES_MAX };

/* ---- groups ---- */

static bool is_calibrated(const struct mq_view *view, const struct mq_tensor *tensor)
{
    const enum mq_role_class of = mq_view_class(view, tensor->role);
    return tensor->layer >= 0 && tensor->dims == 2 &&
           (of == MQ_CLASS_EXPERTS || of == MQ_CLASS_SHARED || of == MQ_CLASS_ATTENTION);
}

/* The role whose matrix has the same inputs and keeps their sums. */
static enum mq_role inputs_of(enum mq_role role)
{
    const bool gate =
        role == MQ_ROLE_EXPERT_GATE || role == MQ_ROLE_SHARED_GATE || role == MQ_ROLE_MLP_GATE;
    return gate ? role + 2 : role; /* MQ_ROLE_LIST: gate, its bias, up */
}

static const struct mq_tensor *first_of(const struct mq_view *view, enum mq_role role,
                                        int32_t layer)
{
    const struct mq_tensor *t = mq_view_find(view, role, layer, -1);
    t = t ? t : mq_view_find(view, role, layer, 0);
    return t && is_calibrated(view, t) ? t : NULL;
}

/* Counts them; fills in what there is. */
static void list_groups(const struct mq_view *view, struct mq_calibration_groups *g)
{
    g->count = 0;
    for (int32_t layer = 0; layer < (int32_t)view->hparams.layers; layer++)
        for (int role = 0; role < MQ_ROLE_COUNT; role++) {
            const struct mq_tensor *t = first_of(view, (enum mq_role)role, layer);
            const struct mq_layer *l = &view->program->layers[layer]->layer;
            if (g->of)
                g->of[layer * MQ_ROLE_COUNT + role] = t ? (int32_t)g->count : -1;
            if (t && g->all)
                g->all[g->count] = (struct mq_calibration_group){
                    .role = t->role,
                    .layer = layer,
                    .experts = t->expert < 0 ? 1 : l->ffn.router.experts,
                    .routed = t->expert >= 0,
                    .rows = t->rows,
                    .cols = t->cols};
            g->count += t != NULL;
        }
}

moeq_status mq_calibration_groups(const struct mq_view *view, struct mq_arena *arena,
                                  struct mq_calibration_groups *groups, moeq_error *err)
{
    *groups = (struct mq_calibration_groups){0};
    list_groups(view, groups);
    groups->all = mq_arena_alloc(arena, groups->count + 1, sizeof *groups->all);
    groups->of =
        mq_arena_alloc(arena, (size_t)view->hparams.layers * MQ_ROLE_COUNT, sizeof *groups->of);
    if (!groups->all || !groups->of)
        return mq_fail_memory(err, "listing a model's matrices");
    list_groups(view, groups);
    for (size_t i = 0; i < groups->count; i++) {
        struct mq_calibration_group *g = &groups->all[i];
        const int32_t up = groups->of[(size_t)g->layer * MQ_ROLE_COUNT + inputs_of(g->role)];
        g->inputs = up >= 0 && groups->all[up].cols == g->cols ? (size_t)up : i;
    }
    return MOEQ_OK;
}

const struct mq_calibration_group *
mq_calibration_group_of(const struct mq_calibration_groups *groups, const struct mq_tensor *tensor)
{
    const int32_t i = tensor->layer < 0 || tensor->dims != 2
                          ? -1
                          : groups->of[tensor->layer * MQ_ROLE_COUNT + (int)tensor->role];
    return i < 0 ? NULL : &groups->all[i];
}

/* ---- sums ---- */

bool mq_calibration_add(struct mq_exact_sum *a, const struct mq_exact_sum *b)
{
    int64_t units;
    if (__builtin_add_overflow(a->units, b->units, &units) || units == INT64_MAX)
        return false; /* one more may be carried */
    a->units = units;
    mq_exact_sum_join(a, 0, b->fine);
    return true;
}

bool mq_calibration_add_sums(struct mq_calibration_sums *a, const struct mq_calibration_sums *b)
{
    if (mq_exact_sum_value(&b->weights) > mq_exact_sum_value(&a->weights))
        a->weights = b->weights; /* once */
    return !__builtin_add_overflow(a->tokens, b->tokens, &a->tokens) &&
           mq_calibration_add(&a->routing, &b->routing) &&
           mq_calibration_add(&a->outputs, &b->outputs);
}

double mq_calibration_alignment(const struct mq_calibration_group *group,
                                const struct mq_calibration_sums *sums,
                                const struct mq_exact_sum *columns)
{
    double inputs = 0;
    for (uint64_t c = 0; c < group->cols; c++)
        inputs += mq_exact_sum_value(&columns[c]);
    const double product = inputs * mq_exact_sum_value(&sums->weights);
    return product > 0 ? mq_exact_sum_value(&sums->outputs) * (double)group->cols / product : NAN;
}

static bool sum_is_sound(const struct mq_exact_sum *s)
{
    return s->units >= 0 && s->fine >= 0 &&
           s->fine < INT64_C(1) << (MQ_EXACT_FINE_BITS - MQ_EXACT_UNIT_BITS);
}

bool mq_calibration_is_sound(const struct mq_calibration_sums *sums)
{
    return sums->tokens >= 0 && sum_is_sound(&sums->routing) && sum_is_sound(&sums->outputs) &&
           sum_is_sound(&sums->weights);
}

moeq_status mq_calibration_read(const struct mq_calibration *c,
                                const struct mq_calibration_group *group, uint32_t expert,
                                struct mq_calibration_sums *sums, struct mq_exact_sum *columns,
                                moeq_error *err)
{
    const uint64_t at = group->sums_offset + expert * sizeof *sums,
                   bytes = mq_calibration_column_bytes(group),
                   columns_at = group->columns_offset + expert * bytes;
    bool sound = true;
    MQ_TRY(mq_file_read_at(&c->file, at, sums, sizeof *sums, err));
    sound = mq_calibration_is_sound(sums);
    if (columns)
        MQ_TRY(mq_file_read_at(&c->file, columns_at, columns, bytes, err));
    for (uint64_t i = 0; columns && i < group->cols; i++)
        sound = sound && sum_is_sound(&columns[i]);
    if (sound)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, c->path,
                        "%s of layer %d, expert %u: expected sums of squares, found numbers that "
                        "are none (at byte %" PRIu64 " or %" PRIu64 ")",
                        mq_role_name(group->role), group->layer, expert, at, columns_at);
}

/* ---- opening ---- */

moeq_status mq_is_calibration(const char *path, bool *yes, moeq_error *err)
{
    return mq_safetensors_is_of(path, MQ_CALIBRATION_FORMAT, yes, err);
}

static moeq_status check_version(const struct mq_safetensors *st, moeq_error *err)
{
    const char *format = mq_metadata_get(st->metadata, MQ_META_FORMAT);
    const char *version = mq_metadata_get(st->metadata, MQ_CALIBRATION_META_VERSION);
    if (!format || strcmp(format, MQ_CALIBRATION_FORMAT) != 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path,
                            "is no calibration: expected a file of moeq calibrate or, for "
                            "--calibration, an imatrix");
    if (!version || strcmp(version, MQ_CALIBRATION_VERSION) != 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path,
                            MQ_CALIBRATION_META_VERSION
                            " is \"%.20s\", this program reads \"" MQ_CALIBRATION_VERSION "\"",
                            version ? version : "absent");
    return MOEQ_OK;
}

static moeq_status read_config(struct mq_calibration *c, const struct mq_safetensors *st,
                               moeq_error *err)
{
    const struct mq_st_entry *e = mq_safetensors_find(st, "config.json");
    struct mq_view *view = c->view;
    if (!e || e->dtype != MQ_U8 || e->dims != 1 || e->size_bytes > MAX_CONFIG_BYTES)
        return mq_fail_file(err, MOEQ_MALFORMED, c->path,
                            "expected a tensor 'config.json', U8, at most %d bytes",
                            (int)MAX_CONFIG_BYTES);
    char *text = malloc((size_t)e->size_bytes + 1);
    if (!text)
        return mq_fail_memory(err, "opening a calibration");
    moeq_status status = mq_file_read_at(&st->file, e->offset, text, (size_t)e->size_bytes, err);
    if (status == MOEQ_OK)
        mq_buffer_append(&view->side[MQ_SIDE_CONFIG], text, (size_t)e->size_bytes);
    free(text);
    MQ_TRY(status);
    const char *name = mq_arena_printf(view->arena, "%s: config.json", c->path);
    if (!name || !mq_buffer_ok(&view->side[MQ_SIDE_CONFIG]))
        return mq_fail_memory(err, "opening a calibration");
    MQ_TRY(mq_view_read_choices(view, st->metadata, c->path, err));
    MQ_TRY(mq_config_parse(view, name, err));
    return mq_view_build_from_config(view, MQ_BF16, err);
}

static bool hex32(const cJSON *item, uint32_t *value)
{
    if (!cJSON_IsString(item) || strlen(item->valuestring) != 8 ||
        strspn(item->valuestring, "0123456789abcdef") != 8)
        return false;
    *value = (uint32_t)strtoul(item->valuestring, NULL, 16);
    return true;
}

static moeq_status parse_metadata(const struct mq_safetensors *st, const char *key, cJSON **tree,
                                  moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 4, .values = 16 * MAX_TEXTS};
    const char *text = mq_metadata_get(st->metadata, key);
    if (!text || strlen(text) > MAX_TEXTS_BYTES)
        return mq_fail_file(err, MOEQ_MALFORMED, st->file.path, "metadata: no %s", key);
    return mq_json_parse(text, strlen(text), &limits, st->file.path, 0, tree, err);
}

static moeq_status read_model(struct mq_calibration *c, const struct mq_safetensors *st,
                              moeq_error *err)
{
    cJSON *o = NULL;
    MQ_TRY(parse_metadata(st, MQ_CALIBRATION_META_MODEL, &o, err));
    const cJSON *name = mq_json_get(o, "name");
    const bool ok = cJSON_IsString(name) && hex32(mq_json_get(o, "fingerprint"), &c->fingerprint);
    c->model_name = ok ? mq_arena_strdup(c->view->arena, name->valuestring) : NULL;
    cJSON_Delete(o);
    if (!ok)
        return mq_fail_file(err, MOEQ_MALFORMED, c->path,
                            "metadata: " MQ_CALIBRATION_META_MODEL " lacks name or fingerprint");
    return c->model_name ? MOEQ_OK : mq_fail_memory(err, "opening a calibration");
}

static bool read_text(const cJSON *o, struct mq_arena *arena, struct mq_calibration_text *t)
{
    const cJSON *name = mq_json_get(o, "name"), *profile = mq_json_get(o, "profile"),
                *common = mq_json_get(o, "common");
    if (profile && (!cJSON_IsString(profile) || !cJSON_IsNumber(common) ||
                    !(t->profile = mq_arena_strdup(arena, profile->valuestring))))
        return false;
    t->common = profile ? common->valuedouble : 0.0;
    if (cJSON_IsString(name))
        mq_make_printable(name->valuestring);
    return cJSON_IsString(name) && (t->name = mq_arena_strdup(arena, name->valuestring)) &&
           mq_json_u64(mq_json_get(o, "tokens"), &t->tokens) &&
           mq_json_u64(mq_json_get(o, "context"), &t->context) &&
           mq_json_u64(mq_json_get(o, "bytes"), &t->bytes) &&
           hex32(mq_json_get(o, "crc32"), &t->crc32) &&
           hex32(mq_json_get(o, "token_ids_crc32"), &t->ids_crc32);
}

static moeq_status read_texts(struct mq_calibration *c, const struct mq_safetensors *st,
                              moeq_error *err)
{
    cJSON *list = NULL;
    const cJSON *o;
    MQ_TRY(parse_metadata(st, MQ_CALIBRATION_META_TEXTS, &list, err));
    const int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    bool ok = n > 0 && n <= MAX_TEXTS;
    c->texts = ok ? mq_arena_alloc(c->view->arena, (size_t)n, sizeof *c->texts) : NULL;
    cJSON_ArrayForEach(o, list)
    {
        ok = ok && c->texts && read_text(o, c->view->arena, &c->texts[c->texts_count]);
        c->texts_count += ok;
    }
    cJSON_Delete(list);
    return ok ? MOEQ_OK
              : mq_fail_file(err, MOEQ_MALFORMED, c->path,
                             "metadata: " MQ_CALIBRATION_META_TEXTS " is no list of 1 to %d texts",
                             MAX_TEXTS);
}

/* Where a tensor of I64 [experts, width] begins. */
static moeq_status find(const struct mq_safetensors *st, const struct mq_calibration_group *g,
                        const char *what, uint64_t width, uint64_t *offset, moeq_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%" PRId32 ".%s", mq_role_name(g->role), g->layer, what);
    const struct mq_st_entry *e = mq_safetensors_find(st, name);
    if (!e)
        return mq_fail_file(err, MOEQ_MALFORMED, st->file.path, "tensor '%s' is missing", name);
    if (e->dtype != MQ_I64 || e->dims != 2 || e->shape[0] != g->experts || e->shape[1] != width)
        return mq_fail_tensor(err, MOEQ_MALFORMED, st->file.path, name, e->offset,
                              "expected I64 [%" PRIu32 ", %" PRIu64 "], found %s of %" PRIu32
                              " dimensions, [%" PRIu64 ", ...]",
                              g->experts, width, mq_dtype_name(e->dtype), e->dims,
                              e->dims ? e->shape[0] : 0);
    *offset = e->offset;
    return MOEQ_OK;
}

static moeq_status place_groups(struct mq_calibration *c, const struct mq_safetensors *st,
                                moeq_error *err)
{
    const uint64_t sums = sizeof(struct mq_calibration_sums) / sizeof(int64_t);
    MQ_TRY(mq_calibration_groups(c->view, c->view->arena, &c->groups, err));
    for (size_t i = 0; i < c->groups.count; i++) {
        struct mq_calibration_group *g = &c->groups.all[i];
        MQ_TRY(find(st, g, "sums", sums, &g->sums_offset, err));
        MQ_TRY(
            find(st, &c->groups.all[g->inputs], "in_sum2", 2 * g->cols, &g->columns_offset, err));
    }
    return MOEQ_OK;
}

moeq_status mq_calibration_open(const struct mq_context *context, const char *path,
                                struct mq_calibration **out, moeq_error *err)
{
    struct mq_safetensors st = {.file = {.fd = -1}};
    moeq_status status;
    *out = NULL;
    if (context)
        MQ_TRY(mq_integrity_require(context, path, err));
    struct mq_calibration *c = calloc(1, sizeof *c);
    if (!c)
        return mq_fail_memory(err, "opening a calibration");
    c->file.fd = -1;
    c->view = mq_view_create(path);
    c->path = c->view ? c->view->path : NULL;
    if (!c->view) {
        status = mq_fail_memory(err, "opening a calibration");
        goto out;
    }
    MQ_TRY_OUT(mq_safetensors_open(path, c->view->arena, &st, err));
    status = check_version(&st, err);
    if (status == MOEQ_OK)
        status = read_config(c, &st, err);
    if (status == MOEQ_OK)
        status = read_model(c, &st, err);
    if (status == MOEQ_OK)
        status = read_texts(c, &st, err);
    if (status == MOEQ_OK)
        status = place_groups(c, &st, err);
    mq_safetensors_close(&st);
    if (status == MOEQ_OK)
        status = mq_file_open(path, &c->file, err);
out:
    if (status == MOEQ_OK)
        *out = c;
    else
        mq_calibration_close(c);
    return status;
}

moeq_status mq_calibration_check_unchanged(const struct mq_calibration *c, moeq_error *err)
{
    return mq_file_check_unchanged(&c->file, err);
}

void mq_calibration_close(struct mq_calibration *c)
{
    if (!c)
        return;
    if (c->file.fd >= 0)
        mq_file_close(&c->file);
    mq_view_close(c->view);
    free(c);
}

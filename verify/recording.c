/*
 * recording.c: a recording, read back.
 *
 * Its config.json makes the same table of tensors that the original has, so that the evaluator sees
 * an arm of the right architecture; of the weights only the final norm and the head are there.
 */
#include "record.h"

#include "checked.h"
#include "error.h"
#include "integrity.h"
#include "json.h"
#include "open_options.h"
#include "safetensors.h"
#include "view_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 16 << 20, MAX_RUN_BYTES = 1 << 16, MAX_SOURCES = 1 << 16 };

moeq_status mq_is_recording(const char *path, bool *yes, moeq_error *err)
{
    return mq_safetensors_is_of(path, MQ_RECORDING_FORMAT, yes, err);
}

static moeq_status check_version(const struct mq_safetensors *st, moeq_error *err)
{
    const char *format = mq_metadata_get(st->metadata, MQ_META_FORMAT);
    const char *version = mq_metadata_get(st->metadata, MQ_RECORDING_META_VERSION);
    if (!format || strcmp(format, MQ_RECORDING_FORMAT) != 0)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path, "is no recording of moeq record");
    if (!version || (strcmp(version, MQ_RECORDING_VERSION) != 0 &&
                     strcmp(version, MQ_RECORDING_VERSION_TASKS) != 0))
        return mq_fail_file(err, MOEQ_UNSUPPORTED, st->file.path,
                            MQ_RECORDING_META_VERSION
                            " is \"%.20s\", this program reads \"" MQ_RECORDING_VERSION
                            "\" and \"" MQ_RECORDING_VERSION_TASKS "\"",
                            version ? version : "absent");
    return MOEQ_OK;
}

/* An entry of this shape; b = 0: one dimension. */
static moeq_status find(const struct mq_safetensors *st, const char *name, uint64_t a, uint64_t b,
                        const struct mq_st_entry **found, moeq_error *err)
{
    const struct mq_st_entry *e = *found = mq_safetensors_find(st, name);
    if (!e)
        return mq_fail_file(err, MOEQ_MALFORMED, st->file.path, "tensor '%s' is missing", name);
    if (e->dims != (b ? 2u : 1u) || e->shape[0] != a || (b && e->shape[1] != b))
        return mq_fail_tensor(
            err, MOEQ_MALFORMED, st->file.path, name, e->offset,
            b ? "expected shape [%" PRIu64 ", %" PRIu64 "]" : "expected shape [%" PRIu64 "]", a, b);
    return MOEQ_OK;
}

static moeq_status expect_dtype(const struct mq_safetensors *st, const struct mq_st_entry *e,
                                enum mq_dtype dtype, moeq_error *err)
{
    if (e->dtype == dtype)
        return MOEQ_OK;
    return mq_fail_tensor(err, MOEQ_MALFORMED, st->file.path, e->name, e->offset,
                          "expected dtype %s, found %s", mq_dtype_name(dtype),
                          mq_dtype_name(e->dtype));
}

/* ---- the architecture ---- */

static moeq_status read_config(struct mq_recording *r, moeq_error *err)
{
    const struct mq_st_entry *e = mq_safetensors_find(r->st, "config.json");
    struct mq_view *view = r->view;
    const char *path = r->st->file.path;
    if (!e || e->dtype != MQ_U8 || e->dims != 1 || e->size_bytes > MAX_CONFIG_BYTES)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "expected a tensor 'config.json', U8, at most %d bytes",
                            (int)MAX_CONFIG_BYTES);
    char *text = malloc((size_t)e->size_bytes + 1);
    if (!text)
        return mq_fail_memory(err, "opening a recording");
    moeq_status status = mq_file_read_at(&r->st->file, e->offset, text, (size_t)e->size_bytes, err);
    if (status == MOEQ_OK)
        mq_buffer_append(&view->side[MQ_SIDE_CONFIG], text, (size_t)e->size_bytes);
    free(text);
    MQ_TRY(status);
    const char *name = mq_arena_printf(view->arena, "%s: config.json", path);
    if (!name || !mq_buffer_ok(&view->side[MQ_SIDE_CONFIG]))
        return mq_fail_memory(err, "opening a recording");
    MQ_TRY(mq_view_read_choices(view, r->st->metadata, path, err));
    MQ_TRY(mq_config_parse(view, name, err));
    return mq_view_build_from_config(view, MQ_BF16, err);
}

static const enum mq_role end_vectors[] = {MQ_ROLE_OUTPUT_NORM_BIAS, MQ_ROLE_HEAD_BIAS};
static const enum mq_role router_vectors[] = {MQ_ROLE_ROUTER_CHOICE_BIAS,
                                              MQ_ROLE_ROUTER_EXPERT_SCALE};
enum {
    END_VECTORS = sizeof end_vectors / sizeof *end_vectors,
    ROUTER_VECTORS = sizeof router_vectors / sizeof *router_vectors
};

size_t mq_recorded_vectors(const struct mq_view *view)
{
    return END_VECTORS + ROUTER_VECTORS * (size_t)view->hparams.layers;
}

bool mq_recorded_vector(const struct mq_view *view, size_t n, struct mq_recorded_vector *v)
{
    const size_t of_routers = n - END_VECTORS;
    const bool end = n < END_VECTORS;
    v->role = end ? end_vectors[n] : router_vectors[of_routers % ROUTER_VECTORS];
    v->layer = end ? -1 : (int32_t)(of_routers / ROUTER_VECTORS);
    if (end)
        snprintf(v->name, sizeof v->name, "%s", mq_role_name(v->role));
    else
        snprintf(v->name, sizeof v->name, "%s.%" PRId32, mq_role_name(v->role), v->layer);
    return mq_view_find(view, v->role, v->layer, -1) != NULL;
}

/* Points a tensor of the table at its bytes in the recording: blocks of a level, unless NULL. */
static moeq_status place(struct mq_recording *r, enum mq_role role, int32_t layer,
                         const char *name, const struct mq_level *level, moeq_error *err)
{
    const struct mq_tensor *found = mq_view_find(r->view, role, layer, -1);
    const struct mq_st_entry *e;
    if (!found)
        return mq_fail_file(err, MOEQ_MALFORMED, r->st->file.path, "its architecture has no %s",
                            mq_role_name(role));
    struct mq_tensor *t = &r->view->tensors[found - r->view->tensors];
    const uint64_t row = level ? mq_level_row_bytes(level, t->cols) : t->cols;
    MQ_TRY(find(r->st, name, t->dims == 1 ? row : t->rows, t->dims == 1 ? 0 : row, &e, err));
    if (level) /* a byte of blocks an element */
        MQ_TRY(expect_dtype(r->st, e, MQ_U8, err));
    const char *storage = level ? level->name : mq_dtype_storage(e->dtype);
    if (!storage)
        return mq_fail_tensor(err, MOEQ_MALFORMED, r->st->file.path, name, e->offset,
                              "expected F32, F16 or BF16, found %s", mq_dtype_name(e->dtype));
    t->storage = storage;
    t->row_bytes = row * mq_dtype_bytes(e->dtype);
    t->file = 0;
    t->offset = e->offset;
    return MOEQ_OK;
}

static moeq_status place_weights(struct mq_recording *r, moeq_error *err)
{
    struct mq_view *view = r->view;
    const struct mq_file *file = &r->st->file;
    view->files = mq_arena_alloc(view->arena, 2, sizeof *view->files);
    if (!view->files)
        return mq_fail_memory(err, "opening a recording");
    /* All tensors are in a file that is not there, but for those that are placed. */
    for (size_t i = 0; i < view->tensors_count; i++)
        view->tensors[i].file = 1;
    view->files[1].file = (struct mq_file){.fd = -1, .path = file->path};
    view->files[0].name = r->st->file.path;
    view->kind = MQ_VIEW_RECORDING;
    MQ_TRY(mq_file_open(file->path, &view->files[0].file, err));
    view->files_count = 1; /* what is closed with the view */
    MQ_TRY(place(r, MQ_ROLE_OUTPUT_NORM, -1, "output_norm", NULL, err));
    for (size_t i = 0; i < mq_recorded_vectors(view); i++) {
        struct mq_recorded_vector v;
        if (mq_recorded_vector(view, i, &v))
            MQ_TRY(place(r, v.role, v.layer, v.name, NULL, err));
    }
    return place(r, view->hparams.tied_head ? MQ_ROLE_EMBEDDING : MQ_ROLE_HEAD, -1, "head",
                 r->head_level, err);
}

/* ---- the run ---- */

static bool hex32(const cJSON *item, uint32_t *value)
{
    if (!cJSON_IsString(item) || strlen(item->valuestring) != 8 ||
        strspn(item->valuestring, "0123456789abcdef") != 8)
        return false;
    *value = (uint32_t)strtoul(item->valuestring, NULL, 16);
    return true;
}

struct run {
    cJSON *json;
    enum mq_protocol protocol;
    uint64_t text_tokens, context, bos;
    bool has_bos;
    uint32_t ids_crc32;
};

/* With which arithmetic it was made; f32 where it does not say so. */
static bool read_compute(struct mq_recording *r, const cJSON *run)
{
    const cJSON *compute = mq_json_get(run, "compute"), *level = mq_json_get(run, "head_level");
    r->compute = MQ_COMPUTE_F32;
    if (compute && !(cJSON_IsString(compute) && mq_compute_find(compute->valuestring, &r->compute)))
        return false;
    r->head_level = cJSON_IsString(level) ? mq_level_find(level->valuestring) : NULL;
    return !level || r->head_level;
}

static moeq_status read_run(struct mq_recording *r, struct run *run, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 4, .values = MAX_RUN_BYTES};
    const char *text = mq_metadata_get(r->st->metadata, MQ_RECORDING_META_RUN),
               *path = r->st->file.path;
    cJSON *o = NULL;
    if (!text || strlen(text) > MAX_RUN_BYTES)
        return mq_fail_file(err, MOEQ_MALFORMED, path, "metadata: no " MQ_RECORDING_META_RUN);
    MQ_TRY(mq_json_parse(text, strlen(text), &limits, path, 0, &o, err));
    run->json = o;
    const cJSON *protocol = mq_json_get(o, "protocol"), *name = mq_json_get(o, "text");
    const cJSON *bos = mq_json_get(o, "bos"), *tokenizer = mq_json_get(o, "tokenizer_crc32");
    const cJSON *model = mq_json_get(o, "model");
    run->has_bos = bos != NULL;
    r->has_tokenizer = tokenizer != NULL;
    const bool ok =
        cJSON_IsString(protocol) && mq_protocol_find(protocol->valuestring, &run->protocol) &&
        cJSON_IsString(name) && mq_json_u64(mq_json_get(o, "text_tokens"), &run->text_tokens) &&
        mq_json_u64(mq_json_get(o, "context"), &run->context) &&
        (!bos || (mq_json_u64(bos, &run->bos) && run->bos < r->view->hparams.vocab)) &&
        hex32(mq_json_get(o, "token_ids_crc32"), &run->ids_crc32) &&
        (!tokenizer || hex32(tokenizer, &r->tokenizer_crc32)) && read_compute(r, o) &&
        mq_json_u64(mq_json_get(o, "weights"), &r->weights) &&
        mq_json_u64(mq_json_get(o, "weight_bytes"), &r->weight_bytes) &&
        mq_json_u64(mq_json_get(o, "file_bytes"), &r->file_bytes);
    moeq_status status = MOEQ_OK;
    if (!ok)
        status = mq_fail_file(err, MOEQ_MALFORMED, path,
                              "metadata: " MQ_RECORDING_META_RUN
                              " lacks something, or is no such object");
    else if (!(r->text_name = mq_arena_strdup(r->view->arena, name->valuestring)) ||
             (cJSON_IsString(model) &&
              !(r->model_name = mq_arena_strdup(r->view->arena, model->valuestring))))
        status = mq_fail_memory(err, "opening a recording");
    return status;
}

/* The original's files, for reports. */
static moeq_status read_sources(struct mq_recording *r, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 4, .values = 8 * MAX_SOURCES};
    const char *text = mq_metadata_get(r->st->metadata, MQ_RECORDING_META_SOURCE);
    const char *path = r->st->file.path;
    struct mq_arena *arena = r->view->arena;
    cJSON *list = NULL;
    const cJSON *file;
    bool ok = true;
    if (!text)
        return mq_fail_file(err, MOEQ_MALFORMED, path, "metadata: no " MQ_RECORDING_META_SOURCE);
    MQ_TRY(mq_json_parse(text, strlen(text), &limits, path, 0, &list, err));
    const int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    r->sources = mq_arena_alloc(arena, (size_t)n + 1, sizeof *r->sources);
    cJSON_ArrayForEach(file, list)
    {
        const cJSON *name = mq_json_get(file, "name");
        struct mq_source_file *s = r->sources ? &r->sources[r->sources_count] : NULL;
        ok = ok && s && r->sources_count < (size_t)n && cJSON_IsString(name) &&
             (s->name = mq_arena_strdup(arena, name->valuestring)) &&
             mq_json_u64(mq_json_get(file, "bytes"), &s->file.size_bytes) &&
             hex32(mq_json_get(file, "header_crc32"), &s->header_crc32);
        r->sources_count += ok;
    }
    cJSON_Delete(list);
    return ok && n > 0 ? MOEQ_OK
                       : mq_fail_file(err, MOEQ_MALFORMED, path,
                                      "metadata: " MQ_RECORDING_META_SOURCE " is no list of files");
}

/* Of texts that had names; the others have none. */
static moeq_status read_domains(struct mq_recording *r, const cJSON *run, moeq_error *err)
{
    const cJSON *list = mq_json_get(run, "domains"), *domain;
    const size_t all = r->text.windows.count;
    size_t next = 0;
    if (!list)
        return MOEQ_OK;
    r->domain_bytes = mq_arena_alloc(r->view->arena, (size_t)cJSON_GetArraySize(list) + 1,
                                     sizeof *r->domain_bytes);
    if (!r->domain_bytes)
        return mq_fail_memory(err, "opening a recording");
    cJSON_ArrayForEach(domain, list)
    {
        const cJSON *name = mq_json_get(domain, "name");
        uint64_t windows, tokens;
        if (!cJSON_IsString(name) || !mq_json_u64(mq_json_get(domain, "windows"), &windows) ||
            !mq_json_u64(mq_json_get(domain, "tokens"), &tokens) ||
            !mq_json_u64(mq_json_get(domain, "bytes"), &r->domain_bytes[r->text.domains_count]) ||
            windows == 0 || windows > all - next)
            break;
        MQ_TRY(mq_text_windows_name(&r->text, name->valuestring, (size_t)windows, (size_t)tokens,
                                    err));
        r->text.domains[r->text.domains_count - 1].first_window = next;
        next += (size_t)windows;
    }
    return !domain && next == all
               ? MOEQ_OK
               : mq_fail_file(err, MOEQ_MALFORMED, r->st->file.path,
                              "metadata: domains: expected texts that share its %zu windows", all);
}

static moeq_status fail_sequence(const struct mq_recording *r, const struct mq_st_entry *e,
                                 size_t i, moeq_error *err)
{
    return mq_fail_tensor(err, MOEQ_MALFORMED, r->st->file.path, e->name, e->offset,
                          "row %zu is no sequence of its windows", i);
}

/* Of row i; what the tasks' figures index with must be within its bounds. */
static bool read_sequence(const struct mq_recording *r, const int32_t *row, struct mq_task_set *set)
{
    const struct mq_task_sequence *before =
        set->sequences_count ? &set->sequences[set->sequences_count - 1] : NULL;
    const int64_t window = row[0], expected = before ? (int64_t)before->window : -1;
    if (window < expected || window > expected + 1 || window < 0 ||
        (size_t)window >= set->windows || row[1] < 0 || row[2] <= row[1] ||
        (size_t)row[2] > set->length || row[3] < 0 || (uint32_t)row[3] >= r->view->hparams.vocab ||
        row[4] <= 0 || row[5] < -1)
        return false;
    /* those that share a window differ in the last token alone */
    if (window == expected &&
        (row[5] >= 0 || before->from != (uint32_t)row[1] || before->end != (uint32_t)row[2]))
        return false;
    if (row[5] >= 0)
        set->tasks[set->tasks_count++] =
            (struct mq_task){set->sequences_count, 0, (uint32_t)row[5]};
    if (!set->tasks_count)
        return false;
    set->tasks[set->tasks_count - 1].choices++;
    set->sequences[set->sequences_count++] = (struct mq_task_sequence){
        .window = (size_t)window,
        .from = (uint32_t)row[1],
        .end = (uint32_t)row[2],
        .last = row[3],
        .bytes = (uint32_t)row[4],
    };
    return true;
}

/* The files' names, which share the tasks. */
static bool read_groups(const cJSON *list, struct mq_task_set *set)
{
    const cJSON *file;
    size_t next = 0;
    cJSON_ArrayForEach(file, list)
    {
        const cJSON *name = mq_json_get(file, "name");
        uint64_t count;
        if (!cJSON_IsString(name) || !mq_json_u64(mq_json_get(file, "count"), &count) ||
            count == 0 || count > set->tasks_count - next)
            return false;
        set->groups[set->groups_count] =
            (struct mq_task_group){strdup(name->valuestring), next, (size_t)count};
        if (!set->groups[set->groups_count++].name)
            return false;
        next += (size_t)count;
    }
    for (size_t i = 0; i < set->tasks_count; i++)
        if (set->tasks[i].choices < 2 || set->tasks[i].answer >= set->tasks[i].choices)
            return false;
    return next == set->tasks_count && next > 0;
}

/* An I32 tensor, whole; columns 0: any number. */
static moeq_status read_matrix(const struct mq_recording *r, const char *name, uint64_t columns,
                               const struct mq_st_entry **found, int32_t **rows, moeq_error *err)
{
    const struct mq_st_entry *e = *found = mq_safetensors_find(r->st, name);
    if (!e || e->dtype != MQ_I32 || e->dims != 2 || !e->size_bytes ||
        (columns && e->shape[1] != columns))
        return mq_fail_file(err, MOEQ_MALFORMED, r->st->file.path,
                            "expected a tensor '%s', I32 [rows, columns], not empty", name);
    *rows = malloc((size_t)e->size_bytes); /* not more than the file has */
    return *rows ? mq_file_read_at(&r->st->file, e->offset, *rows, (size_t)e->size_bytes, err)
                 : mq_fail_memory(err, "opening a recording");
}

static moeq_status fill_tasks(struct mq_recording *r, const cJSON *run, const struct mq_st_entry *e,
                              const int32_t *rows, struct mq_task_set *set, moeq_error *err)
{
    const struct mq_st_entry *windows;
    MQ_TRY(read_matrix(r, "task_ids", 0, &windows, &set->ids, err));
    set->windows = (size_t)windows->shape[0];
    set->length = (size_t)windows->shape[1];
    for (size_t i = 0; i < e->shape[0]; i++)
        if (!read_sequence(r, rows + i * MQ_RECORDED_SEQUENCE, set))
            return fail_sequence(r, e, i, err);
    if (set->sequences[set->sequences_count - 1].window + 1 != set->windows)
        return fail_sequence(r, e, set->sequences_count, err);
    if (!read_groups(mq_json_get(run, "tasks"), set))
        return mq_fail_file(err, MOEQ_MALFORMED, r->st->file.path,
                            "metadata: tasks: expected files that share its %zu tasks",
                            set->tasks_count);
    return mq_task_set_index(set) ? MOEQ_OK : mq_fail_memory(err, "opening a recording");
}

static moeq_status read_tasks(struct mq_recording *r, const cJSON *run, moeq_error *err)
{
    const cJSON *groups = mq_json_get(run, "tasks");
    const size_t files = cJSON_IsArray(groups) ? (size_t)cJSON_GetArraySize(groups) : 0;
    const struct mq_st_entry *e;
    int32_t *rows = NULL;
    moeq_status status = read_matrix(r, "task_sequences", MQ_RECORDED_SEQUENCE, &e, &rows, err);
    if (status == MOEQ_OK) {
        r->text.tasks = mq_task_set_allocate(files, (size_t)e->shape[0], (size_t)e->shape[0]);
        status = r->text.tasks ? fill_tasks(r, run, e, rows, r->text.tasks, err)
                               : mq_fail_memory(err, "opening a recording");
    }
    free(rows);
    return status;
}

/* The windows, cut again from the recorded ids: they come out as they are, BOS included. */
static moeq_status read_windows(struct mq_recording *r, const struct run *run, moeq_error *err)
{
    const char *path = r->st->file.path;
    const struct mq_st_entry *e = mq_safetensors_find(r->st, "input_ids");
    if (!e || e->dtype != MQ_I32 || e->dims != 2 || !e->size_bytes)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "expected a tensor 'input_ids', I32 [windows, tokens], not empty");
    if (e->shape[1] != run->context)
        return mq_fail_tensor(err, MOEQ_MALFORMED, path, e->name, e->offset,
                              "expected windows of %" PRIu64 " tokens, found %" PRIu64,
                              run->context, e->shape[1]);
    int32_t *ids = malloc((size_t)e->size_bytes); /* not more than the file has */
    if (!ids)
        return mq_fail_memory(err, "opening a recording");
    const struct mq_protocol_options options = {.protocol = run->protocol,
                                                .context = (size_t)e->shape[1]};
    moeq_status status;
    MQ_TRY_OUT(mq_file_read_at(&r->st->file, e->offset, ids, (size_t)e->size_bytes, err));
    MQ_TRY_OUT(
        mq_protocol_windows(&options, ids, (size_t)(e->size_bytes / 4), -1, path, &r->text, err));
    r->text.text_tokens = (size_t)run->text_tokens;
    r->text.bos = run->has_bos ? (int32_t)run->bos : -1;
    if (r->text.ids_crc32 != run->ids_crc32)
        status = mq_fail_tensor(err, MOEQ_CORRUPT, path, e->name, e->offset,
                                "token ids have CRC-32 %08" PRIx32 ", expected %08" PRIx32,
                                r->text.ids_crc32, run->ids_crc32);
    if (status == MOEQ_OK)
        status = read_domains(r, run->json, err);
    if (status == MOEQ_OK && mq_json_get(run->json, "tasks"))
        status = read_tasks(r, run->json, err);
out:
    free(ids);
    return status;
}

static moeq_status check_states(struct mq_recording *r, moeq_error *err)
{
    const struct mq_hparams *hp = &r->view->hparams;
    const struct mq_task_set *tasks = r->text.tasks;
    const uint64_t tokens = (uint64_t)r->text.windows.count * r->text.windows.length +
                            (tasks ? (uint64_t)tasks->windows * tasks->length : 0);
    const struct mq_st_entry *e;
    r->router_item = mq_arena_alloc(r->view->arena, hp->layers, sizeof *r->router_item);
    if (!r->router_item)
        return mq_fail_memory(err, "opening a recording");
    MQ_TRY(find(r->st, "hidden", tokens, hp->hidden, &e, err));
    MQ_TRY(expect_dtype(r->st, e, MQ_F32, err));
    for (uint32_t layer = 0; layer < hp->layers; layer++) {
        char name[32];
        const uint32_t experts = mq_recorded_experts(r->view, layer);
        if (!experts)
            continue;
        snprintf(name, sizeof name, "router.%" PRIu32, layer);
        MQ_TRY(find(r->st, name, tokens, experts, &e, err));
        MQ_TRY(expect_dtype(r->st, e, MQ_F32, err));
        r->router_item[layer] = (size_t)(e - r->st->entries);
    }
    return MOEQ_OK;
}

#define MAX_TEXT_BYTES (UINT64_C(1) << 30)

moeq_status mq_recording_text(const struct mq_recording *r, struct mq_buffer *text, moeq_error *err)
{
    const struct mq_st_entry *e = mq_safetensors_find(r->st, "text");
    memset(text, 0, sizeof *text);
    if (!e)
        return MOEQ_OK;
    if (e->dtype != MQ_U8 || e->dims != 1 || e->size_bytes > MAX_TEXT_BYTES)
        return mq_fail_tensor(err, MOEQ_MALFORMED, r->st->file.path, e->name, e->offset,
                              "expected U8 [bytes], at most %" PRIu64, MAX_TEXT_BYTES);
    char *bytes = malloc((size_t)e->size_bytes + 1);
    if (!bytes)
        return mq_fail_memory(err, "reading a text");
    const moeq_status status =
        mq_file_read_at(&r->st->file, e->offset, bytes, (size_t)e->size_bytes, err);
    if (status == MOEQ_OK)
        mq_buffer_append(text, bytes, (size_t)e->size_bytes);
    free(bytes);
    if (status == MOEQ_OK && !mq_buffer_ok(text))
        return mq_fail_memory(err, "reading a text");
    return status;
}

/* ---- playback ---- */

/* Rows of `width` floats, of tokens within what check_states has seen. */
static moeq_status read_rows(const struct mq_recording *r, const struct mq_st_entry *e,
                             size_t first_token, size_t tokens, uint64_t width, float *rows,
                             moeq_error *err)
{
    return mq_file_read_at(&r->st->file, e->offset + first_token * width * sizeof(float), rows,
                           tokens * width * sizeof(float), err);
}

static moeq_status read_hidden(void *user, size_t first_token, size_t tokens, float *hidden,
                               moeq_error *err)
{
    const struct mq_recording *r = user;
    return read_rows(r, mq_safetensors_find(r->st, "hidden"), first_token, tokens,
                     r->view->hparams.hidden, hidden, err);
}

static moeq_status read_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                               float *logits, moeq_error *err)
{
    const struct mq_recording *r = user;
    return read_rows(r, &r->st->entries[r->router_item[layer]], first_token, tokens,
                     mq_recorded_experts(r->view, layer), logits, err);
}

/* Tasks' tokens stand behind the text's. */
static size_t behind_text(const struct mq_recording *r)
{
    return r->text.windows.count * r->text.windows.length;
}

static moeq_status read_task_hidden(void *user, size_t first_token, size_t tokens, float *hidden,
                                    moeq_error *err)
{
    return read_hidden(user, behind_text(user) + first_token, tokens, hidden, err);
}

static moeq_status read_task_router(void *user, uint32_t layer, size_t first_token, size_t tokens,
                                    float *logits, moeq_error *err)
{
    return read_router(user, layer, behind_text(user) + first_token, tokens, logits, err);
}

moeq_status mq_recording_open(const struct mq_context *context, const char *path,
                              struct mq_recording **out, moeq_error *err)
{
    struct run run = {0};
    moeq_status status;
    *out = NULL;
    MQ_TRY(mq_integrity_require(context, path, err));
    struct mq_recording *r = calloc(1, sizeof *r);
    if (!r)
        return mq_fail_memory(err, "opening a recording");
    r->view = mq_view_create(path);
    struct mq_safetensors *st = r->view ? calloc(1, sizeof *st) : NULL;
    if (!st) {
        status = mq_fail_memory(err, "opening a recording");
        goto out;
    }
    status = mq_safetensors_open(path, r->view->arena, st, err);
    if (status != MOEQ_OK) {
        free(st);
        goto out;
    }
    r->st = st;
    MQ_TRY_OUT(check_version(r->st, err));
    MQ_TRY_OUT(read_config(r, err));
    MQ_TRY_OUT(read_run(r, &run, err));
    MQ_TRY_OUT(place_weights(r, err));
    MQ_TRY_OUT(read_sources(r, err));
    MQ_TRY_OUT(read_windows(r, &run, err));
    MQ_TRY_OUT(check_states(r, err));
    r->playback = (struct mq_playback){r, read_hidden, read_router};
    r->task_playback = (struct mq_playback){r, read_task_hidden, read_task_router};
    *out = r;
out:
    cJSON_Delete(run.json);
    if (status != MOEQ_OK)
        mq_recording_close(r);
    return status;
}

void mq_recording_close(struct mq_recording *r)
{
    if (!r)
        return;
    mq_text_windows_free(&r->text);
    if (r->st)
        mq_safetensors_close(r->st);
    free(r->st);
    mq_view_close(r->view);
    free(r);
}

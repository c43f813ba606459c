/* verify_json.c: what verify adds to a sweep's document. */
#include "verify_json.h"

#include "result_json.h"
#include "view_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* cJSON's adding functions return NULL for want of memory; so `ok` collects. Items whose parent is
 * missing are freed by them. */
static bool put(cJSON *parent, const char *key, cJSON *item)
{
    if (item && parent && cJSON_AddItemToObject(parent, key, item))
        return true;
    cJSON_Delete(item);
    return false;
}

static cJSON *number(double x)
{
    return isfinite(x) ? cJSON_CreateNumber(x) : cJSON_CreateNull();
}

/* The original's files, also where only a recording of them is here. */
static bool put_sources(cJSON *document, const struct mq_reference *reference)
{
    cJSON *model = cJSON_GetObjectItemCaseSensitive(document, "model");
    cJSON *list = cJSON_CreateArray();
    bool ok = list && model;
    for (size_t i = 0; ok && i < reference->sources_count; i++) {
        const struct mq_source_file *s = &reference->sources[i];
        cJSON *file = cJSON_CreateObject();
        char crc[16];
        snprintf(crc, sizeof crc, "%08" PRIx32, s->header_crc32);
        ok = file && cJSON_AddItemToArray(list, file) &&
             cJSON_AddStringToObject(file, "name", s->name) &&
             cJSON_AddNumberToObject(file, "bytes", (double)s->file.size_bytes) &&
             cJSON_AddStringToObject(file, "header_crc32", crc);
    }
    if (ok && cJSON_ReplaceItemInObjectCaseSensitive(model, "files", list))
        return true;
    cJSON_Delete(list);
    return false;
}

static cJSON *differences(const struct mq_verify_result *result)
{
    cJSON *o = cJSON_CreateObject(), *how = cJSON_CreateObject(), *list = cJSON_CreateObject();
    bool ok = put(o, "bootstrap", how);
    ok = put(o, "figures", list) && ok;
    ok = ok && cJSON_AddStringToObject(how, "blocks", "windows") &&
         cJSON_AddNumberToObject(how, "windows", (double)result->sweep.text.windows.count) &&
         cJSON_AddNumberToObject(how, "resamples", MQ_BOOTSTRAP_RESAMPLES) &&
         cJSON_AddStringToObject(how, "generator", "splitmix64") &&
         cJSON_AddNumberToObject(how, "seed", (double)MQ_BOOTSTRAP_SEED);
    for (size_t i = 0; ok && i < result->differences_count; i++) {
        const struct mq_bootstrap *b = &result->differences[i].b_minus_a;
        cJSON *figure = cJSON_CreateObject(), *interval = cJSON_CreateArray();
        ok = put(list, result->differences[i].name, figure) &&
             put(figure, "mean", number(b->mean)) && put(figure, "se", number(b->se)) &&
             put(figure, "ci95", interval) && cJSON_AddItemToArray(interval, number(b->low)) &&
             cJSON_AddItemToArray(interval, number(b->high));
    }
    if (ok)
        return o;
    cJSON_Delete(o);
    return NULL;
}

static cJSON *metrics(const struct mq_verify_result *result)
{
    cJSON *o = cJSON_CreateObject();
    bool ok = o != NULL;
    for (struct mq_metric m = {0};
         ok && mq_metric_next(&m, result->sweep.view, result->differences_count > 0);) {
        char name[MQ_METRIC_NAME];
        mq_metric_print(m.figure, m.scope, m.n, name);
        ok = put(o, name, mq_estimate_json(mq_metric_value(&m, result, result->models_count)));
    }
    if (ok)
        return o;
    cJSON_Delete(o);
    return NULL;
}

static cJSON *judgement(const struct mq_gate *gate)
{
    cJSON *o = cJSON_CreateObject(), *list = cJSON_CreateArray();
    bool ok = o && cJSON_AddStringToObject(o, "file", gate->path) &&
              cJSON_AddNumberToObject(o, "broken", (double)gate->broken);
    ok = put(o, "limits", list) && ok;
    for (size_t i = 0; ok && i < gate->count; i++) {
        const struct mq_gate_limit *l = &gate->limits[i];
        cJSON *limit = cJSON_CreateObject();
        ok = limit && cJSON_AddItemToArray(list, limit) &&
             cJSON_AddStringToObject(limit, "metric", l->name) &&
             put(limit, l->is_max ? "max" : "min", cJSON_CreateNumber(l->bound)) &&
             put(limit, "found", mq_estimate_json(l->found)) &&
             cJSON_AddBoolToObject(limit, "kept", l->kept);
    }
    if (ok)
        return o;
    cJSON_Delete(o);
    return NULL;
}

/* What there is to know of model i, and of its tokens. */
static cJSON *model_notes(const struct mq_verify_result *result, size_t i)
{
    cJSON *list = mq_view_notes_json(result->models[i]);
    struct mq_buffer note = {0};
    if (result->tokens_compared[i])
        return list;
    mq_verify_token_note(result, i, &note);
    if (!list || !mq_buffer_ok(&note) ||
        !cJSON_AddItemToArray(list, cJSON_CreateString(note.data))) {
        cJSON_Delete(list);
        list = NULL;
    }
    mq_buffer_free(&note);
    return list;
}

cJSON *mq_verify_json(const struct mq_verify_result *result, const struct mq_gate *gate)
{
    cJSON *o = mq_sweep_json(&result->sweep), *against = cJSON_CreateObject();
    cJSON *models = cJSON_CreateArray(), *files = cJSON_CreateArray();
    bool ok =
        o && cJSON_ReplaceItemInObjectCaseSensitive(o, "moeq_result", cJSON_CreateString("verify"));
    ok = put(o, "against", against) && ok;
    ok = put(o, "models", models) && ok;
    ok = put(o, "model_files", files) && ok;
    ok = ok && (!result->reference || put_sources(o, result->reference)) &&
         cJSON_AddStringToObject(against, "path", result->paths[0]) &&
         cJSON_AddStringToObject(against, "kind", result->reference ? "recording" : "model") &&
         cJSON_AddStringToObject(against, "compute",
                                 mq_compute_name(result->sweep.rows[0].compute)) &&
         cJSON_AddBoolToObject(against, "same_compute", mq_verify_same_compute(result));
    for (size_t i = 1; ok && i <= result->models_count; i++)
        ok = cJSON_AddItemToArray(models, cJSON_CreateString(result->paths[i])) &&
             cJSON_AddItemToArray(files, mq_view_files_json(result->models[i - 1]));
    cJSON *compared = cJSON_CreateArray(), *notes = cJSON_CreateArray();
    ok = put(o, "model_notes", notes) && ok;
    for (size_t i = 0; ok && i < result->models_count; i++)
        ok = cJSON_AddItemToArray(notes, model_notes(result, i));
    ok = put(o, "tokens_compared", compared) && ok;
    for (size_t i = 0; ok && i < result->models_count; i++)
        ok = cJSON_AddItemToArray(compared, cJSON_CreateBool(result->tokens_compared[i]));
    ok = ok && (!result->differences_count || put(o, "b_minus_a", differences(result))) &&
         put(o, "metrics", metrics(result)) && (!gate || put(o, "gate", judgement(gate)));
    if (ok)
        return o;
    cJSON_Delete(o);
    return NULL;
}

/* comparison_json.c: what documents say beside the rows of a comparison. */
#include "comparison_json.h"

#include "json_tree.h"
#include "result_json.h"
#include "view_json.h"

#include <math.h>
#include <stdio.h>

/* The original's files, also where only a recording of them is here. */
static void put_sources(struct mq_json_tree *b, cJSON *document,
                        const struct mq_recording *recording)
{
    cJSON *model = cJSON_GetObjectItemCaseSensitive(document, "model"), *list = mq_json_array(b);
    for (size_t i = 0; i < recording->sources_count; i++) {
        const struct mq_source_file *s = &recording->sources[i];
        cJSON *file = mq_json_object(b);
        mq_json_put_text(b, file, "name", s->name);
        mq_json_put_count(b, file, "bytes", s->file.size_bytes);
        mq_json_put_hex(b, file, "header_crc32", s->header_crc32);
        mq_json_append(b, list, file);
    }
    if (model && list && cJSON_ReplaceItemInObjectCaseSensitive(model, "files", list))
        return;
    cJSON_Delete(list);
    b->failed = true;
}

static cJSON *bootstrap(struct mq_json_tree *b, const struct mq_comparison *c)
{
    cJSON *how = mq_json_object(b);
    mq_json_put_text(b, how, "blocks", "windows");
    mq_json_put_count(b, how, "windows", c->text.windows.count);
    mq_json_put_count(b, how, "resamples", MQ_BOOTSTRAP_RESAMPLES);
    mq_json_put_text(b, how, "generator", "splitmix64");
    mq_json_put_count(b, how, "seed", MQ_BOOTSTRAP_SEED);
    return how;
}

/* {"bootstrap", "figures"}, into o. */
static void put_difference(struct mq_json_tree *b, cJSON *o, const struct mq_comparison *c,
                           const struct mq_difference *d)
{
    cJSON *figures = mq_json_object(b);
    for (size_t i = 0; i < d->figures_count; i++) {
        const struct mq_bootstrap *x = &d->figures[i].difference;
        const double ends[] = {x->low, x->high};
        cJSON *figure = mq_json_object(b), *interval = mq_json_array(b);
        mq_json_put_number(b, figure, "mean", x->mean);
        mq_json_put_number(b, figure, "se", x->se);
        for (int e = 0; e < 2; e++)
            mq_json_append(b, interval,
                           isfinite(ends[e]) ? cJSON_CreateNumber(ends[e]) : cJSON_CreateNull());
        mq_json_put(b, figure, "ci95", interval);
        mq_json_put(b, figures, d->figures[i].figure->difference, figure);
    }
    mq_json_put(b, o, "bootstrap", bootstrap(b, c));
    mq_json_put(b, o, "figures", figures);
}

static cJSON *differences(struct mq_json_tree *b, const struct mq_comparison *c)
{
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < c->differences_count; i++) {
        const struct mq_difference *d = &c->differences[i];
        cJSON *o = mq_json_object(b);
        mq_json_put_text(b, o, "model", c->rows[d->row].name);
        mq_json_put_text(b, o, "minus", c->rows[d->minus].name);
        put_difference(b, o, c, d);
        mq_json_append(b, list, o);
    }
    return list;
}

/* What there is to know of a file, and of its tokens. */
static cJSON *file_notes(struct mq_json_tree *b, const struct mq_comparison_row *row)
{
    cJSON *list = mq_view_notes_json(row->file);
    struct mq_buffer note = {0};
    if (row->domain_note)
        mq_json_append(b, list, cJSON_CreateString(row->domain_note));
    if (row->tokens_compared)
        return list;
    mq_row_token_note(row, &note);
    mq_json_append(b, list, mq_buffer_ok(&note) ? cJSON_CreateString(note.data) : NULL);
    mq_buffer_free(&note);
    return list;
}

static void put_files(struct mq_json_tree *b, cJSON *document, const struct mq_comparison *c)
{
    cJSON *paths = mq_json_array(b), *files = mq_json_array(b);
    cJSON *notes = mq_json_array(b), *compared = mq_json_array(b);
    for (size_t i = 0; i < c->rows_count; i++) {
        const struct mq_comparison_row *row = &c->rows[i];
        if (!row->file)
            continue;
        mq_json_append(b, paths, cJSON_CreateString(row->file->path));
        mq_json_append(b, files, mq_view_files_json(row->file));
        mq_json_append(b, notes, file_notes(b, row));
        mq_json_append(b, compared, cJSON_CreateBool(row->tokens_compared));
    }
    mq_json_put(b, document, "models", paths);
    mq_json_put(b, document, "model_files", files);
    mq_json_put(b, document, "model_notes", notes);
    mq_json_put(b, document, "tokens_compared", compared);
    if (c->differences_count)
        mq_json_put(b, document, "differences", differences(b, c));
}

static cJSON *metrics(struct mq_json_tree *b, const struct mq_comparison *c)
{
    cJSON *o = mq_json_object(b);
    for (struct mq_metric m = {0};
         mq_metric_next(&m, c->baseline->view, c->differences_count > 0);) {
        char name[MQ_METRIC_NAME];
        mq_metric_print(m.figure, m.scope, m.n, name);
        mq_json_put(b, o, name, mq_estimate_json(mq_metric_value(&m, c, c->candidates_count)));
    }
    return o;
}

static cJSON *judgement(struct mq_json_tree *b, const struct mq_gate *gate)
{
    cJSON *o = mq_json_object(b), *list = mq_json_array(b);
    mq_json_put_text(b, o, "file", gate->path);
    mq_json_put_count(b, o, "broken", gate->broken);
    for (size_t i = 0; i < gate->count; i++) {
        const struct mq_gate_limit *l = &gate->limits[i];
        cJSON *limit = mq_json_object(b);
        if (l->model)
            mq_json_put_text(b, limit, "model", l->model);
        mq_json_put_text(b, limit, "metric", l->name);
        mq_json_put_number(b, limit, l->is_max ? "max" : "min", l->bound);
        mq_json_put(b, limit, "found", mq_estimate_json(l->found));
        mq_json_put_bool(b, limit, "kept", l->kept);
        mq_json_append(b, list, limit);
    }
    mq_json_put(b, o, "limits", list);
    return o;
}

static cJSON *attribution_json(struct mq_json_tree *b, const struct mq_attribution *a,
                               const struct mq_comparison *c)
{
    const double whole = c->rows[1].result.kld.mean.value;
    cJSON *o = mq_json_object(b), *parts = mq_json_array(b);
    mq_json_put_text(b, o, "of", c->rows[1].name);
    mq_json_put_text(b, o, "by",
                     a->by == MQ_ATTRIBUTE_LAYER  ? "layer"
                     : a->by == MQ_ATTRIBUTE_ROLE ? "role"
                                                  : "layer,role");
    for (size_t i = 0; i < a->parts_count; i++) {
        const struct mq_attribution_part *p = &a->parts[i];
        cJSON *part = mq_json_object(b);
        mq_json_put_text(b, part, "name", p->name);
        if (p->layer >= 0)
            mq_json_put_count(b, part, "layer", (uint64_t)p->layer);
        if (p->role >= 0)
            mq_json_put_text(b, part, "role", mq_role_name((enum mq_role)p->role));
        mq_json_put_count(b, part, "tensors", p->tensors);
        mq_json_put_count(b, part, "weights", p->weights);
        mq_json_put_count(b, part, "bytes", p->bytes);
        mq_json_put(b, part, "kld_mean", mq_estimate_json(p->kld));
        mq_json_put(b, part, "ln_ppl_ratio", mq_estimate_json(p->log_ppl_ratio));
        mq_json_put(b, part, "exact_set_rate", mq_estimate_json(p->exact_routes));
        mq_json_append(b, parts, part);
    }
    mq_json_put(b, o, "parts", parts);
    mq_json_put_number(b, o, "kld_mean_sum", a->sum);
    mq_json_put_number(b, o, "sum_to_whole", whole > 0 ? a->sum / whole : NAN);
    return o;
}

/* What there is to know of levels stands with the model that they are made of, once. */
static void put_level_notes(struct mq_json_tree *b, cJSON *document, const struct mq_comparison *c)
{
    cJSON *model = cJSON_GetObjectItemCaseSensitive(document, "model");
    cJSON *notes = cJSON_GetObjectItemCaseSensitive(model, "notes");
    for (size_t i = 0; i < c->rows_count; i++) {
        char text[2048];
        const int n = snprintf(text, sizeof text, "%.60s: ", c->rows[i].name);
        if (mq_row_tells_domain(c, i) && !c->rows[i].file)
            mq_json_append(b, notes, cJSON_CreateString(c->rows[i].domain_note));
        if (!c->rows[i].losses.count || n < 0)
            continue;
        mq_losses_describe(&c->rows[i].losses, text + n, sizeof text - (size_t)n);
        mq_json_append(b, notes, cJSON_CreateString(text));
    }
}

cJSON *mq_sweep_json(const struct mq_comparison *c, const struct mq_attribution *attribution)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_rows_json(c, "sweep");
    put_level_notes(&b, o, c);
    if (attribution)
        mq_json_put(&b, o, "attribution", attribution_json(&b, attribution, c));
    if (c->files_count)
        put_files(&b, o, c);
    return mq_json_finish(&b, o);
}

cJSON *mq_verify_json(const struct mq_comparison *c, const struct mq_gate *gate)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_rows_json(c, "verify"), *against = mq_json_object(&b);
    mq_json_put_text(&b, against, "path", c->baseline->path);
    mq_json_put_text(&b, against, "kind", c->baseline->recording ? "recording" : "model");
    if (c->baseline->recording && c->baseline->recording->model_name)
        mq_json_put_text(&b, against, "model", c->baseline->recording->model_name);
    mq_json_put_text(&b, against, "compute", mq_compute_name(c->rows[0].compute));
    mq_json_put_bool(&b, against, "same_compute", mq_same_compute(c));
    mq_json_put(&b, o, "against", against);
    put_files(&b, o, c);
    if (c->baseline->recording)
        put_sources(&b, o, c->baseline->recording);
    if (c->candidates_count == 2 && c->differences_count) {
        cJSON *b_minus_a = mq_json_object(&b);
        put_difference(&b, b_minus_a, c, &c->differences[0]);
        mq_json_put(&b, o, "b_minus_a", b_minus_a);
    }
    mq_json_put(&b, o, "metrics", metrics(&b, c));
    if (gate)
        mq_json_put(&b, o, "gate", judgement(&b, gate));
    return mq_json_finish(&b, o);
}

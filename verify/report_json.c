/* report_json.c: results -> cJSON. Growing a tree fails only for want of memory; a failure anywhere
 * is noted in the builder and the whole document given up. */
#include "report_json.h"

#include "family.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- building blocks: `failed` is sticky ---- */

struct builder {
    bool failed;
};

static cJSON *object(struct builder *b)
{
    cJSON *o = cJSON_CreateObject();
    b->failed = b->failed || !o;
    return o;
}

static cJSON *array(struct builder *b)
{
    cJSON *a = cJSON_CreateArray();
    b->failed = b->failed || !a;
    return a;
}

/* Takes the item over in every case. */
static void put(struct builder *b, cJSON *parent, const char *key, cJSON *item)
{
    if (item && parent && cJSON_AddItemToObject(parent, key, item))
        return;
    cJSON_Delete(item);
    b->failed = true;
}

static void append(struct builder *b, cJSON *parent, cJSON *item)
{
    if (item && parent && cJSON_AddItemToArray(parent, item))
        return;
    cJSON_Delete(item);
    b->failed = true;
}

static void put_number(struct builder *b, cJSON *o, const char *key, double x)
{
    put(b, o, key, isfinite(x) ? cJSON_CreateNumber(x) : cJSON_CreateNull());
}

/* Counts below 2^53 are exact as JSON numbers. */
static void put_count(struct builder *b, cJSON *o, const char *key, uint64_t n)
{
    put_number(b, o, key, (double)n);
}

static void put_text(struct builder *b, cJSON *o, const char *key, const char *text)
{
    put(b, o, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static void put_hex(struct builder *b, cJSON *o, const char *key, uint32_t x)
{
    char text[16];
    snprintf(text, sizeof text, "%08" PRIx32, x);
    put_text(b, o, key, text);
}

static void put_bool(struct builder *b, cJSON *o, const char *key, bool yes)
{
    put(b, o, key, cJSON_CreateBool(yes));
}

static void put_estimate(struct builder *b, cJSON *o, const char *key, struct mq_estimate x)
{
    cJSON *e = object(b);
    put_number(b, e, "value", x.value);
    put_number(b, e, "se", x.se);
    put(b, o, key, e);
}

static cJSON *finish(struct builder *b, cJSON *tree)
{
    if (!b->failed)
        return tree;
    cJSON_Delete(tree);
    return NULL;
}

/* ---- parts ---- */

cJSON *mq_estimate_json(struct mq_estimate estimate)
{
    struct builder b = {0};
    cJSON *o = object(&b);
    put_number(&b, o, "value", estimate.value);
    put_number(&b, o, "se", estimate.se);
    return finish(&b, o);
}

cJSON *mq_protocol_json(const struct mq_text_windows *text)
{
    struct builder b = {0};
    cJSON *o = object(&b);
    put_text(&b, o, "name", mq_protocol_name(text->protocol));
    put_count(&b, o, "context_tokens", text->windows.length);
    put_count(&b, o, "windows", text->windows.count);
    put_count(&b, o, "text_tokens", text->text_tokens);
    put_count(&b, o, "used_tokens", text->windows.count * text->windows.length);
    put_count(&b, o, "scored_tokens", mq_scored_tokens(text));
    put_count(&b, o, "scored_tokens_per_window", text->scored_window);
    put_count(&b, o, "first_scored_position", text->first_scored);
    put(&b, o, "bos_replaces_first_token",
        text->bos >= 0 ? cJSON_CreateNumber(text->bos) : cJSON_CreateNull());
    put_hex(&b, o, "token_ids_crc32", text->ids_crc32);
    return finish(&b, o);
}

static void put_perplexity(struct builder *b, cJSON *o, const struct mq_perplexity *p)
{
    put_estimate(b, o, "perplexity", p->ppl);
    put_estimate(b, o, "nll_nats", p->nll);
    put_count(b, o, "scored_tokens", p->scored_tokens);
}

static cJSON *distribution(struct builder *b, const struct mq_distribution *d)
{
    cJSON *o = object(b);
    put_estimate(b, o, "mean", d->mean);
    put_number(b, o, "median", d->median);
    put_number(b, o, "p90", d->p90);
    put_number(b, o, "p99", d->p99);
    put_number(b, o, "p99_9", d->p99_9);
    put_number(b, o, "max", d->max);
    put_count(b, o, "tokens", d->count);
    return o;
}

static void put_rates(struct builder *b, cJSON *o, const struct mq_routing_estimates *rates)
{
    for (int k = 0; k < MQ_ROUTING_COUNT; k++)
        put_estimate(b, o, mq_routing_metric_name((enum mq_routing_metric)k), rates->metric[k]);
}

static cJSON *margins(struct builder *b, const struct mq_routing_result *r)
{
    cJSON *list = array(b);
    for (size_t bin = 0; bin < MQ_MARGIN_BINS; bin++) {
        cJSON *o = object(b);
        put_number(b, o, "from_logits", mq_margin_edges[bin]);
        put_number(b, o, "to_logits",
                   bin + 1 < MQ_MARGIN_BINS ? mq_margin_edges[bin + 1] : INFINITY);
        put_count(b, o, "choices", r->margin_choices[bin]);
        put_count(b, o, "changed", r->margin_flips[bin]);
        append(b, list, o);
    }
    return list;
}

static cJSON *numbers(struct builder *b, const double *x, size_t n)
{
    cJSON *list = array(b);
    for (size_t i = 0; i < n; i++)
        append(b, list, cJSON_CreateNumber(x[i]));
    return list;
}

static void put_load(struct builder *b, cJSON *layer, const struct mq_routing_layer *l,
                     uint32_t experts)
{
    cJSON *load = object(b);
    put(b, load, "baseline", numbers(b, l->base_load, experts));
    put(b, load, "arm", numbers(b, l->load, experts));
    put_number(b, layer, "load_shift", l->load_shift);
    put(b, layer, "expert_load", load);
}

static cJSON *routing(struct builder *b, const struct mq_routing_result *r)
{
    cJSON *o = object(b), *overall = object(b), *layers = array(b), *flips = array(b);
    put_count(b, o, "tokens", r->tokens);
    put_text(b, o, "measured_over", "all tokens of all windows");
    put_rates(b, overall, &r->overall);
    put_number(b, overall, "load_shift", r->load_shift);
    put(b, o, "overall", overall);
    for (size_t i = 0; i < r->layers_count; i++) {
        cJSON *layer = object(b);
        put_count(b, layer, "layer", r->layers[i].layer);
        put_rates(b, layer, &r->layers[i].rates);
        put_load(b, layer, &r->layers[i], r->experts);
        append(b, layers, layer);
    }
    put(b, o, "layers", layers);
    for (size_t i = 0; i < r->flips_count; i++) {
        cJSON *group = object(b);
        put_count(b, group, "changed_layers", r->flips[i].layers);
        put_bool(b, group, "or_more", i + 1 == MQ_FLIP_GROUPS);
        put_count(b, group, "scored_tokens", r->flips[i].scored_tokens);
        put_estimate(b, group, "kld_mean_nats", r->flips[i].kld);
        append(b, flips, group);
    }
    put(b, o, "kld_by_changed_layers", flips);
    put(b, o, "baseline_margins", margins(b, r));
    return o;
}

/* What an arm's output is against the baseline's. */
static void put_output(struct builder *b, cJSON *o, const struct mq_arm_result *r)
{
    put_perplexity(b, o, &r->perplexity);
    put_estimate(b, o, "ppl_ratio", r->ppl_ratio);
    put_estimate(b, o, "ln_ppl_ratio", r->log_ppl_ratio);
    put(b, o, "kld_nats", distribution(b, &r->kld));
    put_estimate(b, o, "same_top_rate", r->same_top);
}

static cJSON *arm_result(struct builder *b, cJSON *o, const struct mq_arm_result *r,
                         bool is_baseline)
{
    if (is_baseline) {
        put_perplexity(b, o, &r->perplexity);
        return o;
    }
    put_output(b, o, r);
    put(b, o, "routing", r->has_routing ? routing(b, &r->routing) : cJSON_CreateNull());
    return o;
}

cJSON *mq_arm_result_json(const struct mq_arm_result *result, bool is_baseline)
{
    struct builder b = {0};
    cJSON *o = arm_result(&b, object(&b), result, is_baseline);
    return finish(&b, o);
}

/* ---- documents ---- */

static cJSON *document(struct builder *b, const char *kind)
{
    cJSON *o = object(b);
    put_text(b, o, "moeq_result", kind);
    put_count(b, o, "result_version", MQ_RESULT_VERSION);
    put_text(b, o, "producer", "moeq " MOEQ_VERSION_STRING);
    return o;
}

cJSON *mq_files_json(const struct mq_view *view)
{
    struct builder b = {0};
    cJSON *files = array(&b);
    for (size_t i = 0; i < view->files_count; i++) {
        cJSON *file = object(&b);
        put_text(&b, file, "name", view->files[i].name);
        put_count(&b, file, "bytes", view->files[i].file.size_bytes);
        put_hex(&b, file, "header_crc32", view->files[i].header_crc32);
        append(&b, files, file);
    }
    return finish(&b, files);
}

cJSON *mq_view_notes_list(const struct mq_view *view)
{
    struct builder b = {0};
    cJSON *list = array(&b);
    for (size_t i = 0; i < view->notes_count; i++)
        append(&b, list, cJSON_CreateString(view->notes[i]));
    return finish(&b, list);
}

static void put_model(struct builder *b, cJSON *o, const struct mq_view *view)
{
    cJSON *model = object(b);
    put_text(b, model, "path", view->path);
    put_text(b, model, "family", view->family->name);
    put_count(b, model, "layers", view->hparams.layers);
    put_count(b, model, "experts", view->hparams.experts);
    put_count(b, model, "experts_per_token", view->hparams.top_k);
    put_count(b, model, "vocabulary", view->hparams.vocab);
    put(b, model, "files", mq_files_json(view));
    put(b, model, "notes", mq_view_notes_list(view));
    put(b, o, "model", model);
}

static void put_run(struct builder *b, cJSON *o, const char *text_path,
                    const struct mq_text *source, const struct mq_text_windows *text,
                    enum mq_compute compute)
{
    put_text(b, o, "text", text_path);
    cJSON *texts = cJSON_CreateArray();
    for (size_t i = 0; i < (source ? source->count : 1); i++)
        cJSON_AddItemToArray(texts,
                             cJSON_CreateString(source ? source->sources[i].name : text_path));
    put(b, o, "texts", texts);
    put(b, o, "protocol", mq_protocol_json(text));
    put_text(b, o, "compute", mq_compute_name(compute));
}

cJSON *mq_eval_json(const struct mq_eval_result *result)
{
    struct builder b = {0};
    cJSON *o = document(&b, "eval");
    put_model(&b, o, result->view);
    put_run(&b, o, result->text_path, result->source, &result->text, result->compute);
    put_perplexity(&b, o, &result->perplexity);
    return finish(&b, o);
}

static cJSON *chance(struct builder *b, const struct mq_hparams *hp)
{
    if (!hp->experts)
        return cJSON_CreateNull();
    const struct mq_routing_figures figures = mq_routing_chance(hp->experts, hp->top_k);
    cJSON *o = object(b);
    for (int k = 0; k < MQ_ROUTING_COUNT; k++)
        put_number(b, o, mq_routing_metric_name((enum mq_routing_metric)k), figures.metric[k]);
    return o;
}

/* How an arm was quantized; null for the baseline. */
static cJSON *recipe(struct builder *b, const struct mq_policy *policy)
{
    static const char *const keys[MQ_CLASS_COUNT] = {
        [MQ_CLASS_EXPERTS] = "experts",
        [MQ_CLASS_ATTENTION] = "attention",
        [MQ_CLASS_EMBEDDINGS] = "embeddings",
        [MQ_CLASS_KEEP] = "router_and_norms",
    };
    cJSON *o = object(b), *overrides = array(b);
    for (int class = 0; class < MQ_CLASS_COUNT; class ++)
        put_text(b, o, keys[class], policy->levels[class] ? policy->levels[class]->name : "source");
    for (size_t i = 0; i < policy->overrides_count; i++) {
        cJSON *override = object(b);
        put_text(b, override, "pattern", policy->overrides[i].pattern);
        put_text(b, override, "level", policy->overrides[i].level->name);
        append(b, overrides, override);
    }
    put(b, o, "overrides", overrides);
    if (policy->recipe)
        put_text(b, o, "recipe", policy->recipe->name);
    put_text(b, o, "effort", mq_effort_name(policy->effort));
    return o;
}

/* null where there is no loss to speak of */
static cJSON *loss_shares(struct builder *b, const struct mq_loss_shares *shares)
{
    if (isnan(shares->weights.value))
        return cJSON_CreateNull();
    cJSON *o = object(b);
    put_estimate(b, o, "weights", shares->weights);
    put_estimate(b, o, "routes", shares->routes);
    put_estimate(b, o, "interaction", shares->interaction);
    return o;
}

/* Routing is not told of these: it is the baseline's, or the level's own. What did not run is null.
 */
static cJSON *swap(struct builder *b, const struct mq_swap_result *s)
{
    cJSON *o = object(b), *weights = object(b);
    cJSON *routes = s->has_routes ? object(b) : cJSON_CreateNull();
    put_output(b, weights, &s->weights);
    if (s->has_routes)
        put_output(b, routes, &s->routes);
    put(b, o, "own_weights_baseline_routes", weights);
    put(b, o, "baseline_weights_own_routes", routes);
    put(b, o, "shares_of_ln_ppl_ratio", loss_shares(b, &s->nll_shares));
    put(b, o, "shares_of_kld_mean", loss_shares(b, &s->kld_shares));
    return o;
}

static cJSON *sweep_row(struct builder *b, const struct mq_sweep_row *row)
{
    const bool is_baseline = row->kind == MQ_SWEEP_BASELINE;
    cJSON *r = object(b);
    put_text(b, r, "name", row->name);
    put_bool(b, r, "is_baseline", is_baseline);
    put_text(b, r, "compute", mq_compute_name(row->compute));
    put(b, r, "recipe", row->kind == MQ_SWEEP_LEVEL ? recipe(b, &row->policy) : cJSON_CreateNull());
    put_count(b, r, "weights", row->weights);
    put_count(b, r, "weight_bytes", row->weight_bytes);
    put_number(b, r, "weight_gib", (double)row->weight_bytes / 0x1p30);
    put_count(b, r, "file_bytes", row->file_bytes);
    put_number(b, r, "bits_per_weight", row->bits_per_weight);
    put_number(b, r, "expert_relative_rmse", row->expert_relative_rmse);
    put_count(b, r, "expert_tensors_quantized", row->expert_tensors_quantized);
    arm_result(b, r, &row->result, is_baseline);
    if (row->swap)
        put(b, r, "swap", swap(b, row->swap));
    if (row->int8) {
        cJSON *int8 = object(b);
        char name[64];
        snprintf(name, sizeof name, "%.50s int8", row->name);
        put_text(b, int8, "name", name);
        put_text(b, int8, "compute", mq_compute_name(MQ_COMPUTE_INT8));
        arm_result(b, int8, row->int8, false);
        put(b, r, "int8", int8);
    }
    return r;
}

cJSON *mq_sweep_json(const struct mq_sweep_result *result)
{
    struct builder b = {0};
    cJSON *o = document(&b, "sweep"), *rows = array(&b);
    put_model(&b, o, result->view);
    put_run(&b, o, result->text_path, result->source, &result->text, result->compute);
    put(&b, o, "routing_chance", chance(&b, &result->view->hparams));
    for (size_t i = 0; i < result->rows_count; i++) {
        const struct mq_sweep_row *row = &result->rows[i];
        if (row->kind == MQ_SWEEP_NOISE_FLOOR) /* not among the levels that one can choose */
            put(&b, o, "noise_floor", sweep_row(&b, row));
        else
            append(&b, rows, sweep_row(&b, row));
    }
    put(&b, o, "rows", rows);
    return finish(&b, o);
}

/* Of a check: matrices with zeros where weights should be. */
static cJSON *zeros_json(struct builder *b, const struct mq_zeros *zeros)
{
    cJSON *list = array(b);
    for (size_t i = 0; i < zeros->count && i < MQ_ZEROS_LISTED; i++) {
        const struct mq_zero_place *z = &zeros->listed[i];
        cJSON *t = object(b);
        put_text(b, t, "tensor", z->name);
        put_text(b, t, "role", mq_role_name(z->role));
        put(b, t, "layer", z->layer >= 0 ? cJSON_CreateNumber(z->layer) : cJSON_CreateNull());
        put(b, t, "expert", z->expert >= 0 ? cJSON_CreateNumber(z->expert) : cJSON_CreateNull());
        put_text(b, t, "file", z->path);
        put_count(b, t, "offset_bytes", z->offset);
        put_count(b, t, "size_bytes", z->bytes);
        put_bool(b, t, "whole_tensor", z->whole);
        put_text(b, t, "continues_in", z->into);
        append(b, list, t);
    }
    return list;
}

/* Zero rows at the end of an embedding table or head, which are no problem. */
static cJSON *padding_json(struct builder *b, const struct mq_zeros *zeros)
{
    cJSON *list = array(b);
    for (int i = 0; i < 2; i++) {
        const struct mq_zero_place *z = &zeros->padding[i];
        if (!z->bytes)
            continue;
        cJSON *t = object(b);
        put_text(b, t, "tensor", z->name);
        put_count(b, t, "rows", z->rows);
        append(b, list, t);
    }
    return list;
}

static void put_zeros(struct builder *b, cJSON *o, const struct mq_zeros *zeros)
{
    put_count(b, o, "zero_tensors", zeros->count);
    put(b, o, "zeros", zeros_json(b, zeros));
    put(b, o, "zero_padding", padding_json(b, zeros));
}

static void put_integrity(struct builder *b, cJSON *o, const struct mq_integrity_result *result,
                          bool ok)
{
    cJSON *list = array(b);
    put_count(b, o, "file_bytes", result->file_bytes);
    put_bool(b, o, "ok", ok);
    put_count(b, o, "tensors", result->tensors);
    put_count(b, o, "tensors_checked", result->tensors_checked);
    put_bool(b, o, "header_damaged", result->header_damaged);
    put_bool(b, o, "checksums_damaged", result->checksums_damaged);
    put_count(b, o, "damaged_tensors", result->damaged_count);
    for (size_t i = 0; i < result->listed_count; i++) {
        const struct mq_damage *d = &result->damaged[i];
        cJSON *t = object(b);
        put_text(b, t, "tensor", d->name);
        put_text(b, t, "role", d->role);
        put(b, t, "layer", d->layer >= 0 ? cJSON_CreateNumber(d->layer) : cJSON_CreateNull());
        put(b, t, "expert", d->expert >= 0 ? cJSON_CreateNumber(d->expert) : cJSON_CreateNull());
        put_count(b, t, "offset_bytes", d->offset);
        put_count(b, t, "size_bytes", d->size_bytes);
        put_hex(b, t, "stored_crc32", d->stored_crc);
        put_hex(b, t, "computed_crc32", d->computed_crc);
        append(b, list, t);
    }
    put(b, o, "damaged", list);
    put_zeros(b, o, &result->zeros);
}

cJSON *mq_weights_json(const struct mq_view *view, const struct mq_weights_result *r)
{
    struct builder b = {0};
    cJSON *o = document(&b, "check");
    put_text(&b, o, "file", view->path);
    put_text(&b, o, "format", view->is_gguf ? "gguf" : "safetensors");
    put(&b, o, "notes", mq_view_notes_list(view));
    put_bool(&b, o, "ok", r->zeros.count == 0);
    put_bool(&b, o, "has_checksums", false);
    put_count(&b, o, "file_bytes", r->file_bytes);
    put_count(&b, o, "tensors", r->tensors);
    put_count(&b, o, "weights", r->weights);
    put_count(&b, o, "unread_tensors", r->unread_tensors);
    put_count(&b, o, "unread_weights", r->unread_weights);
    put_text(&b, o, "unread_levels", r->unread_levels);
    put_zeros(&b, o, &r->zeros);
    return finish(&b, o);
}

cJSON *mq_integrity_json(const struct mq_integrity_result *result)
{
    struct builder b = {0};
    cJSON *o = document(&b, "check");
    put_text(&b, o, "file", result->path);
    put_integrity(&b, o, result, mq_integrity_ok(result));
    return finish(&b, o);
}

static const char *problem_text(const moeq_error *problem)
{
    return problem->status == MOEQ_OK ? NULL : problem->message;
}

cJSON *mq_shards_json(const struct mq_shards_result *result)
{
    struct builder b = {0};
    cJSON *o = document(&b, "check"), *files = array(&b);
    uint64_t damaged = 0;
    for (size_t i = 0; i < result->count; i++) {
        const struct mq_shard_result *r = &result->shards[i];
        cJSON *file = object(&b);
        put_text(&b, file, "file", r->path);
        put_text(&b, file, "problem", problem_text(&r->problem));
        put_integrity(&b, file, &r->integrity, r->problem.status == MOEQ_OK);
        append(&b, files, file);
        damaged += r->integrity.damaged_count;
    }
    put_text(&b, o, "file", result->path);
    put_text(&b, o, "problem", problem_text(&result->problem));
    put_count(&b, o, "file_bytes", result->file_bytes);
    put_bool(&b, o, "ok", mq_shards_status(result, NULL) == MOEQ_OK);
    put_count(&b, o, "tensors_checked", result->tensors_checked);
    put_count(&b, o, "damaged_tensors", damaged);
    put_zeros(&b, o, &result->zeros);
    put(&b, o, "files", files);
    return finish(&b, o);
}

/* result_json.c: results -> cJSON. */
#include "result_json.h"

#include "buffer.h"
#include "domains.h"
#include "figure_values.h"
#include "json_tree.h"
#include "verdict.h"
#include "view_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- parts ---- */

static void put_estimate(struct mq_json_tree *b, cJSON *o, const char *key, struct mq_estimate x)
{
    cJSON *e = mq_json_object(b);
    mq_json_put_number(b, e, "value", x.value);
    mq_json_put_number(b, e, "se", x.se);
    mq_json_put(b, o, key, e);
}

cJSON *mq_estimate_json(struct mq_estimate estimate)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_object(&b);
    mq_json_put_number(&b, o, "value", estimate.value);
    mq_json_put_number(&b, o, "se", estimate.se);
    return mq_json_finish(&b, o);
}

cJSON *mq_protocol_json(const struct mq_text_windows *text)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_object(&b);
    mq_json_put_text(&b, o, "name", mq_protocol_name(text->protocol));
    mq_json_put_count(&b, o, "context_tokens", text->windows.length);
    mq_json_put_count(&b, o, "windows", text->windows.count);
    mq_json_put_count(&b, o, "text_tokens", text->text_tokens);
    mq_json_put_count(&b, o, "used_tokens", text->windows.count * text->windows.length);
    mq_json_put_count(&b, o, "scored_tokens", mq_scored_tokens(text));
    mq_json_put_count(&b, o, "scored_tokens_per_window", text->scored_window);
    mq_json_put_count(&b, o, "first_scored_position", text->first_scored);
    mq_json_put(&b, o, "bos_replaces_first_token",
        text->bos >= 0 ? cJSON_CreateNumber(text->bos) : cJSON_CreateNull());
    mq_json_put_hex(&b, o, "token_ids_crc32", text->ids_crc32);
    return mq_json_finish(&b, o);
}

static void put_value(struct mq_json_tree *b, cJSON *o, const struct mq_figure *figure,
                      struct mq_estimate x)
{
    if (figure->has_error)
        put_estimate(b, o, mq_figure_key(figure), x);
    else
        mq_json_put_number(b, o, mq_figure_key(figure), x.value);
}

/* The object within `row` that a figure stands in: of "kld_nats.mean" its "kld_nats". */
static cJSON *place(struct mq_json_tree *b, cJSON *row, const struct mq_figure *figure)
{
    char name[32];
    const size_t n = strcspn(figure->json, ".");
    if (!figure->json[n])
        return row;
    snprintf(name, sizeof name, "%.*s", (int)n, figure->json);
    if (!cJSON_GetObjectItemCaseSensitive(row, name))
        mq_json_put(b, row, name, mq_json_object(b));
    return cJSON_GetObjectItemCaseSensitive(row, name);
}

/* Figures of the output: those of a model alone, or those against the baseline. */
static void put_figures(struct mq_json_tree *b, cJSON *o, const struct mq_arm_result *r,
                        bool absolute)
{
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (f->section == MQ_SECTION_OUTPUT && f->scope == MQ_OF_MODEL && f->absolute == absolute)
            put_value(b, place(b, o, f), f, mq_figure_of_result(f, r));
}

static void put_perplexity(struct mq_json_tree *b, cJSON *o, const struct mq_perplexity *p)
{
    const struct mq_arm_result result = {.perplexity = *p};
    put_figures(b, o, &result, true);
    mq_json_put_count(b, o, "scored_tokens", p->scored_tokens);
}

/* Of all layers together (layer NULL), or of one. */
static void put_routing(struct mq_json_tree *b, cJSON *o, const struct mq_arm_result *r,
                        const struct mq_routing_layer *layer)
{
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (f->per_layer)
            put_value(b, o, f, layer ? mq_figure_of_layer(f, layer) : mq_figure_of_result(f, r));
}

static cJSON *margins(struct mq_json_tree *b, const struct mq_routing_result *r)
{
    cJSON *list = mq_json_array(b);
    for (size_t bin = 0; bin < MQ_MARGIN_BINS; bin++) {
        cJSON *o = mq_json_object(b);
        mq_json_put_number(b, o, "from_logits", mq_margin_edges[bin]);
        mq_json_put_number(b, o, "to_logits",
                   bin + 1 < MQ_MARGIN_BINS ? mq_margin_edges[bin + 1] : INFINITY);
        mq_json_put_count(b, o, "choices", r->margin_choices[bin]);
        mq_json_put_count(b, o, "changed", r->margin_flips[bin]);
        mq_json_append(b, list, o);
    }
    return list;
}

/* What margins are differences of; layers of one model hardly differ in it. */
static const char *margins_of(const struct mq_routing_result *r)
{
    size_t scores = 0;
    for (size_t i = 0; i < r->layers_count; i++)
        scores += r->layers[i].compares_scores;
    return scores == 0 ? "router logits" : scores == r->layers_count ? "router scores" : "both";
}

static cJSON *numbers(struct mq_json_tree *b, const double *x, size_t n)
{
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < n; i++)
        mq_json_append(b, list, cJSON_CreateNumber(x[i]));
    return list;
}

static void put_load(struct mq_json_tree *b, cJSON *layer, const struct mq_routing_layer *l)
{
    cJSON *load = mq_json_object(b);
    mq_json_put(b, load, "baseline", numbers(b, l->base_load, l->experts));
    mq_json_put(b, load, "arm", numbers(b, l->load, l->experts));
    mq_json_put(b, layer, "expert_load", load);
}

static cJSON *routing(struct mq_json_tree *b, const struct mq_arm_result *result)
{
    const struct mq_routing_result *r = &result->routing;
    cJSON *o = mq_json_object(b), *overall = mq_json_object(b), *layers = mq_json_array(b), *flips = mq_json_array(b);
    mq_json_put_count(b, o, "tokens", r->tokens);
    mq_json_put_text(b, o, "measured_over", "all tokens of all windows");
    put_routing(b, overall, result, NULL);
    mq_json_put(b, o, "overall", overall);
    for (size_t i = 0; i < r->layers_count; i++) {
        cJSON *layer = mq_json_object(b);
        mq_json_put_count(b, layer, "layer", r->layers[i].layer);
        put_routing(b, layer, result, &r->layers[i]);
        put_load(b, layer, &r->layers[i]);
        mq_json_put_count(b, layer, "experts", r->layers[i].experts);
        mq_json_put_count(b, layer, "experts_per_token", r->layers[i].top_k);
        mq_json_put_bool(b, layer, "shared_experts", r->layers[i].shared);
        mq_json_append(b, layers, layer);
    }
    mq_json_put(b, o, "layers", layers);
    for (size_t i = 0; i < r->flips_count; i++) {
        cJSON *group = mq_json_object(b);
        mq_json_put_count(b, group, "changed_layers", r->flips[i].layers);
        mq_json_put_bool(b, group, "or_more", i + 1 == MQ_FLIP_GROUPS);
        mq_json_put_count(b, group, "scored_tokens", r->flips[i].scored_tokens);
        put_value(b, group, &mq_figures[MQ_FIGURE_KLD_CHANGED_LAYERS], r->flips[i].kld);
        mq_json_append(b, flips, group);
    }
    mq_json_put(b, o, "kld_by_changed_layers", flips);
    mq_json_put(b, o, "baseline_margins", margins(b, r));
    mq_json_put_text(b, o, "margins_of", margins_of(r));
    return o;
}

static void put_task_result(struct mq_json_tree *b, cJSON *o, const struct mq_task_result *t,
                            bool is_baseline)
{
    const struct mq_arm_result result = {.tasks = *t};
    mq_json_put_count(b, o, "count", t->count);
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (f->section == MQ_SECTION_TASKS && (f->absolute || !is_baseline))
            put_value(b, o, f, mq_figure_of_result(f, &result));
}

static void put_tasks(struct mq_json_tree *b, cJSON *o, const struct mq_arm_result *r,
                      bool is_baseline)
{
    if (!r->tasks.count)
        return;
    cJSON *tasks = mq_json_object(b), *files = mq_json_array(b);
    put_task_result(b, tasks, &r->tasks, is_baseline);
    for (size_t i = 0; i < r->task_groups_count; i++) {
        cJSON *file = mq_json_object(b);
        mq_json_put_text(b, file, "name", r->task_groups[i].name);
        put_task_result(b, file, &r->task_groups[i], is_baseline);
        mq_json_append(b, files, file);
    }
    mq_json_put(b, tasks, "files", files);
    mq_json_put(b, o, "tasks", tasks);
}

/* What an arm's output is against the baseline's. */
static void put_output(struct mq_json_tree *b, cJSON *o, const struct mq_arm_result *r)
{
    put_perplexity(b, o, &r->perplexity);
    put_figures(b, o, r, false);
    mq_json_put_count(b, cJSON_GetObjectItemCaseSensitive(o, "kld_nats"), "tokens", r->kld.count);
}

static void put_interval(struct mq_json_tree *b, cJSON *o, const char *key,
                         const struct mq_bootstrap *x)
{
    const double ends[] = {x->low, x->high};
    cJSON *interval = mq_json_array(b);
    for (int e = 0; e < 2; e++)
        mq_json_append(b, interval,
                       isfinite(ends[e]) ? cJSON_CreateNumber(ends[e]) : cJSON_CreateNull());
    mq_json_put(b, o, key, interval);
}

/* Figures of each text that has a name, and where they part. */
static void put_domains(struct mq_json_tree *b, cJSON *o, const struct mq_arm_result *r,
                        bool is_baseline)
{
    struct mq_buffer warning = {0};
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < r->domains_count; i++) {
        const struct mq_domain_result *d = &r->domains[i];
        cJSON *domain = mq_json_object(b), *overall = mq_json_object(b),
              *routes = mq_json_object(b);
        mq_json_put_text(b, domain, "name", d->name);
        if (is_baseline) {
            put_perplexity(b, domain, &d->figures.perplexity);
        } else {
            put_output(b, domain, &d->figures);
            put_interval(b, domain, "kld_ci95", &d->kld);
            mq_json_put_text(b, domain, "state", mq_domain_state_name(mq_domain_state(d)));
        }
        if (!is_baseline && d->figures.has_routing) {
            put_routing(b, overall, &d->figures, NULL);
            mq_json_put(b, routes, "overall", overall);
            mq_json_put(b, domain, "routing", routes);
        } else {
            cJSON_Delete(overall);
            cJSON_Delete(routes);
        }
        mq_json_append(b, list, domain);
    }
    if (r->domains_count)
        mq_json_put(b, o, "domains", list);
    else
        cJSON_Delete(list);
    if (mq_domains_warning(r, &warning))
        mq_json_put_text(b, o, "domains_warning", mq_buffer_ok(&warning) ? warning.data : "");
    mq_buffer_free(&warning);
}

/* What the figures amount to, as tables and pages say it (verdict.h); null where nothing was measured. */
static void put_class(struct mq_json_tree *b, cJSON *o, const struct mq_arm_result *r)
{
    const struct mq_verdict v = mq_verdict_of_result(r);
    cJSON *class = v.quality == MQ_QUALITY_UNKNOWN ? cJSON_CreateNull() : mq_json_object(b);
    if (v.quality != MQ_QUALITY_UNKNOWN) {
        mq_json_put_text(b, class, "name", mq_quality_bands[v.quality].name);
        mq_json_put_text(b, class, "words", mq_quality_bands[v.quality].words);
        mq_json_put_text(b, class, "because", v.because);
        mq_json_put_text(b, class, "best", mq_quality_bands[v.best].name);
        mq_json_put_text(b, class, "worst", mq_quality_bands[v.worst].name);
    }
    mq_json_put(b, o, "class", class);
}

static cJSON *arm_result(struct mq_json_tree *b, cJSON *o, const struct mq_arm_result *r,
                         bool is_baseline)
{
    put_tasks(b, o, r, is_baseline);
    put_domains(b, o, r, is_baseline);
    if (is_baseline) {
        put_perplexity(b, o, &r->perplexity);
        return o;
    }
    put_output(b, o, r);
    put_class(b, o, r);
    mq_json_put(b, o, "routing", r->has_routing ? routing(b, r) : cJSON_CreateNull());
    return o;
}

cJSON *mq_arm_result_json(const struct mq_arm_result *result, bool is_baseline)
{
    struct mq_json_tree b = {0};
    cJSON *o = arm_result(&b, mq_json_object(&b), result, is_baseline);
    return mq_json_finish(&b, o);
}

/* ---- documents ---- */

static cJSON *text_domains(struct mq_json_tree *b, const struct mq_text_windows *text)
{
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < text->domains_count; i++) {
        const struct mq_text_domain *d = &text->domains[i];
        cJSON *o = mq_json_object(b);
        mq_json_put_text(b, o, "name", d->name);
        mq_json_put_count(b, o, "text_tokens", d->text_tokens);
        mq_json_put_count(b, o, "windows", d->windows);
        mq_json_put_count(b, o, "scored_tokens", d->windows * text->scored_window);
        mq_json_append(b, list, o);
    }
    return list;
}

static cJSON *task_facts(struct mq_json_tree *b, const struct mq_text_windows *text)
{
    const struct mq_task_set *set = text->tasks;
    cJSON *o = mq_json_object(b), *files = mq_json_array(b);
    mq_json_put_count(b, o, "count", set->tasks_count);
    mq_json_put_count(b, o, "choices", set->sequences_count);
    mq_json_put_count(b, o, "windows", set->windows);
    mq_json_put_count(b, o, "window_tokens", set->length);
    mq_json_put_count(b, o, "scored_tokens", set->scored);
    mq_json_put_hex(b, o, "token_ids_crc32", set->ids_crc32);
    for (size_t i = 0; i < set->groups_count; i++) {
        cJSON *file = mq_json_object(b);
        mq_json_put_text(b, file, "name", set->groups[i].name);
        mq_json_put_count(b, file, "count", set->groups[i].count);
        mq_json_append(b, files, file);
    }
    mq_json_put(b, o, "files", files);
    return o;
}

static void put_model(struct mq_json_tree *b, cJSON *o, const struct mq_view *view)
{
    cJSON *model = mq_json_object(b);
    mq_view_put_json(b, model, view);
    mq_json_put(b, model, "files", mq_view_files_json(view));
    mq_json_put(b, o, "model", model);
}

static void put_run(struct mq_json_tree *b, cJSON *o, const char *text_path,
                    const struct mq_text *source, const struct mq_text_windows *text,
                    enum mq_compute compute)
{
    mq_json_put_text(b, o, "text", text_path);
    cJSON *texts = cJSON_CreateArray();
    for (size_t i = 0; i < (source ? source->count : 1); i++)
        cJSON_AddItemToArray(texts,
                             cJSON_CreateString(source ? source->sources[i].name : text_path));
    mq_json_put(b, o, "texts", texts);
    cJSON *protocol = mq_protocol_json(text);
    if (source) { /* a recording does not hold the text */
        mq_json_put_count(b, protocol, "text_bytes", source->size);
        mq_json_put_number(b, protocol, "text_byte_entropy_bits",
                           mq_byte_entropy(source->data, source->size));
    }
    mq_json_put(b, o, "protocol", protocol);
    if (text->domains_count)
        mq_json_put(b, o, "text_domains", text_domains(b, text));
    if (text->tasks)
        mq_json_put(b, o, "task_files", task_facts(b, text));
    mq_json_put_text(b, o, "compute", mq_compute_name(compute));
}

cJSON *mq_eval_json(const struct mq_eval_result *result)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "eval");
    put_model(&b, o, result->view);
    put_run(&b, o, result->text_path, result->source, &result->text, result->compute);
    arm_result(&b, o, &result->figures, true);
    return mq_json_finish(&b, o);
}

static cJSON *chance(struct mq_json_tree *b, const struct mq_view *view)
{
    struct mq_routing_figures figures;
    if (!mq_routing_chance_of(view, &figures))
        return cJSON_CreateNull();
    cJSON *o = mq_json_object(b);
    for (int k = 0; k < MQ_ROUTING_COUNT; k++)
        mq_json_put_number(b, o, mq_figure_key(mq_routing_figure(k)), figures.metric[k]);
    return o;
}

/* How an arm was quantized; null for the baseline. */
static cJSON *recipe(struct mq_json_tree *b, const struct mq_policy *policy)
{
    static const char *const keys[MQ_CLASS_COUNT] = {
        [MQ_CLASS_EXPERTS] = "experts",
        [MQ_CLASS_SHARED] = "shared",
        [MQ_CLASS_ATTENTION] = "attention",
        [MQ_CLASS_EMBEDDINGS] = "embeddings",
        [MQ_CLASS_KEEP] = "router_and_norms",
    };
    cJSON *o = mq_json_object(b), *overrides = mq_json_array(b);
    for (int class = 0; class < MQ_CLASS_COUNT; class ++)
        mq_json_put_text(b, o, keys[class], policy->levels[class] ? policy->levels[class]->name : "source");
    for (size_t i = 0; i < policy->overrides_count; i++) {
        cJSON *override = mq_json_object(b);
        mq_json_put_text(b, override, "pattern", policy->overrides[i].pattern);
        mq_json_put_text(b, override, "level", policy->overrides[i].level->name);
        mq_json_append(b, overrides, override);
    }
    mq_json_put(b, o, "overrides", overrides);
    if (policy->recipe)
        mq_json_put_text(b, o, "recipe", policy->recipe->name);
    mq_json_put_text(b, o, "effort",
                     policy->calibration ? MQ_EFFORT_CALIBRATED : mq_effort_name(policy->effort));
    if (policy->calibration)
        mq_json_put_text(b, o, "calibration", policy->calibration);
    mq_importance_put_json(b, o, policy->importance);
    return o;
}

/* null where there is no loss to speak of */
static cJSON *loss_shares(struct mq_json_tree *b, const struct mq_loss_shares *shares)
{
    if (isnan(shares->weights.value))
        return cJSON_CreateNull();
    cJSON *o = mq_json_object(b);
    put_estimate(b, o, "weights", shares->weights);
    put_estimate(b, o, "routes", shares->routes);
    put_estimate(b, o, "interaction", shares->interaction);
    return o;
}

/* Routing is not told of these: it is the baseline's, or the level's own. What did not run is null.
 */
static cJSON *swap(struct mq_json_tree *b, const struct mq_swap_result *s)
{
    cJSON *o = mq_json_object(b), *weights = mq_json_object(b);
    cJSON *routes = s->has_routes ? mq_json_object(b) : cJSON_CreateNull();
    put_output(b, weights, &s->weights);
    if (s->has_routes)
        put_output(b, routes, &s->routes);
    mq_json_put(b, o, "own_weights_baseline_routes", weights);
    mq_json_put(b, o, "baseline_weights_own_routes", routes);
    mq_json_put(b, o, "shares_of_ln_ppl_ratio", loss_shares(b, &s->nll_shares));
    mq_json_put(b, o, "shares_of_kld_mean", loss_shares(b, &s->kld_shares));
    return o;
}

static cJSON *comparison_row(struct mq_json_tree *b, const struct mq_comparison_row *row)
{
    static const char *const kinds[] = {[MQ_ROW_BASELINE] = "baseline",
                                        [MQ_ROW_LEVEL] = "level",
                                        [MQ_ROW_FILE] = "file",
                                        [MQ_ROW_NOISE_FLOOR] = "noise_floor"};
    const bool is_baseline = row->kind == MQ_ROW_BASELINE;
    cJSON *r = mq_json_object(b);
    mq_json_put_text(b, r, "name", row->name);
    mq_json_put_bool(b, r, "is_baseline", is_baseline);
    mq_json_put_text(b, r, "kind", kinds[row->kind]);
    if (row->file)
        mq_json_put_text(b, r, "path", row->file->path);
    mq_json_put_text(b, r, "compute", mq_compute_name(row->compute));
    mq_json_put(b, r, "recipe",
                row->kind == MQ_ROW_LEVEL ? recipe(b, &row->policy) : cJSON_CreateNull());
    mq_json_put_count(b, r, "weights", row->weights);
    mq_json_put_count(b, r, "weight_bytes", row->weight_bytes);
    mq_json_put_number(b, r, "weight_gib", (double)row->weight_bytes / 0x1p30);
    mq_json_put_count(b, r, "file_bytes", row->file_bytes);
    mq_json_put_number(b, r, "bits_per_weight", row->bits_per_weight);
    mq_json_put_number(b, r, "expert_relative_rmse", row->expert_relative_rmse);
    mq_json_put_count(b, r, "expert_tensors_quantized", row->expert_tensors_quantized);
    mq_json_put(b, r, "losses", mq_losses_json(b, &row->losses));
    arm_result(b, r, &row->result, is_baseline);
    if (row->swap)
        mq_json_put(b, r, "swap", swap(b, row->swap));
    if (row->int8) {
        cJSON *int8 = mq_json_object(b);
        char name[64];
        snprintf(name, sizeof name, "%.50s int8", row->name);
        mq_json_put_text(b, int8, "name", name);
        mq_json_put_text(b, int8, "compute", mq_compute_name(MQ_COMPUTE_INT8));
        arm_result(b, int8, row->int8, false);
        mq_json_put(b, r, "int8", int8);
    }
    return r;
}

cJSON *mq_rows_json(const struct mq_comparison *comparison, const char *kind)
{
    const struct mq_view *view = comparison->baseline->view;
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, kind), *rows = mq_json_array(&b);
    put_model(&b, o, view);
    put_run(&b, o, comparison->text_path, comparison->source, &comparison->text,
            comparison->compute);
    mq_json_put(&b, o, "routing_chance", chance(&b, view));
    for (size_t i = 0; i < comparison->rows_count; i++) {
        const struct mq_comparison_row *row = &comparison->rows[i];
        if (row->kind == MQ_ROW_NOISE_FLOOR) /* not among those that one can choose */
            mq_json_put(&b, o, "noise_floor", comparison_row(&b, row));
        else
            mq_json_append(&b, rows, comparison_row(&b, row));
    }
    mq_json_put(&b, o, "rows", rows);
    return mq_json_finish(&b, o);
}

/* fit_json.c: fit's two documents: the sweep that it takes quality from, and its own result. */
#include "launch.h"

#include "error.h"
#include "family.h"
#include "file.h"
#include "json.h"
#include "json_tree.h"
#include "view_json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- quality from a sweep ---- */

#define ROUNDING 1e-6 /* of sums of rounded terms */

/* A number at keys[0].keys[1]...; NAN where there is none. */
static double number_at(const cJSON *object, const char *const *keys)
{
    for (; object && *keys; keys++)
        object = mq_json_get(object, *keys);
    return cJSON_IsNumber(object) ? object->valuedouble : (double)NAN;
}

static moeq_status check_model(const struct mq_fit *fit, const cJSON *sweep, const char *path,
                               moeq_error *err)
{
    const struct mq_hparams *h = &fit->view->hparams;
    const struct {
        const char *key;
        uint32_t value;
    } sizes[] = {{"layers", h->layers}, {"experts", h->experts}, {"vocabulary", h->vocab}};
    const cJSON *kind = mq_json_get(sweep, "moeq_result"), *model = mq_json_get(sweep, "model");
    if (!cJSON_IsString(kind) || strcmp(kind->valuestring, "sweep") != 0)
        return mq_fail_file(
            err, MOEQ_MALFORMED, path,
            "expected the output of moeq sweep --json (\"moeq_result\": \"sweep\")");
    const cJSON *version = mq_json_get(sweep, "result_version");
    if (version && !(cJSON_IsNumber(version) && version->valuedouble == MQ_RESULT_VERSION))
        return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                            "\"result_version\": expected %d, which this program reads, found %g",
                            MQ_RESULT_VERSION,
                            cJSON_IsNumber(version) ? version->valuedouble : (double)NAN);
    const cJSON *family = mq_json_get(model, "family");
    if (!cJSON_IsString(family) || strcmp(family->valuestring, fit->view->family->name) != 0)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "this sweep is of another model: family \"%.40s\", found %s in %s",
                            cJSON_IsString(family) ? family->valuestring : "?",
                            fit->view->family->name, fit->view->path);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t v = 0;
        if (!mq_json_u64(mq_json_get(model, sizes[i].key), &v) || v != sizes[i].value)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                "this sweep is of another model: %s %" PRIu64 ", %s has %u",
                                sizes[i].key, v, fit->view->path, sizes[i].value);
    }
    return MOEQ_OK;
}

/* What was measured of a row, within what it can be; what was not is NAN. */
static moeq_status read_figures(struct mq_fit_row *row, const cJSON *sweep_row, const char *path,
                                moeq_error *err)
{
    enum { ROOM = 5 };
    const struct {
        const char *keys[ROOM];
        double *value, least, most;
        const char *words;
    } figures[] = {
        {{"kld_nats", "mean", "value"}, &row->kld_mean, -ROUNDING, DBL_MAX, "0 or more"},
        {{"ppl_ratio", "value"}, &row->ppl_ratio, 0, DBL_MAX, "0 or more"},
        {{"routing", "overall", "exact_set_rate", "value"},
         &row->exact_set_rate,
         0,
         1 + ROUNDING,
         "0 to 1"},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        const double v = number_at(sweep_row, figures[i].keys);
        if (v < figures[i].least || v > figures[i].most)
            return mq_fail_file(err, MOEQ_MALFORMED, path, "row %s: \"%s\": expected %s, found %g",
                                row->name, figures[i].keys[0], figures[i].words, v);
        *figures[i].value = v;
    }
    return isnan(row->kld_mean) ? mq_fail_file(err, MOEQ_MALFORMED, path,
                                               "row %s: \"kld_nats\" has no mean", row->name)
                                : MOEQ_OK;
}

static moeq_status join(struct mq_fit_row *row, const cJSON *sweep_row, const char *path,
                        moeq_error *err)
{
    uint64_t bytes = 0;
    if (!mq_json_u64(mq_json_get(sweep_row, "weight_bytes"), &bytes))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "row %s: \"weight_bytes\" is missing",
                            row->name);
    const bool is_baseline = cJSON_IsTrue(mq_json_get(sweep_row, "is_baseline"));
    if (bytes != row->weight_bytes && !row->as_stored) {
        if (is_baseline) /* stored at another precision than the row asks for: simply not measured
                          */
            return MOEQ_OK;
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "%s has %" PRIu64 " bytes of weights in the sweep and %" PRIu64
                            " here: give both the same --shared, --attention, --embeddings and "
                            "--tensor",
                            row->name, bytes, row->weight_bytes);
    }
    if (is_baseline) { /* what the others are compared with */
        row->kld_mean = 0;
        row->ppl_ratio = 1;
        row->exact_set_rate = 1;
    } else {
        MQ_TRY(read_figures(row, sweep_row, path, err));
    }
    row->has_quality = true;
    return MOEQ_OK;
}

/* The sweep's row of this name; else, for what is not quantized, its baseline. */
static const cJSON *find_row(const cJSON *rows, const struct mq_fit_row *row)
{
    const cJSON *r, *baseline = NULL;
    cJSON_ArrayForEach(r, rows)
    {
        const cJSON *name = mq_json_get(r, "name");
        if (cJSON_IsTrue(mq_json_get(r, "is_baseline")))
            baseline = r;
        else if (cJSON_IsString(name) && strcmp(name->valuestring, row->name) == 0)
            return r;
    }
    return row->quantized && !row->as_stored ? NULL : baseline;
}

moeq_status mq_fit_join_quality(struct mq_fit *fit, const char *path, moeq_error *err)
{
    enum { CAP_BYTES = 64 << 20 };
    const struct mq_json_limits limits = {.depth = 32, .values = 4000000};
    struct mq_buffer text;
    cJSON *sweep = NULL;
    MQ_TRY(mq_file_read_all(path, CAP_BYTES, &text, err));
    moeq_status status = mq_json_parse(text.data, text.size, &limits, path, 0, &sweep, err);
    mq_buffer_free(&text);
    if (status != MOEQ_OK)
        return status;
    MQ_TRY_OUT(check_model(fit, sweep, path, err));
    const cJSON *rows = mq_json_get(sweep, "rows");
    size_t joined = 0;
    for (size_t i = 0; i < fit->rows_count; i++) {
        const cJSON *r = find_row(rows, &fit->rows[i]);
        if (r)
            MQ_TRY_OUT(join(&fit->rows[i], r, path, err));
        joined += fit->rows[i].has_quality;
    }
    if (!joined)
        status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                              "holds none of the levels asked for, such as %s",
                              fit->rows_count ? fit->rows[0].name : "?");
    else
        fit->quality_path = path;
out:
    cJSON_Delete(sweep);
    return status;
}

/* ---- the result ---- */

static void put_offload(struct mq_json_tree *b, cJSON *parent, const char *key, const struct mq_fit_offload *o)
{
    if (!o->possible) {
        mq_json_put_text(b, parent, key, NULL);
        return;
    }
    cJSON *item = mq_json_object(b);
    mq_json_put(b, parent, key, item);
    mq_json_put_number(b, item, "layers", o->layers);
    mq_json_put_number(b, item, "host_bytes", (double)o->bytes);
    mq_json_put_number(b, item, "host_active_bytes_per_token", (double)o->active_bytes);
    mq_json_put_number(b, item, "tokens_per_second_bound",
                       o->tokens_per_second > 0 ? o->tokens_per_second : (double)NAN);
}

static void put_row(struct mq_json_tree *b, cJSON *rows, const struct mq_fit *fit,
                    const struct mq_fit_row *r)
{
    const uint32_t cards = r->verdict == MQ_FIT_FITS ? 0 : mq_fit_cards_needed(fit, r);
    cJSON *o = mq_json_object(b);
    mq_json_append(b, rows, o);
    mq_json_put_text(b, o, "name", r->name);
    mq_json_put_number(b, o, "weights", (double)r->weights);
    mq_json_put_number(b, o, "weight_bytes", (double)r->weight_bytes);
    mq_json_put_number(b, o, "weight_gib", (double)r->weight_bytes / 0x1p30);
    mq_json_put_bool(b, o, "as_stored", r->as_stored);
    mq_json_put_bool(b, o, "requantized", r->requantized);
    mq_json_put_number(b, o, "bits_per_weight", r->bits_per_weight);
    mq_json_put_number(b, o, "host_embedding_bytes", (double)r->host_embedding_bytes);
    mq_json_put_number(b, o, "card_weight_bytes", (double)r->card_weight_bytes);
    mq_json_put_number(b, o, "kv_bytes", (double)r->kv_bytes);
    mq_json_put_number(b, o, "state_bytes", (double)r->state_bytes);
    mq_json_put_number(b, o, "compute_bytes", (double)r->compute_bytes);
    mq_json_put_number(b, o, "margin_bytes", (double)r->margin_bytes);
    mq_json_put_number(b, o, "needed_bytes", (double)r->needed_bytes);
    mq_json_put_number(b, o, "spare_bytes", (double)r->spare_bytes);
    mq_json_put_text(b, o, "verdict", mq_fit_verdict_name(r->verdict));
    mq_json_put_number(b, o, "max_context_tokens", (double)r->max_context);
    mq_json_put_number(b, o, "cards_needed", cards ? cards : (double)NAN);
    put_offload(b, o, "offload_layers", &r->layers);
    put_offload(b, o, "offload_experts", &r->experts);
    mq_json_put_number(b, o, "active_bytes_per_token", (double)r->active_bytes);
    mq_json_put_number(b, o, "tokens_per_second_bound",
               r->tokens_per_second > 0 ? r->tokens_per_second : (double)NAN);
    mq_json_put_number(b, o, "kld_mean_nats", r->kld_mean);
    mq_json_put_number(b, o, "ppl_ratio", r->ppl_ratio);
    mq_json_put_number(b, o, "exact_set_rate", r->exact_set_rate);
}

static void put_model(struct mq_json_tree *b, cJSON *parent, const struct mq_fit *fit)
{
    const struct mq_hparams *h = &fit->view->hparams;
    cJSON *o = mq_json_object(b);
    mq_json_put(b, parent, "model", o);
    mq_view_put_json(b, o, fit->view);
    mq_json_put_bool(b, o, "from_config_alone", fit->view->kind == MQ_VIEW_CONFIG);
    mq_json_put_number(b, o, "parameters", (double)fit->parameters);
    mq_json_put_number(b, o, "active_parameters", (double)fit->active_parameters);
    mq_json_put_number(b, o, "max_context_tokens", h->max_positions);
}

/* The bytes, or null where the memory was given as what is usable of it. */
static void put_label(struct mq_json_tree *b, cJSON *o, const struct mq_fit_card *card)
{
    mq_json_put_number(b, o, "memory_gb",
               card->label_bytes ? (double)card->label_bytes / 0x1p30 : (double)NAN);
}

static void put_card(struct mq_json_tree *b, cJSON *list, const struct mq_fit_card *card)
{
    cJSON *o = mq_json_object(b);
    mq_json_append(b, list, o);
    mq_json_put_text(b, o, "gpu", card->gpu ? card->gpu->name : NULL);
    put_label(b, o, card);
    mq_json_put_number(b, o, "usable_bytes", (double)card->usable_bytes);
    mq_json_put_number(b, o, "bandwidth_gb_per_second",
               card->bandwidth_gbs ? card->bandwidth_gbs : (double)NAN);
}

/* Figures of one card are null where the cards differ; "each" has them. */
static void put_target(struct mq_json_tree *b, cJSON *parent, const struct mq_fit *fit)
{
    const struct mq_fit_target *t = &fit->target;
    const struct mq_fit_card none = {0};
    const bool even = mq_fit_target_is_even(t);
    const struct mq_fit_card *card = even ? &t->card[0] : &none;
    cJSON *o = mq_json_object(b);
    mq_json_put(b, parent, "target", o);
    mq_json_put_text(b, o, "gpu", card->gpu ? card->gpu->name : NULL);
    mq_json_put_text(b, o, "source", card->gpu ? card->gpu->source : NULL);
    mq_json_put_number(b, o, "cards", t->cards);
    put_label(b, o, card);
    mq_json_put_number(b, o, "usable_bytes_per_card", even ? (double)card->usable_bytes : (double)NAN);
    mq_json_put_number(b, o, "usable_bytes", (double)mq_fit_target_usable(t));
    mq_json_put_number(b, o, "bandwidth_gb_per_second",
               card->bandwidth_gbs ? card->bandwidth_gbs : (double)NAN);
    mq_json_put_text(b, o, "runtime", mq_fit_target_runtime(t)->name);
    mq_json_put_bool(b, o, "unified_memory", t->unified);
    mq_json_put_number(b, o, "host_usable_bytes",
                       t->unified ? (double)NAN : (double)mq_fit_target_host(t));
    mq_json_put_bool(b, o, "flash_attention", !t->no_flash_attention);
    cJSON *each = mq_json_array(b);
    mq_json_put(b, o, "each", each);
    for (uint32_t i = 0; i < t->cards; i++)
        put_card(b, each, &t->card[i]);
}

static void put_cache(struct mq_json_tree *b, cJSON *parent, const struct mq_fit *fit)
{
    const uint32_t window = fit->view->hparams.sliding_window;
    cJSON *cache = mq_json_object(b);
    mq_json_put(b, parent, "kv_cache", cache);
    mq_json_put_number(b, cache, "context_tokens", (double)fit->context);
    mq_json_put_text(b, cache, "level", fit->kv->name);
    mq_json_put_number(b, cache, "bytes_per_token", (double)fit->kv_token_bytes);
    mq_json_put_number(b, cache, "cached_tokens", (double)fit->context);
    mq_json_put_number(b, cache, "window_tokens", window ? window : (double)NAN);
    mq_json_put_number(b, cache, "window_bytes",
               fit->window_token_bytes ? (double)mq_fit_kv_bytes(fit, fit->context)
               : window                ? (double)window * (double)fit->kv_token_bytes
                                       : (double)NAN);
    mq_json_put_number(b, cache, "windowed_bytes_per_token", (double)fit->window_token_bytes);
    mq_json_put_number(b, cache, "state_bytes", (double)fit->state_bytes);
}

/* A row by its place; null where there is none. */
static void put_row_name(struct mq_json_tree *b, cJSON *o, const char *key,
                         const struct mq_fit *fit, int row)
{
    mq_json_put_text(b, o, key, row < 0 ? NULL : fit->rows[row].name);
}

static void put_choice(struct mq_json_tree *b, cJSON *parent, const struct mq_fit *fit)
{
    const struct mq_fit_choice c = mq_fit_choose(fit);
    const int best = c.on_card;
    cJSON *o = mq_json_object(b);
    put_row_name(b, parent, "best", fit, best);
    mq_json_put_text(b, parent, "best_by",
                     best < 0                      ? NULL
                     : fit->rows[best].has_quality ? "lowest mean KL divergence"
                                                   : "most bytes");
    mq_json_put(b, parent, "choice", o);
    put_row_name(b, o, "take", fit, c.take);
    put_row_name(b, o, "on_card", fit, c.on_card);
    put_row_name(b, o, "with_offload", fit, c.offload);
}

static void put_text_or_null(struct mq_json_tree *b, cJSON *o, const char *key, const char *text)
{
    mq_json_put_text(b, o, key, text[0] ? text : NULL);
}

static void put_launches(struct mq_json_tree *b, cJSON *parent, const struct mq_fit *fit)
{
    struct mq_launch launches[2];
    const size_t n = mq_fit_launches(fit, launches);
    cJSON *list = mq_json_array(b);
    mq_json_put(b, parent, "run", list);
    for (size_t i = 0; i < n; i++) {
        const struct mq_launch *l = &launches[i];
        cJSON *o = mq_json_object(b);
        mq_json_append(b, list, o);
        b->failed = b->failed || l->no_memory;
        mq_json_put_text(b, o, "name", l->row->name);
        mq_json_put_text(b, o, "what", l->title);
        mq_json_put_text(b, o, "offload",
                         !l->offload                      ? NULL
                         : l->offload == &l->row->experts ? "experts"
                                                          : "layers");
        mq_json_put_number(b, o, "tokens_per_second_bound",
                           l->tokens_per_second > 0 ? l->tokens_per_second : (double)NAN);
        put_text_or_null(b, o, "make", l->make);
        put_text_or_null(b, o, "llama_cpp", l->llama_cpp);
        put_text_or_null(b, o, "ollama", l->ollama);
        put_text_or_null(b, o, "lm_studio", l->lm_studio);
        put_text_or_null(b, o, "vllm", l->vllm);
        put_text_or_null(b, o, "sglang", l->sglang);
        put_text_or_null(b, o, "mlx", l->mlx);
        put_text_or_null(b, o, "why_not", l->why_not);
    }
}

cJSON *mq_fit_json(const struct mq_fit *fit)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "fit");
    put_model(&b, o, fit);
    put_target(&b, o, fit);
    put_cache(&b, o, fit);
    cJSON *list = mq_json_array(&b);
    mq_json_put(&b, o, "assumptions", list);
    char text[MQ_FIT_ASSUMPTIONS][MQ_FIT_SENTENCE];
    mq_fit_assumptions(fit, text);
    for (int i = 0; i < MQ_FIT_ASSUMPTIONS && text[i][0]; i++)
        mq_json_append(&b, list, cJSON_CreateString(text[i]));
    mq_json_put_text(&b, o, "quality", fit->quality_path);
    cJSON *rows = mq_json_array(&b);
    mq_json_put(&b, o, "rows", rows);
    for (size_t i = 0; i < fit->rows_count; i++)
        put_row(&b, rows, fit, &fit->rows[i]);
    put_choice(&b, o, fit);
    put_launches(&b, o, fit);
    return mq_json_finish(&b, o);
}

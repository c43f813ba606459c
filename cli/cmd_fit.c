/* cmd_fit.c: moeq fit. */
#include "model_options.h"

#include "checked.h"
#include "family.h"
#include "figures.h"
#include "fit.h"
#include "fit_target.h"
#include "moeq_profile.h"
#include "stored.h"
#include "text_match.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TARGET_NAME = 256 };

/* ---- the card ---- */

/* One card of one size. */
static void list_gpu(const struct mq_gpu *g, uint32_t memory_gb, struct mq_json_tree *b,
                     cJSON *list)
{
    const double usable = (double)mq_gpu_usable_bytes(g->memory, (uint64_t)memory_gb << 30);
    if (!list) {
        printf("%-30s %4u %7.2f %5u  %s\n", g->name, memory_gb, usable / 0x1p30, g->bandwidth_gbs,
               g->source);
        return;
    }
    cJSON *o = mq_json_object(b);
    mq_json_put_text(b, o, "name", g->name);
    mq_json_put_count(b, o, "memory_gb", memory_gb);
    mq_json_put_number(b, o, "usable_bytes", usable);
    mq_json_put_count(b, o, "bandwidth_gb_per_second", g->bandwidth_gbs);
    mq_json_put_bool(b, o, "unified_memory", mq_gpu_is_unified(g->memory));
    mq_json_put_text(b, o, "rule", mq_gpu_memory_rule(g->memory));
    mq_json_put_text(b, o, "source", g->source);
    mq_json_append(b, list, o);
}

static enum mq_exit list_gpus(const struct mq_options *options)
{
    struct mq_json_tree b = {0};
    cJSON *list = options->json ? mq_json_array(&b) : NULL;
    if (!options->json)
        printf("%-30s %4s %7s %5s  %s\n", "card", "GB", "usable", "GB/s", "source");
    for (size_t i = 0; i < mq_gpus_count; i++)
        for (size_t k = 0; mq_gpu_size_gb(&mq_gpus[i], k); k++)
            list_gpu(&mq_gpus[i], mq_gpu_size_gb(&mq_gpus[i], k), &b, list);
    if (options->json)
        return mq_print_json(mq_json_finish(&b, list));
    printf("\nusable, in GiB: what a program can have of the memory on the label, in GB.\n");
    for (int m = 0; m < MQ_GPU_MEMORY_COUNT; m++) {
        static const char *const kinds[] = {"others", "T4 to L40S and older, ECC in line",
                                            "Orin to Strix Halo", "Apple"};
        printf("  %s: ", kinds[m]);
        mq_print_wrapped(mq_gpu_memory_rule((enum mq_gpu_memory)m), (int)strlen(kinds[m]) + 4, 4);
    }
    printf("--vram SIZE takes any other figure.\n");
    return mq_finish_output();
}

/* ---- tables ---- */

static const char *plural(uint64_t n, const char *word, char text[64])
{
    snprintf(text, 64, "%" PRIu64 " %s%s", n, word, n == 1 ? "" : "s");
    return text;
}

/* "46.70 billion", "6.36 million" */
static const char *format_count(uint64_t n, char text[32])
{
    snprintf(text, 32, "%.2f %s", (double)n / (n < 1000000000 ? 1e6 : 1e9),
             n < 1000000000 ? "million" : "billion");
    return text;
}

/* "2 x GeForce RTX 3090", "GeForce RTX 3090 and GeForce RTX 3060", "2 cards with 24.00 GiB" */
static void target_name(const struct mq_fit *fit, char text[TARGET_NAME])
{
    const struct mq_fit_target *t = &fit->target;
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0, n; i < t->cards && used < TARGET_NAME; i += n) {
        const struct mq_fit_card *card = &t->card[i];
        char size[32], what[96], label[32] = "";
        for (n = 1; i + n < t->cards && t->card[i + n].gpu == card->gpu &&
                    t->card[i + n].usable_bytes == card->usable_bytes;)
            n++;
        snprintf(size, sizeof size, "%.2f GiB", (double)card->usable_bytes / 0x1p30);
        if (card->gpu && card->label_bytes && mq_gpu_size_gb(card->gpu, 1))
            snprintf(label, sizeof label, " %" PRIu64 "GB", card->label_bytes >> 30);
        if (card->gpu)
            snprintf(what, sizeof what, "%s%s", card->gpu->name, label);
        else
            snprintf(what, sizeof what, "%s with %s", n > 1 ? "cards" : "card", size);
        const char *joint = i == 0 ? "" : i + n < t->cards ? ", " : " and ";
        if (n > 1)
            used += (size_t)snprintf(text + used, TARGET_NAME - used, "%s%u %s%s", joint, n,
                                     card->gpu ? "x " : "", what);
        else
            used += (size_t)snprintf(text + used, TARGET_NAME - used, "%s%s%s", joint,
                                     card->gpu ? "" : "a ", what);
    }
}

/* "24 GB, 23.52 GiB usable, 936 GB/s" */
static void card_text(const struct mq_fit_card *card, bool each, char text[96])
{
    char label[32] = "", rate[32] = ", bandwidth unknown";
    if (card->label_bytes)
        snprintf(label, sizeof label, "%" PRIu64 " GB%s, ", card->label_bytes >> 30,
                 each ? " each" : "");
    if (card->bandwidth_gbs)
        snprintf(rate, sizeof rate, ", %u GB/s", card->bandwidth_gbs);
    snprintf(text, 96, "%s%.2f GiB usable%s", label, (double)card->usable_bytes / 0x1p30, rate);
}

static void print_cards(const struct mq_fit *fit)
{
    const struct mq_fit_target *t = &fit->target;
    char name[TARGET_NAME], text[96];
    if (mq_fit_target_is_even(t)) {
        target_name(fit, name);
        card_text(&t->card[0], t->cards > 1, text);
        printf("  card     %s: %s\n", name, text);
        return;
    }
    for (uint32_t i = 0; i < t->cards; i++) {
        card_text(&t->card[i], false, text);
        printf("  card %-3u %s: %s\n", i + 1, t->card[i].gpu ? t->card[i].gpu->name : "a card",
               text);
    }
}

/* Of a model with experts: by the first layer that has some. */
static void print_active(const struct mq_fit *fit)
{
    const struct mq_view *view = fit->view;
    char count[32];
    for (uint32_t l = 0; l < view->hparams.layers; l++) {
        const struct mq_layer_ffn *f = &view->program->layers[l]->layer.ffn;
        if (!f->router.experts)
            continue;
        printf(", %s active\n           (top-%u of %u experts%s)",
               format_count(fit->active_parameters, count), f->router.top_k, f->router.experts,
               f->shared_rows ? " and a shared one" : f->dense_rows ? " beside an MLP" : "");
        return;
    }
}

static void print_head(const struct mq_fit *fit)
{
    const struct mq_hparams *h = &fit->view->hparams;
    char count[32], kv[32];
    printf("%s%s\n", fit->view->path, fit->view->kind == MQ_VIEW_CONFIG ? " (config alone)" : "");
    printf("  model    %s, %u layers: %s parameters", fit->view->family->name, h->layers,
           format_count(fit->parameters, count));
    print_active(fit);
    printf("\n");
    print_cards(fit);
    printf("  context  %" PRIu64 " tokens, KV cache in %s: %s a token\n", fit->context,
           fit->kv->name, mq_format_bytes(fit->kv_token_bytes, kv));
    if (fit->state_bytes)
        printf("  state    %s of recurrent layers, whatever the context\n",
               mq_format_bytes(fit->state_bytes, kv));
    if (fit->context > h->max_positions)
        printf("           (more than the %u positions that the model was made for)\n",
               h->max_positions);
}

static void print_memory(const struct mq_fit *fit)
{
    printf("\nMemory, GiB  bits/w   weights  on host  KV cache  buffers   needed  to spare\n");
    for (size_t i = 0; i < fit->rows_count; i++) {
        const struct mq_fit_row *r = &fit->rows[i];
        printf("  %-8s %8.4f %9.3f %8.3f %9.3f %8.3f %8.2f %+9.2f\n", r->name, r->bits_per_weight,
               (double)r->weight_bytes / 0x1p30, (double)r->host_embedding_bytes / 0x1p30,
               (double)(r->kv_bytes + r->state_bytes) / 0x1p30,
               (double)(r->compute_bytes + r->margin_bytes) / 0x1p30,
               (double)r->needed_bytes / 0x1p30, (double)r->spare_bytes / 0x1p30);
    }
}

static void verdict_text(const struct mq_fit *fit, const struct mq_fit_row *r, char text[300])
{
    const uint32_t layers = fit->view->hparams.layers;
    const struct mq_fit_offload *e = &r->experts, *l = &r->layers;
    char count[64];
    switch (r->verdict) {
    case MQ_FIT_FITS:
        snprintf(text, 300, "fits, %.2f GiB to spare", (double)r->spare_bytes / 0x1p30);
        if (r->max_context > fit->context)
            snprintf(text + strlen(text), 300 - strlen(text), "; contexts up to %" PRIu64 "%s",
                     r->max_context,
                     r->max_context == fit->view->hparams.max_positions ? ", the model's own" : "");
        break;
    case MQ_FIT_SHORTER:
        snprintf(text, 300, "fits with a context of at most %" PRIu64 " tokens", r->max_context);
        break;
    case MQ_FIT_OFFLOAD:
        snprintf(text, 300, "needs %.2f GiB on the host: ",
                 (double)(e->possible ? e->bytes : l->bytes) / 0x1p30);
        if (e->possible)
            snprintf(text + strlen(text), 300 - strlen(text), "the experts of %u of %u layers",
                     e->layers, layers);
        if (l->possible && e->possible)
            snprintf(text + strlen(text), 300 - strlen(text), " (or %s whole, %.2f GiB)",
                     plural(l->layers, "layer", count), (double)l->bytes / 0x1p30);
        else if (l->possible)
            snprintf(text + strlen(text), 300 - strlen(text), "%u of %u layers", l->layers, layers);
        if (r->spare_bytes >= 0)
            snprintf(text + strlen(text), 300 - strlen(text),
                     "; whole layers do not fill the cards evenly");
        break;
    case MQ_FIT_NO:
        snprintf(text, 300, "does not fit: %.2f GiB too much", -(double)r->spare_bytes / 0x1p30);
        break;
    }
}

static void print_verdicts(const struct mq_fit *fit)
{
    printf("\nVerdict       tokens/s\n");
    for (size_t i = 0; i < fit->rows_count; i++) {
        const struct mq_fit_row *r = &fit->rows[i];
        char text[300], rate[32] = "-";
        verdict_text(fit, r, text);
        if (r->tokens_per_second > 0)
            snprintf(rate, sizeof rate, r->tokens_per_second < 10 ? "<= %.1f" : "<= %.0f",
                     r->tokens_per_second);
        printf("  %-9s %10s  ", r->name, rate);
        mq_print_wrapped(text, 23, 23);
    }
}

static void print_quality(const struct mq_fit *fit)
{
    if (!fit->quality_path)
        return;
    printf("\nQuality %15s %10s %13s\n", mq_figures[MQ_FIGURE_KLD_MEAN].title,
           mq_figures[MQ_FIGURE_PPL_RATIO].title, mq_figures[MQ_FIGURE_EXACT_SET].title);
    for (size_t i = 0; i < fit->rows_count; i++) {
        const struct mq_fit_row *r = &fit->rows[i];
        if (!r->has_quality) {
            printf("  %-9s  %10s\n", r->name, "not measured");
            continue;
        }
        printf("  %-9s %11.5f %10.5f", r->name, r->kld_mean, r->ppl_ratio);
        if (isnan(r->exact_set_rate))
            printf(" %13s\n", "-");
        else
            printf(" %12.2f%%\n", 100 * r->exact_set_rate);
    }
    printf("  from %s\n", fit->quality_path);
}

static void print_best(const struct mq_fit *fit)
{
    const int best = mq_fit_best(fit);
    char name[TARGET_NAME], text[TARGET_NAME + 400];
    target_name(fit, name);
    if (best < 0)
        snprintf(text, sizeof text, "no level fits %s with %" PRIu64 " tokens%s.", name,
                 fit->context,
                 fit->target.unified ? "" : "; see above for shorter contexts and host memory");
    else if (fit->rows[best].has_quality)
        snprintf(text, sizeof text,
                 "%s: the lowest KL divergence (%.5f) of the measured levels that fit %s with "
                 "%" PRIu64 " tokens.",
                 fit->rows[best].name, fit->rows[best].kld_mean, name, fit->context);
    else
        snprintf(text, sizeof text,
                 "%s: the largest level that fits %s with %" PRIu64
                 " tokens. (moeq sweep --json measures what it costs; --quality joins it.)",
                 fit->rows[best].name, name, fit->context);
    if (best >= 0 && fit->rows[best].requantized)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 " Make it from the original model: this one is quantized already.");
    printf("\nBest       ");
    mq_print_wrapped(text, 11, 11);
}

static void print_fit(const struct mq_options *options, const struct mq_fit *fit)
{
    char text[MQ_FIT_ASSUMPTIONS][MQ_FIT_SENTENCE];
    print_head(fit);
    mq_print_notes(options, fit->view);
    print_memory(fit);
    print_verdicts(fit);
    print_quality(fit);
    mq_fit_assumptions(fit, text);
    printf("\nAssumed\n");
    for (int i = 0; i < MQ_FIT_ASSUMPTIONS && text[i][0]; i++) {
        printf("  - ");
        mq_print_wrapped(text[i], 4, 4);
    }
    print_best(fit);
}

/* ---- the levels ---- */

/* Adds the row of a level under the options' mix, or of a recipe. */
static enum mq_exit add_target(const struct mq_options *options,
                               const struct mq_option_target *target, struct mq_fit *fit)
{
    struct mq_policy policy;
    struct mq_policy_override *overrides = NULL;
    moeq_error err = {0};
    enum mq_exit code = MQ_EXIT_USAGE;
    if (mq_option_policy("fit", options, target, &policy, &overrides))
        code = mq_fit_add(fit, mq_option_target_name(target), &policy, &err) == MOEQ_OK
                   ? MQ_EXIT_GOOD
                   : mq_report(&err);
    mq_option_policy_free(options, overrides);
    return code;
}

/* --levels A,B,... */
static enum mq_exit add_list(const struct mq_options *options, struct mq_fit *fit)
{
    char *names = strdup(options->levels), *rest = names, *name;
    enum mq_exit code = names ? MQ_EXIT_GOOD : MQ_EXIT_FAILURE;
    while (code == MQ_EXIT_GOOD && (name = strsep(&rest, ","))) {
        struct mq_option_target target;
        code = mq_option_target("fit", "--levels", name, &target)
                   ? add_target(options, &target, fit)
                   : MQ_EXIT_USAGE;
    }
    free(names);
    return code;
}

/* A file that is quantized already, as it stands: named by the level of its experts. */
static enum mq_exit add_stored(struct mq_fit *fit)
{
    const struct mq_policy as_stored = {0};
    const char *name = "stored";
    moeq_error err = {0};
    for (size_t i = fit->view->tensors_count; i-- > 0;)
        if (mq_view_class(fit->view, fit->view->tensors[i].role) == MQ_CLASS_EXPERTS)
            name = fit->view->tensors[i].storage;
    return mq_fit_add(fit, name, &as_stored, &err) == MOEQ_OK ? MQ_EXIT_GOOD : mq_report(&err);
}

static enum mq_exit add_rows(const struct mq_options *options, struct mq_fit *fit)
{
    if (options->levels)
        return add_list(options, fit);
    if (options->level) {
        struct mq_option_target target;
        return mq_option_target("fit", "--level", options->level, &target)
                   ? add_target(options, &target, fit)
                   : MQ_EXIT_USAGE;
    }
    if (fit->view->kind == MQ_VIEW_MOEQ || fit->view->kind == MQ_VIEW_GGUF)
        return add_stored(fit);
    struct mq_option_target target = {mq_level_find("bf16"), NULL};
    enum mq_exit code = add_target(options, &target, fit);
    for (size_t i = 0; i < mq_levels_count && code == MQ_EXIT_GOOD; i++) {
        target.level = &mq_levels[i];
        if (target.level->quantized && mq_level_can_encode(target.level))
            code = add_target(options, &target, fit);
    }
    return code;
}

enum mq_exit mq_cmd_fit(const struct mq_options *options)
{
    if (options->list_gpus)
        return list_gpus(options);
    if (!options->positional_count)
        return mq_usage("fit", "expected: moeq fit MODEL --gpu NAME | --vram SIZE");
    if (options->level && options->levels)
        return mq_usage("fit", "give --level or --levels, not both");
    const struct mq_level *kv = mq_option_kv("fit", options);
    struct mq_fit_target target;
    if (!kv)
        return MQ_EXIT_USAGE;
    if (!mq_option_fit_target("fit", options, &target))
        return MQ_EXIT_USAGE;
    moeq_error err = {0};
    struct mq_view *view = NULL;
    struct mq_fit *fit = calloc(1, sizeof *fit);
    enum mq_exit code = MQ_EXIT_FAILURE;
    if (!fit || mq_open_model_or_config(options, options->positional[0], &view, &err) != MOEQ_OK ||
        mq_fit_begin(view, &target, options->context, kv, fit, &err) != MOEQ_OK) {
        code = mq_report(&err);
        goto out;
    }
    code = add_rows(options, fit);
    if (code != MQ_EXIT_GOOD)
        goto out;
    if (options->quality && mq_fit_join_quality(fit, options->quality, &err) != MOEQ_OK)
        code = mq_report(&err);
    else if (options->json)
        code = mq_print_json(mq_fit_json(fit));
    else
        print_fit(options, fit), code = mq_finish_output();
out:
    free(fit);
    mq_view_close(view);
    return code;
}

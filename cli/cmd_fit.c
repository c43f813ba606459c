/* cmd_fit.c: moeq fit. */
#include "model_options.h"

#include "family.h"
#include "fit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the card ---- */

static enum mq_exit list_gpus(const struct mq_options *options)
{
    if (!options->json)
        printf("%-26s %6s %7s %6s  %s\n", "card", "GB", "usable", "GB/s", "source");
    cJSON *list = options->json ? cJSON_CreateArray() : NULL;
    for (size_t i = 0; i < mq_gpus_count; i++) {
        const struct mq_gpu *g = &mq_gpus[i];
        const char *at_most = g->memory == MQ_GPU_UNIFIED ? "<=" : "";
        if (!options->json) {
            char memory[16];
            snprintf(memory, sizeof memory, "%s%u", at_most, g->memory_gb);
            printf("%-26s %6s %7.2f %6u  %s\n", g->name, memory,
                   (double)mq_gpu_usable_bytes(g) / 0x1p30, g->bandwidth_gbs, g->source);
            continue;
        }
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", g->name);
        cJSON_AddNumberToObject(o, "memory_gb", g->memory_gb);
        cJSON_AddNumberToObject(o, "usable_bytes", (double)mq_gpu_usable_bytes(g));
        cJSON_AddNumberToObject(o, "bandwidth_gb_per_second", g->bandwidth_gbs);
        cJSON_AddBoolToObject(o, "unified_memory", g->memory == MQ_GPU_UNIFIED);
        cJSON_AddStringToObject(o, "rule", mq_gpu_memory_rule(g->memory));
        cJSON_AddStringToObject(o, "source", g->source);
        cJSON_AddItemToArray(list, o);
    }
    if (options->json)
        return mq_print_json(list);
    printf("\nusable, in GiB: what a program can have of the memory on the label, in GB.\n");
    for (int m = 0; m < MQ_GPU_MEMORY_COUNT; m++) {
        static const char *const kinds[] = {"others", "T4 to L40S, ECC in line", "<=, unified"};
        printf("  %s: %s\n", kinds[m], mq_gpu_memory_rule((enum mq_gpu_memory)m));
    }
    printf("--vram SIZE takes any other figure.\n");
    return mq_finish_output();
}

static void unknown_gpu(const struct mq_gpu_search *s)
{
    char list[400] = "";
    for (size_t i = 0; i < s->candidates_count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 s->candidates[i]->name);
    if (s->candidates_count && !s->is_near) {
        mq_usage("fit", "--gpu '%s' could be: %s", s->name, list);
        return;
    }
    /* Words are of no help ("409O"): by spelling. */
    const char *names[128], *near = NULL;
    size_t n = 0;
    for (; n < mq_gpus_count && n < 128; n++)
        names[n] = mq_gpus[n].forms;
    if (!s->candidates_count && (near = mq_nearest(s->name, names, n)) != NULL)
        for (n = 0; n < mq_gpus_count; n++)
            if (mq_gpus[n].forms == near)
                snprintf(list, sizeof list, "%s", mq_gpus[n].name);
    mq_usage("fit", "--gpu '%s' is not in the list (--list-gpus)%s%s; --vram SIZE takes any other",
             s->name, list[0] ? "; near it: " : "", list);
}

static bool find_target(const struct mq_options *options, struct mq_fit_target *target)
{
    *target = (struct mq_fit_target){.cards = 1};
    if (options->gpu) {
        struct mq_gpu_search search;
        if (!mq_gpu_search(options->gpu, &search)) {
            unknown_gpu(&search);
            return false;
        }
        *target = mq_fit_target_of(search.gpu, search.cards);
    } else if (!options->vram) {
        mq_usage("fit", "the card is missing: --gpu NAME (see --list-gpus) or --vram SIZE");
        return false;
    }
    if (options->vram) {
        if (options->vram < 1 << 20 || options->vram >> 50) {
            mq_usage("fit", "--vram %" PRIu64 " bytes: expected a size such as 24GiB",
                     options->vram);
            return false;
        }
        target->usable_bytes = options->vram;
    }
    return true;
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

static void target_name(const struct mq_fit *fit, char text[128])
{
    const struct mq_fit_target *t = &fit->target;
    char cards[16] = "";
    if (t->cards > 1)
        snprintf(cards, sizeof cards, "%u x ", t->cards);
    if (t->gpu)
        snprintf(text, 128, "%s%s", cards, t->gpu->name);
    else
        snprintf(text, 128, "a card with %.2f GiB", (double)t->usable_bytes / 0x1p30);
}

static void print_head(const struct mq_fit *fit)
{
    const struct mq_hparams *h = &fit->view->hparams;
    const struct mq_fit_target *t = &fit->target;
    char name[128], count[32], kv[32];
    target_name(fit, name);
    printf("%s%s\n", fit->view->path, fit->view->no_weights ? " (config alone)" : "");
    printf("  model    %s, %u layers: %s parameters", fit->view->family->name, h->layers,
           format_count(fit->parameters, count));
    if (h->experts)
        printf(", %s active\n           (top-%u of %u experts)",
               format_count(fit->active_parameters, count), h->top_k, h->experts);
    printf("\n  card     %s: ", name);
    if (t->gpu && t->usable_bytes == mq_gpu_usable_bytes(t->gpu))
        printf("%s%u GB%s, %.2f GiB usable, %u GB/s\n", t->unified ? "up to " : "",
               t->gpu->memory_gb, t->cards > 1 ? " each" : "", (double)t->usable_bytes / 0x1p30,
               t->bandwidth_gbs);
    else if (t->gpu)
        printf("%.2f GiB usable, %u GB/s\n", (double)t->usable_bytes / 0x1p30, t->bandwidth_gbs);
    else
        printf("bandwidth unknown\n");
    printf("  context  %" PRIu64 " tokens, KV cache in %s: %s a token%s\n", fit->context,
           fit->kv->name, mq_format_bytes(fit->kv_token_bytes, kv),
           fit->kv_tokens < fit->context ? " of the window" : "");
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
               (double)r->kv_bytes / 0x1p30, (double)(r->compute_bytes + r->margin_bytes) / 0x1p30,
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
    printf("\nQuality        KLD mean  PPL ratio  exact routes\n");
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
    char name[128], text[400];
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
    printf("\nBest       ");
    mq_print_wrapped(text, 11, 11);
}

static void print_fit(const struct mq_options *options, const struct mq_fit *fit)
{
    char text[MQ_FIT_ASSUMPTIONS][240];
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
        if (mq_role_class(fit->view->tensors[i].role) == MQ_CLASS_EXPERTS)
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
    if (fit->view->is_moeq || fit->view->is_gguf)
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

/* config.json alone, or whatever else a model can be. The .json of a sharded file is its index. */
static moeq_status open_model(const struct mq_options *options, const char *path,
                              struct mq_view **view, moeq_error *err)
{
    const struct mq_open_options open = mq_option_open(options);
    static const char json[] = ".json", index[] = ".index.json";
    const size_t n = strlen(path), j = sizeof json - 1, x = sizeof index - 1;
    const bool is_json = n > j && strcmp(path + n - j, json) == 0;
    const bool is_index = n > x && strcmp(path + n - x, index) == 0;
    return is_json && !is_index && !mq_path_is_folder(path)
               ? mq_view_from_config(path, &open, view, err)
               : mq_model_open_with(path, &open, view, err);
}

enum mq_exit mq_cmd_fit(const struct mq_options *options)
{
    if (options->list_gpus)
        return list_gpus(options);
    if (!options->positional_count)
        return mq_usage("fit", "expected: moeq fit MODEL --gpu NAME | --vram SIZE");
    if (options->level && options->levels)
        return mq_usage("fit", "give --level or --levels, not both");
    const char *kv_name = options->kv ? options->kv : "f16";
    const struct mq_level *kv = mq_level_find(kv_name);
    struct mq_fit_target target;
    /* The two that runtimes offer; any other level's blocks do not fit a head. */
    if (!kv || (strcmp(kv->name, "f16") != 0 && strcmp(kv->name, "q8_0") != 0))
        return mq_usage("fit", "--kv '%s': expected f16 or q8_0", kv_name);
    if (!find_target(options, &target))
        return MQ_EXIT_USAGE;
    moeq_error err = {0};
    struct mq_view *view = NULL;
    struct mq_fit *fit = calloc(1, sizeof *fit);
    enum mq_exit code = MQ_EXIT_FAILURE;
    if (!fit || open_model(options, options->positional[0], &view, &err) != MOEQ_OK ||
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

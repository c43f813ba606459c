/* fit_print.c: the result of fit as tables and lines, as wide as the terminal but for lines to copy. */
#include "fit_print.h"

#include "family.h"
#include "figures.h"
#include "launch.h"
#include "model_options.h"
#include "text_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* "46.70 billion", "6.36 million" */
static const char *format_count(uint64_t n, char text[32])
{
    snprintf(text, 32, "%.2f %s", (double)n / (n < 1000000000 ? 1e6 : 1e9),
             n < 1000000000 ? "million" : "billion");
    return text;
}

void mq_fit_target_name(const struct mq_fit_target *t, char text[MQ_FIT_TARGET_NAME])
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0, n; i < t->cards && used < MQ_FIT_TARGET_NAME; i += n) {
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
            used += (size_t)snprintf(text + used, MQ_FIT_TARGET_NAME - used, "%s%u %s%s", joint, n,
                                     card->gpu ? "x " : "", what);
        else
            used += (size_t)snprintf(text + used, MQ_FIT_TARGET_NAME - used, "%s%s%s", joint,
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

/* "  card     GeForce ...", further lines below the fact. */
static void print_fact(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void print_fact(const char *name, const char *format, ...)
{
    enum { COLUMN = 11 };
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const int at = printf("  %-8s ", name);
    mq_print_wrapped(text, at, COLUMN);
}

static void print_cards(const struct mq_fit *fit)
{
    const struct mq_fit_target *t = &fit->target;
    char name[MQ_FIT_TARGET_NAME], text[96];
    if (mq_fit_target_is_even(t)) {
        mq_fit_target_name(&fit->target, name);
        card_text(&t->card[0], t->cards > 1, text);
        print_fact("card", "%s: %s", name, text);
        return;
    }
    for (uint32_t i = 0; i < t->cards; i++) {
        card_text(&t->card[i], false, text);
        snprintf(name, sizeof name, "card %u", i + 1);
        print_fact(name, "%s: %s", t->card[i].gpu ? t->card[i].gpu->name : "a card", text);
    }
}

/* Of a model with experts: by the first layer that has some. */
static void active_text(const struct mq_fit *fit, char text[160])
{
    const struct mq_view *view = fit->view;
    char count[32];
    text[0] = '\0';
    for (uint32_t l = 0; l < view->hparams.layers; l++) {
        const struct mq_layer_ffn *f = &view->program->layers[l]->layer.ffn;
        if (!f->router.experts)
            continue;
        snprintf(text, 160, ", %s active (top-%u of %u experts%s)",
                 format_count(fit->active_parameters, count), f->router.top_k, f->router.experts,
                 f->shared_rows  ? " and a shared one"
                 : f->dense_rows ? " beside an MLP"
                                 : "");
        return;
    }
}

static void print_head(const struct mq_fit *fit)
{
    const struct mq_hparams *h = &fit->view->hparams;
    char count[32], kv[32], layers[64], active[160];
    printf("%s%s\n", fit->view->path, fit->view->kind == MQ_VIEW_CONFIG ? " (config alone)" : "");
    active_text(fit, active);
    print_fact("model", "%s, %s: %s parameters%s", fit->view->family->name,
               mq_counted(h->layers, "layer", layers), format_count(fit->parameters, count),
               active);
    print_cards(fit);
    print_fact("context", "%" PRIu64 " tokens, KV cache in %s: %s a token", fit->context,
               fit->kv->name, mq_format_bytes(fit->kv_token_bytes, kv));
    if (fit->state_bytes)
        print_fact("state", "%s of recurrent layers, whatever the context",
                   mq_format_bytes(fit->state_bytes, kv));
    if (fit->context > h->max_positions)
        print_fact("", "(more than the %u positions that the model was made for)",
                   h->max_positions);
}

enum memory_column { BITS, WEIGHTS, ON_HOST, KV_CACHE, BUFFERS, NEEDED, TO_SPARE };

static void memory_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_fit *fit = user;
    const struct mq_fit_row *r = &fit->rows[i];
    if (column < 0) {
        snprintf(text, MQ_TABLE_CELL, "%s", r->name);
        return;
    }
    const double gib[] = {[BITS] = r->bits_per_weight,
                          [WEIGHTS] = (double)r->weight_bytes / 0x1p30,
                          [ON_HOST] = (double)r->host_embedding_bytes / 0x1p30,
                          [KV_CACHE] = (double)(r->kv_bytes + r->state_bytes) / 0x1p30,
                          [BUFFERS] = (double)(r->compute_bytes + r->margin_bytes) / 0x1p30,
                          [NEEDED] = (double)r->needed_bytes / 0x1p30,
                          [TO_SPARE] = (double)r->spare_bytes / 0x1p30};
    const int decimals = column == BITS ? 4 : column >= NEEDED ? 2 : 3;
    snprintf(text, MQ_TABLE_CELL, column == TO_SPARE ? "%+.*f" : "%.*f", decimals, gib[column]);
}

static void print_memory(const struct mq_fit *fit)
{
    static const struct mq_text_column columns[] = {
        [BITS] = {"bits/w", 8, 0},       [WEIGHTS] = {"weights", 9, 0},
        [ON_HOST] = {"on host", 8, 0},   [KV_CACHE] = {"KV cache", 9, 0},
        [BUFFERS] = {"buffers", 8, 0},   [NEEDED] = {"needed", 8, 0},
        [TO_SPARE] = {"to spare", 9, 0},
    };
    mq_print_text_table(&(struct mq_text_table){.name = "Memory, GiB",
                                                .name_width = 9,
                                                .columns = columns,
                                                .columns_count = sizeof columns / sizeof *columns,
                                                .rows_count = fit->rows_count,
                                                .cell = memory_cell,
                                                .user = fit});
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
                     mq_counted(l->layers, "layer", count), (double)l->bytes / 0x1p30);
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

enum quality_column { QUALITY_KLD, QUALITY_PPL, QUALITY_ROUTES };

static void quality_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_fit *fit = user;
    const struct mq_fit_row *r = &fit->rows[i];
    const double values[] = {r->kld_mean, r->ppl_ratio, 100 * r->exact_set_rate};
    if (column < 0)
        snprintf(text, MQ_TABLE_CELL, "%s", r->name);
    else if (!r->has_quality)
        snprintf(text, MQ_TABLE_CELL, "%s", column == QUALITY_KLD ? "not measured" : "");
    else if (isnan(values[column]))
        snprintf(text, MQ_TABLE_CELL, "-");
    else
        snprintf(text, MQ_TABLE_CELL, column == QUALITY_ROUTES ? "%.2f%%" : "%.5f", values[column]);
}

static void print_quality(const struct mq_fit *fit)
{
    const struct mq_text_column columns[] = {
        [QUALITY_KLD] = {mq_figures[MQ_FIGURE_KLD_MEAN].title, 12, 0},
        [QUALITY_PPL] = {mq_figures[MQ_FIGURE_PPL_RATIO].title, 10, 0},
        [QUALITY_ROUTES] = {mq_figures[MQ_FIGURE_EXACT_SET].title, 13, 0},
    };
    if (!fit->quality_path)
        return;
    mq_print_text_table(&(struct mq_text_table){.name = "Quality",
                                                .name_width = 9,
                                                .columns = columns,
                                                .columns_count = sizeof columns / sizeof *columns,
                                                .rows_count = fit->rows_count,
                                                .cell = quality_cell,
                                                .user = fit});
    mq_print_sentence(4, "  from %s", fit->quality_path);
}

/* Why there is none: rows above with a shorter context, or what the weights alone have too much. */
static void nothing_text(const struct mq_fit *fit, const char *name, char *text, size_t room)
{
    const struct mq_fit_row *least = NULL;
    bool shorter = false;
    for (size_t i = 0; i < fit->rows_count; i++) {
        shorter |= fit->rows[i].verdict == MQ_FIT_SHORTER;
        if (!least || fit->rows[i].needed_bytes < least->needed_bytes)
            least = &fit->rows[i];
    }
    snprintf(text, room, "no level fits %s with %" PRIu64 " tokens%s", name, fit->context,
             shorter ? "; see above for shorter contexts." : "");
    if (shorter || !least) {
        snprintf(text + strlen(text), room - strlen(text), "%s", shorter ? "" : ".");
        return;
    }
    const uint64_t weights = least->card_weight_bytes, have = mq_fit_weights_room(fit);
    const uint32_t cards = mq_fit_cards_needed(fit, least);
    const char *each = fit->target.cards > 1 ? "the cards have" : "the card has";
    if (weights > have)
        snprintf(text + strlen(text), room - strlen(text),
                 ": the weights%s%s alone are %.2f GiB, %.2f GiB more than %s for them",
                 least->as_stored ? " " : " of ", least->name, (double)weights / 0x1p30, (double)(weights - have) / 0x1p30, each);
    else
        snprintf(text + strlen(text), room - strlen(text),
                 ": the weights%s%s (%.2f GiB) leave no room for a cache of %d tokens",
                 least->as_stored ? " " : " of ", least->name, (double)weights / 0x1p30, MQ_FIT_MIN_CONTEXT);
    if (cards)
        snprintf(text + strlen(text), room - strlen(text),
                 "; it takes %u such cards (a number that divides the heads)", cards);
    snprintf(text + strlen(text), room - strlen(text), ".");
}

/* Why this one. */
static void print_take(const struct mq_fit *fit)
{
    const struct mq_fit_choice c = mq_fit_choose(fit);
    char name[MQ_FIT_TARGET_NAME], text[MQ_FIT_TARGET_NAME + 600];
    const struct mq_fit_row *take = c.take < 0 ? NULL : &fit->rows[c.take];
    mq_fit_target_name(&fit->target, name);
    if (!take)
        nothing_text(fit, name, text, sizeof text);
    else if (c.take == c.offload && c.on_card < 0 &&
             mq_fit_row_host_bytes(take) > mq_fit_target_host(&fit->target))
        snprintf(text, sizeof text,
                 "no level fits %s with %" PRIu64 " tokens, nor that and a host of %.0f GiB%s: %s "
                 "needs least, %.1f GiB on the host.",
                 name, fit->context, (double)mq_fit_target_host(&fit->target) / 7 * 8 / 0x1p30,
                 fit->target.host_bytes ? "" : " (--ram)", take->name,
                 (double)mq_fit_row_host_bytes(take) / 0x1p30);
    else if (c.take == c.offload && c.on_card < 0)
        snprintf(text, sizeof text,
                 "no level fits %s with %" PRIu64 " tokens; %s runs with part of it on the host.",
                 name, fit->context, take->name);
    else if (c.take == c.offload)
        snprintf(text, sizeof text,
                 "%s, with part of it on the host: it keeps more than half of the speed of %s, the "
                 "largest "
                 "level that fits %s with %" PRIu64 " tokens, which is rounded coarsely.",
                 take->name, fit->rows[c.on_card].name, name, fit->context);
    else if (take->as_stored)
        snprintf(text, sizeof text, "%s, which fits %s with %" PRIu64 " tokens: nothing is lost.",
                 take->name, name, fit->context);
    else if (take->has_quality)
        snprintf(text, sizeof text,
                 "%s: the lowest KL divergence (%.5f) of the measured levels that fit %s with "
                 "%" PRIu64 " tokens.",
                 take->name, take->kld_mean, name, fit->context);
    else
        snprintf(text, sizeof text,
                 "%s: the largest level that fits %s with %" PRIu64
                 " tokens. (moeq sweep --json measures what it costs; --quality joins it.)",
                 take->name, name, fit->context);
    if (take && take->requantized && fit->view->kind != MQ_VIEW_FOLDER &&
        fit->view->kind != MQ_VIEW_CONFIG)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 " Make it from the original model: this one is quantized already.");
    printf("\nBest       ");
    mq_print_wrapped(text, 11, 11);
}

/* Lines to copy, each as one: not wrapped. */
static void print_lines(const char *program, const char *text)
{
    for (bool first = true; *text; first = false) {
        const size_t n = strcspn(text, "\n");
        printf("    %-9s %.*s\n", first ? program : "", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void print_launches(const struct mq_fit *fit)
{
    struct mq_launch launches[2];
    const size_t n = mq_fit_launches(fit, launches);
    for (size_t i = 0; i < n; i++) {
        const struct mq_launch *l = &launches[i];
        char rate[48] = "";
        if (l->tokens_per_second > 0)
            snprintf(rate, sizeof rate, ": at most %.*f tokens/s",
                     l->tokens_per_second < 10 ? 1 : 0, l->tokens_per_second);
        mq_left_unprinted(l->no_memory);
        printf("%s", i ? "" : "\nRun\n");
        mq_print_sentence(4, "  %s%s", l->title, rate);
        print_lines("make", l->make);
        print_lines("llama.cpp", l->llama_cpp);
        print_lines("Ollama", l->ollama);
        print_lines("LM Studio", l->lm_studio);
        print_lines("vLLM", l->vllm);
        print_lines("SGLang", l->sglang);
        print_lines("mlx-lm", l->mlx);
        print_lines("-", l->why_not);
    }
}

void mq_print_fit(const struct mq_options *options, const struct mq_fit *fit)
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
    print_take(fit);
    print_launches(fit);
}

/* sweep_card.c: fit's arithmetic for the rows of a sweep. */
#include "sweep_card.h"

#include "checked.h"
#include "error.h"
#include "fit_option.h"
#include "fit_print.h"
#include "json.h"
#include "json_tree.h"
#include "report.h"
#include "text_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mq_sweep_card_options(const struct mq_options *options, struct mq_sweep_card *card)
{
    card->given = options->gpu || options->vram;
    card->context = options->gpu_context ? options->gpu_context : options->context;
    if (!card->given && (options->kv || options->runtime || options->bandwidth ||
                         options->gpu_context || options->ram)) {
        mq_usage("sweep", "--kv, --runtime, --bandwidth, --ram and --gpu-context are about a card: "
                          "--gpu or --vram");
        return false;
    }
    if (!card->given)
        return true;
    return mq_option_fit_target("sweep", options, &card->target, &card->kv);
}

static moeq_status fit_one(struct mq_sweep_card *card, const struct mq_view *view, const char *name,
                           const struct mq_policy *policy, struct mq_fit *fit, moeq_error *err)
{
    MQ_TRY(mq_fit_begin(view, &card->target, card->context, card->kv, fit, err));
    MQ_TRY(mq_fit_add(fit, name, policy, err));
    card->context = fit->context;
    card->rows[card->rows_count++] = fit->rows[0];
    return MOEQ_OK;
}

moeq_status mq_sweep_card_fit(struct mq_sweep_card *card, const struct mq_view *source,
                              const struct mq_candidate *candidates, size_t count, moeq_error *err)
{
    const struct mq_policy as_stored = {0};
    if (!card->given)
        return MOEQ_OK;
    struct mq_fit *fit = calloc(1, sizeof *fit);
    moeq_status status = fit ? MOEQ_OK : mq_fail_memory(err, "fitting models to a card");
    card->rows_count = 0;
    if (status == MOEQ_OK)
        status = fit_one(card, source, "", &as_stored, fit, err);
    for (size_t i = 0; status == MOEQ_OK && i < count; i++) {
        const struct mq_candidate *c = &candidates[i];
        status = c->file ? fit_one(card, c->file, c->name, &as_stored, fit, err)
                         : fit_one(card, source, c->name, &c->policy, fit, err);
    }
    free(fit);
    return status;
}

/* ---- the document ---- */

static double or_nan(double x)
{
    return x > 0 ? x : (double)NAN;
}

static cJSON *row_json(struct mq_json_tree *b, const struct mq_sweep_card *card,
                       const struct mq_fit_row *r)
{
    cJSON *o = mq_json_object(b);
    const struct mq_fit_offload *offload = r->verdict == MQ_FIT_FITS ? NULL : mq_fit_row_offload(r);
    const uint64_t most = r->max_context;
    mq_json_put_bool(b, o, "fits", r->verdict == MQ_FIT_FITS);
    mq_json_put_text(b, o, "verdict", mq_fit_verdict_name(r->verdict));
    mq_json_put_number(b, o, "needed_bytes", (double)r->needed_bytes);
    mq_json_put_number(b, o, "spare_bytes", (double)r->spare_bytes);
    mq_json_put_number(b, o, "max_context_tokens", (double)most);
    mq_json_put_number(b, o, "spare_context_tokens",
                       (double)(most > card->context ? most - card->context : 0));
    mq_json_put_number(b, o, "tokens_per_second_bound", or_nan(r->tokens_per_second));
    mq_json_put_text(b, o, "offload",
                     !offload                 ? NULL
                     : offload == &r->experts ? "experts"
                                              : "layers");
    mq_json_put_number(b, o, "offload_layers", offload ? offload->layers : (double)NAN);
    return o;
}

cJSON *mq_sweep_card_put_json(const struct mq_sweep_card *card, cJSON *sweep)
{
    struct mq_json_tree b = {0};
    char name[MQ_FIT_TARGET_NAME];
    if (!card->given || !sweep)
        return sweep;
    cJSON *o = mq_json_object(&b);
    mq_fit_target_name(&card->target, name);
    mq_json_put(&b, sweep, "card", o);
    mq_json_put_text(&b, o, "name", name);
    mq_json_put_count(&b, o, "cards", card->target.cards);
    mq_json_put_number(&b, o, "usable_bytes", (double)mq_fit_target_usable(&card->target));
    mq_json_put_text(&b, o, "runtime", mq_fit_target_runtime(&card->target)->name);
    mq_json_put_number(&b, o, "context_tokens", (double)card->context);
    mq_json_put_text(&b, o, "kv", card->kv->name);
    cJSON *row;
    cJSON_ArrayForEach(row, mq_json_get(sweep, "rows"))
    {
        const cJSON *of = mq_json_get(row, "name");
        const bool baseline = cJSON_IsTrue(mq_json_get(row, "is_baseline"));
        for (size_t i = 0; i < card->rows_count; i++) {
            const struct mq_fit_row *r = &card->rows[i];
            if (baseline ? i == 0
                         : i > 0 && cJSON_IsString(of) && strcmp(r->name, of->valuestring) == 0)
                mq_json_put(&b, row, "card", row_json(&b, card, r));
        }
    }
    return mq_json_finish(&b, sweep);
}

/* ---- the terminal ---- */

static void print_verdict(const cJSON *sweep)
{
    const char *sentence = mq_report_verdict(sweep);
    if (!sentence[0])
        return;
    printf("\n");
    mq_print_wrapped(sentence, 0, 0);
}

enum card_column { CARD_NEEDED, CARD_SPARE, CARD_CONTEXT, CARD_RATE, CARD_HOST };

static void card_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_sweep_card *card = user;
    const struct mq_fit_row *r = &card->rows[i];
    const struct mq_fit_offload *o = r->verdict == MQ_FIT_FITS ? NULL : mq_fit_row_offload(r);
    switch (column) {
    case CARD_NEEDED:
        snprintf(text, MQ_TABLE_CELL, "%.2f", (double)r->needed_bytes / 0x1p30);
        break;
    case CARD_SPARE:
        snprintf(text, MQ_TABLE_CELL, "%+.2f", (double)r->spare_bytes / 0x1p30);
        break;
    case CARD_CONTEXT:
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64, r->max_context);
        break;
    case CARD_RATE:
        if (r->tokens_per_second > 0)
            snprintf(text, MQ_TABLE_CELL, "<= %.*f", r->tokens_per_second < 10 ? 1 : 0,
                     r->tokens_per_second);
        else
            snprintf(text, MQ_TABLE_CELL, "-");
        break;
    case CARD_HOST:
        if (o)
            snprintf(text, MQ_TABLE_CELL, "%s of %u", o == &r->experts ? "experts" : "layers",
                     o->layers);
        break;
    default:
        snprintf(text, MQ_TABLE_CELL, "%.60s", i ? r->name : "baseline");
    }
}

void mq_sweep_card_print(const struct mq_sweep_card *card, const cJSON *sweep)
{
    static const struct mq_text_column columns[] = {[CARD_NEEDED] = {"needed", 9, 0},
                                                    [CARD_SPARE] = {"to spare", 9, 0},
                                                    [CARD_CONTEXT] = {"longest context", 16, 0},
                                                    [CARD_RATE] = {"tokens/s", 9, 0},
                                                    [CARD_HOST] = {"on the host", 13, 0}};
    char name[MQ_FIT_TARGET_NAME];
    bool some = false;
    if (!card->given)
        return;
    for (size_t i = 0; i < card->rows_count; i++)
        some = some || (card->rows[i].verdict != MQ_FIT_FITS && mq_fit_row_offload(&card->rows[i]));
    mq_fit_target_name(&card->target, name);
    mq_print_text_table(&(struct mq_text_table){.name = "On the card",
                                                .name_width = 10,
                                                .columns = columns,
                                                .columns_count = some ? CARD_HOST + 1 : CARD_HOST,
                                                .rows_count = card->rows_count,
                                                .cell = card_cell,
                                                .user = card});
    mq_print_sentence(
        2,
        "  GiB, with a cache of %" PRIu64 " tokens in %s, on %s (%.2f GiB usable), as %s counts it",
        card->context, card->kv->name, name, (double)mq_fit_target_usable(&card->target) / 0x1p30,
        mq_fit_target_runtime(&card->target)->name);
    print_verdict(sweep);
}

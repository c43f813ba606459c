/* report_md.c: the verdict and the tables that a pull request needs; charts are the HTML's. */
#include "report_md.h"

#include "escape.h"
#include "json.h"
#include "report_samples.h"
#include "report_domains.h"
#include "report_tasks.h"
#include "report_verify.h"
#include "report_warnings.h"
#include "report_words.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

/* Markdown's own characters and HTML's lose their meaning; a line break would end a table's row. */
static void put_char(struct mq_buffer *out, const char *text, size_t i)
{
    const unsigned char c = (unsigned char)text[i];
    /* an underscore within a word (q4_k) is no emphasis */
    const bool inside = c == '_' && i && isalnum((unsigned char)text[i - 1]) &&
                        isalnum((unsigned char)text[i + 1]);
    if (c == '&')
        mq_buffer_puts(out, "&amp;");
    else if (c == '<')
        mq_buffer_puts(out, "&lt;");
    else if (c == '>')
        mq_buffer_puts(out, "&gt;");
    else if (c == '@') /* no one is to be notified */
        mq_buffer_puts(out, "&#64;");
    else if (c < 32 || c == 127)
        mq_buffer_putc(out, ' ');
    else {
        if (strchr("\\`*_[]|~#!$", c) && !inside)
            mq_buffer_putc(out, '\\');
        mq_buffer_putc(out, (char)c);
    }
}

void mq_markdown_text(struct mq_buffer *out, const char *text)
{
    mq_escape(out, text, put_char);
}

static void put_text(struct mq_buffer *out, const char *text)
{
    mq_markdown_text(out, text);
}

static void plain(const struct mq_page *r,
                  void (*write)(const struct mq_page *, struct mq_buffer *), struct mq_buffer *out)
{
    struct mq_buffer words = {0};
    write(r, &words);
    mq_escape_buffer(out, &words, put_char);
}

static void put_warning(struct mq_buffer *out, const char *sentence)
{
    mq_buffer_puts(out, "> ⚠️ ");
    put_text(out, sentence);
    mq_buffer_puts(out, "\n\n");
}

static void put_level(const struct mq_page *r, const struct mq_report_arm *arm,
                      struct mq_buffer *out)
{
    struct mq_buffer words = {0}, name = {0};
    mq_report_sentence(arm, &words);
    mq_report_call(r, arm, ": ", &name);
    mq_buffer_puts(out, "- **");
    mq_escape_buffer(out, &name, put_char);
    mq_buffer_printf(out, "** (%s): ", mq_report_class(arm));
    if (words.data)
        put_text(out, words.data);
    mq_buffer_putc(out, '\n');
    out->failed = out->failed || words.failed;
    mq_buffer_free(&words);
}

/* " | KLD mean (nats)" */
static void put_head(const struct mq_figure *figure, struct mq_buffer *out)
{
    mq_buffer_printf(out, " | %s%s", figure->title, figure->unit == MQ_UNIT_NATS ? " (nats)" : "");
}

static void summary_row(const struct mq_page *r, const struct mq_report_arm *a,
                        struct mq_buffer *out)
{
    mq_buffer_puts(out, "| ");
    put_text(out, a->name);
    mq_buffer_printf(out, " | %s | %s | %s", mq_words_bytes(a->file_bytes).s,
                     mq_words_percent(a->size_share).s, mq_words_sig(a->bits_per_weight, 4).s);
    const struct mq_figure *f;
    for (size_t i = 0; (f = mq_summary_figure(r, i)) != NULL; i++)
        mq_buffer_printf(out, " | %s", mq_summary_words(a, f).s);
    mq_buffer_printf(out, " | %s |\n",
                     a->is_baseline   ? "reference"
                     : a == &r->noise ? "noise floor"
                                      : mq_report_class(a));
}

static void put_summary(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *f;
    mq_report_say(r, "| {level} | file size | of original | bits/weight", out);
    for (size_t i = 0; (f = mq_summary_figure(r, i)) != NULL; i++)
        put_head(f, out);
    mq_buffer_puts(out, " | class |\n|:--|--:|--:|--:");
    for (size_t i = 0; mq_summary_figure(r, i); i++)
        mq_buffer_puts(out, "|--:");
    mq_buffer_puts(out, "|:--|\n");
    for (size_t i = 0; i < r->arms_count; i++) {
        summary_row(r, &r->arms[i], out);
        if (r->arms[i].int8)
            summary_row(r, r->arms[i].int8, out);
    }
    if (r->has_noise)
        summary_row(r, &r->noise, out);
    mq_buffer_puts(out, "\n± is one standard error. ");
    plain(r, mq_report_arithmetic, out);
    mq_buffer_putc(out, '\n');
}

static void percentile_row(const struct mq_page *r, const struct mq_report_arm *a,
                           struct mq_buffer *out)
{
    const struct mq_figure *f;
    if (!a || !cJSON_IsObject(mq_json_get(a->json, "kld_nats")))
        return;
    mq_buffer_puts(out, "| ");
    put_text(out, a->name);
    for (size_t i = 0; (f = mq_spread_figure(r, i)) != NULL; i++)
        mq_buffer_printf(out, " | %s", mq_words_figure(f, mq_report_figure(a->json, f)).s);
    mq_buffer_puts(out, " |\n");
}

/* Folded: a pull request's page is to stay short. */
static void put_percentiles(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *f;
    mq_report_say(r, "\n<details><summary>KL divergence per token</summary>\n\n| {level}", out);
    for (size_t i = 0; (f = mq_spread_figure(r, i)) != NULL; i++)
        put_head(f, out);
    mq_buffer_puts(out, " |\n|:--");
    for (size_t i = 0; mq_spread_figure(r, i); i++)
        mq_buffer_puts(out, "|--:");
    mq_buffer_puts(out, "|\n");
    for (size_t i = 0; i < r->arms_count; i++) {
        percentile_row(r, &r->arms[i], out);
        percentile_row(r, r->arms[i].int8, out);
    }
    mq_buffer_puts(out, "\n</details>\n");
}

/* The numbers of the chart of layers, a column a level. */
static void put_layers(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *figure = &mq_figures[MQ_FIGURE_EXACT_SET];
    const cJSON *first = NULL;
    size_t columns = 0;
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
        if (!layers)
            continue;
        if (!first)
            mq_buffer_printf(out, "\n<details><summary>%s, by layer</summary>\n\n| layer",
                             mq_words_heading(figure).s);
        first = first ? first : layers;
        columns++;
        mq_buffer_puts(out, " | ");
        put_text(out, r->arms[i].name);
    }
    if (!first)
        return;
    mq_buffer_puts(out, " |\n|--:");
    for (size_t k = 0; k < columns; k++)
        mq_buffer_puts(out, "|--:");
    mq_buffer_puts(out, "|\n");
    int at = 0;
    for (const cJSON *l = first->child; l; l = l->next, at++) {
        mq_buffer_printf(out, "| %s", mq_words_count(mq_report_number(l, "layer")).s);
        for (size_t i = 0; i < r->arms_count; i++) {
            const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
            if (layers)
                mq_buffer_printf(
                    out, " | %s",
                    mq_words_figure(figure,
                                    mq_report_figure_in(cJSON_GetArrayItem(layers, at), figure))
                        .s);
        }
        mq_buffer_puts(out, " |\n");
    }
    mq_buffer_puts(out, "\n</details>\n");
}

/* Level by level: the perplexity ratio with its weights alone, its routes alone, and both. */
static void put_swap(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *figure = &mq_figures[MQ_FIGURE_PPL_RATIO];
    bool any = false;
    for (size_t i = 0; i < r->arms_count; i++) {
        const struct mq_report_arm *a = &r->arms[i];
        if (!mq_report_swap(r, a, true, false) && !mq_report_swap(r, a, false, true))
            continue;
        if (!any)
            mq_buffer_printf(out,
                             "\n| %s | its weights, the original's routes | the original's "
                             "weights, its routes | both its own |\n|:--|--:|--:|--:|\n",
                             figure->title);
        any = true;
        mq_buffer_puts(out, "| ");
        put_text(out, a->name);
        for (int k = 0; k < 3; k++) {
            const bool weights = k != 1, routes = k != 0;
            const struct mq_estimate ratio =
                mq_report_figure(mq_report_swap(r, a, weights, routes), figure);
            mq_buffer_printf(out, " | %s",
                             isfinite(ratio.value) ? mq_words_figure(figure, ratio).s : "—");
            const struct mq_estimate share =
                mq_report_share(a, "kld_mean", k == 0 ? "weights" : "routes");
            if (k < 2 && isfinite(share.value))
                mq_buffer_printf(out, " (%s of the KLD)", mq_words_percent(share.value).s);
        }
        mq_buffer_puts(out, " |\n");
    }
}

static void put_fact(struct mq_buffer *out, const char *name, const char *text)
{
    mq_buffer_printf(out, "| %s | ", name);
    put_text(out, text);
    mq_buffer_puts(out, " |\n");
}

/* Broken limits alone: a reader of a pull request asks what failed. */
void mq_markdown_limits(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *limits = mq_report_limits(r);
    if (!limits || !mq_report_broken(r))
        return;
    mq_buffer_puts(out, "| broken limit | found | limit | beyond it by |\n|:--|--:|--:|--:|\n");
    for (const cJSON *item = limits->child; item; item = item->next) {
        const struct mq_report_limit l = mq_report_limit(item);
        if (l.kept)
            continue;
        mq_buffer_puts(out, "| ");
        put_text(out, l.metric.s);
        mq_buffer_printf(out, " | %s | %s | %s |\n", mq_words_estimate(l.found, 5).s, l.limit.s,
                         mq_words_sig(fabs(l.found.value - l.bound), 2).s);
    }
    mq_buffer_putc(out, '\n');
}

static void put_pair(const struct mq_report_pair *pair, struct mq_buffer *out)
{
    mq_buffer_puts(out, "\n| ");
    put_text(out, pair->title.s);
    mq_buffer_puts(out, " | mean | ± | 95 % from | to | reads |\n|:--|--:|--:|--:|--:|:--|\n");
    for (const cJSON *figure = pair->figures; figure; figure = figure->next) {
        const struct mq_report_difference d = mq_report_difference(pair, figure);
        mq_buffer_puts(out, "| ");
        put_text(out, d.name);
        mq_buffer_printf(out, " | %s | %s | %s | %s | ", d.mean.s, d.se.s, d.low.s, d.high.s);
        put_text(out, d.reads.s);
        mq_buffer_puts(out, " |\n");
    }
}

static void put_differences(const struct mq_page *r, struct mq_buffer *out)
{
    struct mq_report_pair pair;
    struct mq_buffer how = {0};
    size_t pairs = 0;
    for (; mq_report_pair(r, pairs, &pair); pairs++)
        put_pair(&pair, out);
    if (!pairs)
        return;
    mq_report_bootstrap(&pair, &how);
    mq_buffer_putc(out, '\n');
    put_text(out, how.data ? how.data : "");
    mq_buffer_putc(out, '\n');
    out->failed = out->failed || how.failed;
    mq_buffer_free(&how);
}

static void put_files(const cJSON *files, const char *title, struct mq_buffer *out)
{
    if (!cJSON_IsArray(files) || !files->child)
        return;
    mq_buffer_printf(out, "\n| %s | bytes | CRC-32 of the header |\n|:--|--:|:--|\n", title);
    for (const cJSON *f = files->child; f; f = f->next) {
        mq_buffer_puts(out, "| ");
        put_text(out, mq_report_string(f, "name"));
        mq_buffer_printf(out, " | %s | ", mq_words_count(mq_report_number(f, "bytes")).s);
        put_text(out, mq_report_string(f, "header_crc32"));
        mq_buffer_puts(out, " |\n");
    }
}

static void put_attribution(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *parts = mq_report_array(mq_json_get(r->document, "attribution"), "parts");
    if (!parts || !parts->child)
        return;
    mq_buffer_puts(out, "\n| with only this part quantized | bits/w | KLD mean | of the whole's | "
                        "same experts |\n|:--|--:|--:|--:|--:|\n");
    for (const cJSON *p = parts->child; p; p = p->next) {
        const struct mq_report_part part = mq_report_part(r, p);
        mq_buffer_puts(out, "| ");
        put_text(out, mq_report_string(p, "name"));
        mq_buffer_printf(out, " | %s | %s | %s | %s |\n", part.bits.s, part.kld.s, part.share.s,
                         part.routes.s);
    }
    const struct mq_report_part sum = mq_report_part(r, NULL);
    mq_buffer_printf(out, "| their sum | | %s | %s | |\n", sum.kld.s, sum.share.s);
}

void mq_report_markdown(const struct mq_page *r, struct mq_buffer *out)
{
    mq_buffer_puts(out, "## ");
    plain(r, mq_report_title, out);
    mq_buffer_puts(out, "\n\n**");
    if (mq_report_limits(r))
        mq_buffer_puts(out, mq_report_broken(r) ? "❌ " : "✅ ");
    plain(r, mq_report_headline, out);
    mq_buffer_puts(out, "**\n\n");
    mq_report_warnings(r, out, put_warning);
    mq_markdown_limits(r, out);
    for (size_t i = 0; i < r->arms_count; i++)
        if (!r->arms[i].is_baseline)
            put_level(r, &r->arms[i], out);
    mq_buffer_putc(out, '\n');
    put_summary(r, out);
    put_differences(r, out);
    mq_report_domains(r, &(struct mq_report_table){out, false, put_text});
    mq_report_tasks(r, &(struct mq_report_table){out, false, put_text});
    put_attribution(r, out);
    put_swap(r, out);
    put_layers(r, out);
    put_percentiles(r, out);
    mq_report_samples_markdown(r, put_text, out);
    mq_buffer_puts(out, "\n<details><summary>How this was measured</summary>\n\n"
                        "| fact | value |\n|:--|:--|\n");
    mq_report_facts(r, out, put_fact);
    put_files(mq_json_get(mq_json_get(r->document, "model"), "files"), "file of the original", out);
    const cJSON *models = mq_report_array(r->document, "model_files");
    for (const cJSON *files = models ? models->child : NULL; files; files = files->next)
        put_files(files, "file judged", out);
    if (!r->is_verification)
        mq_buffer_printf(out, "\n%s\n",
                         mq_report_phrase(r, r->card ? mq_report_card_rule : mq_report_rule).s);
    mq_buffer_puts(out, "\n</details>\n");
}

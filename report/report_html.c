/* report_html.c: the page: verdict, summary, charts, tables, facts, terms; in the order of need. */
#include "report_html.h"

#include "json.h"
#include "report_charts.h"
#include "report_html_loss.h"
#include "report_html_pieces.h"
#include "report_html_routing.h"
#include "report_judgement.h"
#include "report_samples.h"
#include "report_domains.h"
#include "report_style.h"
#include "report_svg.h"
#include "report_tasks.h"
#include "report_verify.h"
#include "report_words.h"

#include <math.h>
#include <stdio.h>

/* ---- the verdict ---- */

/* The plain text that a function of report_doc writes, escaped. */
static void plain(const struct mq_page *r,
                  void (*write)(const struct mq_page *, struct mq_buffer *), struct mq_buffer *out)
{
    struct mq_buffer words = {0};
    write(r, &words);
    mq_escape_buffer(out, &words, mq_html_char);
}

static void sentence(const struct mq_report_arm *arm, struct mq_buffer *out)
{
    struct mq_buffer words = {0};
    mq_report_sentence(arm, &words);
    mq_escape_buffer(out, &words, mq_html_char);
}

/* The band as a pill; its colour repeats what its word says. */
static void class_mark(const struct mq_report_arm *arm, struct mq_buffer *out)
{
    mq_buffer_printf(out, "<span class=\"class q%d\">%s</span>",
                     (int)(arm->fails_gate ? MQ_QUALITY_POOR : arm->quality), mq_report_class(arm));
}

static void alternative(const struct mq_report_arm *arm, const char *need, struct mq_buffer *out)
{
    if (!arm)
        return;
    mq_html_element(out, "<b>", need, "</b> ");
    mq_html_element(out, "", arm->name, "");
    if (isfinite(arm->size_share))
        mq_buffer_printf(out, " (%s of the memory, %s). ", mq_words_percent(arm->size_share).s,
                         mq_report_class(arm));
    else
        mq_html_put(out, ". ");
}

static void limit_row(const struct mq_report_limit *l, struct mq_buffer *out)
{
    mq_html_open_row(out, l->metric.s, false);
    mq_html_estimate_cell(out, mq_words_estimate(l->found, 5));
    mq_html_cell(out, l->limit.s);
    mq_html_cell(out, l->kept ? "—" : mq_words_sig(fabs(l->found.value - l->bound), 2).s);
    mq_html_close_row(out);
}

/* What a gate says: broken limits in sight, those that were kept folded away. */
static void put_limits(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *limits = mq_report_limits(r);
    const size_t broken = mq_report_broken(r);
    for (int kept = 0; limits && kept < 2; kept++) {
        if (kept ? broken == (size_t)cJSON_GetArraySize(limits) : !broken)
            continue;
        if (kept)
            mq_html_put(out, "<details>\n<summary>Limits that were kept</summary>\n");
        mq_html_open_table(r, out, kept ? "Limits that were kept" : "Broken limits",
                           "What was found, ± one standard error, and what the gate asks for.");
        MQ_HTML_HEAD(r, out, "Metric", "Found", "Limit", "Beyond it by");
        for (const cJSON *l = limits->child; l; l = l->next) {
            const struct mq_report_limit limit = mq_report_limit(l);
            if (limit.kept == kept)
                limit_row(&limit, out);
        }
        mq_html_close_table(out);
        if (kept)
            mq_html_put(out, "</details>\n");
    }
}

/* Paired, window by window: far more certain than the difference of two rows with their errors. */
static void put_pair(const struct mq_page *r, const struct mq_report_pair *pair,
                     struct mq_buffer *out)
{
    struct mq_buffer how = {0};
    mq_report_bootstrap(pair, &how);
    mq_html_open_table(r, out, pair->title.s, how.data ? how.data : "");
    mq_html_open_head(out);
    const char *const heads[] = {"Figure", "<Reads", pair->title.s, "±", "95 % from", "to"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        mq_html_head_cell(out, heads[i]);
    mq_html_close_head(out);
    for (const cJSON *figure = pair->figures; figure; figure = figure->next) {
        const struct mq_report_difference d = mq_report_difference(pair, figure);
        mq_html_open_row(out, d.name, false);
        mq_html_element(out, "<td class=\"text\">", d.reads.s, "</td>");
        mq_html_cell(out, d.mean.s);
        mq_html_cell(out, d.se.s);
        mq_html_cell(out, d.low.s);
        mq_html_cell(out, d.high.s);
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
    out->failed = out->failed || how.failed;
    mq_buffer_free(&how);
}

static void put_level(const struct mq_page *r, const struct mq_report_arm *a, struct mq_buffer *out)
{
    struct mq_buffer name = {0};
    mq_report_call(r, a, ": ", &name);
    mq_html_element(out,
                    a->fails_gate         ? "<li class=\"broken\"><b>"
                    : a == r->recommended ? "<li class=\"take\"><b>"
                                          : "<li><b>",
                    name.data ? name.data : "", "");
    mq_html_put(out, "</b>");
    class_mark(a, out);
    sentence(a, out);
    mq_html_put(out, "</li>\n");
    out->failed = out->failed || name.failed;
    mq_buffer_free(&name);
}

/* Of many levels those that the headline is about; the others fold away, the table below has them all. */
static void put_levels(const struct mq_page *r, struct mq_buffer *out)
{
    enum { FEW = 8 };
    const bool fold = r->arms_count > FEW + 1;
    size_t hidden = 0;
    for (int folded = 0; folded < 1 + fold; folded++) {
        if (folded && !hidden)
            return;
        if (folded)
            mq_buffer_printf(out, "<details>\n<summary>The other %zu</summary>\n", hidden);
        mq_html_put(out, "<ul class=\"levels\">\n");
        for (size_t i = 0; i < r->arms_count; i++) {
            const struct mq_report_arm *a = &r->arms[i];
            const bool told =
                !fold || a->fails_gate || a == r->recommended || a == r->lighter || a == r->closer;
            hidden += !folded && !told && !a->is_baseline;
            if (!a->is_baseline && told != (folded == 1))
                put_level(r, a, out);
        }
        mq_html_put(out, "</ul>\n");
        if (folded)
            mq_html_put(out, "</details>\n");
    }
}

static void put_verdict(const struct mq_page *r, struct mq_buffer *out)
{
    mq_html_put(out, "<section aria-label=\"Verdict\">\n");
    mq_html_headline(r, out);
    if (r->lighter || r->closer) {
        mq_html_put(out, "<p class=\"others\">");
        alternative(r->lighter, "Short of memory:", out);
        alternative(r->closer, "As close to the original as it gets:", out);
        mq_html_put(out, "</p>\n");
    }
    put_levels(r, out);
    put_limits(r, out);
    struct mq_report_pair pair;
    for (size_t i = 0; mq_report_pair(r, i, &pair); i++)
        put_pair(r, &pair, out);
}

static void summary_row(const struct mq_page *r, const struct mq_report_arm *a,
                        struct mq_buffer *out)
{
    mq_html_open_row(out, a->name, a == r->recommended);
    mq_html_element(out, "<td class=\"text\">",
                    a->is_baseline   ? "reference"
                    : a == &r->noise ? "noise floor"
                                     : mq_report_class(a),
                    "</td>");
    mq_html_cell(out, mq_words_bytes(a->file_bytes).s);
    const struct mq_figure *f;
    for (size_t i = 0; (f = mq_summary_figure(r, i)) != NULL; i++)
        mq_html_estimate_cell(out, mq_summary_words(a, f));
    mq_html_cell(out, mq_words_percent(a->size_share).s);
    mq_html_cell(out, mq_words_sig(a->bits_per_weight, 4).s);
    mq_html_close_row(out);
}

/* The whole result on one screen: everything below explains it. */
static void put_summary(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *f;
    mq_html_open_table(r, out, "Summary",
                       "What each column is stands under Terms. ± is one standard error.");
    mq_html_open_head(out);
    mq_html_head_cell(out, mq_report_phrase(r, "{Level}").s);
    mq_html_head_cell(out, "<Class");
    mq_html_figure_head(out, &mq_figures[MQ_FIGURE_FILE_BYTES]);
    for (size_t i = 0; (f = mq_summary_figure(r, i)) != NULL; i++)
        mq_html_figure_head(out, f);
    mq_html_head_cell(out, "Size|of the original");
    mq_html_figure_head(out, &mq_figures[MQ_FIGURE_BITS_PER_WEIGHT]);
    mq_html_close_head(out);
    for (size_t i = 0; i < r->arms_count; i++) {
        summary_row(r, &r->arms[i], out);
        if (r->arms[i].int8)
            summary_row(r, r->arms[i].int8, out);
    }
    if (r->has_noise)
        summary_row(r, &r->noise, out);
    mq_html_close_table(out);
    mq_html_put(out, "<p class=\"note\">");
    plain(r, mq_report_arithmetic, out);
    mq_html_element(out, " ",
                    r->is_verification
                        ? ""
                        : mq_report_phrase(r, r->card ? mq_report_card_rule : mq_report_rule).s,
                    " ");
    mq_html_say(r, out, "What a {level} costs depends on the text: measure on yours.</p>\n");
    mq_html_classes(out);
    if (r->has_noise)
        mq_html_put(
            out,
            "<p class=\"note\">The noise floor is the original itself with its activations rounded "
            "to bf16, as most runtimes do: differences below it mean nothing there.</p>\n");
    mq_html_end_section(out);
}

/* ---- spread and frontier ---- */

static void percentile_row(const struct mq_page *r, const struct mq_report_arm *a,
                           struct mq_buffer *out)
{
    const cJSON *kld = a ? mq_json_get(a->json, "kld_nats") : NULL;
    const struct mq_figure *f;
    if (!cJSON_IsObject(kld))
        return;
    mq_html_open_row(out, a->name, false);
    for (size_t i = 0; (f = mq_spread_figure(r, i)) != NULL; i++)
        mq_html_estimate_cell(out, mq_words_figure(f, mq_report_figure(a->json, f)));
    mq_html_cell(out, mq_words_count(mq_report_number(kld, "tokens")).s);
    mq_html_close_row(out);
}

/* Two levels of equal mean can differ in how badly the worst tokens fare. */
static void put_percentiles(const struct mq_page *r, struct mq_buffer *out)
{
    double tokens = NAN;
    for (size_t i = 0; i < r->arms_count; i++)
        tokens = fmax(tokens, mq_report_number(mq_json_get(r->arms[i].json, "kld_nats"), "tokens"));
    if (!(tokens > 0))
        return;
    mq_html_section(out, "percentiles", "How the divergence is spread");
    mq_html_open_table(
        r, out, "KL divergence per token",
        tokens < 1e5 ? "A mean hides the tail: the few tokens where the output changed much. "
                       "The 99.9th percentile is uncertain below 100,000 tokens."
                     : "A mean hides the tail: the few tokens where the output changed much.");
    const struct mq_figure *f;
    mq_html_open_head(out);
    mq_html_head_cell(out, mq_report_phrase(r, "{Level}").s);
    for (size_t i = 0; (f = mq_spread_figure(r, i)) != NULL; i++)
        mq_html_figure_head(out, f);
    mq_html_head_cell(out, "Tokens");
    mq_html_close_head(out);
    for (size_t i = 0; i < r->arms_count; i++) {
        percentile_row(r, &r->arms[i], out);
        percentile_row(r, r->arms[i].int8, out);
    }
    mq_html_close_table(out);
    mq_html_end_section(out);
}

/* Drawn aside first: a section without any figure is not to appear. */
static void put_frontier(const struct mq_page *r, struct mq_buffer *out)
{
    struct mq_buffer figures = {0};
    if (r->is_verification && r->arms_count < 3)
        return; /* one file beside the original makes no frontier */
    const bool kld = mq_draw_kld(r, &figures), ppl = mq_draw_perplexity(r, &figures);
    if (kld || ppl) {
        mq_html_section(out, "frontier", "Memory against quality");
        mq_html_put(out, "<div class=\"figures\">\n");
        mq_buffer_append(out, figures.data, figures.size);
        mq_html_put(out, "</div>\n");
        mq_html_end_section(out);
    }
    out->failed = out->failed || figures.failed;
    mq_buffer_free(&figures);
}

/* ---- facts ---- */

static void fact(struct mq_buffer *out, const char *name, const char *text)
{
    mq_html_element(out, "<tr><th scope=\"row\">", name, "</th>");
    mq_html_element(out, "<td>", text, "</td></tr>\n");
}

/* What tells a model from another of the same name. */
static void put_files(const struct mq_page *r, const cJSON *files, const char *title,
                      struct mq_buffer *out)
{
    if (!cJSON_IsArray(files) || !files->child)
        return;
    mq_html_open_table(r, out, title, "The header's CRC-32 tells versions of a file apart.");
    MQ_HTML_HEAD(r, out, "File", "Bytes", "CRC-32 of the header");
    for (const cJSON *f = files->child; f; f = f->next) {
        mq_html_open_row(out, mq_report_string(f, "name"), false);
        mq_html_cell(out, mq_words_count(mq_report_number(f, "bytes")).s);
        mq_html_element(out, "<td><code>", mq_report_string(f, "header_crc32"), "</code></td>");
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
}

static void put_facts(const struct mq_page *r, struct mq_buffer *out)
{
    mq_html_section(out, "facts", "How this was measured");
    mq_html_put(
        out,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Run facts\">\n"
        "<table class=\"facts\">\n<caption><span><b>Run facts.</b></span></caption>\n<tbody>\n");
    mq_report_facts(r, out, fact);
    mq_html_put(out, "</tbody>\n</table>\n</div>\n");
    put_files(r, mq_report_array(mq_json_get(r->document, "model"), "files"),
              r->is_verification ? "Files of the original" : "Files of the model", out);
    const cJSON *models = mq_report_array(r->document, "model_files");
    for (const cJSON *files = models ? models->child : NULL; files; files = files->next)
        put_files(r, files, "Files judged", out);
    mq_html_end_section(out);
}

/* Every figure that a table has, and how it is defined. */
static void put_terms(const struct mq_page *r, struct mq_buffer *out)
{
    mq_html_section(out, "terms", "Terms");
    mq_html_put(out, "<dl>\n");
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++) {
        if (f->shown == MQ_NOT_SHOWN)
            continue;
        mq_html_element(out, "<dt>", mq_words_heading(f).s, ": ");
        mq_html_element(out, "", f->long_title, "</dt>");
        mq_html_element(out, "<dd>", f->means, " ");
        mq_html_element(out, "<span class=\"formula\">", f->formula, "</span></dd>\n");
    }
    mq_html_say(
        r, out,
        "<dt>Margin</dt><dd>The router's logit (or its score, where a bias takes part in the "
        "choice) "
        "of the last expert chosen minus that of the first one not chosen. A small margin is a "
        "near-tie.</dd>\n"
        "</dl>\n<p class=\"note\">In formulas: p, q the original's and the {level}'s "
        "probabilities of the next token; S, S' the k experts that each chooses for a token in a "
        "layer, w, w' their weights; r, r' the distributions of their routers over all experts: "
        "the softmax of the logits, or sigmoids divided by their sum.</p>\n");
    mq_html_end_section(out);
}

/* ---- the page ---- */

void mq_report_html(const struct mq_page *r, struct mq_buffer *out)
{
    mq_html_put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n"
                     "<link rel=\"icon\" href=\"data:,\">\n");
    mq_html_put(out, "<title>");
    plain(r, mq_report_title, out);
    mq_html_put(out, "</title>\n<style>\n");
    mq_html_put(out, mq_report_style);
    mq_html_put(out, "</style>\n</head>\n<body>\n<header>\n<h1>");
    plain(r, mq_report_title, out);
    mq_html_put(out, "</h1>\n<p class=\"sub\">");
    plain(r, mq_report_subtitle, out);
    mq_html_put(out, "</p>\n<nav><a href=\"#facts\">How this was measured</a> "
                     "<a href=\"#terms\">What the terms mean</a></nav>\n</header>\n<main>\n");
    put_verdict(r, out);
    put_summary(r, out);
    put_frontier(r, out);
    mq_html_routing(r, out);
    mq_report_domains(r, &(struct mq_report_table){out, true, mq_html_text});
    mq_report_tasks(r, &(struct mq_report_table){out, true, mq_html_text});
    mq_html_attribution(r, out);
    mq_html_swap(r, out);
    put_percentiles(r, out);
    mq_report_samples_html(r, out);
    put_facts(r, out);
    put_terms(r, out);
    mq_html_element(out, "</main>\n<footer>Made by ", mq_report_string(r->document, "producer"),
                    "");
    mq_html_put(out, r->is_verification ? " from the verification's" : " from the sweep's");
    mq_html_put(out, " result document.</footer>\n</body>\n</html>\n");
}

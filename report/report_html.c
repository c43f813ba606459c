/* report_html.c: the page: verdict, summary, charts, tables, facts, terms; in the order of need. */
#include "report_html.h"

#include "json.h"
#include "report_charts.h"
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
#include <string.h>

/* ---- pieces ---- */

static void put(struct mq_buffer *out, const char *markup)
{
    mq_buffer_puts(out, markup);
}

/* Markup that has {level} in it, the word for what is judged. */
static void say(const struct mq_page *r, struct mq_buffer *out, const char *markup)
{
    mq_report_say(r, markup, out);
}

/* Markup, text to be escaped, markup. Only what stands in this file is passed as markup. */
static void element(struct mq_buffer *out, const char *open, const char *text, const char *close)
{
    put(out, open);
    mq_html_text(out, text);
    put(out, close);
}

/* A table in a container of its own that scrolls where the page is narrow; reachable by keyboard.
 */
static void open_table(const struct mq_page *r, struct mq_buffer *out, const char *label,
                       const char *words)
{
    element(out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", label,
            "\">\n<table>\n<caption><span><b>");
    mq_html_text(out, label);
    element(out, ".</b> ", mq_report_phrase(r, words).s, "</span></caption>\n");
}

static void close_table(struct mq_buffer *out)
{
    put(out, "</tbody>\n</table>\n</div>\n");
}

/* "Size|GiB": a column's name, and what stands below it in small print. "<Class": a column of text.
 */
static void head_cell(struct mq_buffer *out, const char *text)
{
    char name[96];
    put(out, *text == '<' ? "<th scope=\"col\" class=\"text\">" : "<th scope=\"col\">");
    text += *text == '<';
    const size_t n = strcspn(text, "|");
    if (n < sizeof name) {
        memcpy(name, text, n);
        name[n] = '\0';
        mq_html_text(out, name);
    }
    if (text[n])
        element(out, "<small>", text + n + 1, "</small>");
    put(out, "</th>");
}

static void open_head(struct mq_buffer *out)
{
    put(out, "<thead><tr>");
}

static void close_head(struct mq_buffer *out)
{
    put(out, "</tr></thead>\n<tbody>\n");
}

/* A figure's column: its title, in small print its unit; what it means shows under the mouse. */
static void figure_head(struct mq_buffer *out, const struct mq_figure *figure)
{
    element(out, "<th scope=\"col\"><abbr title=\"", figure->means, "\">");
    element(out, "", mq_words_heading(figure).s, "</abbr>");
    if (figure->unit == MQ_UNIT_NATS)
        element(out, "<small>", mq_unit_name(figure->unit), "</small>");
    put(out, "</th>");
}

static void head_row(const struct mq_page *r, struct mq_buffer *out, const char *const *cells,
                     size_t n)
{
    open_head(out);
    for (size_t i = 0; i < n; i++)
        head_cell(out, mq_report_phrase(r, cells[i]).s);
    close_head(out);
}
#define HEAD(r, out, ...)                                                        \
    do {                                                                         \
        static const char *const head_cells_[] = {__VA_ARGS__};                  \
        head_row(r, out, head_cells_, sizeof head_cells_ / sizeof *head_cells_); \
    } while (0)

static void cell(struct mq_buffer *out, const char *text)
{
    element(out, "<td>", text, "</td>");
}

/* "99.72 ± 0.02 %" stands as two lines, the error in small print below its value. */
static void estimate_cell(struct mq_buffer *out, struct mq_words words)
{
    static const char sign[] = " ± ", unit[] = "\u00a0%";
    char *error = strstr(words.s, sign);
    const bool percent = strstr(words.s, unit) != NULL;
    if (error) {
        *error = '\0';
        error += strlen(" ");
    }
    element(out, "<td>", words.s, "");
    if (error)
        element(out, percent ? "\u00a0%<small>" : "<small>", error, "</small>");
    put(out, "</td>");
}

static void open_row(struct mq_buffer *out, const char *name, bool marked)
{
    element(out, marked ? "<tr class=\"take\"><th scope=\"row\">" : "<tr><th scope=\"row\">", name,
            "</th>");
}

static void close_row(struct mq_buffer *out)
{
    put(out, "</tr>\n");
}

static void section(struct mq_buffer *out, const char *id, const char *title)
{
    mq_buffer_printf(out, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">", id, id);
    element(out, "", title, "</h2>\n");
}

static void end_section(struct mq_buffer *out)
{
    put(out, "</section>\n");
}

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
    element(out, "<b>", need, "</b> ");
    element(out, "", arm->name, "");
    if (isfinite(arm->size_share))
        mq_buffer_printf(out, " (%s of the memory, %s). ", mq_words_percent(arm->size_share).s,
                         mq_report_class(arm));
    else
        put(out, ". ");
}

static void limit_row(const struct mq_report_limit *l, struct mq_buffer *out)
{
    open_row(out, l->metric.s, false);
    estimate_cell(out, mq_words_estimate(l->found, 5));
    mq_buffer_printf(out, "<td>%s %s</td>", l->is_max ? "max" : "min", mq_words_sig(l->bound, 5).s);
    cell(out, l->kept ? "—" : mq_words_sig(fabs(l->found.value - l->bound), 2).s);
    close_row(out);
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
            put(out, "<details>\n<summary>Limits that were kept</summary>\n");
        open_table(r, out, kept ? "Limits that were kept" : "Broken limits",
                   "What was found, ± one standard error, and what the gate asks for.");
        HEAD(r, out, "Metric", "Found", "Limit", "Beyond it by");
        for (const cJSON *l = limits->child; l; l = l->next) {
            const struct mq_report_limit limit = mq_report_limit(l);
            if (limit.kept == kept)
                limit_row(&limit, out);
        }
        close_table(out);
        if (kept)
            put(out, "</details>\n");
    }
}

/* Paired, window by window: far more certain than the difference of two rows with their errors. */
static void put_pair(const struct mq_page *r, const struct mq_report_pair *pair,
                     struct mq_buffer *out)
{
    struct mq_buffer how = {0};
    mq_report_bootstrap(pair, &how);
    open_table(r, out, pair->title.s, how.data ? how.data : "");
    open_head(out);
    const char *const heads[] = {"Figure", "<Reads", pair->title.s, "±", "95 % from", "to"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        head_cell(out, heads[i]);
    close_head(out);
    for (const cJSON *figure = pair->figures; figure; figure = figure->next) {
        const struct mq_report_difference d = mq_report_difference(pair, figure);
        open_row(out, d.name, false);
        element(out, "<td class=\"text\">", d.reads.s, "</td>");
        cell(out, d.mean.s);
        cell(out, d.se.s);
        cell(out, d.low.s);
        cell(out, d.high.s);
        close_row(out);
    }
    close_table(out);
    out->failed = out->failed || how.failed;
    mq_buffer_free(&how);
}

static void put_level(const struct mq_page *r, const struct mq_report_arm *a, struct mq_buffer *out)
{
    element(out,
            a->fails_gate         ? "<li class=\"broken\"><b>"
            : a == r->recommended ? "<li class=\"take\"><b>"
                                  : "<li><b>",
            a->name, "");
    if (a->file[0])
        element(out, ": ", a->file, "");
    put(out, "</b>");
    class_mark(a, out);
    sentence(a, out);
    put(out, "</li>\n");
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
        put(out, "<ul class=\"levels\">\n");
        for (size_t i = 0; i < r->arms_count; i++) {
            const struct mq_report_arm *a = &r->arms[i];
            const bool told =
                !fold || a->fails_gate || a == r->recommended || a == r->lighter || a == r->closer;
            hidden += !folded && !told && !a->is_baseline;
            if (!a->is_baseline && told != (folded == 1))
                put_level(r, a, out);
        }
        put(out, "</ul>\n");
        if (folded)
            put(out, "</details>\n");
    }
}

static void put_verdict(const struct mq_page *r, struct mq_buffer *out)
{
    put(out, "<section aria-label=\"Verdict\">\n");
    mq_html_headline(r, out);
    if (r->lighter || r->closer) {
        put(out, "<p class=\"others\">");
        alternative(r->lighter, "Short of memory:", out);
        alternative(r->closer, "As close to the original as it gets:", out);
        put(out, "</p>\n");
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
    open_row(out, a->name, a == r->recommended);
    element(out, "<td class=\"text\">",
            a->is_baseline   ? "reference"
            : a == &r->noise ? "noise floor"
                             : mq_report_class(a),
            "</td>");
    cell(out, mq_words_bytes(a->file_bytes).s);
    const struct mq_figure *f;
    for (size_t i = 0; (f = mq_summary_figure(r, i)) != NULL; i++)
        estimate_cell(out, mq_summary_words(a, f));
    cell(out, mq_words_percent(a->size_share).s);
    cell(out, mq_words_sig(a->bits_per_weight, 4).s);
    close_row(out);
}

/* The whole result on one screen: everything below explains it. */
static void put_summary(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *f;
    open_table(r, out, "Summary",
               "What each column is stands under Terms. ± is one standard error.");
    open_head(out);
    head_cell(out, mq_report_phrase(r, "{Level}").s);
    head_cell(out, "<Class");
    figure_head(out, &mq_figures[MQ_FIGURE_FILE_BYTES]);
    for (size_t i = 0; (f = mq_summary_figure(r, i)) != NULL; i++)
        figure_head(out, f);
    head_cell(out, "Size|of the original");
    figure_head(out, &mq_figures[MQ_FIGURE_BITS_PER_WEIGHT]);
    close_head(out);
    for (size_t i = 0; i < r->arms_count; i++) {
        summary_row(r, &r->arms[i], out);
        if (r->arms[i].int8)
            summary_row(r, r->arms[i].int8, out);
    }
    if (r->has_noise)
        summary_row(r, &r->noise, out);
    close_table(out);
    put(out, "<p class=\"note\">");
    plain(r, mq_report_arithmetic, out);
    element(out, " ",
            r->is_verification
                ? ""
                : mq_report_phrase(r, r->card ? mq_report_card_rule : mq_report_rule).s,
            " ");
    say(r, out, "What a {level} costs depends on the text: measure on yours.</p>\n");
    mq_html_classes(out);
    if (r->has_noise)
        put(out,
            "<p class=\"note\">The noise floor is the original itself with its activations rounded "
            "to bf16, as most runtimes do: differences below it mean nothing there.</p>\n");
    end_section(out);
}

/* ---- tables ---- */

static void percentile_row(const struct mq_page *r, const struct mq_report_arm *a,
                           struct mq_buffer *out)
{
    const cJSON *kld = a ? mq_json_get(a->json, "kld_nats") : NULL;
    const struct mq_figure *f;
    if (!cJSON_IsObject(kld))
        return;
    open_row(out, a->name, false);
    for (size_t i = 0; (f = mq_spread_figure(r, i)) != NULL; i++)
        estimate_cell(out, mq_words_figure(f, mq_report_figure(a->json, f)));
    cell(out, mq_words_count(mq_report_number(kld, "tokens")).s);
    close_row(out);
}

/* Two levels of equal mean can differ in how badly the worst tokens fare. */
static void put_percentiles(const struct mq_page *r, struct mq_buffer *out)
{
    double tokens = NAN;
    for (size_t i = 0; i < r->arms_count; i++)
        tokens = fmax(tokens, mq_report_number(mq_json_get(r->arms[i].json, "kld_nats"), "tokens"));
    if (!(tokens > 0))
        return;
    section(out, "percentiles", "How the divergence is spread");
    open_table(r, out, "KL divergence per token",
               tokens < 1e5
                   ? "A mean hides the tail: the few tokens where the output changed much. "
                     "The 99.9th percentile is uncertain below 100,000 tokens."
                   : "A mean hides the tail: the few tokens where the output changed much.");
    const struct mq_figure *f;
    open_head(out);
    head_cell(out, mq_report_phrase(r, "{Level}").s);
    for (size_t i = 0; (f = mq_spread_figure(r, i)) != NULL; i++)
        figure_head(out, f);
    head_cell(out, "Tokens");
    close_head(out);
    for (size_t i = 0; i < r->arms_count; i++) {
        percentile_row(r, &r->arms[i], out);
        percentile_row(r, r->arms[i].int8, out);
    }
    close_table(out);
    end_section(out);
}

static void figure_cell(struct mq_buffer *out, const struct mq_figure *figure, struct mq_estimate e)
{
    if (isfinite(e.value))
        estimate_cell(out, mq_words_figure(figure, e));
    else
        put(out, "<td>—</td>");
}

/* An arm's agreement over all layers; nothing without routing. */
static void routing_row(const struct mq_page *r, const struct mq_report_arm *a,
                        struct mq_buffer *out)
{
    const struct mq_figure *f;
    if (!a || !mq_json_get(a->routing, "overall"))
        return;
    open_row(out, a->name, false);
    for (size_t i = 0; (f = mq_table_figure(r, MQ_SECTION_ROUTING, i)) != NULL; i++)
        figure_cell(out, f, mq_report_figure(a->json, f));
    close_row(out);
}

static void put_routing_table(const struct mq_page *r, struct mq_buffer *out)
{
    open_table(
        r, out, "Routing against the original, all layers",
        "Means over layers and tokens. Chance: two routers that know nothing of each other.");
    const struct mq_figure *f;
    open_head(out);
    head_cell(out, mq_report_phrase(r, "{Level}").s);
    for (size_t i = 0; (f = mq_table_figure(r, MQ_SECTION_ROUTING, i)) != NULL; i++)
        figure_head(out, f);
    close_head(out);
    for (size_t i = 0; i < r->arms_count; i++) {
        routing_row(r, &r->arms[i], out);
        routing_row(r, r->arms[i].int8, out);
    }
    if (r->has_noise)
        routing_row(r, &r->noise, out);
    const cJSON *chance = mq_json_get(r->document, "routing_chance");
    if (cJSON_IsObject(chance)) {
        open_row(out, "chance", false);
        for (size_t i = 0; (f = mq_table_figure(r, MQ_SECTION_ROUTING, i)) != NULL; i++)
            figure_cell(out, f, mq_report_figure_in(chance, f));
        close_row(out);
    }
    close_table(out);
}

/* One row a layer, one column a level: the numbers of the chart of layers. */
static void put_layers_table(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *figure = &mq_figures[MQ_FIGURE_EXACT_SET];
    const cJSON *first = NULL;
    char title[96];
    snprintf(title, sizeof title, "%s, by layer", mq_words_heading(figure).s);
    put(out, "<details>\n<summary>Numbers of the chart by layer</summary>\n");
    open_table(r, out, title, "Share of tokens, ± one standard error.");
    put(out, "<thead><tr><th scope=\"col\">Layer</th>");
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
        if (!layers)
            continue;
        first = first ? first : layers;
        element(out, "<th scope=\"col\">", r->arms[i].name, "</th>");
    }
    put(out, "</tr></thead>\n<tbody>\n");
    int at = 0;
    for (const cJSON *l = first ? first->child : NULL; l; l = l->next, at++) {
        open_row(out, mq_words_count(mq_report_number(l, "layer")).s, false);
        for (size_t i = 0; i < r->arms_count; i++) {
            const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
            if (layers)
                figure_cell(out, figure,
                            mq_report_figure_in(cJSON_GetArrayItem(layers, at), figure));
        }
        close_row(out);
    }
    close_table(out);
    put(out, "</details>\n");
}

/* The numbers of the chart of changed layers. Arms may have groups of unequal number. */
static void put_changed_table(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *figure = &mq_figures[MQ_FIGURE_KLD_CHANGED_LAYERS];
    open_table(r, out, "Mean KL divergence by the number of changed layers",
               "In nats, ± one standard error; below it how many scored tokens took other experts "
               "in so many layers.");
    const cJSON *longest = NULL;
    put(out, "<thead><tr><th scope=\"col\">Changed layers</th>");
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *groups = mq_report_array(r->arms[i].routing, "kld_by_changed_layers");
        if (!groups)
            continue;
        if (!longest || cJSON_GetArraySize(groups) > cJSON_GetArraySize(longest))
            longest = groups;
        element(out, "<th scope=\"col\">", r->arms[i].name, "</th>");
    }
    put(out, "</tr></thead>\n<tbody>\n");
    int at = 0;
    for (const cJSON *g = longest ? longest->child : NULL; g; g = g->next, at++) {
        mq_buffer_printf(out, "<tr><th scope=\"row\">%s%s</th>",
                         mq_words_count(mq_report_number(g, "changed_layers")).s,
                         cJSON_IsTrue(mq_json_get(g, "or_more")) ? " or more" : "");
        for (size_t i = 0; i < r->arms_count; i++) {
            const cJSON *groups = mq_report_array(r->arms[i].routing, "kld_by_changed_layers");
            if (!groups)
                continue;
            const cJSON *group = cJSON_GetArrayItem(groups, at);
            const struct mq_estimate e = mq_report_figure_in(group, figure);
            const double n = mq_report_number(group, "scored_tokens");
            if (isfinite(e.value))
                mq_buffer_printf(out, "<td>%s<small>%s tokens</small></td>",
                                 mq_words_estimate(e, 3).s, mq_words_count(n).s);
            else
                put(out, n == 0 ? "<td>no tokens</td>" : "<td>not defined</td>");
        }
        close_row(out);
    }
    close_table(out);
}

/* How much of the divergence sits in the tokens that took another route somewhere. */
static void put_changed_share(const struct mq_page *r, struct mq_buffer *out)
{
    open_table(r, out, "Tokens with a changed route",
               "Those that took other experts in at least one layer; and their share of the whole "
               "divergence, the sum of all tokens' KLD.");
    HEAD(r, out, "{Level}", "of all tokens", "of the divergence", "KLD mean, unchanged|nats",
         "KLD mean, changed|nats");
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *groups = mq_report_array(r->arms[i].routing, "kld_by_changed_layers");
        double tokens[2] = {0}, sums[2] = {0};
        for (const cJSON *g = groups ? groups->child : NULL; g; g = g->next) {
            const double n = mq_report_number(g, "scored_tokens");
            const double mean =
                mq_report_figure_in(g, &mq_figures[MQ_FIGURE_KLD_CHANGED_LAYERS]).value;
            const int changed = mq_report_number(g, "changed_layers") > 0;
            if (n > 0 && isfinite(mean)) {
                tokens[changed] += n;
                sums[changed] += n * mean;
            }
        }
        if (!groups)
            continue;
        open_row(out, r->arms[i].name, false);
        cell(out, mq_words_percent(tokens[1] / (tokens[0] + tokens[1])).s);
        cell(out, mq_words_percent(sums[1] / (sums[0] + sums[1])).s);
        cell(out, mq_words_sig(sums[0] / tokens[0], 3).s);
        cell(out, mq_words_sig(sums[1] / tokens[1], 3).s);
        close_row(out);
    }
    close_table(out);
}

/* ---- sections ---- */

/* Drawn aside first: a section without any figure is not to appear. */
static void put_frontier(const struct mq_page *r, struct mq_buffer *out)
{
    struct mq_buffer figures = {0};
    if (r->is_verification && r->arms_count < 3)
        return; /* one file beside the original makes no frontier */
    const bool kld = mq_draw_kld(r, &figures), ppl = mq_draw_perplexity(r, &figures);
    if (kld || ppl) {
        section(out, "frontier", "Memory against quality");
        put(out, "<div class=\"figures\">\n");
        mq_buffer_append(out, figures.data, figures.size);
        put(out, "</div>\n");
        end_section(out);
    }
    out->failed = out->failed || figures.failed;
    mq_buffer_free(&figures);
}

static void put_routing(const struct mq_page *r, struct mq_buffer *out)
{
    bool any = false;
    for (size_t i = 0; i < r->arms_count; i++)
        any = any || r->arms[i].routing;
    if (!any)
        return;
    section(out, "routing", "Do tokens still go to the same experts?");
    put(out, "<p>A Mixture-of-Experts model sends each token, in each layer, to a few experts. "
             "Quantization that moves a router's decision sends the token through other weights, "
             "which no average over weights shows.</p>\n<div class=\"figures\">\n");
    mq_draw_layers(r, out);
    mq_draw_margins(r, out);
    put(out, "</div>\n");
    put_routing_table(r, out);
    put_layers_table(r, out);
    end_section(out);
    struct mq_buffer figure = {0};
    if (mq_draw_changed_layers(r, &figure)) {
        section(out, "changed-routes", "What a changed route costs");
        put(out, "<div class=\"figures\">\n");
        mq_buffer_append(out, figure.data, figure.size);
        put(out, "<div>\n");
        put_changed_share(r, out);
        put(out, "</div>\n</div>\n");
        put_changed_table(r, out);
        end_section(out);
    }
    mq_buffer_clear(&figure);
    if (mq_draw_loads(r, &figure)) {
        section(out, "load", "Expert load");
        say(r, out,
            "<p>How the {level} shifts work between experts: a router that was hurt sends "
            "more tokens to some experts and fewer to others.</p>\n"
            "<div class=\"figures\">\n");
        mq_buffer_append(out, figure.data, figure.size);
        put(out, "</div>\n");
        end_section(out);
    }
    out->failed = out->failed || figure.failed;
    mq_buffer_free(&figure);
}

/* ---- whose weights, whose routes ---- */

/* The baseline against itself is 1 and 0 by definition and stands in no document. */
static void swap_cell(const struct mq_page *r, const struct mq_report_arm *arm, bool own_weights,
                      bool own_routes, struct mq_buffer *out)
{
    if (!own_weights && !own_routes) {
        put(out, "<td>1<small>KLD 0</small></td>");
        return;
    }
    const cJSON *result = mq_report_swap(r, arm, own_weights, own_routes);
    if (!result) {
        put(out, "<td>—</td>");
        return;
    }
    const struct mq_figure *ppl = &mq_figures[MQ_FIGURE_PPL_RATIO];
    const struct mq_estimate kld = mq_report_figure(result, &mq_figures[MQ_FIGURE_KLD_MEAN]);
    element(out, "<td>", mq_words_figure(ppl, mq_report_figure(result, ppl)).s, "<small>KLD ");
    element(out, "", mq_words_estimate(kld, 3).s, "</small></td>");
}

static void swap_table(const struct mq_page *r, const struct mq_report_arm *arm,
                       struct mq_buffer *out)
{
    open_table(r, out, arm->name, "PPL ratio; below it the mean KL divergence (nats).");
    HEAD(r, out, "Weights", "Routes of the original", "Routes of the {level}");
    for (int own = 0; own < 2; own++) {
        open_row(out, own ? mq_report_phrase(r, "of the {level}").s : "of the original", false);
        swap_cell(r, arm, own, false, out);
        swap_cell(r, arm, own, true, out);
        close_row(out);
    }
    close_table(out);
}

static bool has_swap(const struct mq_page *r, const struct mq_report_arm *arm)
{
    return mq_report_swap(r, arm, true, false) || mq_report_swap(r, arm, false, true);
}

/* The document shares the loss out where it is larger than its error, with paired errors. */
static void put_shares(const struct mq_page *r, struct mq_buffer *out)
{
    static const char *const losses[] = {"kld_mean", "ln_ppl_ratio"};
    static const char *const parts[] = {"weights", "routes", "interaction"};
    open_table(r, out, "What the loss is made of",
               "Of the mean KL divergence, and of the loss in perplexity (ln of its ratio): the "
               "share that is there with the {level}'s weights alone, with its routes alone, and "
               "what is missing to the whole. A dash: the loss is too close to its error.");
    HEAD(r, out, "{Level}", "KLD|weights alone", "KLD|routes alone", "KLD|only together",
         "PPL|weights alone", "PPL|routes alone", "PPL|only together");
    for (size_t i = 0; i < r->arms_count; i++) {
        if (!has_swap(r, &r->arms[i]))
            continue;
        open_row(out, r->arms[i].name, false);
        for (size_t loss = 0; loss < 2; loss++)
            for (size_t part = 0; part < 3; part++) {
                const struct mq_estimate share =
                    mq_report_share(&r->arms[i], losses[loss], parts[part]);
                if (isfinite(share.value))
                    estimate_cell(out, mq_words_percent_estimate(share));
                else
                    put(out, "<td>—</td>");
            }
        close_row(out);
    }
    close_table(out);
}

static void put_swap(const struct mq_page *r, struct mq_buffer *out)
{
    bool any = false, all = true;
    for (size_t i = 0; i < r->arms_count; i++) {
        if (!has_swap(r, &r->arms[i]))
            continue;
        any = true;
        all = all && mq_report_swap(r, &r->arms[i], false, true);
    }
    if (!any)
        return;
    section(out, "swap", "Wrong routes or coarse weights?");
    if (all)
        say(r, out,
            "<p>Each {level} ran twice more: its weights with the routes that the original chose, "
            "and the original's weights with the routes that the {level} chose.</p>\n");
    else
        say(r, out,
            "<p>Each {level} ran once more, with the routes that the original chose. The "
            "original's "
            "weights with the {level}'s routes (—) need the original itself: it was a recording "
            "that these were measured against.</p>\n");
    put_shares(r, out);
    put(out, "<div class=\"figures tables\">\n");
    for (size_t i = 0; i < r->arms_count; i++)
        if (has_swap(r, &r->arms[i]))
            swap_table(r, &r->arms[i], out);
    put(out, "</div>\n");
    end_section(out);
}

/* ---- where it comes from ---- */

static void put_attribution(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *a = mq_json_get(r->document, "attribution"), *parts = mq_report_array(a, "parts");
    struct mq_report_part part;
    if (!parts || !parts->child)
        return;
    section(out, "attribution", "Where the loss comes from");
    open_table(
        r, out, mq_report_string(a, "of"),
        "The divergence with only that part quantized, and of how much of the whole's it is; "
        "tokens that keep their experts then.");
    HEAD(r, out, "Part", "Bits per weight", "KLD|mean (nats)", "KLD|of the whole's",
         "Same experts");
    for (const cJSON *p = parts->child; p; p = p->next) {
        part = mq_report_part(r, p);
        open_row(out, mq_report_string(p, "name"), false);
        cell(out, part.bits.s);
        estimate_cell(out, part.kld);
        cell(out, part.share.s);
        cell(out, part.routes.s);
        close_row(out);
    }
    part = mq_report_part(r, NULL);
    open_row(out, "their sum", false);
    cell(out, "");
    cell(out, part.kld.s);
    cell(out, part.share.s);
    cell(out, "");
    close_row(out);
    close_table(out);
    end_section(out);
}

/* ---- facts ---- */

static void fact(struct mq_buffer *out, const char *name, const char *text)
{
    element(out, "<tr><th scope=\"row\">", name, "</th>");
    element(out, "<td>", text, "</td></tr>\n");
}

/* What tells a model from another of the same name. */
static void put_files(const struct mq_page *r, const cJSON *files, const char *title,
                      struct mq_buffer *out)
{
    if (!cJSON_IsArray(files) || !files->child)
        return;
    open_table(r, out, title, "The header's CRC-32 tells versions of a file apart.");
    HEAD(r, out, "File", "Bytes", "CRC-32 of the header");
    for (const cJSON *f = files->child; f; f = f->next) {
        open_row(out, mq_report_string(f, "name"), false);
        cell(out, mq_words_count(mq_report_number(f, "bytes")).s);
        element(out, "<td><code>", mq_report_string(f, "header_crc32"), "</code></td>");
        close_row(out);
    }
    close_table(out);
}

static void put_facts(const struct mq_page *r, struct mq_buffer *out)
{
    section(out, "facts", "How this was measured");
    put(out,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Run facts\">\n"
        "<table class=\"facts\">\n<caption><span><b>Run facts.</b></span></caption>\n<tbody>\n");
    mq_report_facts(r, out, fact);
    put(out, "</tbody>\n</table>\n</div>\n");
    put_files(r, mq_report_array(mq_json_get(r->document, "model"), "files"),
              r->is_verification ? "Files of the original" : "Files of the model", out);
    const cJSON *models = mq_report_array(r->document, "model_files");
    for (const cJSON *files = models ? models->child : NULL; files; files = files->next)
        put_files(r, files, "Files judged", out);
    end_section(out);
}

/* Every figure that a table has, and how it is defined. */
static void put_terms(const struct mq_page *r, struct mq_buffer *out)
{
    section(out, "terms", "Terms");
    put(out, "<dl>\n");
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++) {
        if (f->shown == MQ_NOT_SHOWN)
            continue;
        element(out, "<dt>", mq_words_heading(f).s, ": ");
        element(out, "", f->long_title, "</dt>");
        element(out, "<dd>", f->means, " ");
        element(out, "<span class=\"formula\">", f->formula, "</span></dd>\n");
    }
    say(r, out,
        "<dt>Margin</dt><dd>The router's logit (or its score, where a bias takes part in the choice) "
        "of the last expert chosen minus that of the first one not chosen. A small margin is a near-tie.</dd>\n"
        "</dl>\n<p class=\"note\">In formulas: p, q the original's and the {level}'s "
        "probabilities of the next token; S, S' the k experts that each chooses for a token in a "
        "layer, w, w' their weights; r, r' the distributions of their routers over all experts: "
        "the softmax of the logits, or sigmoids divided by their sum.</p>\n");
    end_section(out);
}

/* ---- the page ---- */

void mq_report_html(const struct mq_page *r, struct mq_buffer *out)
{
    put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n"
             "<link rel=\"icon\" href=\"data:,\">\n");
    put(out, "<title>");
    plain(r, mq_report_title, out);
    put(out, "</title>\n<style>\n");
    put(out, mq_report_style);
    put(out, "</style>\n</head>\n<body>\n<header>\n<h1>");
    plain(r, mq_report_title, out);
    put(out, "</h1>\n<p class=\"sub\">");
    plain(r, mq_report_subtitle, out);
    put(out, "</p>\n</header>\n<main>\n");
    put_verdict(r, out);
    put_summary(r, out);
    put_frontier(r, out);
    put_routing(r, out);
    mq_report_domains(r, &(struct mq_report_table){out, true, mq_html_text});
    mq_report_tasks(r, &(struct mq_report_table){out, true, mq_html_text});
    put_attribution(r, out);
    put_swap(r, out);
    put_percentiles(r, out);
    mq_report_samples_html(r->document, out);
    put_facts(r, out);
    put_terms(r, out);
    element(out, "</main>\n<footer>Made by ", mq_report_string(r->document, "producer"), "");
    put(out, r->is_verification ? " from the verification's" : " from the sweep's");
    put(out, " result document.</footer>\n</body>\n</html>\n");
}

/* report_html_routing.c: do tokens still go to the same experts, what does a changed route cost, who has the load. */
#include "report_html_routing.h"

#include "json.h"
#include "report_charts.h"
#include "report_html_pieces.h"

#include <math.h>
#include <stdio.h>

/* An arm's agreement over all layers; nothing without routing. */
static void routing_row(const struct mq_page *r, const struct mq_report_arm *a,
                        struct mq_buffer *out)
{
    const struct mq_figure *f;
    if (!a || !mq_json_get(a->routing, "overall"))
        return;
    mq_html_open_row(out, a->name, false);
    for (size_t i = 0; (f = mq_table_figure(r, MQ_SECTION_ROUTING, i)) != NULL; i++)
        mq_html_figure_cell(out, f, mq_report_figure(a->json, f));
    mq_html_close_row(out);
}

static void put_routing_table(const struct mq_page *r, struct mq_buffer *out)
{
    mq_html_open_table(
        r, out, "Routing against the original, all layers",
        "Means over layers and tokens. Chance: two routers that know nothing of each other.");
    const struct mq_figure *f;
    mq_html_open_head(out);
    mq_html_head_cell(out, mq_report_phrase(r, "{Level}").s);
    for (size_t i = 0; (f = mq_table_figure(r, MQ_SECTION_ROUTING, i)) != NULL; i++)
        mq_html_figure_head(out, f);
    mq_html_close_head(out);
    for (size_t i = 0; i < r->arms_count; i++) {
        routing_row(r, &r->arms[i], out);
        routing_row(r, r->arms[i].int8, out);
    }
    if (r->has_noise)
        routing_row(r, &r->noise, out);
    const cJSON *chance = mq_json_get(r->document, "routing_chance");
    if (cJSON_IsObject(chance)) {
        mq_html_open_row(out, "chance", false);
        for (size_t i = 0; (f = mq_table_figure(r, MQ_SECTION_ROUTING, i)) != NULL; i++)
            mq_html_figure_cell(out, f, mq_report_figure_in(chance, f));
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
}

/* One row a layer, one column a level: the numbers of the chart of layers. */
static void put_layers_table(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *figure = &mq_figures[MQ_FIGURE_EXACT_SET];
    const cJSON *first = NULL;
    char title[96];
    snprintf(title, sizeof title, "%s, by layer", mq_words_heading(figure).s);
    mq_html_put(out, "<details>\n<summary>Numbers of the chart by layer</summary>\n");
    mq_html_open_table(r, out, title, "Share of tokens, ± one standard error.");
    mq_html_put(out, "<thead><tr><th scope=\"col\">Layer</th>");
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
        if (!layers)
            continue;
        first = first ? first : layers;
        mq_html_element(out, "<th scope=\"col\">", r->arms[i].name, "</th>");
    }
    mq_html_put(out, "</tr></thead>\n<tbody>\n");
    int at = 0;
    for (const cJSON *l = first ? first->child : NULL; l; l = l->next, at++) {
        mq_html_open_row(out, mq_words_count(mq_report_number(l, "layer")).s, false);
        for (size_t i = 0; i < r->arms_count; i++) {
            const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
            if (layers)
                mq_html_figure_cell(out, figure,
                                    mq_report_figure_in(cJSON_GetArrayItem(layers, at), figure));
        }
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
    mq_html_put(out, "</details>\n");
}

static const cJSON *groups_of(const struct mq_report_arm *arm)
{
    return mq_report_array(arm->routing, "kld_by_changed_layers");
}

/* The divergence of the tokens that took other experts in so many layers; NULL: an arm with fewer groups. */
static void changed_cell(const cJSON *group, struct mq_buffer *out)
{
    const struct mq_estimate e =
        mq_report_figure_in(group, &mq_figures[MQ_FIGURE_KLD_CHANGED_LAYERS]);
    const double n = mq_report_number(group, "scored_tokens");
    if (!isfinite(e.value)) {
        mq_html_put(out, n == 0 ? "<td>no tokens</td>" : "<td>not defined</td>");
        return;
    }
    mq_html_put(out, "<td>");
    mq_html_estimate(out, mq_words_estimate(e, 3));
    mq_html_element(out, "<small>", mq_words_counted(n, "token").s, "</small></td>");
}

/* The numbers of the chart of changed layers. Arms may have groups of unequal number. */
static void put_changed_table(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *longest = NULL;
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *groups = groups_of(&r->arms[i]);
        if (groups && (!longest || cJSON_GetArraySize(groups) > cJSON_GetArraySize(longest)))
            longest = groups;
    }
    mq_html_open_table(
        r, out, "Mean KL divergence by the number of changed layers",
        "In nats, ± one standard error; below it how many scored tokens took other experts "
        "in so many layers.");
    mq_html_open_head(out);
    mq_html_head_cell(out, mq_report_phrase(r, "{Level}").s);
    for (const cJSON *g = longest ? longest->child : NULL; g; g = g->next) {
        const double n = mq_report_number(g, "changed_layers");
        mq_buffer_printf(out, "<th scope=\"col\">%s%s<small>%s</small></th>", mq_words_count(n).s,
                         cJSON_IsTrue(mq_json_get(g, "or_more")) ? " or more" : "",
                         n == 1 ? "layer" : "layers");
    }
    mq_html_close_head(out);
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *groups = groups_of(&r->arms[i]), *group = groups ? groups->child : NULL;
        if (!groups)
            continue;
        mq_html_open_row(out, r->arms[i].name, false);
        for (const cJSON *g = longest->child; g; g = g->next, group = group ? group->next : NULL)
            changed_cell(group, out);
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
}

/* How much of the divergence sits in the tokens that took another route somewhere. */
static void put_changed_share(const struct mq_page *r, struct mq_buffer *out)
{
    mq_html_open_table(
        r, out, "Tokens with a changed route",
        "Those that took other experts in at least one layer; and their share of the whole "
        "divergence, the sum of all tokens' KLD.");
    MQ_HTML_HEAD(r, out, "{Level}", "of all tokens", "of the divergence",
                 "KLD mean, unchanged|nats", "KLD mean, changed|nats");
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *groups = groups_of(&r->arms[i]);
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
        mq_html_open_row(out, r->arms[i].name, false);
        mq_html_cell(out, mq_words_percent(tokens[1] / (tokens[0] + tokens[1])).s);
        mq_html_cell(out, mq_words_percent(sums[1] / (sums[0] + sums[1])).s);
        mq_html_cell(out, mq_words_sig(sums[0] / tokens[0], 3).s);
        mq_html_cell(out, mq_words_sig(sums[1] / tokens[1], 3).s);
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
}

void mq_html_routing(const struct mq_page *r, struct mq_buffer *out)
{
    bool any = false;
    for (size_t i = 0; i < r->arms_count; i++)
        any = any || r->arms[i].routing;
    if (!any)
        return;
    mq_html_section(out, "routing", "Do tokens still go to the same experts?");
    mq_html_put(
        out, "<p>A Mixture-of-Experts model sends each token, in each layer, to a few experts. "
             "Quantization that moves a router's decision sends the token through other weights, "
             "which no average over weights shows.</p>\n<div class=\"figures\">\n");
    mq_draw_layers(r, out);
    mq_draw_margins(r, out);
    mq_html_put(out, "</div>\n");
    put_routing_table(r, out);
    put_layers_table(r, out);
    mq_html_end_section(out);
    struct mq_buffer figure = {0};
    if (mq_draw_changed_layers(r, &figure)) {
        mq_html_section(out, "changed-routes", "What a changed route costs");
        mq_html_put(out, "<div class=\"figures\">\n");
        mq_buffer_append(out, figure.data, figure.size);
        mq_html_put(out, "<div>\n");
        put_changed_share(r, out);
        mq_html_put(out, "</div>\n</div>\n");
        put_changed_table(r, out);
        mq_html_end_section(out);
    }
    mq_buffer_clear(&figure);
    if (mq_draw_loads(r, &figure)) {
        mq_html_section(out, "load", "Expert load");
        mq_html_say(r, out,
                    "<p>How the {level} shifts work between experts: a router that was hurt sends "
                    "more tokens to some experts and fewer to others.</p>\n"
                    "<div class=\"figures\">\n");
        mq_buffer_append(out, figure.data, figure.size);
        mq_html_put(out, "</div>\n");
        mq_html_end_section(out);
    }
    out->failed = out->failed || figure.failed;
    mq_buffer_free(&figure);
}

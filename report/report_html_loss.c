/* report_html_loss.c: what a loss is made of: coarse weights or wrong routes; which part of the model. */
#include "report_html_loss.h"

#include "json.h"
#include "report_html_pieces.h"
#include "report_words.h"

#include <math.h>

/* ---- whose weights, whose routes ---- */

/* The baseline against itself is 1 and 0 by definition and stands in no document. */
static void swap_cell(const struct mq_page *r, const struct mq_report_arm *arm, bool own_weights,
                      bool own_routes, struct mq_buffer *out)
{
    if (!own_weights && !own_routes) {
        mq_html_put(out, "<td>1<small>KLD 0</small></td>");
        return;
    }
    const cJSON *result = mq_report_swap(r, arm, own_weights, own_routes);
    if (!result) {
        mq_html_put(out, "<td>—</td>");
        return;
    }
    const struct mq_figure *ppl = &mq_figures[MQ_FIGURE_PPL_RATIO];
    const struct mq_estimate kld = mq_report_figure(result, &mq_figures[MQ_FIGURE_KLD_MEAN]);
    mq_html_element(out, "<td>", mq_words_figure(ppl, mq_report_figure(result, ppl)).s,
                    "<small>KLD ");
    mq_html_element(out, "", mq_words_estimate(kld, 3).s, "</small></td>");
}

static void swap_table(const struct mq_page *r, const struct mq_report_arm *arm,
                       struct mq_buffer *out)
{
    mq_html_open_table(r, out, arm->name, "PPL ratio; below it the mean KL divergence (nats).");
    MQ_HTML_HEAD(r, out, "Weights", "Routes of the original", "Routes of the {level}");
    for (int own = 0; own < 2; own++) {
        mq_html_open_row(out, own ? mq_report_phrase(r, "of the {level}").s : "of the original",
                         false);
        swap_cell(r, arm, own, false, out);
        swap_cell(r, arm, own, true, out);
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
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
    mq_html_open_table(
        r, out, "What the loss is made of",
        "Of the mean KL divergence, and of the loss in perplexity (ln of its ratio): the "
        "share that is there with the {level}'s weights alone, with its routes alone, and "
        "what is missing to the whole. A dash: the loss is too close to its error.");
    MQ_HTML_HEAD(r, out, "{Level}", "KLD|weights alone", "KLD|routes alone", "KLD|only together",
                 "PPL|weights alone", "PPL|routes alone", "PPL|only together");
    for (size_t i = 0; i < r->arms_count; i++) {
        if (!has_swap(r, &r->arms[i]))
            continue;
        mq_html_open_row(out, r->arms[i].name, false);
        for (size_t loss = 0; loss < 2; loss++)
            for (size_t part = 0; part < 3; part++) {
                const struct mq_estimate share =
                    mq_report_share(&r->arms[i], losses[loss], parts[part]);
                if (isfinite(share.value))
                    mq_html_estimate_cell(out, mq_words_percent_estimate(share));
                else
                    mq_html_put(out, "<td>—</td>");
            }
        mq_html_close_row(out);
    }
    mq_html_close_table(out);
}

void mq_html_swap(const struct mq_page *r, struct mq_buffer *out)
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
    mq_html_section(out, "swap", "Wrong routes or coarse weights?");
    if (all)
        mq_html_say(
            r, out,
            "<p>Each {level} ran twice more: its weights with the routes that the original chose, "
            "and the original's weights with the routes that the {level} chose.</p>\n");
    else
        mq_html_say(
            r, out,
            "<p>Each {level} ran once more, with the routes that the original chose. The "
            "original's "
            "weights with the {level}'s routes (—) need the original itself: it was a recording "
            "that these were measured against.</p>\n");
    put_shares(r, out);
    mq_html_put(out, "<div class=\"figures tables\">\n");
    for (size_t i = 0; i < r->arms_count; i++)
        if (has_swap(r, &r->arms[i]))
            swap_table(r, &r->arms[i], out);
    mq_html_put(out, "</div>\n");
    mq_html_end_section(out);
}

/* ---- where it comes from ---- */

void mq_html_attribution(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *a = mq_json_get(r->document, "attribution"), *parts = mq_report_array(a, "parts");
    struct mq_report_part part;
    if (!parts || !parts->child)
        return;
    mq_html_section(out, "attribution", "Where the loss comes from");
    mq_html_open_table(
        r, out, mq_report_string(a, "of"),
        "The divergence with only that part quantized, and of how much of the whole's it is; "
        "tokens that keep their experts then.");
    MQ_HTML_HEAD(r, out, "Part", "Bits per weight", "KLD|mean (nats)", "KLD|of the whole's",
                 "Same experts");
    for (const cJSON *p = parts->child; p; p = p->next) {
        part = mq_report_part(r, p);
        mq_html_open_row(out, mq_report_string(p, "name"), false);
        mq_html_cell(out, part.bits.s);
        mq_html_estimate_cell(out, part.kld);
        mq_html_cell(out, part.share.s);
        mq_html_cell(out, part.routes.s);
        mq_html_close_row(out);
    }
    part = mq_report_part(r, NULL);
    mq_html_open_row(out, "their sum", false);
    mq_html_cell(out, "");
    mq_html_cell(out, part.kld.s);
    mq_html_cell(out, part.share.s);
    mq_html_cell(out, "");
    mq_html_close_row(out);
    mq_html_close_table(out);
    mq_html_end_section(out);
}

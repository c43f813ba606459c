/* report_charts.c: which numbers of the document go into which chart, and what is said below it.
 */
#include "report_charts.h"

#include "json.h"
#include "report_svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int mq_arm_style(const struct mq_page *report, const struct mq_report_arm *arm)
{
    int style = 0;
    for (const struct mq_report_arm *a = report->arms; a < arm; a++)
        style += !a->is_baseline;
    return style;
}

static void open_figure(struct mq_buffer *out)
{
    mq_buffer_puts(out, "<figure>\n");
}

/* The caption stands below: its title, then how to read it (both plain text). */
static void close_figure(const struct mq_page *r, struct mq_buffer *out, const char *title,
                         const char *words)
{
    mq_buffer_puts(out, "<figcaption><b>");
    mq_html_text(out, title);
    mq_buffer_puts(out, ".</b> ");
    mq_html_text(out, mq_report_phrase(r, words).s);
    mq_buffer_puts(out, "</figcaption>\n</figure>\n");
}

/* Grows a range by a value, and by its error bar; passes over what is not finite. */
struct range {
    double low, high;
};

static void widen(struct range *range, double value)
{
    if (!isfinite(value))
        return;
    range->low = fmin(range->low, value);
    range->high = fmax(range->high, value);
}

static void widen_estimate(struct range *range, struct mq_estimate e, bool logarithmic)
{
    if (!isfinite(e.value) || (logarithmic && e.value <= 0))
        return;
    widen(range, e.value);
    if (!isfinite(e.se))
        return;
    widen(range, e.value + e.se);
    /* A lower end near or below 0 would stretch a logarithmic axis without end. */
    widen(range, logarithmic ? fmax(e.value - e.se, e.value / 3) : e.value - e.se);
}

/* ---- memory against quality ---- */

/* Arms with a size, largest first: the order in which the line joins them. */
static size_t by_size(const struct mq_page *r, const struct mq_report_arm *sorted[])
{
    size_t n = 0;
    for (size_t i = 0; i < r->arms_count; i++) {
        const struct mq_report_arm *a = &r->arms[i];
        if (a->is_baseline || !isfinite(a->file_bytes))
            continue;
        size_t at = n++;
        for (; at && sorted[at - 1]->file_bytes < a->file_bytes; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = a;
    }
    return n;
}

/* Sizes in one unit for all; the baseline, twice as large as the next, would waste half of the
 * axis. */
static void fit_sizes(const struct mq_page *r, struct mq_axis *x, bool with_baseline,
                      char title[64])
{
    struct range range = {INFINITY, 0};
    for (size_t i = 0; i < r->arms_count; i++)
        if (with_baseline || !r->arms[i].is_baseline)
            widen(&range, r->arms[i].file_bytes / r->memory_unit);
    snprintf(title, 64, "size of the file (%s)", r->memory_unit_name);
    x->title = title;
    const double room = 0.06 * (range.high - range.low); /* for marks and labels at the ends */
    mq_axis_fit(x, fmax(0, range.low - room), range.high + room);
}

/* What is exactly 0 has no logarithm. */
static struct mq_estimate arm_kld(const struct mq_report_arm *a)
{
    return a->kld.value > 0 ? a->kld : (struct mq_estimate){NAN, NAN};
}

static struct mq_estimate arm_ppl_ratio(const struct mq_report_arm *a)
{
    return a->ppl_ratio;
}

/* The points are marked as taken first, so that no words come to stand on them. */
static void reserve_frontier(const struct mq_page *r, struct mq_chart *c,
                             struct mq_estimate (*value)(const struct mq_report_arm *))
{
    for (size_t i = 0; i < r->arms_count; i++) {
        const struct mq_report_arm *a = &r->arms[i];
        if (!a->is_baseline)
            mq_chart_reserve(c, a->file_bytes / r->memory_unit, value(a).value, value(a).se);
    }
}

/* What a chart of sizes is about. */
struct frontier {
    struct mq_estimate (*value)(const struct mq_report_arm *);
    const struct mq_figure *figure;
    void (*levels)(const struct mq_page *r, struct mq_chart *c); /* horizontal lines */
};

/* How points are named: beside them, as long as they do not crowd each other; else to the right, from above to below
 * as the points stand. */
enum naming { NAMES_AND_BITS, NAMES, NAMES_TO_THE_RIGHT };

static void draw_name(const struct mq_page *r, struct mq_chart *c, const struct frontier *f,
                      const struct mq_report_arm *a, enum naming naming)
{
    char label[80];
    const double y = f->value(a).value;
    if (naming == NAMES_TO_THE_RIGHT) {
        mq_chart_series(c, mq_arm_style(r, a), false);
        mq_chart_name(c, y, a->name);
        return;
    }
    snprintf(label, sizeof label, "%.40s · %.3g bits", a->name, a->bits_per_weight);
    mq_chart_label(c, a->file_bytes / r->memory_unit, y,
                   naming == NAMES_AND_BITS && isfinite(a->bits_per_weight) ? label : a->name);
}

/* One thin line through all of them, then each in its own colour, then the names. */
static void draw_points(const struct mq_page *r, struct mq_chart *c, const struct frontier *f,
                        enum naming naming)
{
    const struct mq_report_arm *arms[MQ_REPORT_ARMS];
    const size_t n = by_size(r, arms);
    mq_chart_series(c, -1, true);
    for (size_t i = 0; i < n; i++)
        mq_chart_point(c, arms[i]->file_bytes / r->memory_unit, f->value(arms[i]).value, NAN, NULL);
    for (size_t i = 0; i < n; i++) {
        char tip[512];
        const struct mq_estimate e = f->value(arms[i]);
        snprintf(tip, sizeof tip, "%.40s: %s, %s %s", arms[i]->name,
                 mq_words_bytes(arms[i]->file_bytes).s, f->figure->title,
                 mq_words_estimate(e, 5).s);
        mq_chart_series(c, mq_arm_style(r, arms[i]), false);
        mq_chart_point(c, arms[i]->file_bytes / r->memory_unit, e.value, e.se, tip);
    }
    for (size_t i = 0; i < n; i++)
        draw_name(r, c, f, arms[i], naming);
}

/* Into c->out, by the first way of naming that does not crowd the points. */
static void draw_frontier(const struct mq_page *r, const struct mq_chart *c,
                          const struct frontier *f, enum naming first)
{
    for (enum naming naming = first;; naming++) {
        struct mq_buffer svg = {0};
        struct mq_chart attempt = *c;
        attempt.out = &svg;
        for (size_t i = 0; naming == NAMES_TO_THE_RIGHT && i < r->arms_count; i++)
            if (!r->arms[i].is_baseline && isfinite(r->arms[i].file_bytes))
                mq_chart_expect_name(&attempt, r->arms[i].name);
        mq_chart_begin(&attempt);
        reserve_frontier(r, &attempt, f->value);
        f->levels(r, &attempt);
        draw_points(r, &attempt, f, naming);
        mq_chart_end(&attempt);
        const bool good = !attempt.crowded || naming == NAMES_TO_THE_RIGHT;
        if (good && svg.data)
            mq_buffer_append(c->out, svg.data, svg.size);
        c->out->failed = c->out->failed || svg.failed;
        mq_buffer_free(&svg);
        if (good)
            return;
    }
}

static void kld_levels(const struct mq_page *r, struct mq_chart *c)
{
    for (int q = MQ_QUALITY_NEAR_LOSSLESS; q < MQ_QUALITY_POOR; q++)
        mq_chart_level_line(c, mq_quality_bands[q].below, mq_quality_bands[q].name);
    if (r->has_noise && r->noise.kld.value > 0)
        mq_chart_level_line(c, r->noise.kld.value, "noise floor");
}

static void perplexity_levels(const struct mq_page *r, struct mq_chart *c)
{
    (void)r;
    mq_chart_level_line(c, 1, "as the original");
}

bool mq_draw_kld(const struct mq_page *r, struct mq_buffer *out)
{
    struct range range = {INFINITY, 0};
    for (size_t i = 0; i < r->arms_count; i++)
        if (isfinite(r->arms[i].file_bytes))
            widen_estimate(&range, arm_kld(&r->arms[i]), true);
    if (!isfinite(range.low))
        return false;
    if (r->has_noise && r->noise.kld.value > 0)
        widen(&range, r->noise.kld.value);
    char x_title[64];
    const struct mq_phrase description = mq_report_phrase(
        r, "Each {level}'s mean Kullback-Leibler divergence from the original's output, on "
           "a logarithmic axis, against the size of its file. Lower and further left "
           "is better. The summary table holds the numbers.");
    struct mq_chart c = {
        .out = out,
        .id = "kld",
        .title = "Mean KL divergence against size",
        .description = description.s,
        .y = {.title = "mean KL divergence (nats, log scale)", .logarithmic = true},
    };
    fit_sizes(r, &c.x, false, x_title);
    mq_axis_fit(&c.y, range.low / 1.5, range.high * 1.5);
    open_figure(out);
    draw_frontier(r, &c, &(struct frontier){arm_kld, &mq_figures[MQ_FIGURE_KLD_MEAN], kld_levels},
                  NAMES_AND_BITS);
    close_figure(r, out, "Memory against fidelity",
                 "Lower is closer to the original, further left is smaller. Dashed lines: upper "
                 "bounds of the classes named. Bars: ± 1 standard error. A {level} that gives "
                 "exactly the original's output (KLD 0) has no place on this axis.");
    return true;
}

bool mq_draw_perplexity(const struct mq_page *r, struct mq_buffer *out)
{
    struct range range = {INFINITY, -INFINITY};
    size_t n = 0;
    for (size_t i = 0; i < r->arms_count; i++)
        if (isfinite(r->arms[i].file_bytes) && isfinite(r->arms[i].ppl_ratio.value)) {
            widen_estimate(&range, r->arms[i].ppl_ratio, false);
            n++;
        }
    if (!n)
        return false;
    widen(&range, 1);
    /* A hair below 1 (an error bar's end) is not worth a tick. */
    if (range.low > 1 - 0.02 * (range.high - 1))
        range.low = 1;
    char x_title[64];
    const struct mq_phrase description = mq_report_phrase(
        r, "Each {level}'s perplexity divided by that of the original, against the size of "
           "its file. 1 is no loss. The summary table holds the numbers.");
    struct mq_chart c = {
        .out = out,
        .id = "ppl",
        .title = "PPL ratio against size",
        .description = description.s,
        .y = {.title = mq_figures[MQ_FIGURE_PPL_RATIO].long_title},
    };
    fit_sizes(r, &c.x, false, x_title);
    mq_axis_fit(&c.y, range.low, range.high);
    open_figure(out);
    draw_frontier(
        r, &c,
        &(struct frontier){arm_ppl_ratio, &mq_figures[MQ_FIGURE_PPL_RATIO], perplexity_levels},
        NAMES);
    close_figure(r, out, "Memory against perplexity",
                 "1 is no loss. Bars: ± 1 standard error of the paired difference. A ratio within "
                 "two of them of 1 is no evidence of a loss.");
    return true;
}

/* ---- routing, layer by layer ---- */

bool mq_draw_layers(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *figure = &mq_figures[MQ_FIGURE_EXACT_SET];
    struct range x = {INFINITY, -INFINITY}, y = {INFINITY, 1};
    enum { MOST_MARKS = 400 }; /* more would hide the lines, and each has a tip of its own */
    size_t points = 0;
    const struct mq_phrase description = mq_report_phrase(
        r, "For each layer, the share of tokens that each {level} sends to exactly the "
           "same set of experts as the original. The table below holds the numbers.");
    struct mq_chart c = {
        .out = out,
        .id = "layers",
        .title = "Routing agreement by layer",
        .description = description.s,
        .x = {.title = "layer"},
        .y = {.title = figure->long_title, .percent = true},
    };
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
        for (const cJSON *l = layers ? layers->child : NULL; l; l = l->next) {
            widen(&x, mq_report_number(l, "layer"));
            widen_estimate(&y, mq_report_figure_in(l, figure), false);
        }
        if (layers) {
            mq_chart_expect_name(&c, r->arms[i].name);
            points += (size_t)cJSON_GetArraySize(layers);
        }
    }
    c.lines_only = points > MOST_MARKS;
    if (!isfinite(x.low) || !isfinite(y.low))
        return false;
    mq_axis_fit_integers(&c.x, x.low, x.high);
    mq_axis_fit(&c.y, y.low, 1);
    c.y.max = 1;
    open_figure(out);
    mq_chart_begin(&c);
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
        double end = NAN;
        mq_chart_series(&c, mq_arm_style(r, &r->arms[i]), true);
        for (const cJSON *l = layers ? layers->child : NULL; l; l = l->next) {
            const struct mq_estimate e = mq_report_figure_in(l, figure);
            const double layer = mq_report_number(l, "layer");
            char tip[512];
            snprintf(tip, sizeof tip, "%.40s, layer %.0f: %s", r->arms[i].name, layer,
                     mq_words_percent_estimate(e).s);
            mq_chart_point(&c, layer, e.value, e.se, tip);
            if (isfinite(e.value))
                end = e.value;
        }
        mq_chart_name(&c, layers ? end : NAN, r->arms[i].name);
    }
    mq_chart_end(&c);
    const double chance =
        mq_report_figure_in(mq_json_get(r->document, "routing_chance"), figure).value;
    char words[240];
    snprintf(words, sizeof words,
             "Share of tokens sent to exactly the original's experts.%s%s%s %s",
             isfinite(chance) ? " Routers that know nothing of each other would reach " : "",
             isfinite(chance) ? mq_words_percent(chance).s : "", isfinite(chance) ? "." : "",
             c.lines_only ? "Marks stand at every tenth layer." : "Bars: ± 1 standard error.");
    close_figure(r, out, "Routing agreement by layer", words);
    return true;
}

/* ---- margins ---- */

/* The rate and its binomial standard error. */
static struct mq_estimate flip_rate(const cJSON *bin)
{
    const double n = mq_report_number(bin, "choices"), k = mq_report_number(bin, "changed");
    if (!(n > 0) || !(k >= 0))
        return (struct mq_estimate){NAN, NAN};
    const double p = fmin(1, k / n);
    return (struct mq_estimate){p, sqrt(p * (1 - p) / n)};
}

/* Whether every bin has its lower edge and its counts. */
static bool has_margins(const cJSON *bins)
{
    if (!bins || cJSON_GetArraySize(bins) >= MQ_TICKS)
        return false;
    for (const cJSON *b = bins->child; b; b = b->next)
        if (!isfinite(mq_report_number(b, "from_logits")) ||
            !isfinite(mq_report_number(b, "choices")))
            return false;
    return true;
}

/* The bins' widths grow; they are drawn equally wide, with their edges below the joints. */
static void margin_ticks(struct mq_axis *x, const cJSON *bins)
{
    int i = 0;
    char label[24];
    x->min = 0;
    for (const cJSON *b = bins->child; b; b = b->next, i++) {
        snprintf(label, sizeof label, "%.4g", mq_report_number(b, "from_logits"));
        mq_axis_add_tick(x, i, label);
    }
    const cJSON *last = cJSON_GetArrayItem(bins, i - 1);
    const double end = mq_report_number(last, "to_logits");
    snprintf(label, sizeof label, "%.4g", end);
    mq_axis_add_tick(x, i, isfinite(end) ? label : "∞");
    x->max = i;
}

/* How many choices a bin stands for: a high rate in a bin that is nearly empty matters little. */
static void draw_margin_counts(struct mq_chart *c, const cJSON *bins)
{
    double total = 0;
    for (const cJSON *b = bins->child; b; b = b->next)
        total += fmax(0, mq_report_number(b, "choices"));
    int i = 0;
    for (const cJSON *b = bins->child; b && total > 0; b = b->next, i++) {
        const double n = mq_report_number(b, "choices");
        char tip[512];
        snprintf(tip, sizeof tip, "%s, %s of all", mq_words_counted(n, "choice").s,
                 mq_words_percent(n / total).s);
        mq_chart_bar(c, i, i + 1, n / total, tip);
    }
}

/* Of routers that choose by scores with a bias. */
static bool margins_are_of_scores(const struct mq_page *r)
{
    for (size_t i = 0; i < r->arms_count; i++) {
        const char *of = mq_report_string(r->arms[i].routing, "margins_of");
        if (of && strcmp(of, "router scores") == 0)
            return true;
    }
    return false;
}

bool mq_draw_margins(const struct mq_page *r, struct mq_buffer *out)
{
    struct range y = {0, 0};
    const cJSON *bins = NULL; /* the baseline's choices: the same in every arm */
    const bool scores = margins_are_of_scores(r);
    const struct mq_phrase description = mq_report_phrase(
        r, "How often a {level} changes the set of experts, for choices grouped by the "
           "original's margin between the last chosen expert and the next one. Grey bars "
           "show the share of all choices in each group.");
    struct mq_chart c = {
        .out = out,
        .id = "margins",
        .title = "Changed routes against the router's margin",
        .description = description.s,
        .x = {.title = scores ? "the original router's margin (scores)"
                              : "the original router's margin (logits)"},
        .y = {.title = "share of choices", .percent = true},
    };
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *list = mq_report_array(r->arms[i].routing, "baseline_margins");
        if (!has_margins(list))
            continue;
        bins = bins ? bins : list;
        double total = 0;
        for (const cJSON *b = list->child; b; b = b->next)
            total += fmax(0, mq_report_number(b, "choices"));
        for (const cJSON *b = list->child; b; b = b->next) {
            widen_estimate(&y, flip_rate(b), false);
            widen(&y, mq_report_number(b, "choices") / total);
        }
        mq_chart_expect_name(&c, r->arms[i].name);
    }
    if (!bins)
        return false;
    c.legend[0].name = "all choices";
    c.legend[0].style = -1;
    c.legend_count = 1;
    margin_ticks(&c.x, bins);
    mq_axis_fit(&c.y, 0, fmax(y.high, 0.001));
    open_figure(out);
    mq_chart_begin(&c);
    draw_margin_counts(&c, bins);
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *list = mq_report_array(r->arms[i].routing, "baseline_margins");
        if (!has_margins(list))
            continue;
        mq_chart_series(&c, mq_arm_style(r, &r->arms[i]), true);
        double at = 0.5, end = NAN;
        for (const cJSON *b = list->child; b; b = b->next, at += 1) {
            const struct mq_estimate e = flip_rate(b);
            char tip[512];
            snprintf(tip, sizeof tip, "%.40s, margin from %.4g: %s changed (%s of %s)",
                     r->arms[i].name, mq_report_number(b, "from_logits"),
                     mq_words_percent(e.value).s, mq_words_count(mq_report_number(b, "changed")).s,
                     mq_words_count(mq_report_number(b, "choices")).s);
            mq_chart_point(&c, at, e.value, e.se, tip);
            if (isfinite(e.value))
                end = e.value;
        }
        mq_chart_name(&c, end, r->arms[i].name);
    }
    mq_chart_end(&c);
    close_figure(r, out, "Changed routes against the router's margin",
                 "Marks: share of the choices in that bin where the {level} picked other experts. "
                 "Grey: share of all choices that fall into the bin. Changes confined to small "
                 "margins are near-ties; changes at large margins are damage.");
    return true;
}

/* ---- the output's divergence by changed layers ---- */

/* Arms stand side by side within their column, 0.5 wide. */
static double dodge(const struct mq_page *r, const struct mq_report_arm *arm)
{
    const int n = (int)r->arms_count - (r->baseline != NULL);
    return n > 1 ? 0.5 * (mq_arm_style(r, arm) / (double)(n - 1) - 0.5) : 0;
}

static void changed_ticks(struct mq_axis *x, const cJSON *groups, double last)
{
    x->min = -0.5;
    for (const cJSON *g = groups->child; g; g = g->next) {
        const double layers = mq_report_number(g, "changed_layers");
        if (!isfinite(layers) || layers > last)
            continue;
        char label[24];
        snprintf(label, sizeof label, "%.0f%s", layers,
                 cJSON_IsTrue(mq_json_get(g, "or_more")) ? " or more" : "");
        mq_axis_add_tick(x, layers, label);
    }
    x->max = last + 0.5;
}

bool mq_draw_changed_layers(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_figure *figure = &mq_figures[MQ_FIGURE_KLD_CHANGED_LAYERS];
    struct range y = {INFINITY, 0}, x = {0, 0};
    const cJSON *longest = NULL;
    struct mq_chart c = {
        .out = out,
        .id = "changed",
        .title = "Output divergence by the number of changed layers",
        .description = "Mean KL divergence of the output for tokens that took other experts in "
                       "none, one, two and more layers, on a logarithmic axis. The table below "
                       "holds the numbers.",
        .x = {.title = "layers in which the token took other experts"},
        .y = {.title = "mean KL divergence (nats, log scale)", .logarithmic = true},
    };
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *groups = mq_report_array(r->arms[i].routing, "kld_by_changed_layers");
        if (!groups || cJSON_GetArraySize(groups) >= MQ_TICKS)
            continue;
        for (const cJSON *g = groups->child; g; g = g->next) {
            const struct mq_estimate e = mq_report_figure_in(g, figure);
            widen_estimate(&y, e, true);
            if (e.value > 0)
                widen(&x, mq_report_number(g, "changed_layers"));
        }
        if (!longest || cJSON_GetArraySize(groups) > cJSON_GetArraySize(longest))
            longest = groups;
        mq_chart_expect_name(&c, r->arms[i].name);
    }
    if (!longest || !isfinite(y.low) || x.high > MQ_TICKS)
        return false;
    changed_ticks(&c.x, longest, x.high);
    mq_axis_fit(&c.y, y.low, y.high);
    open_figure(out);
    mq_chart_begin(&c);
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *groups = mq_report_array(r->arms[i].routing, "kld_by_changed_layers");
        double end = NAN;
        mq_chart_series(&c, mq_arm_style(r, &r->arms[i]), true);
        for (const cJSON *g = groups ? groups->child : NULL; g; g = g->next) {
            const struct mq_estimate e = mq_report_figure_in(g, figure);
            const double layers = mq_report_number(g, "changed_layers");
            char tip[512];
            snprintf(tip, sizeof tip, "%.40s, %.0f changed: KLD %s (%s)", r->arms[i].name, layers,
                     mq_words_estimate(e, 3).s,
                     mq_words_counted(mq_report_number(g, "scored_tokens"), "token").s);
            mq_chart_point(&c, layers + dodge(r, &r->arms[i]), e.value > 0 ? e.value : NAN, e.se,
                           tip);
            if (e.value > 0)
                end = e.value;
        }
        mq_chart_name(&c, end, r->arms[i].name);
    }
    mq_chart_end(&c);
    close_figure(r, out, "What a changed route does to the output",
                 "Tokens that kept all their experts against those that did not. Bars: ± 1 "
                 "standard error; few tokens make them long.");
    return true;
}

/* ---- expert load ---- */

/* The share of a layer's choices that an expert gets, arm minus baseline, in percentage points. */
static double shift_of(const cJSON *base, const cJSON *arm)
{
    if (!cJSON_IsNumber(base) || !cJSON_IsNumber(arm))
        return NAN;
    const double shift = 100 * (arm->valuedouble - base->valuedouble);
    return fabs(shift) <= 100 ? shift : NAN; /* no difference of two shares is larger */
}

static double load_shift(const void *layers, size_t row, size_t column)
{
    const cJSON *load = mq_json_get(cJSON_GetArrayItem(layers, (int)row), "expert_load");
    return shift_of(cJSON_GetArrayItem(mq_report_array(load, "baseline"), (int)column),
                    cJSON_GetArrayItem(mq_report_array(load, "arm"), (int)column));
}

static double load_layer(const void *layers, size_t row)
{
    return mq_report_number(cJSON_GetArrayItem(layers, (int)row), "layer");
}

/* All arms share one scale, so that their colours can be compared. */
static void measure_loads(const cJSON *layers, size_t *experts, double *limit)
{
    for (const cJSON *l = layers->child; l; l = l->next) {
        const cJSON *load = mq_json_get(l, "expert_load"),
                    *bases = mq_report_array(load, "baseline"),
                    *arms = mq_report_array(load, "arm");
        const cJSON *base = bases ? bases->child : NULL, *arm = arms ? arms->child : NULL;
        for (size_t k = 1; base && arm; k++, base = base->next, arm = arm->next) {
            const double shift = shift_of(base, arm);
            if (!isfinite(shift))
                continue;
            *limit = fmax(*limit, fabs(shift));
            *experts = k > *experts ? k : *experts;
        }
    }
}

/* The key of the colours ends at a round number. */
static double round_up(double x)
{
    static const double steps[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
    if (!(x > 0))
        return 1;
    const double power = pow(10, floor(log10(x)));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (x <= steps[i] * power * (1 + 1e-9))
            return steps[i] * power;
    return 10 * power;
}

bool mq_draw_loads(const struct mq_page *r, struct mq_buffer *out)
{
    enum { MOST_CELLS = 1 << 20, DRAWN_CELLS = 6000, FEWEST = 8 };
    double limit = 0;
    size_t experts = 0, all_rows = 0;
    for (size_t i = 0; i < r->arms_count; i++) {
        const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
        if (!layers)
            continue;
        measure_loads(layers, &experts, &limit);
        all_rows += (size_t)cJSON_GetArraySize(layers);
    }
    /* Where a page would be all cells, a cell stands for several experts. */
    const size_t cells =
        all_rows && all_rows < DRAWN_CELLS / FEWEST ? DRAWN_CELLS / all_rows : FEWEST;
    const size_t group = experts > cells ? (experts + cells - 1) / cells : 1;
    for (size_t i = 0; experts && i < r->arms_count; i++) {
        const cJSON *layers = mq_report_array(r->arms[i].routing, "layers");
        const size_t rows = layers ? (size_t)cJSON_GetArraySize(layers) : 0;
        if (!rows || rows > MOST_CELLS / experts)
            continue;
        char id[32], title[128];
        snprintf(id, sizeof id, "load-%zu", i);
        snprintf(title, sizeof title, "Shift of expert load at %.60s", r->arms[i].name);
        const struct mq_heat heat = {
            .out = out,
            .id = id,
            .title = title,
            .description = "For each layer (row) and expert (column): the share of the layer's "
                           "choices that go to the expert, minus its share in the original, in "
                           "percentage points.",
            .column_title = "expert",
            .row_title = "layer",
            .value_title = "percentage points",
            .rows = rows,
            .columns = experts,
            .group = group,
            .limit = round_up(limit),
            .value = load_shift,
            .row_number = load_layer,
            .user = layers,
        };
        open_figure(out);
        mq_heat_draw(&heat);
        char words[400], grouped[160] = "";
        if (group > 1)
            snprintf(grouped, sizeof grouped,
                     " A cell is %zu experts and shows the largest shift among them; each expert's "
                     "stands in the "
                     "result document (--json, \"expert_load\").",
                     group);
        const double moved =
            mq_report_figure(r->arms[i].json, &mq_figures[MQ_FIGURE_LOAD_SHIFT]).value;
        snprintf(words, sizeof words,
                 "Share of the layer's choices that go to the expert, minus its share in the "
                 "original.%s%.40s%s%s",
                 isfinite(moved) ? " On average over the layers, " : "",
                 isfinite(moved) ? mq_words_percent(moved).s : "",
                 isfinite(moved) ? " of a layer's load moved." : "", grouped);
        close_figure(r, out, title, words);
    }
    return experts > 0;
}

/* report_verify.c: a verification's own words: files, gate, B against A. */
#include "report_verify.h"

#include "json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The judged file number n, from 0; NULL if there are not so many. */
static const struct mq_report_arm *judged(const struct mq_page *r, size_t n)
{
    for (size_t i = 0; i < r->arms_count; i++)
        if (!r->arms[i].is_baseline && n-- == 0)
            return &r->arms[i];
    return NULL;
}

static const char *called(const struct mq_report_arm *arm)
{
    return arm->file[0] ? arm->file : arm->name;
}

void mq_report_verify_title(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_report_arm *a = judged(r, 0), *b = judged(r, 1);
    mq_buffer_puts(out, "Against the original: ");
    mq_buffer_puts(out, a ? called(a) : "nothing");
    if (b) {
        mq_buffer_puts(out, " and ");
        mq_buffer_puts(out, called(b));
    }
}

const char *mq_report_against(const struct mq_page *r)
{
    const cJSON *against = mq_json_get(r->document, "against");
    return strcmp(mq_report_string(against, "kind"), "recording") == 0
               ? "a recording of the original"
               : "the original itself";
}

void mq_report_verify_facts(const struct mq_page *r, struct mq_buffer *out,
                            void (*put)(struct mq_buffer *out, const char *name, const char *text))
{
    static const char *const names[] = {"File A", "File B"};
    const cJSON *models = mq_report_array(r->document, "models");
    const cJSON *against = mq_json_get(r->document, "against");
    const cJSON *gate = mq_json_get(r->document, "gate");
    const cJSON *m = models ? models->child : NULL;
    const bool two = m && m->next;
    for (size_t i = 0; i < 2 && m; i++, m = m->next)
        if (cJSON_IsString(m))
            put(out, two ? names[i] : "File", m->valuestring);
    if (cJSON_IsString(mq_json_get(against, "path")))
        put(out,
            strcmp(mq_report_string(against, "kind"), "recording") == 0 ? "Recording" : "Original",
            mq_report_string(against, "path"));
    if (cJSON_IsFalse(mq_json_get(against, "same_compute")))
        put(out, "Arithmetic of the recording", mq_report_string(against, "compute"));
    if (cJSON_IsString(mq_json_get(gate, "file")))
        put(out, "Gate", mq_report_string(gate, "file"));
}

/* ---- the gate ---- */

const cJSON *mq_report_limits(const struct mq_page *r)
{
    return mq_report_array(mq_json_get(r->document, "gate"), "limits");
}

struct mq_report_limit mq_report_limit(const cJSON *limit)
{
    const bool is_max = cJSON_IsNumber(mq_json_get(limit, "max"));
    return (struct mq_report_limit){
        .metric = mq_report_string(limit, "metric"),
        .is_max = is_max,
        .kept = cJSON_IsTrue(mq_json_get(limit, "kept")),
        .bound = mq_report_number(limit, is_max ? "max" : "min"),
        .found = mq_report_estimate(limit, "found"),
    };
}

size_t mq_report_broken(const struct mq_page *r)
{
    const cJSON *limits = mq_report_limits(r);
    size_t n = 0;
    for (const cJSON *l = limits ? limits->child : NULL; l; l = l->next)
        n += !mq_report_limit(l).kept;
    return n;
}

/* ---- B minus A ---- */

static const struct mq_figure *find_figure(const cJSON *difference)
{
    return difference->string ? mq_figure_by_difference(difference->string) : NULL;
}

const cJSON *mq_report_differences(const struct mq_page *r)
{
    const cJSON *figures = mq_json_get(mq_json_get(r->document, "b_minus_a"), "figures");
    return cJSON_IsObject(figures) ? figures->child : NULL;
}

/* Rates differ by percentage points. */
static struct mq_words with_unit(double x, const struct mq_figure *figure, bool sign)
{
    struct mq_words w;
    if (!isfinite(x))
        return (struct mq_words){"—"};
    const bool points = figure && figure->unit == MQ_UNIT_SHARE;
    const char *unit = points ? "pp" : figure ? mq_unit_name(figure->unit) : "";
    snprintf(w.s, sizeof w.s, "%s%.28s%s%.8s",
             !sign || x == 0 ? ""
             : x < 0         ? "−"
                             : "+",
             mq_words_sig(fabs(points ? 100 * x : x), 3).s, unit[0] ? "\u00a0" : "", unit);
    return w;
}

static struct mq_estimate interval(const cJSON *figure)
{
    const cJSON *ci = mq_report_array(figure, "ci95");
    const cJSON *low = ci ? ci->child : NULL, *high = low ? low->next : NULL;
    return (struct mq_estimate){cJSON_IsNumber(low) ? low->valuedouble : (double)NAN,
                                cJSON_IsNumber(high) ? high->valuedouble : (double)NAN};
}

/* +1: B is greater, beyond what the choice of windows explains; 0: open; NAN: no interval. */
static double direction(const cJSON *figure)
{
    const struct mq_estimate ci = interval(figure);
    const double low = ci.value, high = ci.se;
    if (!isfinite(low) || !isfinite(high))
        return NAN;
    return low > 0 ? 1 : high < 0 ? -1 : 0;
}

struct mq_report_difference mq_report_difference(const cJSON *figure)
{
    const struct mq_figure *k = find_figure(figure);
    const struct mq_estimate ci = interval(figure);
    const double way = direction(figure);
    struct mq_report_difference d = {
        .name = k                ? k->title
                : figure->string ? figure->string
                                 : "",
        .mean = with_unit(mq_report_number(figure, "mean"), k, true),
        .se = with_unit(mq_report_number(figure, "se"), k, false),
        .low = with_unit(ci.value, k, true),
        .high = with_unit(ci.se, k, true),
        .reads = "—",
    };
    if (way == 0)
        d.reads = "no clear difference";
    else if (k && isfinite(way))
        /* the likelihood is of the text; all others are about the original */
        d.reads = k->absolute ? (way > 0 ? "A predicts better" : "B predicts better")
                  : (way > 0) == (k->better == MQ_LESS) ? "A is closer"
                                                        : "B is closer";
    return d;
}

void mq_report_bootstrap(const struct mq_page *r, struct mq_buffer *out)
{
    const cJSON *how = mq_json_get(mq_json_get(r->document, "b_minus_a"), "bootstrap");
    const double seed = mq_report_number(how, "seed");
    mq_buffer_printf(out, "95 %% intervals by block bootstrap over %s windows, %s resamples, %s",
                     mq_words_count(mq_report_number(how, "windows")).s,
                     mq_words_count(mq_report_number(how, "resamples")).s,
                     mq_report_string(how, "generator"));
    if (isfinite(seed))
        mq_buffer_printf(out, " seed %.0f", seed);
    mq_buffer_puts(out, "; one window gives none. pp: percentage points.");
}

/* ---- the headline ---- */

static void say_one(const struct mq_report_arm *a, struct mq_buffer *out)
{
    mq_buffer_printf(out, "%s: ", called(a));
    if (a->quality == MQ_QUALITY_UNKNOWN) {
        mq_buffer_printf(out, "%s.", mq_quality_bands[a->quality].words);
        return;
    }
    mq_buffer_printf(out, "%s: ", mq_quality_bands[a->quality].name);
    if (isfinite(a->size_share))
        mq_buffer_printf(out, "%s of the memory, ", mq_words_percent(a->size_share).s);
    mq_buffer_printf(out, "%s.", mq_quality_bands[a->quality].words);
}

/* Which of two is closer, if that is not chance. */
static void say_two(const struct mq_page *r, const struct mq_report_arm *a,
                    const struct mq_report_arm *b, struct mq_buffer *out)
{
    const cJSON *kld = mq_report_differences(r);
    while (kld && find_figure(kld) != &mq_figures[MQ_FIGURE_KLD_MEAN])
        kld = kld->next;
    const double way = kld ? direction(kld) : (double)NAN;
    if (way == 0)
        mq_buffer_printf(out,
                         "A (%s) and B (%s) are equally close to the original, as far as this "
                         "text can tell.",
                         called(a), called(b));
    else if (isfinite(way))
        mq_buffer_printf(out, "%s (%s) is closer to the original than %s (%s).",
                         way > 0 ? "A" : "B", called(way > 0 ? a : b), way > 0 ? "B" : "A",
                         called(way > 0 ? b : a));
    else
        mq_buffer_printf(out, "A (%s) is %s, B (%s) is %s; too little text to compare them.",
                         called(a), mq_quality_bands[a->quality].name, called(b),
                         mq_quality_bands[b->quality].name);
}

void mq_report_verify_headline(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_report_arm *a = judged(r, 0), *b = judged(r, 1);
    const cJSON *limits = mq_report_limits(r);
    if (limits) {
        const size_t broken = mq_report_broken(r), count = (size_t)cJSON_GetArraySize(limits);
        const struct mq_report_arm *last = b ? b : a; /* what gates are about */
        if (b)
            mq_buffer_printf(out, "B (%s)", called(b));
        else
            mq_buffer_puts(out, last ? called(last) : "It");
        mq_buffer_printf(out, " %s the gate: %zu of %zu limits %s.", broken ? "fails" : "passes",
                         broken ? broken : count, count, broken ? "broken" : "kept");
        if (!b) /* the rest stands below */
            return;
        mq_buffer_putc(out, ' ');
    }
    if (!a)
        mq_buffer_puts(out, "No file was measured against the original.");
    else if (b)
        say_two(r, a, b, out);
    else
        say_one(a, out);
}

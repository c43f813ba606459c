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

static size_t candidates(const struct mq_page *r)
{
    size_t n = 0;
    while (judged(r, n))
        n++;
    return n;
}

static const char *called(const struct mq_report_arm *arm)
{
    return arm->file[0] ? arm->file : arm->id;
}

/* "A (a.moeq)"; of a level "q4_k" */
static void put_name(const struct mq_report_arm *arm, struct mq_buffer *out)
{
    mq_buffer_puts(out, arm->id);
    if (arm->file[0])
        mq_buffer_printf(out, " (%s)", arm->file);
}

void mq_report_verify_title(const struct mq_page *r, struct mq_buffer *out)
{
    enum { NAMED = 3 }; /* of more, their number */
    const struct mq_report_arm *a;
    mq_buffer_puts(out, "Against the original: ");
    if (!judged(r, 0))
        mq_buffer_puts(out, "nothing");
    for (size_t i = 0; (a = judged(r, i)) != NULL; i++) {
        const bool last = !judged(r, i + 1);
        if (i == NAMED && !last) {
            mq_buffer_printf(out, " and %zu more", candidates(r) - NAMED);
            return;
        }
        mq_buffer_puts(out, !i ? "" : last ? " and " : ", ");
        mq_buffer_puts(out, called(a));
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
    const cJSON *against = mq_json_get(r->document, "against");
    const cJSON *gate = mq_json_get(r->document, "gate");
    if (cJSON_IsString(mq_json_get(against, "path")))
        put(out,
            strcmp(mq_report_string(against, "kind"), "recording") == 0 ? "Recording" : "Original",
            mq_report_string(against, "path"));
    if (cJSON_IsFalse(mq_json_get(against, "same_compute")))
        put(out, "Arithmetic of the recording", mq_report_string(against, "compute"));
    if (cJSON_IsString(mq_json_get(gate, "file")))
        put(out, "Gate", mq_report_string(gate, "file"));
}

void mq_report_file_facts(const struct mq_page *r, struct mq_buffer *out,
                          void (*put)(struct mq_buffer *out, const char *name, const char *text))
{
    const cJSON *models = mq_report_array(r->document, "models");
    const cJSON *m = models ? models->child : NULL;
    for (size_t i = 0; i < r->arms_count && m; i++) {
        char name[64];
        if (!r->arms[i].file[0])
            continue;
        snprintf(name, sizeof name, "File %.40s", r->arms[i].id);
        if (cJSON_IsString(m))
            put(out, candidates(r) > 1 ? name : "File", m->valuestring);
        m = m->next;
    }
}

/* ---- the gate ---- */

const cJSON *mq_report_limits(const struct mq_page *r)
{
    return mq_report_array(mq_json_get(r->document, "gate"), "limits");
}

struct mq_report_limit mq_report_limit(const cJSON *limit)
{
    const bool is_max = cJSON_IsNumber(mq_json_get(limit, "max"));
    struct mq_report_limit l = {
        .is_max = is_max,
        .kept = cJSON_IsTrue(mq_json_get(limit, "kept")),
        .bound = mq_report_number(limit, is_max ? "max" : "min"),
        .found = mq_report_estimate(limit, "found"),
    };
    if (isfinite(l.bound))
        snprintf(l.limit.s, sizeof l.limit.s, "%s %.6g", is_max ? "max" : "min", l.bound);
    else
        l.limit = mq_words_sig(NAN, 1);
    const char *model = mq_report_string(limit, "model");
    snprintf(l.metric.s, sizeof l.metric.s, "%.40s%s%.200s", model, model[0] ? ": " : "",
             mq_report_string(limit, "metric"));
    return l;
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

/* Documents of before have one pair, without names. */
bool mq_report_pair(const struct mq_page *r, size_t i, struct mq_report_pair *pair)
{
    const cJSON *list = mq_report_array(r->document, "differences");
    const cJSON *o = list ? cJSON_GetArrayItem(list, (int)i)
                     : i  ? NULL
                          : mq_json_get(r->document, "b_minus_a");
    const cJSON *figures = mq_json_get(o, "figures");
    if (i >= MQ_REPORT_ARMS || !cJSON_IsObject(figures) || !figures->child)
        return false;
    *pair = (struct mq_report_pair){.model = list ? mq_report_string(o, "model") : "B",
                                    .minus = list ? mq_report_string(o, "minus") : "A",
                                    .figures = figures->child,
                                    .bootstrap = mq_json_get(o, "bootstrap")};
    snprintf(pair->title.s, sizeof pair->title.s, "%.24s minus %.24s", pair->model, pair->minus);
    return true;
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

/* +1: the model is greater, beyond what the choice of windows explains; -1: the other one; 0: open;
 * NAN: no interval. */
static double direction(const cJSON *figure)
{
    const struct mq_estimate ci = interval(figure);
    const double low = ci.value, high = ci.se;
    if (!isfinite(low) || !isfinite(high))
        return NAN;
    return low > 0 ? 1 : high < 0 ? -1 : 0;
}

struct mq_report_difference mq_report_difference(const struct mq_report_pair *pair,
                                                 const cJSON *figure)
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
        .reads = {"—"},
    };
    if (way == 0)
        d.reads = (struct mq_words){"no clear difference"};
    else if (k &&
             isfinite(way)) /* the likelihood is of the text; all others are about the original */
        snprintf(d.reads.s, sizeof d.reads.s, "%.40s %s",
                 (way > 0) == (k->better == MQ_LESS) ? pair->minus : pair->model,
                 k->absolute ? "predicts better" : "is closer");
    return d;
}

void mq_report_bootstrap(const struct mq_report_pair *pair, struct mq_buffer *out)
{
    const cJSON *how = pair->bootstrap;
    const double seed = mq_report_number(how, "seed");
    mq_buffer_printf(out, "95 %% intervals by block bootstrap over %s, %s resamples, %s",
                     mq_words_counted(mq_report_number(how, "windows"), "window").s,
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
        mq_buffer_printf(out, "%s.", mq_report_class_words(a));
        return;
    }
    mq_buffer_printf(out, "%s: ", mq_report_class(a));
    if (isfinite(a->size_share))
        mq_buffer_printf(out, "%s of the memory, ", mq_words_percent(a->size_share).s);
    mq_buffer_printf(out, "%s.", mq_report_class_words(a));
}

/* Which of two is closer, if that is not chance. */
static void say_two(const struct mq_page *r, const struct mq_report_arm *a,
                    const struct mq_report_arm *b, struct mq_buffer *out)
{
    struct mq_report_pair pair;
    const cJSON *kld = mq_report_pair(r, 0, &pair) ? pair.figures : NULL;
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
                         called(a), mq_report_class(a), called(b), mq_report_class(b));
}

/* The one with the smallest mean divergence. */
static void say_closest(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_report_arm *best = NULL, *a;
    for (size_t i = 0; (a = judged(r, i)) != NULL; i++)
        if (isfinite(a->kld.value) && (!best || a->kld.value < best->kld.value))
            best = a;
    if (!best) {
        mq_buffer_printf(out, "None of the %ss was measured.", r->judged);
        return;
    }
    mq_buffer_printf(out, "Of %zu %s, ", candidates(r),
                     r->files_count == candidates(r) ? "files"
                     : r->files_count                ? "levels and files"
                                                     : "levels");
    put_name(best, out);
    mq_buffer_puts(out, " is the closest to the original");
    if (!mq_report_broken(r)) { /* beside a failure no praise */
        mq_buffer_printf(out, ": %s", mq_report_class(best));
        if (isfinite(best->size_share))
            mq_buffer_printf(out, ", %s of the memory", mq_words_percent(best->size_share).s);
    }
    mq_buffer_putc(out, '.');
}

void mq_report_verify_headline(const struct mq_page *r, struct mq_buffer *out)
{
    const struct mq_report_arm *a = judged(r, 0), *b = judged(r, 1);
    const cJSON *limits = mq_report_limits(r);
    if (limits) {
        const size_t broken = mq_report_broken(r), count = (size_t)cJSON_GetArraySize(limits);
        const size_t n = candidates(r);
        const struct mq_report_arm *last = n ? judged(r, n - 1) : NULL; /* what gates are about */
        const bool all = mq_report_string(limits->child, "model")[0];   /* of --gate-all */
        if (all)
            mq_buffer_printf(out, "%s %s", broken ? "Not every" : "Every", r->judged);
        else if (b)
            put_name(last, out);
        else
            mq_buffer_puts(out, last ? called(last) : "It");
        mq_buffer_printf(out, " %s the gate: %zu of %zu limit%s %s.",
                         broken && !all ? "fails" : "passes", broken ? broken : count, count,
                         count == 1 ? "" : "s", broken ? "broken" : "kept");
        if (!b) /* the rest stands below */
            return;
        mq_buffer_putc(out, ' ');
    }
    if (!a)
        mq_buffer_puts(out, "No file was measured against the original.");
    else if (candidates(r) > 2 || (b && r->files_count < 2)) /* A and B are files */
        say_closest(r, out);
    else if (b)
        say_two(r, a, b, out);
    else
        say_one(a, out);
}

/* report_doc.c: a result's JSON document -> the numbers and the verdict of its reports. */
#include "report_doc.h"

#include "error.h"
#include "json.h"
#include "text_match.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- fields ---- */

double mq_report_number(const cJSON *object, const char *key)
{
    const cJSON *item = mq_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

struct mq_estimate mq_report_estimate(const cJSON *object, const char *key)
{
    const cJSON *item = mq_json_get(object, key);
    return (struct mq_estimate){mq_report_number(item, "value"), mq_report_number(item, "se")};
}

/* {"value", "se"}, or a number without an error. */
static struct mq_estimate estimate_of(const cJSON *item)
{
    if (cJSON_IsNumber(item))
        return (struct mq_estimate){item->valuedouble, NAN};
    return (struct mq_estimate){mq_report_number(item, "value"), mq_report_number(item, "se")};
}

const cJSON *mq_report_figure_item(const cJSON *row, const struct mq_figure *figure)
{
    char key[64];
    for (const char *at = figure->json; *at; at += at[0] == '.') {
        const size_t n = strcspn(at, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, at);
        row = mq_json_get(row, key);
        at += n;
    }
    return row;
}

struct mq_estimate mq_report_figure(const cJSON *row, const struct mq_figure *figure)
{
    return estimate_of(mq_report_figure_item(row, figure));
}

struct mq_estimate mq_report_figure_in(const cJSON *object, const struct mq_figure *figure)
{
    return estimate_of(mq_json_get(object, mq_figure_key(figure)));
}

const char *mq_report_string(const cJSON *object, const char *key)
{
    const cJSON *item = mq_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

const cJSON *mq_report_array(const cJSON *object, const char *key)
{
    const cJSON *item = mq_json_get(object, key);
    return cJSON_IsArray(item) && item->child ? item : NULL;
}

/* ---- numbers as text ---- */

/* What every table says of NaN, infinity and null. */
static struct mq_words not_defined(void)
{
    return (struct mq_words){"not defined"};
}

/* Digits after the point that give `digits` significant ones. */
static int decimals_for(double x, int digits)
{
    const int magnitude = x != 0 && isfinite(x) ? (int)floor(log10(fabs(x))) : 0;
    const int decimals = digits - 1 - magnitude;
    return decimals < 0 ? 0 : decimals;
}

struct mq_words mq_words_sig(double x, int digits)
{
    struct mq_words w;
    if (!isfinite(x))
        return not_defined();
    if (x == 0)
        return (struct mq_words){"0"};
    if (fabs(x) < 1e-6 || fabs(x) >= 1e9)
        snprintf(w.s, sizeof w.s, "%.*e", digits - 1, x);
    else
        snprintf(w.s, sizeof w.s, "%.*f", decimals_for(x, digits), x);
    return w;
}

struct mq_words mq_words_estimate(struct mq_estimate e, int digits)
{
    const struct mq_words value = mq_words_sig(e.value, digits);
    if (!isfinite(e.value) || !isfinite(e.se))
        return value;
    struct mq_words w;
    /* The error has two significant digits, and the value ends where it ends: what is behind is noise. */
    const double least = fmin(fabs(e.value) > 0 ? fabs(e.value) : 1, e.se);
    if (e.se > 0 && least >= 1e-9 && fabs(e.value) < 1e9 && e.se < 1e9) {
        const int decimals = decimals_for(e.se, 2);
        snprintf(w.s, sizeof w.s, "%.*f ± %.*f", decimals, e.value, decimals, e.se);
    } else {
        snprintf(w.s, sizeof w.s, "%.28s ± %.28s", value.s, mq_words_sig(e.se, 2).s);
    }
    return w;
}

struct mq_words mq_words_percent(double fraction)
{
    if (!isfinite(fraction))
        return not_defined();
    /* Only what is exactly all or nothing may read so: 0.99997 is "99.997 %". */
    int decimals = 1;
    const double gap = fmin(fabs(1 - fraction), fabs(fraction)) * 100;
    if (gap == 0)
        decimals = 0;
    else if (gap < 0.1)
        decimals = gap < 1e-5 ? 6 : decimals_for(gap, 1);
    struct mq_words w;
    if (fabs(fraction) < 1e7)
        snprintf(w.s, sizeof w.s, "%.*f\u00a0%%", decimals, 100 * fraction);
    else
        snprintf(w.s, sizeof w.s, "%.3e\u00a0%%", 100 * fraction);
    return w;
}

struct mq_words mq_words_percent_estimate(struct mq_estimate e)
{
    if (!isfinite(e.value) || fabs(e.value) > 1e7)
        return not_defined();
    struct mq_words w;
    if (e.se > 0 && e.se < 1e7) {
        const int decimals = decimals_for(fmax(100 * e.se, 1e-6), 2);
        /* what rounds to 0 has no sign */
        const double shown = fabs(100 * e.value) < 0.5 * pow(10, -decimals) ? 0 : 100 * e.value;
        snprintf(w.s, sizeof w.s, "%.*f ± %.*f\u00a0%%", decimals, shown, decimals, 100 * e.se);
    } else {
        return mq_words_percent(e.value);
    }
    return w;
}

struct mq_words mq_words_bytes(double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    if (!isfinite(bytes) || bytes < 0)
        return not_defined();
    size_t u = 0;
    while (bytes >= 1024 && u + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        u++;
    }
    struct mq_words w;
    snprintf(w.s, sizeof w.s, "%.22s\u00a0%s", mq_words_sig(bytes, bytes >= 1000 ? 4 : 3).s,
             units[u]);
    return w;
}

struct mq_words mq_words_count(double n)
{
    if (!isfinite(n) || fabs(n) >= 1e15)
        return not_defined();
    char digits[32];
    snprintf(digits, sizeof digits, "%.0f", n);
    struct mq_words w;
    size_t length = strlen(digits), o = 0;
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0 && digits[i - 1] != '-')
            w.s[o++] = ',';
        w.s[o++] = digits[i];
    }
    w.s[o] = '\0';
    return w;
}

struct mq_words mq_words_counted(double n, const char *what)
{
    struct mq_words w;
    snprintf(w.s, sizeof w.s, "%.28s %.28s%s", mq_words_count(n).s, what, n == 1 ? "" : "s");
    return w;
}

struct mq_words mq_words_figure(const struct mq_figure *figure, struct mq_estimate e)
{
    switch (figure->unit) {
    case MQ_UNIT_SHARE:
        return mq_words_percent_estimate(e);
    case MQ_UNIT_BYTES:
        return mq_words_bytes(e.value);
    default:
        return mq_words_estimate(e, figure->digits);
    }
}

struct mq_words mq_words_heading(const struct mq_figure *figure)
{
    struct mq_words w;
    snprintf(w.s, sizeof w.s, "%.60s", figure->title);
    w.s[0] = (char)toupper((unsigned char)w.s[0]);
    return w;
}

/* ---- columns ---- */

/* Whether an arm that is judged has it, be it null. */
static bool has_figure(const struct mq_page *page, const struct mq_figure *figure)
{
    for (size_t i = 0; i < page->arms_count; i++)
        if (!page->arms[i].is_baseline && mq_report_figure_item(page->arms[i].json, figure))
            return true;
    return false;
}

const struct mq_figure *mq_summary_figure(const struct mq_page *page, size_t i)
{
    /* their places count from 1, without gaps */
    for (int place = 1;; place++) {
        const struct mq_figure *f = mq_figures, *const end = mq_figures + MQ_FIGURE_COUNT;
        while (f < end && f->summary != place)
            f++;
        if (f == end)
            return NULL;
        if (has_figure(page, f) && i-- == 0)
            return f;
    }
}

/* All that stands in one object with the mean, and what the output has else that the summary has no
 * place for. */
static bool is_of_spread(const struct mq_figure *f)
{
    const char *mean = mq_figures[MQ_FIGURE_KLD_MEAN].json;
    return strncmp(f->json, mean, strcspn(mean, ".") + 1) == 0 ||
           (f->section == MQ_SECTION_OUTPUT && f->scope == MQ_OF_MODEL && !f->summary &&
            f->shown != MQ_NOT_SHOWN);
}

const struct mq_figure *mq_spread_figure(const struct mq_page *page, size_t i)
{
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (is_of_spread(f) && has_figure(page, f) && i-- == 0)
            return f;
    return NULL;
}

const struct mq_figure *mq_table_figure(const struct mq_page *page, enum mq_section section,
                                        size_t i)
{
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (f->section == section && f->shown != MQ_NOT_SHOWN && has_figure(page, f) && i-- == 0)
            return f;
    return NULL;
}

struct mq_words mq_summary_words(const struct mq_report_arm *arm, const struct mq_figure *figure)
{
    static const struct mq_words dash = {"—"};
    struct mq_words w;
    if (arm->is_baseline && !figure->absolute) {
        snprintf(w.s, sizeof w.s, "%g", mq_figure_ideal(figure));
        return figure->unit == MQ_UNIT_SHARE ? dash : w;
    }
    if (figure->section == MQ_SECTION_ROUTING && !arm->routing)
        return dash;
    return mq_words_figure(figure, mq_report_figure(arm->json, figure));
}

/* ---- reading ---- */

static void read_arm(const cJSON *row, struct mq_report_arm *arm)
{
    const cJSON *routing = mq_json_get(row, "routing");
    *arm = (struct mq_report_arm){
        .json = row,
        .routing = cJSON_IsObject(routing) ? routing : NULL,
        .id = mq_report_string(row, "name"),
        .name = mq_report_string(row, "name"),
        .file = "",
        .is_baseline = cJSON_IsTrue(mq_json_get(row, "is_baseline")),
        .file_bytes = mq_report_number(row, "file_bytes"),
        .bits_per_weight = mq_report_number(row, "bits_per_weight"),
        .size_share = NAN,
        .kld = mq_report_figure(row, &mq_figures[MQ_FIGURE_KLD_MEAN]),
        .same_top = mq_report_figure(row, &mq_figures[MQ_FIGURE_SAME_TOP]),
        .ppl_ratio = mq_report_figure(row, &mq_figures[MQ_FIGURE_PPL_RATIO]),
        .exact_set = mq_report_figure(row, &mq_figures[MQ_FIGURE_EXACT_SET]),
    };
    arm->routing_kept = mq_report_figure(row, &mq_figures[MQ_FIGURE_WEIGHTED]);
    arm->verdict =
        mq_verdict_of(&(struct mq_verdict_figures){arm->kld, arm->same_top, arm->routing_kept});
    arm->quality = arm->verdict.quality;
    if (arm->is_baseline)
        arm->name = "original"; /* documents call it source or baseline */
}

static moeq_status check_list(const cJSON *object, const char *key, moeq_error *err)
{
    const cJSON *list = mq_report_array(object, key);
    if (list && cJSON_GetArraySize(list) > MQ_REPORT_ENTRIES)
        return mq_fail(err, MOEQ_MALFORMED, "report: \"%s\": expected at most %d entries", key,
                       MQ_REPORT_ENTRIES);
    return MOEQ_OK;
}

static moeq_status check_lists(const struct mq_report_arm *arm, moeq_error *err)
{
    MQ_TRY(check_list(arm->routing, "layers", err));
    MQ_TRY(check_list(arm->routing, "kld_by_changed_layers", err));
    const cJSON *layers = mq_report_array(arm->routing, "layers");
    for (const cJSON *l = layers ? layers->child : NULL; l; l = l->next) {
        const cJSON *load = mq_json_get(l, "expert_load");
        MQ_TRY(check_list(load, "baseline", err));
        MQ_TRY(check_list(load, "arm", err));
    }
    return MOEQ_OK;
}

/* A row, and the same level computed with as integers where that was measured: the same file, so
 * the row's size is its own. */
static moeq_status read_row(const cJSON *row, struct mq_page *report, moeq_error *err)
{
    const cJSON *int8 = mq_json_get(row, "int8");
    struct mq_report_arm *arm = &report->arms[report->arms_count];
    struct mq_report_arm *other = &report->int8[report->arms_count++];
    read_arm(row, arm);
    MQ_TRY(check_lists(arm, err));
    if (!cJSON_IsObject(int8))
        return MOEQ_OK;
    read_arm(int8, other);
    if (!other->name[0])
        other->id = other->name = "int8";
    other->file_bytes = arm->file_bytes;
    other->bits_per_weight = arm->bits_per_weight;
    other->is_baseline = false;
    arm->int8 = other;
    return check_lists(other, err);
}

/* ---- the verdict ---- */

const char mq_report_rule[] =
    "Rule of the recommendation: the smallest {level} that is good or better by each of KL "
    "divergence, same top token and routing, also with two standard errors against it; or a "
    "{level} of a "
    "better class, if it is at most a quarter larger.";
const char mq_report_card_rule[] = "Rule of the recommendation: of what fits the card, the {level} "
                                   "with the lowest mean KL divergence.";
static const double LARGER_AT_MOST = 1.25;

static bool measured(const struct mq_report_arm *arm)
{
    return !arm->is_baseline && arm->quality != MQ_QUALITY_UNKNOWN && isfinite(arm->file_bytes);
}

static bool usable(const struct mq_report_arm *arm)
{
    return measured(arm) && arm->verdict.worst <= MQ_QUALITY_GOOD;
}

/* Whether an arm fits the card that the document is about; true if it is about none. */
static bool fits_card(const struct mq_page *r, const struct mq_report_arm *arm)
{
    return !r->card || cJSON_IsTrue(mq_json_get(mq_json_get(arm->json, "card"), "fits"));
}

/* The smallest usable arm of at least a quality and at most a size; NULL if none. */
static const struct mq_report_arm *smallest(const struct mq_page *r, enum mq_quality at_least,
                                            double at_most_bytes)
{
    const struct mq_report_arm *best = NULL;
    for (size_t i = 0; i < r->arms_count; i++) {
        const struct mq_report_arm *a = &r->arms[i];
        if (usable(a) && fits_card(r, a) && a->quality <= at_least &&
            a->file_bytes <= at_most_bytes && (!best || a->file_bytes < best->file_bytes))
            best = a;
    }
    return best;
}

/* The lowest divergence: of a card what is taken, or, where nothing fits it, what does not; else, where
 * nothing is usable, the best there is, to be named as such. */
static const struct mq_report_arm *least_damaged(const struct mq_page *r, bool on_card)
{
    const struct mq_report_arm *best = NULL;
    for (size_t i = 0; i < r->arms_count; i++)
        if (measured(&r->arms[i]) && fits_card(r, &r->arms[i]) == on_card &&
            (!best || r->arms[i].kld.value < best->kld.value))
            best = &r->arms[i];
    return best;
}

/* As mq_report_rule says. Better classes are tried from the nearest to the best, so that the best
 * one within the size stands in the end. */
static void judge(struct mq_page *r)
{
    const struct mq_report_arm *light = smallest(r, MQ_QUALITY_GOOD, INFINITY);
    const struct mq_report_arm *closest = least_damaged(r, true);
    if (r->card) { /* a smaller one saves nothing there */
        r->recommended = closest ? closest : least_damaged(r, false);
        r->recommended_is_usable = closest && usable(closest);
        r->lighter = r->recommended_is_usable && light != closest ? light : NULL;
        return;
    }
    r->recommended = light ? light : closest;
    r->recommended_is_usable = light != NULL;
    if (!light)
        return;
    for (int q = (int)light->quality - 1; q >= MQ_QUALITY_IDENTICAL; q--) {
        const struct mq_report_arm *better =
            smallest(r, (enum mq_quality)q, LARGER_AT_MOST * light->file_bytes);
        if (better)
            r->recommended = better;
    }
    if (light != r->recommended)
        r->lighter = light;
    for (int q = MQ_QUALITY_IDENTICAL; q < (int)r->recommended->quality && !r->closer; q++)
        if (q != MQ_QUALITY_IDENTICAL || r->recommended->quality > MQ_QUALITY_NEAR_LOSSLESS)
            r->closer = smallest(r, (enum mq_quality)q, INFINITY);
}

const char *mq_report_class(const struct mq_report_arm *arm)
{
    return arm->fails_gate ? "fails the gate" : mq_quality_bands[arm->quality].name;
}

const char *mq_report_class_words(const struct mq_report_arm *arm)
{
    return arm->fails_gate ? "breaks its gate" : mq_quality_bands[arm->quality].words;
}

void mq_report_call(const struct mq_page *r, const struct mq_report_arm *a, const char *joint,
                    struct mq_buffer *out)
{
    const bool several = a->file[0] && r->candidates_count > 1;
    if (!a->file[0] || several)
        mq_buffer_puts(out, a->id);
    if (several)
        mq_buffer_puts(out, joint);
    mq_buffer_puts(out, a->file);
    if (several && strchr(joint, '('))
        mq_buffer_putc(out, ')');
}

/* A limit is about the arm that it names, or else about the last one. */
static void apply_gate(struct mq_page *r)
{
    const cJSON *limits = mq_report_array(mq_json_get(r->document, "gate"), "limits");
    for (const cJSON *l = limits ? limits->child : NULL; l; l = l->next) {
        const char *model = mq_report_string(l, "model");
        struct mq_report_arm *about = NULL;
        for (size_t i = 0; i < r->arms_count; i++)
            if (!r->arms[i].is_baseline && (!model[0] || strcmp(r->arms[i].id, model) == 0))
                about = &r->arms[i];
        if (about && !cJSON_IsTrue(mq_json_get(l, "kept")))
            about->fails_gate = true;
    }
}

/* Which file each arm is: rows say so; verifications of before had a list of them. */
static void name_files(struct mq_page *r)
{
    const cJSON *models = r->is_verification ? mq_report_array(r->document, "models") : NULL;
    const cJSON *model = models ? models->child : NULL;
    size_t levels = 0;
    for (size_t i = 0; i < r->arms_count; i++)
        if (mq_report_string(r->arms[i].json, "path")[0])
            model = NULL;
    for (size_t i = 0; i < r->arms_count; i++) {
        struct mq_report_arm *a = &r->arms[i];
        const char *path = mq_report_string(a->json, "path");
        if (a->is_baseline)
            continue;
        if (!path[0] && cJSON_IsString(model))
            path = model->valuestring;
        a->file = path[0] ? mq_base_name(path) : "";
        r->files_count += path[0] != 0;
        levels += !path[0];
        model = model ? model->next : NULL;
    }
    r->candidates_count = r->files_count + levels;
    for (size_t i = 0; i < r->arms_count; i++) {
        struct mq_report_arm *a = &r->arms[i];
        if (!a->file[0])
            continue;
        mq_file_label(a->file, a->id, r->candidates_count > 1, a->label);
        a->name = a->label;
    }
    r->judged = !levels ? "file" : r->files_count ? "level or file" : "level";
}

moeq_status mq_report_read(const cJSON *document, struct mq_page *report, moeq_error *err)
{
    memset(report, 0, sizeof *report);
    report->document = document;
    const cJSON *rows = mq_report_array(document, "rows");
    const char *kind = mq_report_string(document, "moeq_result");
    report->card = mq_json_get(document, "card");
    report->is_verification = strcmp(kind, "verify") == 0;
    if ((strcmp(kind, "sweep") != 0 && !report->is_verification) || !rows)
        return mq_fail(err, MOEQ_MALFORMED,
                       "report: expected the result of a sweep or a verification, with its rows");
    for (const cJSON *row = rows->child; row; row = row->next) {
        if (report->arms_count == MQ_REPORT_ARMS)
            return mq_fail(err, MOEQ_MALFORMED, "report: expected at most %d rows", MQ_REPORT_ARMS);
        if (!cJSON_IsObject(row))
            return mq_fail(err, MOEQ_MALFORMED, "report: row %zu is no object", report->arms_count);
        MQ_TRY(read_row(row, report, err));
    }
    const cJSON *noise = mq_json_get(document, "noise_floor");
    if (cJSON_IsObject(noise)) {
        read_arm(noise, &report->noise);
        MQ_TRY(check_lists(&report->noise, err));
        report->has_noise = true;
    }
    double largest = 0;
    for (size_t i = 0; i < report->arms_count; i++) {
        const struct mq_report_arm *a = &report->arms[i];
        if (a->is_baseline && !report->baseline)
            report->baseline = a;
        largest = fmax(largest, a->file_bytes); /* fmax passes over NaN */
    }
    for (size_t i = 0; report->baseline && i < report->arms_count; i++)
        if (report->baseline->file_bytes > 0)
            report->int8[i].size_share = report->arms[i].size_share =
                report->arms[i].file_bytes / report->baseline->file_bytes;
    report->noise.size_share = 1; /* it is the original */
    for (size_t i = 0; report->has_noise && i < report->arms_count; i++)
        report->arms[i].below_noise = report->arms[i].kld.value < report->noise.kld.value;
    const bool small = largest < 0x1p30;
    report->memory_unit = small ? 0x1p20 : 0x1p30;
    report->memory_unit_name = small ? "MiB" : "GiB";
    name_files(report);
    apply_gate(report);
    if (!report->is_verification) /* of files at hand, none is to be chosen by its size */
        judge(report);
    return MOEQ_OK;
}

/* ---- words ---- */

/* What a text begins with, {level} and {Level} replaced, and where it goes on. */
static struct mq_words next_piece(const struct mq_page *report, const char **text)
{
    static const char lower[] = "{level}", upper[] = "{Level}";
    struct mq_words piece;
    const bool is_upper = strncmp(*text, upper, sizeof upper - 1) == 0;
    if (is_upper || strncmp(*text, lower, sizeof lower - 1) == 0) {
        snprintf(piece.s, sizeof piece.s, "%s", report->judged);
        if (is_upper)
            piece.s[0] = (char)toupper((unsigned char)piece.s[0]);
        *text += sizeof lower - 1;
    } else { /* to the next brace; one that begins here is a brace of its own */
        const size_t n = 1 + strcspn(*text + 1, "{");
        const size_t some = n < sizeof piece.s ? n : sizeof piece.s - 1;
        snprintf(piece.s, sizeof piece.s, "%.*s", (int)some, *text);
        *text += some;
    }
    return piece;
}

void mq_report_say(const struct mq_page *report, const char *text, struct mq_buffer *out)
{
    while (*text)
        mq_buffer_puts(out, next_piece(report, &text).s);
}

struct mq_phrase mq_report_phrase(const struct mq_page *report, const char *text)
{
    struct mq_phrase phrase = {""};
    for (size_t n = 0; *text && n < sizeof phrase.s; n = strlen(phrase.s))
        if (snprintf(phrase.s + n, sizeof phrase.s - n, "%s", next_piece(report, &text).s) >=
            (int)(sizeof phrase.s - n))
            break; /* full */
    return phrase;
}

/* ---- whose weights, whose routes ---- */

const cJSON *mq_report_swap(const struct mq_page *report, const struct mq_report_arm *arm,
                            bool own_weights, bool own_routes)
{
    const cJSON *swap = mq_json_get(arm->json, "swap");
    if (own_weights && own_routes)
        return arm->json;
    if (!own_weights && !own_routes)
        return report->baseline ? report->baseline->json : NULL;
    const cJSON *result = mq_json_get(swap, own_weights ? "own_weights_baseline_routes"
                                                        : "baseline_weights_own_routes");
    return cJSON_IsObject(result) ? result : NULL;
}

struct mq_estimate mq_report_share(const struct mq_report_arm *arm, const char *loss,
                                   const char *part)
{
    char key[64];
    snprintf(key, sizeof key, "shares_of_%s", loss);
    return mq_report_estimate(mq_json_get(mq_json_get(arm->json, "swap"), key), part);
}

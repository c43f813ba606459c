/* report_check.c: figures of a result within what they can be. */
#include "report_check.h"

#include "error.h"
#include "json.h"
#include "json_tree.h"
#include "report_doc.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a figure of a unit can be. Shares and divergences are sums of rounded terms. */
#define ROUNDING 1e-6
static const struct {
    double least, most;
    const char *words;
    double most_error;
    const char *error_words;
} ranges[] = {
    [MQ_UNIT_PLAIN] = {0, INFINITY, "0 or more", INFINITY, "0 or more"},
    [MQ_UNIT_RATIO] = {DBL_MIN, INFINITY, "more than 0", INFINITY, "0 or more"},
    [MQ_UNIT_SHARE] = {-ROUNDING, 1 + ROUNDING, "0 to 1", 1, "0 to 1"},
    [MQ_UNIT_NATS] = {-ROUNDING, INFINITY, "0 or more", INFINITY, "0 or more"},
    [MQ_UNIT_BITS] = {0, 64, "0 to 64", 64, "0 to 64"}, /* the widest type is F64 */
    [MQ_UNIT_BYTES] = {0, INFINITY, "0 or more", INFINITY, "0 or more"},
};

/* Where a message is about. */
struct place {
    const char *file, *row;
    char within[112]; /* of a list's entry: "routing.layers[3]." */
};

static moeq_status refuse(const struct place *p, const char *key, const char *part,
                          const char *expected, const cJSON *found, moeq_error *err)
{
    char shown[48];
    if (cJSON_IsNumber(found))
        snprintf(shown, sizeof shown, "%.9g", found->valuedouble);
    else
        snprintf(shown, sizeof shown, "\"%.40s\"",
                 cJSON_IsString(found) ? found->valuestring : "no number");
    return mq_fail_file(err, MOEQ_MALFORMED, p->file,
                        "%s%.60s%s\"%s%.80s%s\": expected %s, found %s", p->row ? "row '" : "",
                        p->row ? p->row : "", p->row ? "': " : "", p->within, key, part, expected,
                        shown);
}

/* A number in a range, or nothing: null is what was not measured. */
static moeq_status check_number(const struct place *p, const char *key, const char *part,
                                const cJSON *item, double least, double most, const char *words,
                                moeq_error *err)
{
    if (!item || cJSON_IsNull(item))
        return MOEQ_OK;
    if (cJSON_IsNumber(item) && isfinite(item->valuedouble) && item->valuedouble >= least &&
        item->valuedouble <= most)
        return MOEQ_OK;
    return refuse(p, key, part, words, item, err);
}

static moeq_status check_figure(const struct place *p, const char *key, const struct mq_figure *f,
                                const cJSON *item, moeq_error *err)
{
    /* the logarithm of a ratio has both signs */
    const bool any = f == &mq_figures[MQ_FIGURE_LOG_PPL_RATIO];
    const double least = any ? -INFINITY : ranges[f->unit].least, most = ranges[f->unit].most;
    const char *words = any ? "a number" : ranges[f->unit].words;
    if (!cJSON_IsObject(item))
        return check_number(p, key, "", item, least, most, words, err);
    MQ_TRY(check_number(p, key, ".value", mq_json_get(item, "value"), least, most, words, err));
    return check_number(p, key, ".se", mq_json_get(item, "se"), 0, ranges[f->unit].most_error,
                        ranges[f->unit].error_words, err);
}

/* Lists of a row, and what of their entries is known: figures by the prefix of their places in a row, one figure by
 * its own key, counts. */
static const struct list {
    const char *path, *prefix;
    const struct mq_figure *figure;
    const char *counts[2];
} lists[] = {
    {"routing.layers", "routing.overall.", NULL, {"experts", "experts_per_token"}},
    {"routing.kld_by_changed_layers",
     NULL,
     &mq_figures[MQ_FIGURE_KLD_CHANGED_LAYERS],
     {"changed_layers", "scored_tokens"}},
    {"routing.baseline_margins", NULL, NULL, {"choices", "changed"}},
    {"tasks.files", "tasks.", NULL, {"count"}},
};

/* The item at a place such as "routing.layers"; NULL if it is not there. */
static const cJSON *item_at(const cJSON *object, const char *path)
{
    const struct mq_figure place = {.json = path};
    return mq_report_figure_item(object, &place);
}

static moeq_status check_entry(const struct place *p, const struct list *l, const cJSON *entry,
                               moeq_error *err)
{
    enum { COUNTS = sizeof l->counts / sizeof *l->counts };
    const size_t n = l->prefix ? strlen(l->prefix) : 0;
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (f == l->figure || (n && f->scope == MQ_OF_MODEL && !strncmp(f->json, l->prefix, n)))
            MQ_TRY(check_figure(p, mq_figure_key(f), f, mq_json_get(entry, mq_figure_key(f)), err));
    for (size_t i = 0; i < COUNTS && l->counts[i]; i++)
        MQ_TRY(check_number(p, "", l->counts[i], mq_json_get(entry, l->counts[i]), 0, 0x1p53,
                            "a count", err));
    return MOEQ_OK;
}

static moeq_status check_lists(const struct place *row, const cJSON *json, moeq_error *err)
{
    struct place p = *row;
    for (const struct list *l = lists; l < lists + sizeof lists / sizeof *lists; l++) {
        const cJSON *list = item_at(json, l->path);
        size_t at = 0;
        for (const cJSON *e = cJSON_IsArray(list) ? list->child : NULL; e; e = e->next) {
            snprintf(p.within, sizeof p.within, "%.40s%s[%zu].", row->within, l->path, at++);
            MQ_TRY(check_entry(&p, l, e, err));
        }
    }
    return MOEQ_OK;
}

/* Each percentile is at least the one before it. */
static moeq_status check_percentiles(const struct place *p, const cJSON *row, moeq_error *err)
{
    static const enum mq_figure_id rising[] = {MQ_FIGURE_KLD_MEDIAN, MQ_FIGURE_KLD_P90,
                                               MQ_FIGURE_KLD_P99, MQ_FIGURE_KLD_P99_9,
                                               MQ_FIGURE_KLD_MAX};
    const struct mq_figure *before = NULL;
    double least = 0;
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++) {
        const struct mq_figure *f = &mq_figures[rising[i]];
        const cJSON *item = mq_report_figure_item(row, f);
        char expected[96];
        if (!cJSON_IsNumber(item))
            continue;
        if (before && item->valuedouble < least) {
            snprintf(expected, sizeof expected, "at least \"%.40s\", %.9g", before->json, least);
            return refuse(p, f->json, "", expected, item, err);
        }
        before = f;
        least = item->valuedouble;
    }
    return MOEQ_OK;
}

/* The perplexity is the NLL's exponential: one of them was changed. */
static moeq_status check_perplexity(const struct place *p, const cJSON *row, moeq_error *err)
{
    const struct mq_figure *f = &mq_figures[MQ_FIGURE_NLL];
    const double nll = mq_report_figure(row, f).value,
                 log_ppl = log(mq_report_figure(row, &mq_figures[MQ_FIGURE_PPL]).value);
    char expected[64];
    if (!isfinite(nll) || !isfinite(log_ppl) || fabs(nll - log_ppl) <= 1e-6 * (1 + fabs(log_ppl)))
        return MOEQ_OK;
    snprintf(expected, sizeof expected, "%.9g, the perplexity's logarithm", log_ppl);
    return refuse(p, f->json, ".value", expected,
                  mq_json_get(mq_report_figure_item(row, f), "value"), err);
}

/* A row, and what stands in it as a row would: the level as integers, weights and routes exchanged. */
// NOLINTNEXTLINE(misc-no-recursion): once: a row within a row has none
static moeq_status check_row(struct place p, const cJSON *row, moeq_error *err)
{
    static const char *const inner[] = {"int8", "swap.own_weights_baseline_routes",
                                        "swap.baseline_weights_own_routes"};
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (f->scope == MQ_OF_MODEL)
            MQ_TRY(check_figure(&p, f->json, f, mq_report_figure_item(row, f), err));
    MQ_TRY(check_percentiles(&p, row, err));
    MQ_TRY(check_perplexity(&p, row, err));
    MQ_TRY(check_lists(&p, row, err));
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        const cJSON *other = p.within[0] ? NULL : item_at(row, inner[i]);
        struct place in = p;
        snprintf(in.within, sizeof in.within, "%s.", inner[i]);
        if (cJSON_IsObject(other))
            MQ_TRY(check_row(in, other, err));
    }
    return MOEQ_OK;
}

/* One baseline, and no name twice. More rows than any page has are refused by who reads them. */
static moeq_status check_rows(const struct place *p, const cJSON *rows, moeq_error *err)
{
    size_t baselines = 0, count = 0;
    for (const cJSON *r = rows ? rows->child : NULL; r && count < MQ_REPORT_ARMS; r = r->next) {
        const char *name = mq_report_string(r, "name");
        const struct place at = {p->file, name[0] ? name : "?", ""};
        count++;
        if (!cJSON_IsObject(r))
            continue;
        baselines += cJSON_IsTrue(mq_json_get(r, "is_baseline")) ? 1 : 0;
        for (const cJSON *b = rows->child; b != r; b = b->next)
            if (name[0] && strcmp(mq_report_string(b, "name"), name) == 0)
                return refuse(&at, "name", "", "a name that no other row has",
                              mq_json_get(r, "name"), err);
        MQ_TRY(check_row(at, r, err));
    }
    const cJSON found = {.type = cJSON_Number, .valuedouble = (double)baselines};
    return !count || baselines == 1
               ? MOEQ_OK
               : refuse(p, "rows", "", "one row whose \"is_baseline\" is true", &found, err);
}

/* Counts that do not fit together: more predictions than tokens. */
static moeq_status check_protocol(const struct place *p, const cJSON *protocol, moeq_error *err)
{
    static const char *const counts[] = {"context_tokens", "windows",       "text_tokens",
                                         "used_tokens",    "scored_tokens", "text_bytes"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        MQ_TRY(check_number(p, "protocol.", counts[i], mq_json_get(protocol, counts[i]), 0, 0x1p53,
                            "a count", err));
    const double all = mq_report_number(protocol, "windows") *
                       mq_report_number(protocol, "context_tokens"),
                 scored = mq_report_number(protocol, "scored_tokens");
    char expected[64];
    if (!(scored > all)) /* false where one is not there */
        return MOEQ_OK;
    snprintf(expected, sizeof expected, "at most the %.0f tokens of the windows", all);
    return refuse(p, "protocol.", "scored_tokens", expected, mq_json_get(protocol, "scored_tokens"),
                  err);
}

moeq_status mq_report_check(const cJSON *document, const char *name, moeq_error *err)
{
    const struct place p = {name, NULL, ""};
    const char *kind = mq_report_string(document, "moeq_result");
    const cJSON *version = mq_json_get(document, "result_version");
    if (strcmp(kind, "sweep") != 0 && strcmp(kind, "verify") != 0)
        return MOEQ_OK;
    if (version && !(cJSON_IsNumber(version) && version->valuedouble == MQ_RESULT_VERSION)) {
        char expected[48];
        snprintf(expected, sizeof expected, "%d, which this program reads", MQ_RESULT_VERSION);
        return refuse(&p, "result_version", "", expected, version, err);
    }
    MQ_TRY(check_protocol(&p, mq_json_get(document, "protocol"), err));
    const cJSON *noise = mq_json_get(document, "noise_floor");
    if (cJSON_IsObject(noise))
        MQ_TRY(check_row((struct place){name, "noise_floor", ""}, noise, err));
    return check_rows(&p, mq_report_array(document, "rows"), err);
}
